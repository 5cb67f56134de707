package indexdef_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/indexdef"
)

func copyOf(settings string) events.Index {
	return events.Index{Source: "a", Dest: "b-1", Destination: events.Destination{Mappings: json.RawMessage(`"source"`), Settings: json.RawMessage(settings)}}
}

// Every setting of the source is at the copy, or in a list that says why not;
// what Elasticsearch writes by itself is neither. The spec has the last word.
func TestEverySettingIsCarriedOrListed(t *testing.T) {
	t.Parallel()
	source := es.Definition{Settings: json.RawMessage(`{"number_of_shards":"3","refresh_interval":"5s","analysis":{"filter":{"f":{"type":"stop","stopwords":["a","b"]}}},"mapping":{"total_fields":{"limit":"2000"}},
		"auto_expand_replicas":"0-1","search":{"slowlog":{"threshold":{"query":{"warn":"1s"}}},"idle":{"after":"9s"},"throttled":"true"},"merge":{"scheduler":{"max_thread_count":"1"}},
		"store":{"preload":["nvd"],"type":"niofs"},"allocation":{"max_retries":"7"},"soft_deletes":{"retention_lease":{"period":"1h"}},"number_of_routing_shards":"30","codec":"best_compression",
		"creation_date":"1","uuid":"u","provided_name":"n","version":{"created":"7"},"history":{"uuid":"h"},"verified_before_close":"true","resize":{"source":{"name":"x"}},"shrink":{"source":{"name":"x"}},
		"blocks":{"write":"true"},"routing":{"allocation":{"include":{"_tier_preference":"data_content"},"require":{"_name":"n1"}}},"lifecycle":{"name":"p"},"default_pipeline":"p","final_pipeline":"p",
		"frozen":"true","replication":{"type":"x"},"format":"6","mapper":{"dynamic":"false"},"knn":"true","gc_deletes":"1m"}`)}
	w, err := indexdef.Of(copyOf(`{"index":{"number_of_shards":5},"index.blocks.read":false,"analysis.filter.f.type":"lowercase","gc_deletes":null}`), source, es.Templates{})
	require.NoError(t, err)
	require.JSONEq(t, `{"number_of_shards":5,"refresh_interval":"5s","analysis.filter.f.type":"lowercase","analysis.filter.f.stopwords":["a","b"],"mapping.total_fields.limit":"2000","blocks.read":false,
		"auto_expand_replicas":"0-1","search.slowlog.threshold.query.warn":"1s","search.idle.after":"9s","merge.scheduler.max_thread_count":"1","store.preload":["nvd"],"store.type":"niofs",
		"allocation.max_retries":"7","soft_deletes.retention_lease.period":"1h","codec":"best_compression","gc_deletes":null}`, string(w.Body.Settings))
	var dropped []string
	for _, d := range w.Dropped {
		require.NotEmpty(t, d.Because, d.Setting)
		dropped = append(dropped, d.Setting)
	}
	require.Equal(t, []string{"blocks.write", "default_pipeline", "final_pipeline", "format", "frozen", "gc_deletes", "knn", "lifecycle.name", "mapper.dynamic",
		"number_of_routing_shards", "replication.type", "routing.allocation.require._name", "search.throttled"}, dropped)

	// With mappings of its own the index is the spec's, and all that is left out is listed.
	own := copyOf(`{"number_of_shards":1}`)
	own.Destination.Mappings = json.RawMessage(`"none"`)
	w, err = indexdef.Of(own, es.Definition{Settings: json.RawMessage(`{"number_of_shards":"3","codec":"best_compression","uuid":"u"}`)}, es.Templates{})
	require.NoError(t, err)
	require.JSONEq(t, `{"number_of_shards":1}`, string(w.Body.Settings))
	require.Equal(t, "codec", w.Dropped[0].Setting)
	require.Len(t, w.Dropped, 1)

	kept, err := indexdef.Kept(json.RawMessage(`{"codec":"best_compression","number_of_shards":"3","uuid":"u","sort":{"field":["a"]}}`), json.RawMessage(`{"number_of_shards":"3","uuid":"v","sort":{"field":["a"]}}`))
	require.NoError(t, err)
	require.Equal(t, []facts.DroppedSetting{{Setting: "codec", Because: "the index exists and keeps its own settings"}}, kept)
}

// README has both lists.
func TestReadmeListsTheSettings(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../events/README.md")
	require.NoError(t, err)
	for _, keys := range [][]string{es.Written(), indexdef.NotCarried()} {
		list := strings.Join(keys, "`, `")
		require.Contains(t, strings.Join(strings.Fields(string(readme)), " "), "`"+list+"`")
	}
}

func TestSettingsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, bad := range [][2]string{{`[]`, ``}, {``, `"x"`}} {
		_, err := indexdef.Of(copyOf(bad[1]), es.Definition{Settings: json.RawMessage(bad[0])}, es.Templates{})
		require.ErrorContains(t, err, "settings")
	}
}

func body(settings, mappings string, aliases ...string) es.TemplateBody {
	b := es.TemplateBody{Settings: json.RawMessage(settings), Mappings: json.RawMessage(mappings), Aliases: map[string]json.RawMessage{}}
	for _, a := range aliases {
		b.Aliases[a] = json.RawMessage(`{}`)
	}
	return b
}

// What templates add is kept out where a create can do that, and named where it
// cannot.
func TestTemplatesThatJoinIn(t *testing.T) {
	t.Parallel()
	all := es.Templates{
		Component: map[string]es.TemplateBody{"c": body(`{"index":{"refresh_interval":"9s"}}`, `{"dynamic":"strict","properties":{"o":{"properties":{"x":{"type":"long"}}},"same":{"type":"long","store":true}}}`, "ca")},
		Index: map[string]es.IndexTemplate{
			"low":  {Patterns: []string{"b-*"}, Priority: 1, Template: body(`{"number_of_shards":"9"}`, ``, "low")},
			"high": {Patterns: []string{"x", "b-*"}, Priority: 7, ComposedOf: []string{"c"}, Template: body(`{"codec":"default"}`, `{"dynamic_templates":[{"d":{"match":"*"}}],"properties":{"extra":{"type":"date"}}}`, "of-{index}", "live")},
			"all":  {Patterns: []string{"*"}, Priority: 9, Template: body(``, ``), DataStream: nil},
		},
		Legacy: map[string]es.LegacyTemplate{"l": {Patterns: []string{"b-*"}, TemplateBody: body(``, `{"properties":{"never":{"type":"long"}}}`)}},
	}
	delete(all.Index, "all")
	source := es.Definition{Settings: json.RawMessage(`{"number_of_shards":"3","codec":"best_compression"}`), Aliases: map[string]json.RawMessage{"live": json.RawMessage(`{}`)},
		Mappings: json.RawMessage(`{"properties":{"o":{"properties":{"y":{"type":"long"}}},"same":{"type":"long"}}}`)}
	w, err := indexdef.Of(copyOf(``), source, all)
	require.NoError(t, err)
	require.JSONEq(t, `{"number_of_shards":"3","codec":"best_compression","refresh_interval":null}`, string(w.Body.Settings))
	require.JSONEq(t, `{"number_of_shards":"3","codec":"best_compression"}`, string(w.Whole.Settings))
	require.Equal(t, []string{"mapping dynamic: strict", `mapping dynamic_templates.d: {"match":"*"}`, "mapping extra: type date", "mapping o.x: type long"}, w.Joins)
	require.Equal(t, []string{"ca", "of-b-1"}, w.Aliases, "live is the source's own")
	require.EqualValues(t, 8, indexdef.Priority(all))
	require.JSONEq(t, `{"dynamic":"strict","dynamic_templates":[{"d":{"match":"*"}}],"properties":{"extra":{"type":"date"},"o":{"properties":{"x":{"type":"long"},"y":{"type":"long"}}},"same":{"type":"long"}}}`, string(w.Whole.Mappings))

	// Legacy templates hold where no composable one does, and join inside fields.
	legacy := es.Templates{Legacy: map[string]es.LegacyTemplate{
		"l1": {Patterns: []string{"b*"}, Order: 2, TemplateBody: body(`{"codec":"x"}`, `{"properties":{"same":{"type":"long","store":true}}}`)},
		"l2": {Patterns: []string{"b*"}, Order: 1, TemplateBody: body(`{"codec":"y","refresh_interval":"2s"}`, ``, "la")}}}
	own := copyOf(`{"number_of_replicas":0}`)
	own.Destination.Mappings = json.RawMessage(`{"properties":{"same":{"type":"long"}}}`)
	w, err = indexdef.Of(own, source, legacy)
	require.NoError(t, err)
	require.Equal(t, []string{"l2", "l1"}, w.Template.Names)
	require.Equal(t, []string{"mapping same.store: true", "setting codec: x", "setting refresh_interval: 2s"}, w.Joins)
	require.JSONEq(t, `{"number_of_replicas":0}`, string(w.Body.Settings), "the spec leaves the rest to the cluster")

	// One for everything does not hold for a hidden index; one for data streams is told.
	for hidden, want := range map[string]bool{"true": false, "false": true} {
		t1, err := indexdef.Of(copyOf(`{"hidden":`+hidden+`}`), source, es.Templates{Index: map[string]es.IndexTemplate{"all": {Patterns: []string{"*"}, DataStream: json.RawMessage(`{}`)}}})
		require.NoError(t, err)
		require.Equal(t, want, t1.Template.DataStream)
	}
}

// An index that was created is what was wanted, or every difference is a line.
func TestReadBack(t *testing.T) {
	t.Parallel()
	source := es.Definition{Settings: json.RawMessage(`{"number_of_shards":"1","sort":{"field":["a","b"]}}`), Mappings: json.RawMessage(`{"dynamic":"false","properties":{"a":{"type":"long"},"b":{"type":"long","coerce":false}}}`)}
	w, err := indexdef.Of(copyOf(`{"priority":5,"blocks.read":false}`), source, es.Templates{})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		settings, mappings, alias string
		want                      []string
	}{
		"same": {`{"number_of_shards":"1","number_of_replicas":"1","sort":{"field":["a","b"]},"priority":"5","blocks":{"read":"false"},"uuid":"u","creation_date":"7","routing":{"allocation":{"include":{"_tier_preference":"data_content"}}}}`,
			`{"dynamic":false,"properties":{"a":{"type":"long"},"b":{"type":"long","coerce":false}}}`, "", nil},
		"settings": {`{"number_of_shards":"2","sort":{"field":["a"]},"blocks":{"read":"false","write":"true"}}`, `{"dynamic":"false","properties":{"a":{"type":"long"},"b":{"type":"long","coerce":false}}}`, "",
			[]string{"setting blocks.write is true, not absent", "setting number_of_shards is 2, not 1", "setting priority is absent, not 5", "setting sort.field is a, not a,b"}},
		"mappings": {`{"number_of_shards":"1","sort":{"field":["a","b"]},"priority":"5","blocks":{"read":"false"}}`, `{"dynamic":"strict","properties":{"a":{"type":"keyword"},"x":{"type":"date"}}}`, "live",
			[]string{"mapping dynamic is strict, not false", "mapping a.type is keyword, not long", `mapping b is absent, not {"coerce":false,"type":"long"}`, "mapping x is type date, not absent", "alias live is there"}},
	} {
		def := es.Definition{Settings: json.RawMessage(c.settings), Mappings: json.RawMessage(c.mappings)}
		if c.alias != "" {
			def.Aliases = map[string]json.RawMessage{c.alias: json.RawMessage(`{}`)}
		}
		got, err := w.Unlike(def)
		require.NoError(t, err)
		require.Equal(t, c.want, got, name)
	}
}

func TestFaultsThatNeedNoServer(t *testing.T) {
	t.Parallel()
	faults := func(settings, mappings string) []string {
		s, err := es.Flatten(json.RawMessage(settings))
		require.NoError(t, err)
		return indexdef.Faults(s, json.RawMessage(mappings))
	}
	require.Empty(t, faults(`{"number_of_shards":1024}`, ``))
	require.Len(t, faults(`{"number_of_shards":-1,"number_of_replicas":-1}`, ``), 2)
	require.Len(t, faults(`{"number_of_shards":5000}`, ``), 1)
	three := `{"properties":{"o":{"properties":{"a":{"type":"text","fields":{"raw":{"type":"keyword"}}}}}}}`
	require.Empty(t, faults(`{"mapping.total_fields.limit":3}`, three))
	require.Equal(t, []string{"the mappings have 3 fields, and mapping.total_fields.limit is 2"}, faults(`{"mapping.total_fields.limit":2}`, three))
}

func TestSummaryOfWhatIsDropped(t *testing.T) {
	t.Parallel()
	by := map[string][]facts.DroppedSetting{}
	for _, c := range "abcdefghijkl" {
		by[string(c)] = []facts.DroppedSetting{{Setting: "s", Because: "w"}}
	}
	by["a"] = append(by["a"], facts.DroppedSetting{Setting: "r", Because: "w"})
	got := indexdef.Summary(by)
	require.Equal(t, facts.DroppedSetting{Setting: "r", Because: "w", Indices: []string{"a"}}, got[0])
	require.Len(t, got[1].Indices, 10)
	require.Equal(t, 2, got[1].More)
}
