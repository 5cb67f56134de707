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

// dynamicCluster are the cluster settings that _cluster/settings takes, and what it
// makes of a value. Those of freeCluster have no effect that a client of this server
// could see; any other that a real cluster takes is refused.
var (
	dynamicCluster = map[string]func(key, value string) *Error{
		"action.auto_create_index": checkAutoCreate, "action.destructive_requires_name": checkBoolean, "cluster.blocks.read_only": checkBoolean,
		"cluster.blocks.read_only_allow_delete": checkBoolean, "indices.id_field_data.enabled": checkBoolean,
		"cluster.max_shards_per_node": checkPositive, "search.max_open_scroll_context": checkPositive,
		"search.max_keep_alive": checkTime, "search.default_keep_alive": checkTime, "search.default_search_timeout": checkTime,
	}
	freeCluster  = []string{"indices.recovery.", "cluster.routing.allocation.disk.", "search.max_buckets", "logger.", "xpack.monitoring."}
	otherCluster = []string{"cluster.", "indices.", "search.", "script.", "ingest.", "network.breaker.", "xpack."}
)

func checkBoolean(_, v string) *Error {
	if v != "true" && v != "false" {
		return illegal("Failed to parse value [%s] as only [true] or [false] are allowed.", v)
	}
	return nil
}

func checkPositive(k, v string) *Error {
	n, err := strconv.Atoi(v)
	if err != nil {
		return illegal("Failed to parse value [%s] for setting [%s]", v, k)
	}
	if n < 1 {
		return illegal("Failed to parse value [%s] for setting [%s] must be >= 1", v, k)
	}
	return nil
}

func checkTime(k, v string) *Error {
	_, e := parseTime(v, k)
	return e
}

// checkAutoCreate takes true, false, or a list of patterns.
func checkAutoCreate(k, v string) *Error {
	for _, p := range splitList(v) {
		if sign := p[:1]; p == "+" || p == "-" {
			return illegal("Can't parse [%s] for setting [%s] must contain an index name after [%s]", v, k, sign)
		}
	}
	return nil
}

// checkCluster refuses what _cluster/settings does not take.
func checkCluster(scope, k string, v *string) *Error {
	check, dynamic := dynamicCluster[k]
	switch {
	case dynamic && v == nil, known(freeCluster, k), strings.HasSuffix(k, "*") && v == nil:
		return nil
	case dynamic:
		return check(k, *v)
	case known(staticSettings, k) && !known(otherCluster, k):
		return illegal("%s setting [%s], not dynamically updateable", scope, k)
	case known(otherCluster, k):
		return unsupported("cluster setting [%s]", k)
	}
	return illegal("%s setting [%s], not recognized", scope, k)
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
	for _, scope := range []string{"persistent", "transient"} {
		if m, ok := body[scope].(map[string]any); ok && len(m) == 0 {
			delete(body, scope)
		}
	}
	if body["persistent"] == nil && body["transient"] == nil {
		return 0, nil, fail(400, "action_request_validation_exception", "Validation Failed: 1: no settings to update;")
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
			if e := checkCluster(scope, k, changes[k]); e != nil {
				return 0, nil, e
			}
			if changes[k] == nil {
				maps.DeleteFunc(target, func(set, _ string) bool { return wild(k, set) })
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
