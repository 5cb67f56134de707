package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/facts"
)

// What would stop a creation, a load or a proof is said at once, before anything is made.
func TestWhatTheFirstWriteWouldFind(t *testing.T) {
	t.Parallel()
	const settings = "indices[0].destination.settings"
	const definition = "indices[0].destination"
	for name, c := range map[string]struct {
		settings, mappings string // of the spec
		before             func(w *world)
		want               []string // field and part of the message, each
		risk               string
	}{
		"no shards":          {settings: `{"number_of_shards":-1}`, want: []string{definition, "must be >= 1"}},
		"shards":             {settings: `{"number_of_shards":5000}`, want: []string{definition, "must be <= 1024", "indices", "10000 shards with replicas, and es-cn-dst000000001 has room for 3000 more (0 of 3000 are open)"}},
		"unknown setting":    {settings: `{"index.nonsense":1}`, want: []string{definition, "unknown setting [index.nonsense]"}},
		"unknown type":       {mappings: `{"properties":{"a":{"type":"nonsense"}}}`, want: []string{definition, "No handler for type [nonsense] declared on field [a]"}},
		"stop words":         {settings: `{"analysis":{"filter":{"s":{"type":"stop","stopwords_path":"nope.txt"}},"analyzer":{"a":{"type":"custom","tokenizer":"standard","filter":["s"]}}}}`, want: []string{definition, "nope.txt"}},
		"field limit":        {settings: `{"mapping.total_fields.limit":1}`, mappings: `{"properties":{"a":{"type":"keyword"},"b":{"type":"keyword"}}}`, want: []string{definition, "Limit of total fields [1] has been exceeded"}},
		"replicas":           {settings: `{"number_of_replicas":3}`, want: []string{"indices", "3 data nodes cannot hold all copies of orders"}, risk: "unassigned-replicas"},
		"replicas that fit":  {settings: `{"number_of_replicas":2}`},
		"replicas by nodes":  {settings: `{"number_of_replicas":9,"auto_expand_replicas":"0-all"}`},
		"block":              {settings: `{"blocks.write":true}`, want: []string{settings, "blocks.write"}},
		"block that is not":  {settings: `{"blocks":{"read_only":false}}`},
		"allocation":         {settings: `{"routing.allocation.require.box":"hot"}`, want: []string{settings, "none of the 3 data nodes"}},
		"allocation by name": {settings: `{"routing.allocation.include._name":"nobody*"}`, want: []string{settings, "none of the 3 data nodes"}},
		"excluded":           {settings: `{"routing.allocation.exclude._name":"*"}`, want: []string{settings, "none of the 3 data nodes"}},
		"allocation that is": {settings: `{"routing.allocation.include._name":"nobody*,*","routing.allocation.exclude.box":"hot"}`},
		"shards per node":    {settings: `{"number_of_shards":7,"routing.allocation.total_shards_per_node":2}`, want: []string{"indices", "7 shards, and routing.allocation.total_shards_per_node lets 3 nodes hold 6"}},
		"pipeline":           {settings: `{"default_pipeline":"p"}`, before: func(w *world) { w.answers = map[string]answer{"/_ingest/pipeline/p": {404, `{}`}} }, want: []string{settings, "the default_pipeline of index orders is p, which es-cn-dst000000001 does not have"}},
		"no pipeline":        {settings: `{"final_pipeline":"_none"}`},
		"room": {before: func(w *world) {
			w.put("/_cluster/settings", `{"transient":{"cluster.max_shards_per_node":2}}`)
			w.put("/x", `{"settings":{"number_of_shards":2}}`)
		}, settings: `{"number_of_shards":2}`, want: []string{"indices", "4 shards with replicas, and es-cn-dst000000001 has room for 2 more (4 of 6 are open)"}},
		"room that suffices": {before: func(w *world) {
			w.put("/_cluster/settings", `{"transient":{"cluster.max_shards_per_node":2}}`)
			w.put("/x", `{"settings":{"number_of_shards":2}}`)
		}, settings: `{"number_of_shards":1}`},
		"no allocation": {before: func(w *world) {
			w.answers = map[string]answer{"/_cluster/settings": {200, `{"persistent":{"cluster.routing.allocation.enable":"none","cluster.blocks.read_only":"true"},"transient":{}}`}}
		}, want: []string{"instanceId", "is read-only", "instanceId", "cluster.routing.allocation.enable is none"}},
		"a block that exists": {before: func(w *world) { w.put("/orders", `{"settings":{"blocks.write":true}}`) }, want: []string{"indices[0].dest", "block blocks.write"}},
		"alias by template": {before: func(w *world) {
			w.put("/in-use", `{"aliases":{"live":{}}}`)
			w.put("/_index_template/tp", `{"index_patterns":["ord*"],"priority":10,"template":{"aliases":{"live":{}},"mappings":{"properties":{"extra":{"type":"date"}}}}}`)
		}, want: []string{"indices[0].dest", "template tp of es-cn-dst000000001 joins in when index orders is created: alias live, which leads to in-use already; mapping extra: type date"}, risk: "templates"},
		"setting by template": {before: func(w *world) {
			w.put("/_index_template/tp", `{"index_patterns":["ord*"],"priority":10,"template":{"settings":{"refresh_interval":"9s"}}}`)
		}},
		"data stream": {before: func(w *world) {
			w.answers = map[string]answer{"/_index_template": {200, `{"index_templates":[{"name":"logs","index_template":{"index_patterns":["ord*"],"data_stream":{},"template":{}}}]}`}}
		}, want: []string{"indices[0].dest", "index template logs of es-cn-dst000000001 makes data streams only"}},
		"all at once": {settings: `{"number_of_replicas":3,"blocks.write":true}`, mappings: `{"properties":{"a":{"type":"nonsense"}}}`, want: []string{settings, "blocks.write", definition, "nonsense", "indices", "3 data nodes"}},
	} {
		w := copying(t, `{}`)
		ix := &w.run.Spec.Indices[0]
		if c.settings != "" {
			ix.Destination.Settings = []byte(c.settings)
		}
		if c.mappings != "" {
			ix.Destination.Mappings = []byte(c.mappings)
		}
		if c.before != nil {
			c.before(w)
		}
		_, err := w.up()
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		var p *events.Problem
		require.ErrorAs(t, err, &p, name)
		require.Len(t, p.Errors, len(c.want)/2, "%s: %s", name, p.Error())
		for i, e := range p.Errors {
			require.Equal(t, c.want[2*i], e.Field, "%s: %s", name, p.Error())
			require.Contains(t, e.Message, c.want[2*i+1], name)
			require.NotEmpty(t, e.Remedy, name)
		}
		if c.risk != "" {
			w.run.Spec.AcceptRisks = []string{c.risk}
			_, err = w.up()
			require.NoError(t, err, name)
		}
	}
}

// Where the login may not have the server judge, plan says so, and judges what
// can be known.
func TestWithoutTheRightToSimulate(t *testing.T) {
	t.Parallel()
	w := copying(t, `{}`)
	w.answers = map[string]answer{"/_index_template/_simulate_index/orders": {403, `{"error":{"type":"security_exception","reason":"no"},"status":403}`}}
	_, err := w.up()
	require.NoError(t, err)
	require.Contains(t, strings.Join(w.run.Plan.Notes, "\n"), "lacks the privilege manage_index_templates")
	w.run.Spec.Indices[0].Destination.Settings = []byte(`{"number_of_shards":0}`)
	w.finds("indices[0].destination", "number_of_shards is 0, not 1 to 1024", "correct destination.settings")

	w = copying(t, `{}`)
	w.answers = map[string]answer{"/_index_template/_simulate_index/orders": {501, `{"error":{"type":"x","reason":"not here"},"status":501}`}}
	_, err = w.up()
	require.NoError(t, err)
	require.Contains(t, strings.Join(w.run.Plan.Notes, "\n"), "does not simulate indices")
	w.answers = map[string]answer{"/_index_template/_simulate_index/orders": {503, `{"error":{"type":"x","reason":"later"},"status":503}`}}
	_, err = w.up()
	require.ErrorContains(t, err, "later")
}

// What the copies do not get is said in plan, a line a setting.
func TestWhatIsNotCarriedOver(t *testing.T) {
	t.Parallel()
	w := copying(t, `{}`)
	w.run.Spec.Indices, w.run.Facts.Survey.Indices = nil, nil
	for i := range 3 {
		name := fmt.Sprintf("i%d", i)
		w.run.Spec.Indices = append(w.run.Spec.Indices, events.Index{Source: name, Dest: name, Destination: events.Destination{Mappings: []byte(`"source"`)}})
		w.run.Facts.Survey.Indices = append(w.run.Facts.Survey.Indices, facts.SurveyedIndex{Source: name, Dest: name})
		w.define(i, `{"number_of_shards":"1","number_of_replicas":"1","uuid":"u","codec":"best_compression","lifecycle":{"name":"p"}}`, `{}`)
	}
	w.put("/i1", `{}`)
	_, err := w.up()
	require.NoError(t, err)
	got := w.run.Plan.NotCarriedOver
	require.Len(t, got, 3)
	require.Equal(t, facts.DroppedSetting{Setting: "codec", Because: "the index exists and keeps its own settings", Indices: []string{"i1"}}, got[0])
	require.Equal(t, []string{"i0", "i2"}, got[2].Indices)
	require.Contains(t, got[2].Because, "the policy stays at the source")

	// What documents pass is said, too.
	w = copying(t, `{}`)
	w.run.Spec.Indices[0].Destination.Settings = []byte(`{"default_pipeline":"p"}`)
	w.answers = map[string]answer{"/_ingest/pipeline/p": {200, `{"p":{}}`}}
	_, err = w.up()
	require.NoError(t, err)
	require.Contains(t, strings.Join(w.run.Plan.Notes, "\n"), "passes its default_pipeline p")
	w.run.Spec.Indices[0].Destination.Mappings = []byte(`"none"`)
	w.put("/_index_template/tp", `{"index_patterns":["ord*"],"template":{"settings":{"refresh_interval":"9s"}}}`)
	_, err = w.up()
	require.NoError(t, err)
	require.Contains(t, strings.Join(w.run.Plan.Notes, "\n"), "index orders gets from template tp: setting refresh_interval: 9s")
}
