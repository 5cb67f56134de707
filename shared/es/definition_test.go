package es_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/es"
)

func TestSourcesThatDoNotKeepWholeDocuments(t *testing.T) {
	t.Parallel()
	for mappings, want := range map[string]string{
		`{}`:                                   "",
		`{"_source":{}}`:                       "",
		`{"_source":{"enabled":true}}`:         "",
		`{"_source":{"enabled":false}}`:        "_source disabled",
		`{"_source":{"includes":["a"]}}`:       "only part",
		`{"_source":{"excludes":["a"]}}`:       "only part",
		`{"_source":{"enabled":"perhaps"}}`:    "cannot be read",
		`{"properties":{"_source":{"a":"b"}}}`: "",
	} {
		got := es.SourceIncomplete([]byte(mappings))
		require.Equal(t, want == "", got == "", mappings)
		require.Contains(t, got, want, mappings)
	}
}

func TestSettingsByName(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		``:                                      "",
		`{}`:                                    "",
		`{"refresh_interval":"5s"}`:             "5s",
		`{"index":{"refresh_interval":"5s"}}`:   "5s",
		`{"index.refresh_interval":"5s"}`:       "5s",
		`{"refresh_interval":-1}`:               "-1",
		`{"other":{"refresh_interval":"5s"}}`:   "",
		`{"refresh_interval":{"of":"nothing"}}`: "",
	} {
		got, err := es.Setting([]byte(settings), "refresh_interval")
		require.NoError(t, err, settings)
		require.Equal(t, want, got, settings)
	}
	_, err := es.Setting([]byte(`[]`), "refresh_interval")
	require.ErrorContains(t, err, "settings")
}

func TestAnalyzersThatACopyNeeds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mappings, settings string
		want               []string
	}{
		"none":              {``, ``, nil},
		"built in":          {`{"properties":{"a":{"analyzer":"standard","search_analyzer":"keyword"}}}`, `{}`, nil},
		"each kind":         {`{"properties":{"a":{"analyzer":"x","search_analyzer":"y","fields":{"b":{"search_quote_analyzer":"z"}}}}}`, `{}`, []string{"x", "y", "z"}},
		"in templates":      {`{"dynamic_templates":[{"t":{"mapping":{"analyzer":"ik_smart"}}}]}`, `{}`, []string{"ik_smart"}},
		"its own":           {`{"properties":{"a":{"analyzer":"mine"}}}`, `{"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"standard"}}}}`, nil},
		"of one it lacks":   {`{}`, `{"index.analysis.analyzer.mine.type":"ik_smart"}`, []string{"ik_smart"}},
		"of its own name":   {`{"properties":{"a":{"analyzer":"ik_smart"}}}`, `{"analysis":{"analyzer":{"ik_smart":{"type":"ik_smart","use":true}}}}`, []string{"ik_smart"}},
		"other properties":  {`{}`, `{"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"ik_smart"}},"filter":{"f":{"type":"stemmer"}}}}`, nil},
		"a type of others":  {`{}`, `{"store":{"type":"fs"},"analysis.filter.type":"x"}`, nil},
		"the user's notes":  {`{"_meta":{"analyzer":"x"}}`, `{}`, nil},
		"a field's name":    {`{"properties":{"analyzer":{"type":"text","analyzer":"x"}}}`, `{}`, []string{"x"}},
		"no text":           {`{"properties":{"a":{"analyzer":7}}}`, `{}`, nil},
		"a type of no text": {`{}`, `{"analysis.analyzer.mine.type":["a"]}`, nil},
	} {
		got, err := es.ForeignAnalyzers([]byte(c.mappings), []byte(c.settings))
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	_, err := es.ForeignAnalyzers([]byte(`[]`), nil)
	require.ErrorContains(t, err, "mappings")
	_, err = es.ForeignAnalyzers(nil, []byte(`[]`))
	require.ErrorContains(t, err, "settings")
}

// A copy gets what its source was given, and nothing that would keep it from
// being written or placed; the spec has the last word.
func TestSettingsOfACopy(t *testing.T) {
	t.Parallel()
	got, err := es.CopySettings([]byte(`{"number_of_shards":"3","refresh_interval":"5s","analysis":{"filter":{"f":{"type":"stop","stopwords":["a","b"]}}},"mapping":{"total_fields":{"limit":"2000"}},
		"creation_date":"1","uuid":"u","provided_name":"n","version":{"created":"7"},"history":{"uuid":"h"},"verified_before_close":"true","resize":{"source":{"name":"x"}},"shrink":{"source":{"name":"x"}},
		"merge":{"policy":{}},"blocks":{"write":"true"},"routing":{"allocation":{"include":{"_tier_preference":"data_content"}}},"lifecycle":{"name":"p"},"default_pipeline":"p","final_pipeline":"p",
		"frozen":"true","replication":{"type":"x"},"search":{"throttled":"true"},"store":{"type":"fs"},"number_of_routing_shards":"30","allocation":{"max_retries":"5"},"auto_expand_replicas":"0-1",
		"soft_deletes":{"enabled":"true"},"format":"6","mapper":{"dynamic":"false"},"knn":"true","empty":null}`),
		[]byte(`{"index":{"number_of_shards":5},"index.blocks.read":false,"analysis.filter.f.type":"lowercase"}`))
	require.NoError(t, err)
	require.JSONEq(t, `{"number_of_shards":5,"refresh_interval":"5s","analysis.filter.f.type":"lowercase","analysis.filter.f.stopwords":["a","b"],"mapping.total_fields.limit":"2000","blocks.read":false,"empty":null}`, string(got))
	got, err = es.CopySettings(nil, nil)
	require.NoError(t, err)
	require.JSONEq(t, `{}`, string(got))
	for _, bad := range [][2]string{{`[]`, ``}, {``, `"x"`}} {
		_, err = es.CopySettings([]byte(bad[0]), []byte(bad[1]))
		require.ErrorContains(t, err, "settings")
	}
}

func TestWindowsOfAQuery(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		query       string
		from, below int64
	}{
		`{"bool":{"filter":[{"range":{"_seq_no":{"gte":0}}}]}}`:                               {``, 0, 0},
		`{"bool":{"filter":[{"range":{"_seq_no":{"gte":5}}}]}}`:                               {``, 5, 0},
		`{"bool":{"filter":[{"range":{"_seq_no":{"gte":0,"lt":1}}},{"term":{"big":1e400}}]}}`: {`{"term":{"big":1e400}}`, 0, 1},
	} {
		got, err := es.InWindow([]byte(c.query), c.from, c.below)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err := es.InWindow([]byte(`{`), 0, 0)
	require.ErrorContains(t, err, "encode query")
}
