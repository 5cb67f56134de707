//go:build real && unix

package migrate

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/realserver"
)

// A listing is every document of an index by its ID, read and compared without
// anything of the product's.
type listing map[string]listed

type listed struct {
	routing string
	source  [16]byte // a hash of what it says
}

// list reads an index through a scroll, so many documents a page.
func (p *pair) list(s *realserver.Server, index string, size int) listing {
	p.t.Helper()
	p.ask(s, "POST", "/"+index+"/_refresh", "")
	out := listing{}
	path, body := "/"+index+"/_search?scroll=2m", fmt.Sprintf(`{"size":%d,"sort":["_doc"],"track_total_hits":true}`, size)
	for {
		var page struct {
			Scroll string `json:"_scroll_id"`
			Shards struct{ Total, Successful int }
			Hits   struct {
				Total struct{ Value int }
				Hits  []struct {
					ID      string          `json:"_id"`
					Routing string          `json:"_routing"`
					Source  json.RawMessage `json:"_source"`
				}
			}
		}
		require.NoError(p.t, json.Unmarshal(p.ask(s, "POST", path, body), &page))
		id, err := json.Marshal(page.Scroll)
		require.NoError(p.t, err)
		for _, h := range page.Hits.Hits {
			if _, ok := out[h.ID]; ok {
				require.Fail(p.t, "a document is there twice", "%s in %s", h.ID, index)
			}
			out[h.ID] = listed{h.Routing, hash(p.t, h.Source)}
		}
		if len(page.Hits.Hits) == 0 {
			require.Equal(p.t, page.Hits.Total.Value, len(out), index)
			p.ask(s, "DELETE", "/_search/scroll", fmt.Sprintf(`{"scroll_id":%s}`, id))
			return out
		}
		path, body = "/_search/scroll", fmt.Sprintf(`{"scroll":"2m","scroll_id":%s}`, id)
	}
}

// hash is that of a JSON text whose keys are sorted and whose numbers are exact:
// _reindex prints some of them otherwise, 1.10 as 1.1.
func hash(t *testing.T, raw []byte) [16]byte {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	text, err := json.Marshal(exact(v))
	require.NoError(t, err)
	sum := sha256.Sum256(text)
	return [16]byte(sum[:16])
}

func exact(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = exact(v[key])
		}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			r, ok := new(big.Rat).SetString(string(v))
			if ok && r.IsInt() {
				return json.Number(r.RatString())
			}
			if ok {
				return map[string]string{"a fraction": r.RatString()}
			}
		}
	}
	return v
}

// A difference is what a copy has otherwise than its source, by ID.
type difference struct{ missing, extra, other []string }

// differs compares a copy with its source.
func (l listing) differs(copied listing) (d difference) {
	for id, doc := range l {
		switch found, ok := copied[id]; {
		case !ok:
			d.missing = append(d.missing, id)
		case found != doc:
			d.other = append(d.other, id)
		}
	}
	for id := range copied {
		if _, ok := l[id]; !ok {
			d.extra = append(d.extra, id)
		}
	}
	for _, ids := range [][]string{d.missing, d.extra, d.other} {
		slices.Sort(ids)
	}
	return d
}

// The measure is measured: each kind of difference is found, and other prints of
// the same numbers are none.
func TestRealListing(t *testing.T) {
	t.Parallel()
	of := func(docs map[string]string) listing {
		out := listing{}
		for id, doc := range docs {
			out[id] = listed{"r", hash(t, []byte(doc))}
		}
		return out
	}
	source := map[string]string{"1": `{"a":1.10,"b":[1e3,9007199254740993]}`, "2": `{"a":1,"b":"1"}`, "3": `{}`}
	copied := maps.Clone(source)
	copied["1"] = `{"b":[1000.0,9007199254740993],"a":1.1}`
	require.Zero(t, of(source).differs(of(copied)))
	copied["1"] = `{"b":[1000.0,9007199254740992],"a":1.1}`
	copied["2"] = `{"a":1,"b":1}`
	copied["4"] = `{}`
	delete(copied, "3")
	require.Equal(t, difference{missing: []string{"3"}, extra: []string{"4"}, other: []string{"1", "2"}}, of(source).differs(of(copied)))
	routed := of(source)
	routed["3"] = listed{"", routed["3"].source}
	require.Equal(t, difference{other: []string{"3"}}, of(source).differs(routed))
}
