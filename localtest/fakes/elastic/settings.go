package elastic

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// staticSettings are the node settings this server knows, by prefix: an unknown
// one keeps a real node from booting, a wrongly spelt one of these groups too.
var staticSettings = []string{
	"action.auto_create_index", "action.destructive_requires_name", "bootstrap.", "cluster.", "discovery.", "gateway.",
	"http.", "indices.", "ingest.", "logger.", "monitor.", "network.", "node.", "path.", "processors",
	"reindex.remote.whitelist", "reindex.ssl.certificate_authorities", "reindex.ssl.certificate", "reindex.ssl.key",
	"reindex.ssl.key_passphrase", "reindex.ssl.keystore.", "reindex.ssl.truststore.", "reindex.ssl.verification_mode",
	"reindex.ssl.supported_protocols", "reindex.ssl.cipher_suites", "script.", "search.", "thread_pool.", "transport.",
	"xpack.http.", "xpack.license.", "xpack.ml.", "xpack.monitoring.", "xpack.notification.", "xpack.security.", "xpack.watcher.",
}

var booleanSettings = []string{"action.destructive_requires_name", "http.cors.enabled", "xpack.security.enabled", "xpack.watcher.enabled"}

func known(prefixes []string, key string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return key == p || strings.HasSuffix(p, ".") && strings.HasPrefix(key, p)
	})
}

func unknownSetting(key string) *Error {
	return illegal("unknown setting [%s] please check that any required plugins are installed, or check the breaking changes documentation for removed settings", key)
}

// checkStatic refuses what a node refuses at boot. Realms and plugins have
// settings of their own.
func (s *Server) checkStatic(settings map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		if !known(staticSettings, k) && !s.ofPlugin(k) {
			return unknownSetting(k)
		}
		if slices.Contains(booleanSettings, k) && settings[k] != "true" && settings[k] != "false" {
			return illegal("Failed to parse value [%s] as only [true] or [false] are allowed.", settings[k])
		}
	}
	switch mode := settings["reindex.ssl.verification_mode"]; mode {
	case "", "full", "certificate", "none":
	default:
		return illegal("could not resolve ssl client verification mode, unknown value [%s], recognised values are [certificate,none,full]", mode)
	}
	if list := splitList(settings["reindex.remote.whitelist"]); slices.Contains(list, "*") {
		return illegal("Refusing to start because whitelist %s accepts all addresses. This would allow users to reindex-from-remote any URL they like effectively having Elasticsearch make HTTP GETs for them.", list)
	}
	return nil
}

// flatten turns nested JSON settings into flat ones: {"index":{"a":1}} is
// index.a = "1"; lists become comma lists, null stays nil.
func flatten(prefix string, v any, into map[string]*string) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			flatten(join(prefix, k), child, into)
		}
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, fmt.Sprint(item))
		}
		text := strings.Join(items, ",")
		into[prefix] = &text
	case nil:
		into[prefix] = nil
	default:
		text := fmt.Sprint(v)
		into[prefix] = &text
	}
}

func join(prefix, k string) string {
	if prefix == "" {
		return k
	}
	return prefix + "." + k
}

// nest is the inverse of flatten for a reply. A key that is also a prefix of
// another stays flat, as Elasticsearch prints it.
func nest(flat map[string]string) map[string]any {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(flat)) {
		m, parts := out, strings.Split(k, ".")
		for i, p := range parts[:len(parts)-1] {
			child, ok := m[p].(map[string]any)
			if !ok && m[p] != nil {
				parts = []string{strings.Join(parts[i:], ".")}
				break
			}
			if !ok {
				child = map[string]any{}
				m[p] = child
			}
			m = child
		}
		m[parts[len(parts)-1]] = shown(flat[k])
	}
	return out
}

// shown is a setting's value as replies have it: a list that elasticsearch.yml
// writes as one is one.
func shown(value string) any {
	var list []string
	if strings.HasPrefix(value, "[") && decode([]byte(value), &list) == nil {
		return list
	}
	return value
}

// secretive says whether nodes tell nobody their value of a setting.
func secretive(key string) bool {
	path, ofRealm := strings.CutPrefix(key, realmPrefix)
	parts := strings.SplitN(path, ".", 3)
	return strings.HasPrefix(key, "reindex.ssl.") || ofRealm && len(parts) == 3 &&
		known([]string{"bind_dn", "bind_password", "hostname_verification", "ssl."}, parts[2])
}

func settingsReply(flat map[string]string, asFlat bool) map[string]any {
	if !asFlat {
		return nest(flat)
	}
	out := map[string]any{}
	for k, v := range flat {
		out[k] = shown(v)
	}
	return out
}

// dynamicCluster are the cluster settings that _cluster/settings takes.
var dynamicCluster = []string{
	"action.auto_create_index", "action.destructive_requires_name", "cluster.routing.", "cluster.max_shards_per_node",
	"cluster.blocks.", "indices.recovery.", "indices.id_field_data.enabled", "search.max_open_scroll_context", "search.default_search_timeout",
	"search.max_keep_alive", "search.default_keep_alive", "search.max_buckets", "logger.", "xpack.monitoring.",
}

func (c *call) getClusterSettings() (int, any, error) {
	flat := c.flag("flat_settings", false)
	reply := obj("persistent", settingsReply(c.s.persistent, flat), "transient", settingsReply(c.s.transient, flat))
	if c.flag("include_defaults", false) {
		reply = reply.with("defaults", settingsReply(c.s.settings, flat))
	}
	return 200, reply, nil
}

func (c *call) putClusterSettings() (int, any, error) {
	var body map[string]any
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	reply := obj("acknowledged", true)
	for _, scope := range []string{"persistent", "transient"} {
		changes := map[string]*string{}
		if m, ok := body[scope].(map[string]any); ok {
			flatten("", m, changes)
		}
		target := map[string]map[string]string{"persistent": c.s.persistent, "transient": c.s.transient}[scope]
		done := map[string]string{}
		for _, k := range slices.Sorted(maps.Keys(changes)) {
			switch {
			case known(dynamicCluster, k):
			case known(staticSettings, k):
				return 0, nil, illegal("%s setting [%s], not dynamically updateable", scope, k)
			default:
				return 0, nil, illegal("%s setting [%s], not recognized", scope, k)
			}
			if changes[k] == nil {
				delete(target, k)
			} else {
				target[k], done[k] = *changes[k], *changes[k]
			}
		}
		reply = reply.with(scope, settingsReply(done, c.flag("flat_settings", false)))
	}
	return 200, reply, nil
}

// atoi reads an integer setting that was checked when it was set.
func atoi(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return otherwise
}
