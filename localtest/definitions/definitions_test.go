// Package definitions holds what an index and its copy are, from survey to
// destination, against embedded and real servers alike.
package definitions

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
	"eslink/shared/steps/destination"
	"eslink/shared/steps/plan"
	"eslink/shared/steps/survey"
)

const password = "secret-1"

// world is one cluster, which is source and destination.
type world struct {
	*testing.T
	url       string
	transport http.RoundTripper
	version   string
	store     *run.Store
	run       *run.Run
}

func (w *world) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(w.transport, w.url, "elastic", password)
}

func (w *world) Login(context.Context, clusters.Side) (kms.Login, error) {
	return kms.Login{Username: "elastic", Password: password}, nil
}

func (w *world) Describe(_ context.Context, id string) (escluster.Instance, error) {
	return escluster.Instance{ID: id}, nil
}
func (w *world) EstimateRestart(context.Context, string) (time.Duration, error) { return 0, nil }
func (w *world) Keystore(context.Context, string) ([]string, error)             { return nil, nil }

// ask sends "METHOD /path body" and wants a good reply.
func (w *world) ask(request string) string {
	w.Helper()
	line, body, _ := strings.Cut(request, " {")
	method, path, _ := strings.Cut(line, " ")
	if body != "" {
		body = "{" + body
	}
	q, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	require.NoError(w, err)
	q.SetBasicAuth("elastic", password)
	q.Header.Set("Content-Type", "application/json")
	reply, err := w.transport.RoundTrip(q)
	require.NoError(w, err)
	defer reply.Body.Close()
	raw, err := io.ReadAll(reply.Body)
	require.NoError(w, err)
	require.Less(w, reply.StatusCode, 300, "%s: %s", request, raw)
	return string(raw)
}

// begin begins a run that copies these indices.
func (w *world) begin(indices ...events.Index) {
	w.store = &run.Store{Driver: &run.Mem{}, Now: time.Now}
	for i := range indices {
		if len(indices[i].Destination.Mappings) == 0 {
			indices[i].Destination.Mappings = json.RawMessage(`"source"`)
		}
	}
	cluster := facts.Cluster{InstanceID: "es-cn-1", Version: w.version, VpcID: "vpc"}
	w.run = &run.Run{ID: "0123456789abcdef", Generation: 1, Direction: run.Up, Facts: facts.Facts{Preflight: &facts.Preflight{Instance: cluster, Target: cluster}},
		Spec: events.Spec{Name: "x", Scenario: flow.ESToES, Region: "cn-hangzhou", InstanceID: "es-cn-1", Target: events.Target{InstanceID: "es-cn-2"}, Approve: "auto", Indices: indices,
			AcceptRisks: []string{"not-green", "single-node", "no-replicas", "unassigned-replicas", "little-disk", "source-not-refreshed"}}}
}

// until walks survey, plan and destination up to a step, and returns its error.
func (w *world) until(last string) error {
	for _, s := range []struct {
		name string
		up   func(context.Context, *run.Run) error
	}{
		{"survey", func(ctx context.Context, r *run.Run) error {
			_, err := (&survey.Step{Clusters: w, Parts: w.store, Now: time.Now}).Up(ctx, r)
			return err
		}},
		{"plan", func(ctx context.Context, r *run.Run) error {
			_, err := (&plan.Step{Clusters: w, Control: w, Rows: w.store}).Up(ctx, r)
			return err
		}},
		{"destination", func(ctx context.Context, r *run.Run) error {
			for range 3 {
				out, err := (&destination.Step{Clusters: w, Parts: w.store}).Up(ctx, r)
				if err != nil || out.IsDone() {
					return err
				}
			}
			w.Fatal("no end")
			return nil
		}},
	} {
		err := s.up(w.Context(), w.run)
		if err != nil || s.name == last {
			return err
		}
	}
	return nil
}

// finds wants one finding of plan that contains text.
func (w *world) finds(text string) {
	w.Helper()
	err := w.until("plan")
	var p *events.Problem
	require.ErrorAs(w, err, &p)
	require.Len(w, p.Errors, 1, p.Error())
	require.Contains(w, p.Errors[0].Message, text)
	require.NotEmpty(w, p.Errors[0].Remedy)
}

// definitions are all cases.
var definitions = map[string]func(w *world){
	"settings go along": func(w *world) {
		w.ask(`PUT /sga {"settings":{"auto_expand_replicas":"0-1","refresh_interval":"7s","search":{"slowlog":{"threshold":{"query":{"warn":"1s"}}}},"number_of_shards":2,"blocks.write":true,"codec":"best_compression"}}`)
		w.begin(events.Index{Source: "sga", Dest: "sga-copy"})
		require.NoError(w, w.until("destination"))
		require.Equal(w, "blocks.write", w.run.Plan.NotCarriedOver[0].Setting)
		require.Equal(w, w.run.Plan.NotCarriedOver, w.run.Facts.Destination.NotCarriedOver)
		settings := w.ask(`GET /sga-copy/_settings?flat_settings=true`)
		require.Contains(w, settings, `"index.auto_expand_replicas":"0-1"`)
		require.Contains(w, settings, `"index.search.slowlog.threshold.query.warn":"1s"`)
	},
	"a template's settings stay out": func(w *world) {
		w.ask(`PUT /plain {"mappings":{"properties":{"n":{"type":"long"}}}}`)
		w.ask(`PUT /_index_template/tp {"index_patterns":["tpl-*"],"priority":10,"template":{"settings":{"refresh_interval":"9s","number_of_shards":3,"codec":"best_compression"}}}`)
		w.begin(events.Index{Source: "plain", Dest: "tpl-1"})
		require.NoError(w, w.until("destination"))
		settings := w.ask(`GET /tpl-1/_settings?flat_settings=true`)
		require.NotContains(w, settings, `"9s"`)
		require.NotContains(w, settings, "best_compression")
		require.Contains(w, settings, `"index.number_of_shards":"1"`)
	},
	"a template's alias and fields stop": func(w *world) {
		w.ask(`PUT /small {"mappings":{"properties":{"n":{"type":"long"}}}}`)
		w.ask(`PUT /in-use {"aliases":{"live":{}}}`)
		w.ask(`PUT /_component_template/ct {"template":{"mappings":{"dynamic":"strict","properties":{"more":{"type":"ip"}}}}}`)
		w.ask(`PUT /_index_template/tj {"index_patterns":["joi-*"],"priority":10,"composed_of":["ct"],"template":{"aliases":{"live":{},"of-{index}":{}},"mappings":{"properties":{"extra":{"type":"date"}}}}}`)
		w.begin(events.Index{Source: "small", Dest: "joi-1"})
		w.finds("alias live, which leads to in-use already; alias of-joi-1; mapping dynamic: strict; mapping extra: type date; mapping more: type ip")
		w.run.Spec.AcceptRisks = append(w.run.Spec.AcceptRisks, events.TemplatesRisk)
		require.NoError(w, w.until("destination"))
		require.True(w, w.run.Facts.Destination.Indices[0].AsWanted, "what was composed is what the server made")

		// One that comes after the plan is seen when the index is read back.
		w.begin(events.Index{Source: "small", Dest: "late-1"})
		require.NoError(w, w.until("plan"))
		w.ask(`PUT /_index_template/late {"index_patterns":["late-*"],"priority":10,"template":{"aliases":{"live":{}}}}`)
		_, err := (&destination.Step{Clusters: w, Parts: w.store}).Up(w.Context(), w.run)
		require.NoError(w, err)
		_, err = (&destination.Step{Clusters: w, Parts: w.store}).Up(w.Context(), w.run)
		require.ErrorContains(w, err, "index late-1 was created, and template late adds alias live")
		_, err = (&destination.Step{Clusters: w, Parts: w.store}).Up(w.Context(), w.run)
		require.ErrorContains(w, err, "adds alias live", "and again, until it is dealt with")
		w.ask(`DELETE /late-1/_alias/live`)
		w.ask(`DELETE /_index_template/late`)
		_, err = (&destination.Step{Clusters: w, Parts: w.store}).Up(w.Context(), w.run)
		require.NoError(w, err)
	},
	"legacy templates join": func(w *world) {
		w.ask(`PUT /src {"mappings":{"properties":{"k":{"type":"keyword"}}}}`)
		w.ask(`PUT /_template/l1 {"index_patterns":["leg-*"],"order":1,"mappings":{"properties":{"k":{"type":"keyword","ignore_above":9},"a":{"type":"long"}}},"aliases":{"la":{}}}`)
		w.ask(`PUT /_template/l2 {"index_patterns":["leg-*"],"order":2,"settings":{"refresh_interval":"9s"},"mappings":{"properties":{"a":{"type":"double"}}}}`)
		w.begin(events.Index{Source: "src", Dest: "leg-1"})
		w.finds("template l1 and l2 of es-cn-1 joins in when index leg-1 is created: alias la; mapping a: type double; mapping k.ignore_above: 9")
		w.run.Spec.AcceptRisks = append(w.run.Spec.AcceptRisks, events.TemplatesRisk)
		require.NoError(w, w.until("destination"))
		require.True(w, w.run.Facts.Destination.Indices[0].AsWanted)
		require.NotContains(w, w.ask(`GET /leg-1/_settings?flat_settings=true`), `"9s"`)
		w.ask(`DELETE /_template/l1`)
		w.ask(`DELETE /_template/l2`)
	},
	"what a create refuses is said at plan": func(w *world) {
		w.ask(`PUT /good {"mappings":{"properties":{"n":{"type":"long"}}}}`)
		for text, d := range map[string]events.Destination{
			"must be >= 1":                {Settings: json.RawMessage(`{"number_of_shards":-1}`)},
			"unknown setting":             {Settings: json.RawMessage(`{"index.nonsense":1}`)},
			"No handler for type":         {Mappings: json.RawMessage(`{"properties":{"a":{"type":"nonsense"}}}`)},
			"nope.txt":                    {Settings: json.RawMessage(`{"analysis":{"filter":{"s":{"type":"stop","stopwords_path":"nope.txt"}},"analyzer":{"a":{"type":"custom","tokenizer":"standard","filter":["s"]}}}}`)},
			"Limit of total fields [1]":   {Settings: json.RawMessage(`{"mapping.total_fields.limit":1}`), Mappings: json.RawMessage(`{"properties":{"a":{"type":"keyword"},"b":{"type":"keyword"}}}`)},
			"block blocks.write":          {Settings: json.RawMessage(`{"blocks.write":true}`)},
			"nodes satisfies":             {Settings: json.RawMessage(`{"routing.allocation.require.box":"hot"}`)},
			"room for":                    {Settings: json.RawMessage(`{"number_of_shards":1024,"number_of_replicas":9}`)},
			"needs the analyzer ik_smart": {Mappings: json.RawMessage(`{"properties":{"a":{"type":"text","analyzer":"ik_smart"}}}`)},
		} {
			w.begin(events.Index{Source: "good", Dest: "bad-1", Destination: d})
			w.finds(text)
		}
	},
	"names of all characters": func(w *world) {
		// Those that a server takes, which a path needs escaped or not.
		for _, name := range []string{"logs-%{[host][name]}-2026", "a%2fb", "a%", "a+b", "a;b=c", "a@b", "a&b", "a$b", "a!b", "a'b", "(a)^`~", "理财产品", "é.x_y", "a..b"} {
			c, err := w.Open(w.Context(), clusters.Side{})
			require.NoError(w, err)
			require.NoError(w, c.Create(w.Context(), name, es.Definition{}), name)
			w.begin(events.Index{Source: name, Dest: name + "-copy"})
			require.NoError(w, w.until("destination"), name)
			n, err := c.Count(w.Context(), name+"-copy", nil)
			require.NoError(w, err, name)
			require.Zero(w, n)
			require.NoError(w, c.Delete(w.Context(), name+"-copy"), name)
			require.NoError(w, c.Delete(w.Context(), name), name)
		}
	},
	"queries that a server refuses": func(w *world) {
		w.ask(`PUT /q {"mappings":{"properties":{"n":{"type":"long"},"d":{"type":"date"}}}}`)
		w.ask(`PUT /q/_doc/1?refresh=true {"n":1,"d":"2026-01-01"}`)
		for _, query := range []string{`{"nonsense":{}}`, `{"term":{"n":"x"}}`, `{"range":{"d":{"gte":"not a date"}}}`} {
			w.begin(events.Index{Source: "q", Dest: "q-copy", Query: json.RawMessage(query)})
			err := w.until("survey")
			var p *events.Problem
			require.ErrorAs(w, err, &p, query)
			require.Equal(w, "indices[0].query", p.Errors[0].Field)
		}
	},
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.10.2", "7.17.29"} {
		for name, test := range definitions {
			t.Run(version+" "+name, func(t *testing.T) {
				t.Parallel()
				s := elastic.New(elastic.Config{Version: version, Users: map[string]elastic.User{"elastic": elastic.Superuser(password)}})
				t.Cleanup(s.Stop)
				test(&world{T: t, url: "http://es.test:9200", transport: s, version: version})
			})
		}
	}
}
