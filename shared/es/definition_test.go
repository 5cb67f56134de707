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
