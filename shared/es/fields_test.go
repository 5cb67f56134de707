package es_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/es"
)

func TestFieldsThatTakeWhatIsCopied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, dest string
		want         []es.Conflict
	}{
		"same":                 {`{"properties":{"a":{"type":"long"}}}`, `{"properties":{"a":{"type":"long"}}}`, nil},
		"nothing there":        {`{"properties":{"a":{"type":"long"}}}`, `{}`, nil},
		"no mappings":          {``, `{"properties":{"a":{"type":"long"}}}`, nil},
		"wider":                {`{"properties":{"a":{"type":"integer"},"b":{"type":"float"},"c":{"type":"date"}}}`, `{"properties":{"a":{"type":"long"},"b":{"type":"double"},"c":{"type":"date_nanos"}}}`, nil},
		"narrower":             {`{"properties":{"a":{"type":"long"}}}`, `{"properties":{"a":{"type":"integer"}}}`, []es.Conflict{{Field: "a", Source: "long", Dest: "integer"}}},
		"a number's kind":      {`{"properties":{"a":{"type":"double"}}}`, `{"properties":{"a":{"type":"long"}}}`, []es.Conflict{{Field: "a", Source: "double", Dest: "long"}}},
		"text":                 {`{"properties":{"a":{"type":"keyword"}}}`, `{"properties":{"a":{"type":"text","fields":{"k":{"type":"keyword"}}}}}`, nil},
		"one value only":       {`{"properties":{"a":{"type":"keyword"}}}`, `{"properties":{"a":{"type":"constant_keyword"}}}`, []es.Conflict{{Field: "a", Source: "keyword", Dest: "constant_keyword"}}},
		"deep":                 {`{"properties":{"a":{"properties":{"b":{"type":"text"}}}}}`, `{"properties":{"a":{"properties":{"b":{"type":"date"}}}}}`, []es.Conflict{{Field: "a.b", Source: "text", Dest: "date"}}},
		"nested":               {`{"properties":{"a":{"type":"nested","properties":{}}}}`, `{"properties":{"a":{"properties":{}}}}`, []es.Conflict{{Field: "a", Source: "nested", Dest: "object"}}},
		"in no document":       {`{"properties":{"a":{"type":"alias","path":"b"}}}`, `{"properties":{"a":{"type":"long"}}}`, nil},
		"a field called type":  {`{"properties":{"type":{"type":"keyword"}}}`, `{"properties":{"type":{"type":"long"}}}`, []es.Conflict{{Field: "type", Source: "keyword", Dest: "long"}}},
		"properties as a name": {`{"properties":{"properties":{"type":"keyword"}}}`, `{"properties":{"properties":{"type":"ip"}}}`, []es.Conflict{{Field: "properties", Source: "keyword", Dest: "ip"}}},
	} {
		got, err := es.Conflicts([]byte(c.source), []byte(c.dest))
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	_, err := es.Conflicts([]byte(`[]`), nil)
	require.Error(t, err)
}
