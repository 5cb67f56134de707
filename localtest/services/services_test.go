package services_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/services"
)

// client talks to whoever serves the pipe.
func client(p *services.Pipe) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.Dial(ctx) }}}
}

func serve(t *testing.T, h http.Handler) *services.Pipe {
	p := services.Listen()
	done := make(chan error)
	go func() { done <- services.ServeHTTP(p, h) }()
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.NoError(t, <-done)
	})
	return p
}

func TestWebhookRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &services.Webhook{}
		c := client(serve(t, w))
		resp, err := c.Post("http://hook/a?b=1", "text/plain", strings.NewReader("ping"))
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, 200, resp.StatusCode)
		w.Answer(500)
		resp, err = c.Get("http://hook/")
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, 500, resp.StatusCode)
		got := w.Received()
		require.Len(t, got, 2)
		assert.Equal(t, "POST /a?b=1 ping", got[0].Method+" "+got[0].Path+" "+got[0].Body)
		assert.Equal(t, "GET /", got[1].Method+" "+got[1].Path)
	})
}

func TestDictionaryChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := services.NewDictionary("/words.txt", "云链")
		c := client(serve(t, d))
		get := func(path, since, etag string) (*http.Response, string) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", "http://dict"+path, nil)
			require.NoError(t, err)
			r.Header.Set("If-Modified-Since", since)
			r.Header.Set("If-None-Match", etag)
			resp, err := c.Do(r)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return resp, string(body)
		}
		first, body := get("/words.txt", "", "")
		assert.Equal(t, "云链\n", body)
		since, etag := first.Header.Get("Last-Modified"), first.Header.Get("ETag")
		require.NotEmpty(t, since)
		require.NotEmpty(t, etag)
		again, _ := get("/words.txt", since, etag)
		assert.Equal(t, 304, again.StatusCode)
		time.Sleep(time.Minute)
		d.Set("云链", "云链网关")
		changed, body := get("/words.txt", since, etag)
		assert.Equal(t, 200, changed.StatusCode)
		assert.Equal(t, "云链\n云链网关\n", body)
		assert.NotEqual(t, since, changed.Header.Get("Last-Modified"))
		lost, _ := get("/other.txt", "", "")
		assert.Equal(t, 404, lost.StatusCode)
		assert.Equal(t, []string{"GET /words.txt 200", "GET /words.txt 304", "GET /words.txt 200", "GET /other.txt 404"}, d.Requests())
	})
}

func TestClosedPipeRefuses(t *testing.T) {
	t.Parallel()
	p := services.Listen()
	require.NoError(t, p.Close())
	_, err := p.Dial(t.Context())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestServesASocketToo(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- services.ServeHTTP(l, &services.Webhook{}) }()
	resp, err := http.Get("http://" + l.Addr().String())
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)
	require.NoError(t, l.Close())
	require.NoError(t, <-done)
}
