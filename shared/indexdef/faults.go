package indexdef

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Bounds of Elasticsearch: index.number_of_shards (es.index.max_number_of_shards)
// and the default of index.mapping.total_fields.limit.
const (
	maxShards     = 1024
	defaultFields = 1000
)

// Faults lists what can be known to be wrong with a definition without asking the
// server: shards, replicas, and more fields than the limit. Settings are flat.
func Faults(settings map[string]json.RawMessage, mappings json.RawMessage) []string {
	var out []string
	if n, ok := number(settings, "number_of_shards"); ok && (n < 1 || n > maxShards) {
		out = append(out, fmt.Sprintf("number_of_shards is %d, not 1 to %d", n, maxShards))
	}
	if n, ok := number(settings, "number_of_replicas"); ok && n < 0 {
		out = append(out, fmt.Sprintf("number_of_replicas is %d", n))
	}
	limit, ok := number(settings, "mapping.total_fields.limit")
	if !ok {
		limit = defaultFields
	}
	m, err := tree(mappings)
	if err != nil {
		return append(out, err.Error())
	}
	if n := countFields(m); n > limit {
		out = append(out, fmt.Sprintf("the mappings have %d fields, and mapping.total_fields.limit is %d", n, limit))
	}
	return out
}

func number(settings map[string]json.RawMessage, key string) (int, bool) {
	n, err := strconv.Atoi(Text(settings[key]))
	return n, err == nil
}

// countFields counts fields, objects and multi-fields, as the limit does.
func countFields(m map[string]any) int {
	n := 0
	for _, key := range []string{"properties", "fields", "runtime"} {
		inner, _ := m[key].(map[string]any)
		for _, f := range inner {
			n++
			if f, ok := f.(map[string]any); ok {
				n += countFields(f)
			}
		}
	}
	return n
}
