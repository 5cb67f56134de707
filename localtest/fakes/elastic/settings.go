package elastic

import (
	"maps"
	"slices"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/store"
)

// checkStatic refuses what a node refuses at boot. Realms and plugins have
// settings of their own.
func (s *Server) checkStatic(settings map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		if !esjson.Known(store.StaticSettings, k) && !s.ofPlugin(k) {
			return esjson.UnknownSetting(k)
		}
		if slices.Contains(store.BooleanSettings, k) && settings[k] != "true" && settings[k] != "false" {
			return esjson.Illegal("Failed to parse value [%s] as only [true] or [false] are allowed.", settings[k])
		}
	}
	switch mode := settings["reindex.ssl.verification_mode"]; mode {
	case "", "full", "certificate", "none":
	default:
		return esjson.Illegal("could not resolve ssl client verification mode, unknown value [%s], recognised values are [certificate,none,full]", mode)
	}
	if list := esjson.SplitList(settings["reindex.remote.whitelist"]); slices.Contains(list, "*") {
		return esjson.Illegal("Refusing to start because whitelist %s accepts all addresses. This would allow users to reindex-from-remote any URL they like effectively having Elasticsearch make HTTP GETs for them.", list)
	}
	return nil
}
