package cloud

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
)

// Transport is an [http.RoundTripper] that calls handlers directly, without sockets: handler returns the one that
// serves a host (with the port, unless it is the scheme's own), or nil. A handler that aborts with [http.ErrAbortHandler] is a connection that broke before the reply.
func Transport(handler func(host string) http.Handler) http.RoundTripper {
	return transport(handler)
}

type transport func(host string) http.Handler

func (t transport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	host := strings.TrimSuffix(r.URL.Host, map[string]string{"http": ":80", "https": ":443"}[r.URL.Scheme])
	h := t(strings.TrimSuffix(host, ":")) // V1 SDKs write an empty port
	if h == nil {
		return nil, fmt.Errorf("dial tcp: lookup %s: no such host", host)
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:1"
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	// The SDKs set header keys in lower case; a server sees them canonical.
	in.Header = http.Header{}
	for name, values := range r.Header {
		for _, v := range values {
			in.Header.Add(name, v)
		}
	}
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			resp, err = nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Host, io.ErrUnexpectedEOF)
		} else if p != nil {
			panic(p)
		}
	}()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, in)
	if r.Body != nil {
		r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp = w.Result()
	resp.Request = r
	return resp, nil
}
