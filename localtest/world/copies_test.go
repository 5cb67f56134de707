package world

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/run"
)

// bulk sends lines of _bulk to an index of a cluster.
func (s *sim) bulk(t *testing.T, id, index, params, lines string) {
	t.Helper()
	status, body := s.Ask(id, http.MethodPost, "/"+index+"/_bulk"+params, lines)
	require.Equal(t, 200, status, string(body))
	require.NotContains(t, string(body), `"errors":true`)
}

// put sends a request that has to be taken.
func (s *sim) put(t *testing.T, id, path, body string) {
	t.Helper()
	status, reply := s.Ask(id, http.MethodPut, path, body)
	require.Contains(t, []int{200, 201}, status, string(reply))
}

// sources are an index's documents by ID.
func (s *sim) sources(t *testing.T, id, index string) map[string]string {
	t.Helper()
	s.Ask(id, http.MethodPost, "/"+index+"/_refresh", "")
	status, body := s.Ask(id, http.MethodPost, "/"+index+"/_search", `{"size":10000}`)
	require.Equal(t, 200, status, string(body))
	var reply struct {
		Hits struct {
			Hits []struct {
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(body, &reply))
	out := map[string]string{}
	for _, h := range reply.Hits.Hits {
		out[h.ID] = string(h.Source)
	}
	return out
}

// copySpec copies an index to one that is called like it.
func copySpec(index, dest string) *events.Spec {
	spec := Spec()
	spec.Proof = "content"
	spec.Indices = []events.Index{{Source: index, Dest: dest, Destination: events.Destination{Mappings: []byte(`"source"`)}}}
	return &spec
}

// may has the reader of the source do this besides reading.
func may(privileges ...string) func(id string, c *elastic.Config) {
	return func(id string, c *elastic.Config) {
		if id == Target {
			u := c.Users["eslink_reader"]
			u.Indices = []elastic.IndexPrivileges{{Names: []string{"*"}, Privileges: append([]string{"read", "monitor", "view_index_metadata"}, privileges...)}}
			c.Users["eslink_reader"] = u
		}
	}
}

// Writes that the source's searches do not show yet are copied if the login may
// refresh the source, and else said before anything is made.
func TestUnrefreshedWrites(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]string{
		"insert": "{\"index\":{\"_id\":\"4\"}}\n{\"n\":4}\n",
		"update": "{\"index\":{\"_id\":\"3\"}}\n{\"n\":33}\n",
		"delete": "{\"delete\":{\"_id\":\"2\"}}\n",
	} {
		for _, get := range []bool{false, true} {
			for _, right := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, realtime get %t, maintenance %t", name, get, right), func(t *testing.T) {
					t.Parallel()
					c := Config{AlterServer: may()}
					if right {
						c.AlterServer = may("maintenance")
					}
					inWorld(t, c, func(t *testing.T, s *sim) {
						s.put(t, Target, "/load", `{"settings":{"number_of_replicas":0,"refresh_interval":"-1"}}`)
						s.bulk(t, Target, "load", "?refresh=true", "{\"index\":{\"_id\":\"1\"}}\n{\"n\":1}\n{\"index\":{\"_id\":\"2\"}}\n{\"n\":2}\n{\"index\":{\"_id\":\"3\"}}\n{\"n\":3}\n")
						s.bulk(t, Target, "load", "", lines)
						if get {
							s.Ask(Target, http.MethodGet, "/load/_doc/3", "")
						}
						spec := copySpec("load", "load-copy")
						s.start(t, events.Request{Spec: spec})
						if right {
							v := s.ends(t, run.Done)
							require.Equal(t, s.sources(t, Target, "load"), s.sources(t, Instance, "load-copy"))
							require.Contains(t, fmt.Sprint(v.Plan.Notes), "refreshes load")
							return
						}
						v := s.ends(t, run.Failed)
						require.Equal(t, "plan", v.Step)
						require.Equal(t, "source-not-refreshed", v.Problem.Errors[0].Risk)
						require.Equal(t, 404, status(s.Ask(Instance, http.MethodGet, "/load-copy", "")))

						// With the risk it is copied as it is seen, and the first again, once somebody
						// has refreshed it, copies what was missing.
						spec.AcceptRisks = append(spec.AcceptRisks, "source-not-refreshed")
						s.start(t, events.Request{Spec: spec})
						s.ends(t, run.Done)
						s.Ask(Target, http.MethodPost, "/load/_refresh", "")
						s.start(t, events.Request{Spec: spec, Again: true})
						want := run.Done
						if name == "delete" { // is not copied
							want = run.DoneDifferences
						}
						s.ends(t, want)
						if name != "delete" {
							require.Equal(t, s.sources(t, Target, "load"), s.sources(t, Instance, "load-copy"))
						}
					})
				})
			}
		}
	}
}

func status(status int, _ []byte) int { return status }

// An index whose newest operations are all visible is copied without the right; what
// is written to it meanwhile and does not show is said at the end.
func TestWritesThatDoNotShowAtTheEnd(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{AlterServer: may()}, func(t *testing.T, s *sim) {
		s.put(t, Target, "/load", `{"settings":{"refresh_interval":"-1"}}`)
		s.bulk(t, Target, "load", "?refresh=true", "{\"index\":{\"_id\":\"1\"}}\n{\"n\":1}\n")
		s.before("digest", func() { s.bulk(t, Target, "load", "", "{\"index\":{\"_id\":\"2\"}}\n{\"n\":2}\n") })
		s.start(t, events.Request{Spec: copySpec("load", "load-copy")})
		v := s.ends(t, run.DoneDifferences)
		require.Contains(t, fmt.Sprint(v.Facts.Verify.Differences), "may hold writes that its searches do not show yet")
	})
}

// What is written after the survey, and shows only once it is refreshed, is copied.
func TestUnrefreshedWritesAfterTheSurvey(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{AlterServer: may("maintenance")}, func(t *testing.T, s *sim) {
		spec := s.numbered(t, "orders", 700)
		spec.Proof = "content"
		s.put(t, Target, "/orders/_settings", `{"refresh_interval":"-1"}`)
		var lines strings.Builder
		for i := range 50 {
			fmt.Fprintf(&lines, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"name\":\"late\"}\n", 10*i, i)
		}
		s.before("progress", func() { s.bulk(t, Target, "orders", "", lines.String()) })
		s.start(t, events.Request{Spec: spec})
		s.ends(t, run.Done)
		require.Equal(t, len(s.sources(t, Target, "orders")), len(s.sources(t, Instance, "orders")))
		require.Contains(t, s.sources(t, Instance, "orders")["490"], "late")
	})
}

// Documents that the destination rejects take no others along; the result names all of
// them.
func TestRejectedDocumentsAreNamed(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		const n, odd = 5000, 60
		s.put(t, Target, "/unfit", `{"settings":{"number_of_shards":1},"mappings":{"dynamic":false}}`)
		var lines strings.Builder
		for i := range n {
			when := "2026-01-01"
			if i < odd {
				when = "not a date"
			}
			fmt.Fprintf(&lines, "{\"index\":{\"_id\":\"%d\"}}\n{\"when\":%q}\n", i, when)
		}
		s.bulk(t, Target, "unfit", "?refresh=true", lines.String())
		s.put(t, Instance, "/unfit-copy", `{"mappings":{"properties":{"when":{"type":"date"}}}}`)
		s.start(t, events.Request{Spec: copySpec("unfit", "unfit-copy")})
		v := s.ends(t, run.DoneDifferences)
		proof := v.Facts.Verify.Indices[0]
		require.Equal(t, odd, proof.Rejected)
		require.Equal(t, map[string]int{"missing": odd}, proof.Differences)
		require.Zero(t, proof.Unlisted)
		require.Contains(t, v.Facts.Verify.Differences, "unfit-copy rejected 60 documents, which are named in 1 rows")
		_, body := s.Ask(Instance, http.MethodGet, "/unfit-copy/_count", "")
		require.Contains(t, string(body), `"count":4940`)
	})
}

// Comments are no difference, nor any reason to stop.
func TestCommentsInDocuments(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"content", "sample", "ids"} {
		inWorld(t, Config{}, func(t *testing.T, s *sim) {
			s.put(t, Target, "/comments", `{}`)
			for id, body := range map[string]string{"c1": `{"n":1 /* set by hand */, "s":"x"}`, "c2": "{\"n\":2 // to the end\n}"} {
				s.put(t, Target, "/comments/_doc/"+id, body)
			}
			var lines strings.Builder
			for i := range 20 {
				fmt.Fprintf(&lines, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", i, i)
			}
			s.bulk(t, Target, "comments", "?refresh=true", lines.String())
			spec := copySpec("comments", "comments-copy")
			spec.Proof = level
			s.start(t, events.Request{Spec: spec})
			v := s.ends(t, run.Done)
			require.Positive(t, v.Facts.Verify.Indices[0].Documents)
		})
	}
}

// A name is escaped wherever it goes into a path, whatever of what the server takes it
// has.
func TestNamesWithOddCharacters(t *testing.T) {
	t.Parallel()
	const odd = "logs-%{[host][name]}-2026"
	names := []string{odd, "a+b", "é-ö", "a&b=c;d@e!f'g", "a(b){c}[d]~e$f^g`h%i.j", "日本", "100%25"}
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := Spec()
		spec.Proof, spec.Indices = "content", nil
		for _, name := range names {
			s.put(t, Target, "/"+url.PathEscape(name), `{"aliases":{`+fmt.Sprintf("%q", "alias-"+name)+`:{}}}`)
			s.bulk(t, Target, url.PathEscape(name), "?refresh=true", "{\"index\":{\"_id\":\"a/b?c#d %é\"}}\n{\"n\":1}\n")
			spec.Indices = append(spec.Indices, events.Index{Source: name, Dest: name, Destination: events.Destination{Mappings: []byte(`"source"`)}})
		}
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		for _, name := range names {
			require.Equal(t, map[string]string{"a/b?c#d %é": `{"n":1}`}, s.sources(t, Instance, url.PathEscape(name)), name)
		}
	})
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.put(t, Target, "/"+url.PathEscape(odd), `{}`)
		s.bulk(t, Target, url.PathEscape(odd), "?refresh=true", "{\"index\":{\"_id\":\"1\"}}\n{\"n\":1}\n")
		spec := Spec()
		spec.Proof, spec.Indices = "content", []events.Index{{Include: events.Patterns{"logs-*"}}}
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		require.Len(t, s.sources(t, Instance, url.PathEscape(odd)), 1)
	})
}

// Pages, scrolls and keep-alives respect what an index and its cluster give, for the
// copy and for the proof.
func TestLimitsOfTheSource(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 5000} {
		inWorld(t, Config{}, func(t *testing.T, s *sim) {
			s.put(t, Target, "/rw", `{"settings":{"number_of_shards":2,"max_result_window":100}}`)
			var lines strings.Builder
			for i := range 700 {
				fmt.Fprintf(&lines, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", i, i)
			}
			s.bulk(t, Target, "rw", "?refresh=true", lines.String())
			spec := copySpec("rw", "rw-copy")
			spec.Reindex.Size = size
			s.put(t, Target, "/_cluster/settings", `{"transient":{"search.max_open_scroll_context":3}}`)
			s.start(t, events.Request{Spec: spec})
			v := s.ends(t, run.Done)
			require.EqualValues(t, 700, v.Facts.Verify.Indices[0].Documents)
		})
	}
}

// Versions are kept in an index that the run creates, a repeat harms nothing, and what
// the spec says otherwise is said in plan. A higher version at the copy is named.
func TestVersionsOfDocuments(t *testing.T) {
	t.Parallel()
	for versions, want := range map[string]string{"": `"_version":1700000000`, "keep": `"_version":1700000000`, "new": `"_version":1,`} {
		inWorld(t, Config{}, func(t *testing.T, s *sim) {
			s.put(t, Target, "/ver", `{}`)
			s.put(t, Target, "/ver/_doc/1?version=1700000000&version_type=external&refresh=true", `{"n":2}`)
			spec := copySpec("ver", "ver-copy")
			spec.Indices[0].Versions = versions
			s.start(t, events.Request{Spec: spec})
			v := s.ends(t, run.Done)
			require.Contains(t, fmt.Sprint(v.Plan.Notes), "ersions")
			_, body := s.Ask(Instance, http.MethodGet, "/ver-copy/_doc/1", "")
			require.Contains(t, string(body), want)
			if versions == "new" {
				return
			}
			// The same again is no conflict; deleted and made again at the source it is one.
			s.put(t, Target, "/ver/_doc/2?refresh=true", `{"n":3}`)
			s.start(t, events.Request{Spec: spec, Again: true})
			s.ends(t, run.Done)
			s.Ask(Target, http.MethodDelete, "/ver/_doc/1?version=1700000001&version_type=external&refresh=true", "")
			s.put(t, Instance, "/ver-copy/_doc/2?version=1800000000&version_type=external&refresh=true", `{"n":3}`)
			s.put(t, Target, "/ver/_doc/3?refresh=true", `{"n":4}`)
			s.start(t, events.Request{Spec: spec, Again: true})
			v = s.ends(t, run.DoneDifferences)
			require.Contains(t, fmt.Sprint(v.Facts.Verify.Differences), "version conflict")
			require.Contains(t, fmt.Sprint(v.Facts.Verify.Differences), "document 2 differs in _version")
		})
	}
}
