package indexdef

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"eslink/shared/es"
	"eslink/shared/facts"
)

// notCarried are settings, or groups of them, that a copy does not get, and why.
var notCarried = []struct{ key, why string }{
	{"blocks", "it would keep the copy from being written or read: set it after the run"},
	{"routing.allocation", "it names nodes of the source cluster"},
	{"lifecycle", "the policy stays at the source, and would roll over or delete the copy: attach one after the run"},
	{"default_pipeline", "the source's documents have passed it already: set it after the run"},
	{"final_pipeline", "the source's documents have passed it already: set it after the run"},
	{"frozen", "a frozen index cannot be written"},
	{"search.throttled", "a frozen index cannot be written"},
	{"store.snapshot", "it belongs to a searchable snapshot"},
	{"allocation.existing_shards_allocator", "it belongs to a searchable snapshot"},
	{"replication", "it follows another index"},
	{"xpack.ccr", "it follows another index"},
	{"format", "it numbers the versions of a system index"},
	{"mapper.dynamic", "it has had no meaning since version 6"},
	{"data_path", "it names a directory of the source's nodes"},
	{"knn", "it belongs to a plugin"},
}

// NotCarried lists the settings, or their first parts, that a copy does not get.
func NotCarried() []string {
	keys := make([]string, len(notCarried))
	for i, n := range notCarried {
		keys[i] = n.key
	}
	return keys
}

// carry returns the settings that a create sends, by flat key, and those of the
// source that it leaves out. What the spec says comes last; a null there leaves a
// setting at its default. Without the source's mappings none of its settings go
// along: the spec then says what the index is.
func carry(source, spec json.RawMessage, copied bool) (map[string]json.RawMessage, []facts.DroppedSetting, error) {
	from, err := es.Flatten(source)
	if err != nil {
		return nil, nil, err
	}
	over, err := es.Flatten(spec)
	if err != nil {
		return nil, nil, err
	}
	out := map[string]json.RawMessage{}
	var dropped []facts.DroppedSetting
	drop := func(key, why string) { dropped = append(dropped, facts.DroppedSetting{Setting: key, Because: why}) }
	for _, key := range slices.Sorted(maps.Keys(from)) {
		value, given := over[key]
		switch {
		case es.Exempt(key) || string(from[key]) == "null":
		case given && string(value) == "null":
			drop(key, "the spec says null")
		case given: // the spec's value
		case !copied:
			drop(key, "destination.mappings is not source, so the index is set up as the spec says")
		case key == "number_of_routing_shards" && over["number_of_shards"] != nil:
			drop(key, "the spec gives another number_of_shards, which it may not divide by")
		default:
			if why := reason(key, Text(from[key])); why != "" {
				drop(key, why)
				continue
			}
			out[key] = from[key]
		}
	}
	maps.Copy(out, over)
	return out, dropped, nil
}

func reason(key, value string) string {
	for _, n := range notCarried {
		if key == n.key || strings.HasPrefix(key, n.key+".") {
			return n.why
		}
	}
	if key == "store.type" && value == "snapshot" {
		return "it belongs to a searchable snapshot"
	}
	return ""
}

// Kept lists the source's settings that an index which exists does not have.
func Kept(source, existing json.RawMessage) ([]facts.DroppedSetting, error) {
	from, err := es.Flatten(source)
	if err != nil {
		return nil, err
	}
	has, err := es.Flatten(existing)
	if err != nil {
		return nil, err
	}
	var out []facts.DroppedSetting
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if !es.Exempt(key) && plain(from[key]) != plain(has[key]) {
			out = append(out, facts.DroppedSetting{Setting: key, Because: "the index exists and keeps its own settings"})
		}
	}
	return out, nil
}

// Summary joins the dropped settings of many indices: one entry for each setting
// and reason, with the first ten indices.
func Summary(byIndex map[string][]facts.DroppedSetting) []facts.DroppedSetting {
	const named = 10
	at := map[[2]string]int{}
	var out []facts.DroppedSetting
	for _, index := range slices.Sorted(maps.Keys(byIndex)) {
		for _, d := range byIndex[index] {
			i, ok := at[[2]string{d.Setting, d.Because}]
			if !ok {
				i = len(out)
				at[[2]string{d.Setting, d.Because}] = i
				out = append(out, facts.DroppedSetting{Setting: d.Setting, Because: d.Because})
			}
			if len(out[i].Indices) < named {
				out[i].Indices = append(out[i].Indices, index)
			} else {
				out[i].More++
			}
		}
	}
	slices.SortFunc(out, func(a, b facts.DroppedSetting) int {
		return strings.Compare(a.Setting+"\x00"+a.Because, b.Setting+"\x00"+b.Because)
	})
	return out
}
