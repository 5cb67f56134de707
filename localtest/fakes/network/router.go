package network

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"strings"

	"github.com/armon/go-socks5"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// Router serves a place to processes: its names by DNS over UDP, its connections by SOCKS5 without authentication.
// Who uses it comes from that place.
type Router struct {
	DNS, SOCKS string // "127.0.0.1:port"
	stop       func() error
}

// Listen starts a router on 127.0.0.1. Connections are made to listeners named by SetServerAddr.
func (p *Place) Listen(ctx context.Context) (*Router, error) {
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	streams, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		packets.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	proxy, err := socks5.New(&socks5.Config{
		Resolver: resolver{p}, Logger: log.New(io.Discard, "", 0),
		Dial: func(_ context.Context, network, addr string) (net.Conn, error) {
			return p.DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		cancel()
		packets.Close()
		streams.Close()
		return nil, err
	}
	names := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(p.answer)}
	var servers errgroup.Group
	for _, serve := range []func() error{names.ActivateAndServe, func() error { return proxy.Serve(streams) }} {
		servers.Go(func() error {
			if err := serve(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return &Router{DNS: packets.LocalAddr().String(), SOCKS: streams.Addr().String(), stop: func() error {
		cancel()
		streams.Close()
		packets.Close()
		return servers.Wait()
	}}, nil
}

// Close stops the router. Connections that stand are cut by their ends.
func (r *Router) Close() error { return r.stop() }

type resolver struct{ *Place }

func (r resolver) Resolve(ctx context.Context, name string) (context.Context, net.IP, error) {
	found, err := r.LookupHost(ctx, name)
	if err != nil {
		return ctx, nil, err
	}
	return ctx, net.ParseIP(found[0]), nil
}

// answer is a DNS reply: A records, or that there is no such name.
func (p *Place) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	for _, question := range q.Question {
		found, err := p.LookupHost(context.Background(), strings.TrimSuffix(dns.CanonicalName(question.Name), "."))
		if err != nil {
			m.Rcode = dns.RcodeNameError
		}
		for _, a := range found {
			if question.Qtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(a)})
			}
		}
	}
	w.WriteMsg(m)
}
