package elastic_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
)

// The walkthrough of the vendor's help page: ik_smart at the source, a bare
// destination, six documents found by match.
func TestWalkthrough(t *testing.T) {
	inBubble(t, "8.15.1", func(p *pair) {
		p.src = elastic.New(elastic.Config{Name: "src", Version: "8.15.1", Nodes: 2, Analyzers: []string{"ik_smart", "ik_max_word"}})
		t.Cleanup(p.src.Stop)
		mapping := `{"settings":{"number_of_shards":5,"number_of_replicas":1},"mappings":{"properties":{
			"productName":{"type":"text","analyzer":"ik_smart"},"annual_rate":{"type":"keyword"},"describe":{"type":"text","analyzer":"ik_smart"}}}}`
		status, _ := p.do(p.src, "PUT", "/src", mapping)
		require.Equal(t, 200, status)
		status, reply := p.do(p.dest, "PUT", "/dst", mapping)
		assert.Equal(t, 400, status, "a destination without ik cannot take the source's mapping")
		assert.Equal(t, "Failed to parse mapping: analyzer [ik_smart] has not been configured in mappings", reply["error"].(map[string]any)["reason"])
		var bulk string
		for _, name := range []string{"A", "B", "C", "D", "E", "F"} {
			bulk += "{\"index\":{}}\n{\"productName\":\"Wealth Management Product " + name + "\",\"annual_rate\":\"3.2200%\"}\n"
		}
		_, reply = p.do(p.src, "POST", "/src/_bulk?refresh=true", bulk+"{\"index\":{}}\n{\"productName\":\"Fund\"}\n")
		require.Equal(t, false, reply["errors"])
		status, _ = p.do(p.dest, "PUT", "/dst", `{"settings":{"number_of_shards":5,"number_of_replicas":1}}`)
		require.Equal(t, 200, status)
		id := p.start("&refresh=true", `,"query":{"match":{"productName":"wealth management product"}}`)
		synctest.Wait()
		assert.EqualValues(t, 6, p.task(id)["response"].(map[string]any)["created"])
		_, reply = p.do(p.dest, "GET", "/dst/_search", "")
		hits := reply["hits"].(map[string]any)
		assert.Equal(t, map[string]any{"value": 6.0, "relation": "eq"}, hits["total"])
		assert.EqualValues(t, 1, hits["max_score"])
		assert.NotContains(t, hits["hits"].([]any)[0], "_type")
		_, health := p.do(p.src, "GET", "/_cluster/health", "")
		assert.Equal(t, "green", health["status"])
		_, health = p.do(p.dest, "GET", "/_cluster/health", "")
		assert.Equal(t, "yellow", health["status"], "one node holds no replicas")
	})
}
