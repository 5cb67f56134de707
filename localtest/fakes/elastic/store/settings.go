package store

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
)

// A login goes along a chain: the reserved realm, which alone knows elastic and
// ends the chain on its wrong password, then the realms of elasticsearch.yml by
// order. Without any, the file and native realms are there, under default names.
// Config.Users but for elastic are native users.

const RealmPrefix = "xpack.security.authc.realms."

// StaticSettings are the node settings this server knows, by prefix: an unknown
// one keeps a real node from booting, a wrongly spelt one of these groups too.
var StaticSettings = []string{
	"action.auto_create_index", "action.destructive_requires_name", "bootstrap.", "cluster.", "discovery.", "gateway.",
	"http.", "indices.", "ingest.", "logger.", "monitor.", "network.", "node.", "path.", "processors",
	"reindex.remote.whitelist", "reindex.ssl.certificate_authorities", "reindex.ssl.certificate", "reindex.ssl.key",
	"reindex.ssl.key_passphrase", "reindex.ssl.keystore.", "reindex.ssl.truststore.", "reindex.ssl.verification_mode",
	"reindex.ssl.supported_protocols", "reindex.ssl.cipher_suites", "script.", "search.", "thread_pool.", "transport.",
	"xpack.http.", "xpack.license.", "xpack.ml.", "xpack.monitoring.", "xpack.notification.", "xpack.security.", "xpack.watcher.",
}

var BooleanSettings = []string{"action.destructive_requires_name", "http.cors.enabled", "xpack.security.enabled", "xpack.watcher.enabled"}

// secretive says whether nodes tell nobody their value of a setting.
func secretive(key string) bool {
	path, ofRealm := strings.CutPrefix(key, RealmPrefix)
	parts := strings.SplitN(path, ".", 3)
	return strings.HasPrefix(key, "reindex.ssl.") || ofRealm && len(parts) == 3 &&
		esjson.Known([]string{"bind_dn", "bind_password", "hostname_verification", "ssl."}, parts[2])
}

// dynamicCluster are the cluster settings that _cluster/settings takes, and what it
// makes of a value. Those of freeCluster have no effect that a client of this server
// could see; any other that a real cluster takes is refused.
var (
	dynamicCluster = map[string]func(key, value string) *esjson.Error{
		"action.auto_create_index": checkAutoCreate, "action.destructive_requires_name": checkBoolean, "cluster.blocks.read_only": checkBoolean,
		"cluster.blocks.read_only_allow_delete": checkBoolean, "indices.id_field_data.enabled": checkBoolean,
		"cluster.max_shards_per_node": checkPositive, "search.max_open_scroll_context": checkPositive,
		"search.max_keep_alive": checkTime, "search.default_keep_alive": checkTime, "search.default_search_timeout": checkTime,
	}
	freeCluster  = []string{"indices.recovery.", "cluster.routing.allocation.disk.", "search.max_buckets", "logger.", "xpack.monitoring."}
	otherCluster = []string{"cluster.", "indices.", "search.", "script.", "ingest.", "network.breaker.", "xpack."}
)

func checkBoolean(_, v string) *esjson.Error {
	if v != "true" && v != "false" {
		return esjson.Illegal("Failed to parse value [%s] as only [true] or [false] are allowed.", v)
	}
	return nil
}

func checkPositive(k, v string) *esjson.Error {
	n, err := strconv.Atoi(v)
	if err != nil {
		return esjson.Illegal("Failed to parse value [%s] for setting [%s]", v, k)
	}
	if n < 1 {
		return esjson.Illegal("Failed to parse value [%s] for setting [%s] must be >= 1", v, k)
	}
	return nil
}

func checkTime(k, v string) *esjson.Error {
	_, e := esjson.ParseTime(v, k)
	return e
}

// checkAutoCreate takes true, false, or a list of patterns.
func checkAutoCreate(k, v string) *esjson.Error {
	for _, p := range esjson.SplitList(v) {
		if sign := p[:1]; p == "+" || p == "-" {
			return esjson.Illegal("Can't parse [%s] for setting [%s] must contain an index name after [%s]", v, k, sign)
		}
	}
	return nil
}

// checkCluster refuses what _cluster/settings does not take.
func checkCluster(scope, k string, v *string) *esjson.Error {
	check, dynamic := dynamicCluster[k]
	switch {
	case dynamic && v == nil, esjson.Known(freeCluster, k), strings.HasSuffix(k, "*") && v == nil:
		return nil
	case dynamic:
		return check(k, *v)
	case esjson.Known(StaticSettings, k) && !esjson.Known(otherCluster, k):
		return esjson.Illegal("%s setting [%s], not dynamically updateable", scope, k)
	case esjson.Known(otherCluster, k):
		return esjson.Unsupported("cluster setting [%s]", k)
	}
	return esjson.Illegal("%s setting [%s], not recognized", scope, k)
}

func (c *Call) GetClusterSettings() (int, any, error) {
	flat := c.Flag("flat_settings", false)
	reply := esjson.Obj("persistent", esjson.SettingsReply(c.S.persistent, flat), "transient", esjson.SettingsReply(c.S.Transient, flat))
	if c.Flag("include_defaults", false) {
		reply = reply.With("defaults", esjson.SettingsReply(c.S.Settings, flat))
	}
	return 200, reply, nil
}

func (c *Call) PutClusterSettings() (int, any, error) {
	var body map[string]any
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	for _, scope := range []string{"persistent", "transient"} {
		if m, ok := body[scope].(map[string]any); ok && len(m) == 0 {
			delete(body, scope)
		}
	}
	if body["persistent"] == nil && body["transient"] == nil {
		return 0, nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: no settings to update;")
	}
	reply := esjson.Obj("acknowledged", true)
	for _, scope := range []string{"persistent", "transient"} {
		changes := map[string]*string{}
		if m, ok := body[scope].(map[string]any); ok {
			esjson.Flatten("", m, changes)
		}
		target := map[string]map[string]string{"persistent": c.S.persistent, "transient": c.S.Transient}[scope]
		done := map[string]string{}
		for _, k := range slices.Sorted(maps.Keys(changes)) {
			if e := checkCluster(scope, k, changes[k]); e != nil {
				return 0, nil, e
			}
			if changes[k] == nil {
				maps.DeleteFunc(target, func(set, _ string) bool { return esjson.Wild(k, set) })
			} else {
				target[k], done[k] = *changes[k], *changes[k]
			}
		}
		reply = reply.With(scope, esjson.SettingsReply(done, c.Flag("flat_settings", false)))
	}
	return 200, reply, nil
}
