package runtime

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const created = `{"source":"acs.elasticsearch","type":"elasticsearch:ActionTrail:ApiCall","subject":"es-1","size":300,"none":null,"empty":"",
 "data":{"eventName":"createInstance","sourceIpAddress":"10.0.0.7","ratio":1.5,"zones":["a","b"],"flag":true}}`

func TestPattern(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		`{}`: true,
		`{"source":["acs.elasticsearch"],"type":["x","elasticsearch:ActionTrail:ApiCall"],"data":{"eventName":["createInstance","Create"]}}`: true,
		`{"source":["acs.Elasticsearch"]}`:                               false,
		`{"source":["acs.elasticsearch"],"data":{"eventName":["x"]}}`:    false,
		`{"missing":["x"]}`:                                              false,
		`{"data":{"eventName":[{"prefix":"create"}]}}`:                   true,
		`{"data":{"eventName":[{"suffix":"Instance"}]}}`:                 true,
		`{"data":{"eventName":[{"contains":"teIn"}]}}`:                   true,
		`{"data":{"eventName":[{"anything-but":"createInstance"}]}}`:     false,
		`{"data":{"eventName":[{"anything-but":["a",{"prefix":"b"}]}]}}`: true,
		`{"missing":[{"anything-but":"x"}]}`:                             false,
		`{"size":[{"numeric":[">",0,"<=",300]}]}`:                        true,
		`{"size":[{"numeric":["=",300.0]}]}`:                             true,
		`{"size":[{"numeric":[">",300]}]}`:                               false,
		`{"source":[{"numeric":[">",0]}]}`:                               false,
		`{"size":[300]}`:                                                 true,
		`{"size":[300.0]}`:                                               false,
		`{"data":{"sourceIpAddress":[{"cidr":"10.0.0.0/24"}]}}`:          true,
		`{"data":{"sourceIpAddress":[{"cidr":"10.0.1.0/24"}]}}`:          false,
		`{"subject":[{"exists":true}]}`:                                  true,
		`{"subject":[{"exists":false}]}`:                                 false,
		`{"missing":[{"exists":false}]}`:                                 true,
		`{"none":[null]}`:                                                true,
		`{"missing":[null]}`:                                             false,
		`{"empty":[""]}`:                                                 true,
		`{"data":{"zones":["b"]}}`:                                       true,
		`{"data":{"flag":[true]}}`:                                       true,
		`{"data":["x"]}`:                                                 false,
		`{"source":{"x":["y"]}}`:                                         false,
	} {
		p, err := ParsePattern([]byte(pattern))
		require.NoError(t, err, pattern)
		got, err := p.Match([]byte(created))
		require.NoError(t, err)
		assert.Equal(t, want, got, pattern)
	}
	for _, bad := range []string{``, `[]`, `{"a":"b"}`, `{"a":[["b"]]}`, `{"a":[{"wildcard":"*"}]}`, `{"a":[{"prefix":1}]}`, `{"a":[{"exists":"x"}]}`,
		`{"a":[{"cidr":"10.0.0.0"}]}`, `{"a":[{"numeric":[">"]}]}`, `{"a":[{"numeric":["!",1]}]}`, `{"a":[{"numeric":[">","1"]}]}`, `{"a":[{"prefix":"a","suffix":"b"}]}`} {
		_, err := ParsePattern([]byte(bad))
		assert.Error(t, err, bad)
	}
	p, err := ParsePattern([]byte(`{}`))
	require.NoError(t, err)
	_, err = p.Match([]byte(`[]`))
	assert.Error(t, err)
}
