//go:build unix

package realserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Port is the port of every endpoint domain: Alibaba Cloud fixes it for a link between two clusters.
const Port = 9200

// Forward listens on a free address of its own in 127/8, always at Port, and joins each connection to the one that dial returns. All of 127/8 is loopback on Linux,
// so every endpoint domain can have 9200; SetHosts gives the name. Elsewhere those addresses must be added to the loopback interface first.
//
// dial is asked once per connection and so decides whether the link stands at that moment; when it fails, the connection is reset without a byte,
// which is as near to a refusal as a port that must stay open can come. stop (idempotent) and the end of ctx close the listener and every connection.
func Forward(ctx context.Context, dial func(context.Context) (net.Conn, error)) (addr netip.Addr, stop func(), err error) {
	return ForwardPorts(ctx, []int{Port}, func(ctx context.Context, _ int) (net.Conn, error) { return dial(ctx) })
}

// ForwardPorts is Forward with the ports of a link to services: one address has them all, as an endpoint domain has. Those below 1024 are root's on most machines.
func ForwardPorts(ctx context.Context, ports []int, dial func(ctx context.Context, port int) (net.Conn, error)) (addr netip.Addr, stop func(), err error) {
	listeners, addr, err := listen(ctx, ports)
	if err != nil {
		return netip.Addr{}, nil, fmt.Errorf("forward: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for i, listener := range listeners {
		context.AfterFunc(ctx, func() { listener.Close() })
		running.Go(func() {
			for {
				client, err := listener.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue // the client left before it was accepted
				}
				running.Go(func() {
					join(ctx, client.(*net.TCPConn), func(ctx context.Context) (net.Conn, error) { return dial(ctx, ports[i]) })
				})
			}
		})
	}
	return addr, func() { cancel(); running.Wait() }, nil
}

// listen finds an address at which all ports are free.
func listen(ctx context.Context, ports []int) (listeners []net.Listener, addr netip.Addr, err error) {
	for range 20 {
		addr = netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
		listeners, err = nil, nil
		for _, port := range ports {
			var config net.ListenConfig
			var l net.Listener
			if l, err = config.Listen(ctx, "tcp4", netip.AddrPortFrom(addr, uint16(port)).String()); err != nil {
				break
			}
			listeners = append(listeners, l)
		}
		if err == nil {
			return listeners, addr, nil
		}
		for _, l := range listeners {
			l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, netip.Addr{}, err
}

func join(ctx context.Context, client *net.TCPConn, dial func(context.Context) (net.Conn, error)) {
	defer client.Close()
	server, err := dial(ctx)
	if err != nil {
		_ = client.SetLinger(0) // a reset, not an orderly end
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	var up sync.WaitGroup
	up.Go(func() { pass(server, client) })
	pass(client, server)
	up.Wait()
}

// pass copies until from ends, and passes that end on: a half-closed connection still carries the answer.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	to.Close()
	from.Close()
}
