package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Place is where connections start: a function in a VPC, or a cluster's nodes. It is an http.RoundTripper for
// simulations, and a dialer and resolver for processes.
type Place struct {
	net        *Network
	vpcID      string
	source     netip.Addr
	instanceID string

	ConnectTimeout time.Duration // of packets that nobody answers; 0: 127 s, as Linux gives up by default
	AnyName        bool          // accept a certificate that does not name the host (verification_mode certificate)
}

// LookupHost resolves a name as this place sees it, to IPv4 addresses in text. The error is a *Fault of kind NoSuchHost.
func (p *Place) LookupHost(_ context.Context, host string) ([]string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	var found []string
	if p.instanceID == "" {
		for _, a := range p.net.lookup(p.vpcID, host) {
			found = append(found, a.String())
		}
	} else if e, ok := p.net.endpoint(p.instanceID, host); ok {
		found = append(found, e.Address.String())
	}
	if found == nil {
		return nil, &Fault{Kind: NoSuchHost, Link: "name", Addr: net.JoinHostPort(host, "0")}
	}
	return found, nil
}

// connect is Route with the wait of a connect timeout: until ctx or ConnectTimeout ends.
func (p *Place) connect(ctx context.Context, host, port string) (Route, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Route{}, fmt.Errorf("dial tcp %s:%s: invalid port", host, port)
	}
	route, err := p.Route(host, int(number))
	if f, ok := err.(*Fault); ok && f.Kind == Timeout {
		wait := p.ConnectTimeout
		if wait == 0 {
			wait = 127 * time.Second
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			if ctx.Err() == context.Canceled {
				return Route{}, ctx.Err()
			}
		}
	}
	return route, err
}

// DialContext connects to the service that listens there, if the network lets the connection through: over a socket if it
// has an address, else through a pipe, which works in a synctest bubble too.
func (p *Place) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if network != "tcp" && network != "tcp4" {
		return nil, net.UnknownNetworkError(network)
	}
	route, err := p.connect(ctx, host, port)
	if err != nil {
		return nil, err
	}
	return p.net.server(route).dial(ctx, route)
}

// trust verifies the chain of a server's certificate, and the name unless AnyName.
func (p *Place) trust(roots *x509.CertPool) *tls.Config {
	c := &tls.Config{RootCAs: roots}
	if p.AnyName {
		c.InsecureSkipVerify = true // the name; the chain is verified here
		c.VerifyConnection = func(s tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, between := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(between)
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		}
	}
	return c
}

// RoundTrip sends a request to the service that listens there: to its handler if it has one, else over a connection. With
// a handler, TLS is only judged: the protocol must be the service's, and its certificate names the clusters' domains.
func (p *Place) RoundTrip(r *http.Request) (*http.Response, error) {
	port := r.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[r.URL.Scheme]
	}
	route, err := p.connect(r.Context(), r.URL.Hostname(), port)
	if err != nil {
		return nil, err
	}
	s, addr := p.net.server(route), net.JoinHostPort(r.URL.Hostname(), port)
	switch {
	case r.URL.Scheme == "http" && route.TLS:
		return nil, &Fault{Kind: Closed, Link: "protocol", Addr: addr}
	case s.Handler == nil || s.Addr != "":
		return (&http.Transport{DialContext: p.DialContext, TLSClientConfig: p.trust(s.Roots), DisableKeepAlives: true}).RoundTrip(r)
	case r.URL.Scheme == "https" && !route.TLS:
		return nil, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}
	case r.URL.Scheme == "https" && !p.AnyName:
		cert := &x509.Certificate{DNSNames: []string{"*.elasticsearch.aliyuncs.com"}}
		if err := cert.VerifyHostname(r.URL.Hostname()); err != nil {
			return nil, err
		}
	}
	in := r.Clone(r.Context())
	resp, err := cloud.Transport(func(string) http.Handler { return s.Handler }).RoundTrip(in)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}
