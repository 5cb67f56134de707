// Package services is what runs on an ECS host: the other end of an es-to-ecs
// link, one kind per use case. A webhook receiver ([Webhook]), a directory
// ([Directory], as OpenLDAP or as Active Directory), a dictionary
// ([Dictionary]); a self-managed Elasticsearch is package elastic.
//
// Each serves whatever net.Listener it is given: one of a socket on loopback,
// or a [Pipe], which needs no socket and so works in a synctest bubble. The
// HTTP ones are http.Handlers besides.
package services

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
)

// ServeHTTP serves h until the listener is closed.
func ServeHTTP(l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)} // a peer that leaves is what tests are about
	if err := s.Serve(l); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Pipe is a net.Listener without a socket: Dial makes the connections that
// Accept returns.
type Pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen makes a Pipe.
func Listen() *Pipe {
	return &Pipe{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

// Dial connects. A pipe that is closed refuses, as a closed port does.
func (p *Pipe) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: p.Addr(), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "tcp" }
func (pipeAddr) String() string  { return "pipe" }
