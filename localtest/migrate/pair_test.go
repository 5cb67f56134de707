//go:build (real || bench) && unix

// Package migrate copies between two real servers: it measures that beside what
// others do (`make bench-migrate`), and has it meet bad days (`make test-real`).
package migrate

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"eslink/localtest/realserver"
)

const (
	version  = "7.17.29"
	password = "secret-1" // of user elastic, on both sides
)

// pair is two real servers, of which dest reads from source.
type pair struct {
	t            *testing.T
	source, dest *realserver.Server
}

// join starts the n-th node of a cluster, with the first one's options.
func (p *pair) join(o realserver.Options, first *realserver.Server, n int) *realserver.Server {
	d, err := realserver.Prepare(p.t.Context(), version, "")
	require.NoError(p.t, err)
	o.Name, o.Joined, o.Join = fmt.Sprintf("%s-%d", o.Name, n), false, first
	o.Distribution, o.Password = d, password
	s, err := realserver.Start(p.t.Context(), o)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { require.NoError(p.t, s.Stop()) })
	return s
}

// boot starts both servers, at once.
func boot(t *testing.T, source, dest realserver.Options) pair {
	require.NoError(t, realserver.Check())
	d, err := realserver.Prepare(t.Context(), version, "")
	require.NoError(t, err)
	p := pair{t: t}
	var group errgroup.Group
	for at, o := range map[**realserver.Server]realserver.Options{&p.source: source, &p.dest: dest} {
		o.Distribution, o.Password = d, password
		group.Go(func() (err error) {
			*at, err = realserver.Start(t.Context(), o)
			return err
		})
	}
	err = group.Wait()
	t.Cleanup(func() {
		for _, s := range []*realserver.Server{p.source, p.dest} {
			if s != nil {
				require.NoError(t, s.Stop())
			}
		}
	})
	require.NoError(t, err)
	return p
}

// tell sends a request and returns the reply, whatever it is.
func (p *pair) tell(s *realserver.Server, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(p.t.Context(), method, s.URL()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.SetBasicAuth("elastic", password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, raw, err
}

func (p *pair) ask(s *realserver.Server, method, path, body string) []byte {
	p.t.Helper()
	status, raw, err := p.tell(s, method, path, []byte(body))
	require.NoError(p.t, err)
	require.Less(p.t, status, 300, "%s %s", path, raw)
	return raw
}

// bulk writes documents as _bulk takes them, so many bodies at once.
func (p *pair) bulk(s *realserver.Server, index string, writers int, bodies [][]byte) {
	var group errgroup.Group
	group.SetLimit(writers)
	for _, body := range bodies {
		group.Go(func() error {
			status, raw, err := p.tell(s, "POST", "/"+index+"/_bulk?filter_path=errors", body)
			if err == nil && (status != http.StatusOK || !bytes.Contains(raw, []byte(`"errors":false`))) {
				err = fmt.Errorf("bulk: %d %s", status, raw)
			}
			return err
		})
	}
	require.NoError(p.t, group.Wait())
}

// place is the host and port of a server on loopback.
func place(t *testing.T, base string) (host string, port int) {
	u, err := url.Parse(base)
	require.NoError(t, err)
	port, err = strconv.Atoi(u.Port())
	require.NoError(t, err)
	return u.Hostname(), port
}
