package world

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/runtime"
	"eslink/shared/run"
	"eslink/shared/scan"
)

// numbered fills an index of the target with documents 0 to n-1.
func (s *sim) numbered(t *testing.T, index string, n int) *events.Spec {
	t.Helper()
	status, body := s.Ask(Target, http.MethodPut, "/"+index, `{"settings":{"number_of_shards":3},"mappings":{"properties":{"n":{"type":"long"},"price":{"type":"double"},"name":{"type":"keyword"}}}}`)
	require.Equal(t, 200, status, string(body))
	var docs strings.Builder
	for i := range n {
		fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"price\":%d.50,\"name\":\"first\",\"deep\":{\"a\":[{\"b\":%d}]}}\n", i, i, i, i)
	}
	require.NoError(t, s.fill(Target, index, docs.String()))
	spec := Spec()
	spec.Indices = []events.Index{{Source: index, Dest: index, Destination: events.Destination{Mappings: []byte(`"source"`)}}}
	return &spec
}

// writes sends documents to a cluster, "-" deletes one.
func (s *sim) write(t *testing.T, id, index string, docs map[string]string) {
	t.Helper()
	for doc, source := range docs {
		path, method := "/"+index+"/_doc/"+doc+"?refresh=true", http.MethodPut
		if source == "-" {
			method, source = http.MethodDelete, ""
		}
		status, body := s.Ask(id, method, path, source)
		require.Contains(t, []int{200, 201}, status, string(body))
	}
}

// before calls do once, before a step's function is woken.
func (s *sim) before(step string, do func()) {
	var done once
	s.Events.Before = func(d runtime.Delivery) {
		if d.Function == "eslink-"+step && done.first() {
			do()
		}
	}
}

// What somebody does to the destination after the copy is found, each by its
// level, and the content names document and field.
func TestProofNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	const n = 700
	edit := map[string]string{"17": `{"n":17,"price":17.5,"name":"second","deep":{"a":[{"b":18}]}}`}
	for name, c := range map[string]struct {
		level string
		docs  map[string]string
		want  []string
	}{
		"nothing":           {"", nil, nil},
		"spelt otherwise":   {"content", map[string]string{"3": `{"deep":{"a":[{"b":3.0}]},"name":"f\u0069rst","price":35e-1,"n":3}`}, nil},
		"an edit":           {"", edit, []string{"orders: document 17 differs in deep.a[0].b, name"}},
		"an edit, ids":      {"ids", edit, nil},
		"an edit, counts":   {"counts", edit, nil},
		"an edit, windows":  {"windows", edit, nil},
		"an edit, results":  {"results", edit, nil},
		"one less":          {"content", map[string]string{"5": "-"}, []string{"orders holds 699 documents, the source's orders 700 under the query", "orders lacks document 5"}},
		"one less, ids":     {"ids", map[string]string{"5": "-"}, []string{"orders holds 699 documents, the source's orders 700 under the query", "orders lacks document 5"}},
		"one less, counts":  {"counts", map[string]string{"5": "-"}, []string{"orders holds 699 documents, the source's orders 700 under the query"}},
		"one less, results": {"results", map[string]string{"5": "-"}, nil},
		"another, ids":      {"ids", map[string]string{"5": "-", "x": `{}`}, []string{"orders lacks document 5", "orders holds document x, which orders does not"}},
		"another, counts":   {"counts", map[string]string{"5": "-", "x": `{}`}, nil},
		"a big integer":     {"content", map[string]string{"6": `{"n":9007199254740993,"price":6.5,"name":"first","deep":{"a":[{"b":6}]}}`}, []string{"orders: document 6 differs in n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				spec := s.numbered(t, "orders", n)
				spec.Proof = c.level
				// Under the source's versions another walk would not replace what was
				// written here: TestVersionsOfDocuments has that.
				spec.Indices[0].Versions = "new"
				s.before("digest", func() { s.write(t, Instance, "orders", c.docs) })
				s.start(t, events.Request{Spec: spec})
				want := run.Done
				if c.want != nil {
					want = run.DoneDifferences
				}
				v := s.ends(t, want)
				require.ElementsMatch(t, c.want, v.Facts.Verify.Differences)
				if c.level == "" {
					c.level = scan.Content
				}
				require.Equal(t, c.level, v.Facts.Verify.Level)
				if c.level != scan.Results {
					require.EqualValues(t, n, v.Facts.Verify.Indices[0].Documents)
				}
				if c.want == nil || c.level == scan.Counts {
					return
				}
				// Another walk copies what is missing or other, and deletes nothing.
				s.start(t, events.Request{Spec: spec, Again: true})
				v = s.until(t, ended)
				for _, line := range v.Facts.Verify.Differences {
					require.Contains(t, line, "document", line)
					require.NotContains(t, line, "lacks")
					require.NotContains(t, line, "differs")
				}
			})
		})
	}
}

// A sample finds what is wrong with many documents, and says how many it read.
func TestProofBySample(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := s.numbered(t, "orders", 3000)
		spec.Proof = "sample"
		s.start(t, events.Request{Spec: spec})
		v := s.ends(t, run.Done)
		require.Equal(t, "sample", v.Facts.Verify.Level)
		require.Greater(t, v.Facts.Verify.Indices[0].Documents, int64(scan.Sampled/2))
		docs := map[string]string{}
		for i := range 100 {
			docs[fmt.Sprint(30*i)] = "-"
		}
		s.write(t, Instance, "orders", docs)
		s.start(t, events.Request{Spec: spec, Again: true})
		v = s.ends(t, run.DoneDifferences)
		require.Contains(t, fmt.Sprint(v.Facts.Verify.Differences), "orders lacks document ")
	})
}

// What is written to the source while it is copied is found, and named as such.
func TestProofNamesWhatWasWrittenDuringTheCopy(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := s.numbered(t, "orders", 30)
		rate := 0.1
		spec.Reindex.Size, spec.Reindex.RequestsPerSecond = 1, &rate
		s.start(t, events.Request{Spec: spec})
		s.until(t, at("progress"))
		time.Sleep(time.Minute)
		s.write(t, Target, "orders", map[string]string{"3": `{"n":3,"name":"during"}`, "4": "-", "new": `{"n":1000}`})
		v := s.ends(t, run.DoneDifferences)
		require.ElementsMatch(t, []string{
			"orders: document 3 differs in _version, deep.a[0].b, name, price, which was written to the source after the copy was planned",
			"orders holds document 4, which orders does not; orders was written to after the copy was planned",
			"orders lacks document new, which was written to the source after the copy was planned",
		}, v.Facts.Verify.Differences)
		require.Equal(t, 2, v.Facts.Verify.Indices[0].Late)
		require.Equal(t, map[string]int{"content": 1, "extra": 1, "missing": 1}, v.Facts.Verify.Indices[0].Differences)

		s.start(t, events.Request{Spec: spec, Again: true})
		v = s.ends(t, run.DoneDifferences)
		require.Len(t, v.Facts.Verify.Differences, 2, "what is deleted at the source stays: %v", v.Facts.Verify.Differences)
	})
}

// Decimals that Elasticsearch cuts are a class of their own.
func TestProofTellsPrecision(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := s.numbered(t, "orders", 30)
		s.write(t, Target, "orders", map[string]string{"3": `{"n":18014398509481985,"price":0.1234567890123456789}`, "4": `{"n":1,"price":1.10}`})
		s.start(t, events.Request{Spec: spec})
		v := s.ends(t, run.DoneDifferences)
		require.Equal(t, []string{"orders: document 3 has lost digits of decimals that Elasticsearch cuts (precision) in price"}, v.Facts.Verify.Differences)
		require.Contains(t, v.Next, "Elasticsearch cuts them")
		require.NotContains(t, v.Next, "again")

		// Where more differs than digits, another walk may help.
		s.write(t, Target, "orders", map[string]string{"5": `{"n":5,"name":"later"}`})
		s.write(t, Instance, "orders", map[string]string{"extra": `{"n":1}`})
		s.start(t, events.Request{Spec: spec, Again: true})
		v = s.ends(t, run.DoneDifferences)
		require.Equal(t, map[string]int{"precision": 1, "extra": 1}, v.Facts.Verify.Indices[0].Differences)
		require.Contains(t, v.Next, `"again":true`)
	})
}

// Documents that were there before are left alone, and what was copied is proved
// to the last field if the spec asks.
func TestProofOfContentBesideOtherDocuments(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := s.numbered(t, "orders", 2500)
		spec.Proof = "content"
		s.Ask(Instance, http.MethodPut, "/orders", `{"settings":{"number_of_replicas":1}}`)
		s.write(t, Instance, "orders", map[string]string{"before": `{"n":-1}`})
		s.before("digest", func() {
			s.write(t, Instance, "orders", map[string]string{"17": `{"n":17}`, "2000": "-"})
		})
		s.start(t, events.Request{Spec: spec})
		v := s.ends(t, run.DoneDifferences)
		require.ElementsMatch(t, []string{"orders: document 17 differs", "orders lacks document 2000"}, v.Facts.Verify.Differences)
		require.EqualValues(t, 2500, v.Facts.Verify.Indices[0].Documents)
	})
}
