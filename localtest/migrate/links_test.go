//go:build bench && unix

package migrate

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/realserver"
)

// far joins connections to an address as a link with that round trip does: every
// byte comes back so much later, but as many a second as before. A real link's slow
// start is not in it.
func far(t *testing.T, address string, roundTrip time.Duration) (host string, port int) {
	addr, stop, err := realserver.Forward(t.Context(), func(ctx context.Context) (net.Conn, error) {
		time.Sleep(roundTrip)
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp4", address)
		if err != nil {
			return nil, err
		}
		return delay(c, roundTrip), nil
	})
	require.NoError(t, err)
	t.Cleanup(stop)
	return addr.String(), realserver.Port
}

// delayed is a connection whose bytes are read later than they came.
type delayed struct {
	net.Conn
	arrived chan arrival
	rest    []byte
}

type arrival struct {
	due  time.Time
	data []byte
	err  error
}

func delay(c net.Conn, by time.Duration) *delayed {
	d := &delayed{Conn: c, arrived: make(chan arrival, 1024)} // up to 64 MB on the way
	go func() {
		for {
			data := make([]byte, 64<<10)
			n, err := c.Read(data)
			d.arrived <- arrival{time.Now().Add(by), data[:n], err}
			if err != nil {
				return
			}
		}
	}()
	return d
}

func (d *delayed) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		a := <-d.arrived
		time.Sleep(time.Until(a.due))
		if d.rest = a.data; a.err != nil {
			d.arrived <- arrival{err: a.err} // the reader is the last to write
			if len(d.rest) == 0 {
				return 0, a.err
			}
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// Of what a bad link does with a request.
const (
	tooMany     = 0.10 // answered 429
	unavailable = 0.20 // answered 503
	dropped     = 0.05 // the connection ends, half of them in the middle of the answer
)

// bad is a proxy in front of a server that refuses some requests and breaks off
// others.
type bad struct {
	*httptest.Server
	mu     sync.Mutex
	random *rand.Rand
	counts map[string]int
}

func newBad(t *testing.T, server string, seed uint64) *bad {
	to, err := url.Parse(server)
	require.NoError(t, err)
	b := &bad{random: rand.New(rand.NewPCG(seed, 429)), counts: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	broken := httputil.NewSingleHostReverseProxy(to)
	broken.ErrorHandler = proxy.ErrorHandler
	broken.ModifyResponse = func(r *http.Response) error {
		if r.ContentLength < 0 {
			return fmt.Errorf("an answer of unknown length")
		}
		// Its Content-Length stays, so that the server ends the connection.
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r.Body, r.ContentLength/2), r.Body}
		return nil
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch b.draw() {
		case "429":
			refuse(w, http.StatusTooManyRequests, "es_rejected_execution_exception")
		case "503":
			refuse(w, http.StatusServiceUnavailable, "unavailable_shards_exception")
		case "dropped":
			panic(http.ErrAbortHandler)
		case "cut":
			broken.ServeHTTP(w, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

func refuse(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"root_cause":[{"type":%q,"reason":"a bad day"}],"type":%q,"reason":"a bad day"},"status":%d}`, kind, kind, status)
}

func (b *bad) draw() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	what, p := "passed", b.random.Float64()
	switch {
	case p < tooMany:
		what = "429"
	case p < tooMany+unavailable:
		what = "503"
	case p < tooMany+unavailable+dropped/2:
		what = "dropped"
	case p < tooMany+unavailable+dropped:
		what = "cut"
	}
	b.counts[what]++
	return what
}

// told says what was done since the last time it was asked.
func (b *bad) told() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counts
	b.counts = map[string]int{}
	return fmt.Sprintf("%d passed, %d 429, %d 503, %d dropped", c["passed"], c["429"], c["503"], c["dropped"]+c["cut"])
}

// The measure is measured: what comes over a far link comes whole, and no sooner
// than a round trip; a bad link does what it says, and ends what it breaks off.
func TestMigrationLinks(t *testing.T) {
	const size = 1 << 20
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size))
	}))
	defer server.Close()
	get := func(base string) (status, n int, err error) {
		resp, err := http.Get(base)
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, len(body), err
	}
	host, port := far(t, server.Listener.Addr().String(), 20*time.Millisecond)
	for range 5 {
		began := time.Now()
		_, n, err := get(fmt.Sprintf("http://%s:%d", host, port))
		require.NoError(t, err)
		require.Equal(t, size, n)
		require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
	}
	b := newBad(t, server.URL, 1)
	seen := map[string]float64{}
	const n = 2000
	for range n {
		switch status, got, err := get(b.URL); {
		case err != nil:
			seen["dropped"] += 1. / n
			require.Less(t, got, size)
		default:
			seen[strconv.Itoa(status)] += 1. / n
		}
	}
	require.InDelta(t, tooMany, seen["429"], 0.02)
	require.InDelta(t, unavailable, seen["503"], 0.03)
	// Go's client sends a GET again, once, whose connection ends without an answer.
	require.InDelta(t, dropped/2, seen["dropped"], 0.02)
}
