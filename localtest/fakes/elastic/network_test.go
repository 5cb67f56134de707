package elastic_test

import (
	"net"
	"net/http"
	"os"
	"syscall"
)

// network reaches clusters by host:port; closed.example refuses, any other name
// does not resolve.
type network map[string]http.RoundTripper

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if to, ok := n[r.URL.Host]; ok {
		return to.RoundTrip(r)
	}
	if r.URL.Hostname() == "closed.example" {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return nil, &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}
}
