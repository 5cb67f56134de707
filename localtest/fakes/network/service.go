package network

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
)

// Service is what listens on a port of a cluster or host: one of Handler, Addr and Serve.
type Service struct {
	Handler http.Handler // HTTP, called without sockets
	Addr    string       // a real listener, "127.0.0.1:port"
	// Serve talks to one client over conn, of whatever protocol (LDAP, say), and closes it. It runs on a goroutine of its
	// own.
	Serve func(conn net.Conn)

	TLS      bool           // HTTP speaks TLS; with a Handler it is only judged
	Roots    *x509.CertPool // that its certificate is verified against; nil: the machine's
	Loopback bool           // it is bound to 127.0.0.1: nobody outside of the host reaches it
}

func (s Service) listens() bool { return s.Handler != nil || s.Addr != "" || s.Serve != nil }

// dial connects to the service.
func (s Service) dial(ctx context.Context, r Route) (net.Conn, error) {
	switch {
	case s.Addr != "":
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.Addr)
	case !s.listens():
		return nil, fmt.Errorf("fake: nothing listens on port %d of %s", r.Port, r.InstanceID)
	}
	near, far := net.Pipe()
	if s.Serve != nil {
		go s.Serve(far)
	} else {
		server := &http.Server{Handler: s.Handler}
		go server.Serve(&once{conn: far}) // which returns at once; the connection lives on
	}
	return piped{near}, nil
}

// piped is a pipe that has addresses of TCP, as clients and proxies expect.
type piped struct{ net.Conn }

func (piped) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (piped) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

// once is a listener that has one connection.
type once struct{ conn net.Conn }

func (o *once) Accept() (net.Conn, error) {
	conn := o.conn
	if o.conn = nil; conn == nil {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return piped{}.RemoteAddr() }
