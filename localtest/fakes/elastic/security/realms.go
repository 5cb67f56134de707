package security

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/privilege"
	"eslink/localtest/fakes/elastic/store"
)

// realm is one link of the chain.
type realm struct {
	kind, name string            // "ldap", "ldap1": xpack.security.authc.realms.ldap.ldap1.*
	order      int               // math.MaxInt32 in 7.x, when none is set
	set        map[string]string // settings, by what follows that prefix
	secret     string            // secure_bind_password
	cache      map[string]login  // guarded by the server's mutex
}

// login is a success that the realm repeats without asking the directory, as
// long as the password is the same.
type login struct {
	password string
	user     *privilege.Principal
	until    time.Time
}

func (r *realm) ref() esjson.Object { return esjson.Obj("name", r.name, "type", r.kind) }

func (r *realm) flag(name string, otherwise bool) bool {
	return cmp.Or(r.set[name], strconv.FormatBool(otherwise)) == "true"
}

// What a realm may be told; a name that ends in a dot stands for all below it.
var (
	anyRealm     = []string{"enabled", "order", "cache.ttl", "cache.max_users", "cache.hash_algo", "authentication.enabled"}
	anyDirectory = slices.Concat(anyRealm, []string{"url", "bind_dn", "bind_password", "unmapped_groups_as_roles", "files.role_mapping", "metadata",
		"load_balance.type", "load_balance.cache_ttl", "follow_referrals", "ignore_referral_errors", "hostname_verification",
		"timeout.tcp_connect", "timeout.tcp_read", "timeout.response", "timeout.ldap_search", "timeout.execution",
		"group_search.base_dn", "group_search.scope", "user_search.base_dn", "user_search.scope", "user_search.filter",
		"user_search.pool.enabled", "user_search.pool.initial_size", "user_search.pool.size", "user_search.pool.health_check.",
		"ssl.verification_mode", "ssl.certificate_authorities", "ssl.certificate", "ssl.key", "ssl.key_passphrase", "ssl.keystore.", "ssl.truststore.",
		"ssl.supported_protocols", "ssl.cipher_suites", "ssl.client_authentication"})
	realmSettings = map[string][]string{
		"file": anyRealm, "native": anyRealm,
		"ldap": slices.Concat(anyDirectory, []string{"user_dn_templates", "user_search.attribute", "user_group_attribute",
			"group_search.filter", "group_search.user_attribute", "authorization_realms"}),
		"active_directory": slices.Concat(anyDirectory, []string{"domain_name", "user_search.upn_filter", "user_search.down_level_filter",
			"port.ldap", "port.ldaps", "port.gc_ldap", "port.gc_ldaps"}),
	}
	// Known to real servers, and to this one only by name.
	otherRealms = []string{"pki.", "saml.", "kerberos.", "oidc.", "jwt."}
	notDone     = []string{"files.role_mapping", "metadata", "authorization_realms", "user_search.down_level_filter", "user_search.upn_filter", "load_balance.type",
		"ssl.certificate_authorities", "ssl.certificate", "ssl.key", "ssl.keystore.", "ssl.truststore."}
)

// Logins says who a caller is: the realms of a cluster and its role mappings.
type Logins struct {
	S        *store.Cluster
	Keystore map[string]string // read at boot
	Realms   []*realm
	mappings map[string]roleMapping // of directory users; replaced, never changed
}

// realmSet are the realms of a configuration, by kind.name.
type realmSet map[string]*realm

// at is the realm that a setting belongs to, and the rest of its name.
func (all realmSet) at(key string) (r *realm, rest string, ok bool) {
	path, ok := strings.CutPrefix(key, store.RealmPrefix)
	kind, path, more := strings.Cut(path, ".")
	name, rest, most := strings.Cut(path, ".")
	if _, isKind := realmSettings[kind]; !ok || !isKind || !more || !most {
		return nil, "", false
	}
	if all[kind+"."+name] == nil {
		all[kind+"."+name] = &realm{kind: kind, name: name, order: 1<<31 - 1, set: map[string]string{}, cache: map[string]login{}}
	}
	return all[kind+"."+name], rest, true
}

// Chain reads the realms of these settings and of the keystore, or refuses to
// boot with the words of a 7.17 node (8.x where they differ).
func Chain(v esjson.Version, settings, keystore map[string]string) ([]*realm, error) {
	byName := realmSet{}
	if e := byName.configure(settings); e != nil {
		return nil, e
	}
	if e := byName.unlock(keystore); e != nil {
		return nil, e
	}
	all := slices.Collect(maps.Values(byName))
	slices.SortFunc(all, func(a, b *realm) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.name, b.name)) })
	all = slices.DeleteFunc(all, func(r *realm) bool { return !r.flag("enabled", true) })
	for n, r := range all {
		if e := r.check(); e != nil {
			return nil, e
		}
		if e := r.beside(v, all[:n]); e != nil {
			return nil, e
		}
		if _, ordered := r.set["order"]; !ordered && v.AtLeast(8, 0) {
			return nil, esjson.Illegal("'order' is a mandatory parameter for realm config. Found invalid config for realm: '%s'\nPlease see the breaking changes documentation.", r.name)
		}
	}
	// From 8.0 on, each of the two that nobody named is there; before, only both
	// together and where no other realm is: a realm configured beside none of them
	// locks native and file users out.
	empty := len(all) == 0
	for _, kind := range []string{"native", "file"} {
		named := slices.ContainsFunc(slices.Collect(maps.Values(byName)), func(r *realm) bool { return r.kind == kind })
		if empty || !named && v.AtLeast(8, 0) {
			all = slices.Insert(all, 0, &realm{kind: kind, name: "default_" + kind})
		}
	}
	return all, nil
}

// configure takes the settings of elasticsearch.yml.
func (all realmSet) configure(settings map[string]string) *esjson.Error {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if !strings.HasPrefix(key, store.RealmPrefix) {
			continue
		}
		r, rest, ok := all.at(key)
		switch {
		case strings.Count(strings.TrimPrefix(key, store.RealmPrefix), ".") == 1:
			return esjson.Illegal("Incorrect realm settings found. Realm settings have been changed to include the type as part of the setting key.")
		case ok && rest == "secure_bind_password":
			return esjson.Illegal("Setting [%s] is a secure setting and must be stored inside the Elasticsearch keystore, but was found inside elasticsearch.yml", key)
		case esjson.Known(otherRealms, strings.TrimPrefix(key, store.RealmPrefix)), ok && esjson.Known(notDone, rest) && esjson.Known(realmSettings[r.kind], rest):
			return esjson.Unsupported("setting [%s]", key)
		case !ok || !esjson.Known(realmSettings[r.kind], rest):
			return esjson.UnknownSetting(key)
		}
		if e := checkRealmValue(key, rest, settings[key]); e != nil {
			return e
		}
		if r.set[rest] = settings[key]; rest == "order" {
			r.order, _ = strconv.Atoi(settings[key]) // just checked
		}
	}
	return nil
}

// unlock takes the secrets of the keystore.
func (all realmSet) unlock(keystore map[string]string) *esjson.Error {
	for _, key := range slices.Sorted(maps.Keys(keystore)) {
		switch r, rest, ok := all.at(key); {
		case ok && rest == "secure_bind_password" && len(r.set) == 0:
			return esjson.Fail(500, "settings_exception", "found settings for the realm [%s] (with type [%s]) in the secure settings (elasticsearch.keystore), but this realm does not have any settings in elasticsearch.yml. Please remove these settings from the keystore, or update their names to match one of the realms that are defined in elasticsearch.yml - [%s]", r.name, r.kind, key)
		case ok && rest == "secure_bind_password":
			r.secret = keystore[key]
		case !esjson.Known([]string{"keystore.seed", "bootstrap.password", "xpack.notification.", "xpack.security.http.ssl.", "xpack.security.transport.ssl."}, key):
			return esjson.Fail(400, "illegal_argument_exception", "unknown secure setting [%s] please check that any required plugins are installed, or check the breaking changes documentation for removed settings", key)
		}
	}
	return nil
}

// beside refuses a realm that others do not leave room for.
func (r *realm) beside(v esjson.Version, others []*realm) *esjson.Error {
	for _, other := range others {
		switch {
		case other.name == r.name:
			return esjson.Illegal("Found multiple realms configured with the same name: %s: [%s, %s]", r.name, store.RealmPrefix+other.kind+"."+r.name, store.RealmPrefix+r.kind+"."+r.name)
		case other.kind == r.kind && (r.kind == "file" || r.kind == "native"):
			return esjson.Illegal("multiple [%s] realms are configured. [%[1]s] is an internal realm and therefore there can only be one such realm configured", r.kind)
		case v.AtLeast(8, 0) && other.order == r.order: // 7.x logs a deprecation
			return esjson.Illegal("Found multiple realms configured with the same order: %d: [%s, %s]", r.order, store.RealmPrefix+other.kind+"."+other.name+".order", store.RealmPrefix+r.kind+"."+r.name+".order")
		}
	}
	return nil
}

func checkRealmValue(key, rest, value string) *esjson.Error {
	switch rest {
	case "enabled", "authentication.enabled", "unmapped_groups_as_roles", "follow_referrals", "ignore_referral_errors", "hostname_verification", "user_search.pool.enabled":
		if value != "true" && value != "false" {
			return esjson.Illegal("Failed to parse value [%s] as only [true] or [false] are allowed.", value)
		}
	case "order":
		if _, err := strconv.ParseInt(value, 10, 32); err != nil {
			return esjson.Illegal("Failed to parse value [%s] for setting [%s]", value, key)
		}
	case "group_search.scope", "user_search.scope":
		if _, ok := searchScopes[value]; !ok {
			return esjson.Illegal("unknown search scope [%s]", value)
		}
	case "ssl.verification_mode":
		if !slices.Contains([]string{"full", "certificate", "none"}, value) {
			return esjson.Illegal("could not resolve verification mode. unknown value [%s]", value)
		}
	case "cache.ttl", "timeout.tcp_connect", "timeout.tcp_read", "timeout.ldap_search", "timeout.response", "timeout.execution":
		if _, ok := esjson.TimeValue(value); !ok {
			return esjson.Illegal("failed to parse setting [%s] with value [%s] as a time value: unit is missing or unrecognized", key, value)
		}
	}
	return nil
}

func (r *realm) time(name string, otherwise time.Duration) time.Duration {
	if d, ok := esjson.TimeValue(r.set[name]); ok {
		return d
	}
	return otherwise
}

// authenticateChain asks the realms in turn; nil is nobody. It does not hold the server's mutex while it
// talks to a directory.
func (l *Logins) authenticateChain(name, password string) (*privilege.Principal, *esjson.Error) {
	s := l.S
	s.Mu.Lock()
	chain, reserved := l.Realms, s.Settings["xpack.security.authc.reserved_realm.enabled"] != "false"
	s.Mu.Unlock()
	own, exists := s.Config.Users[name]
	fits := exists && equal(own.Password, password)
	if name == "elastic" && reserved {
		if !fits {
			return nil, nil
		}
		return &privilege.Principal{Name: name, User: own, Realm: esjson.Obj("name", "reserved", "type", "reserved"), Metadata: esjson.Obj("_reserved", true)}, nil
	}
	for _, r := range chain {
		switch r.kind {
		case "native":
			if fits && name != "elastic" {
				if len(own.Roles) == 0 {
					own.Roles = []string{name}
				}
				return &privilege.Principal{Name: name, User: own, Realm: r.ref(), Metadata: esjson.Obj()}, nil
			}
		case "ldap", "active_directory":
			if p, e := l.cachedLogin(r, name, password); p != nil || e != nil {
				return p, e
			}
		}
	}
	return nil, nil
}

// cachedLogin is a login at a directory, or the memory of one: a password that
// was right is not asked about again for 20 minutes, whether the directory is
// there or not. A wrong one drops the memory.
func (l *Logins) cachedLogin(r *realm, name, password string) (*privilege.Principal, *esjson.Error) {
	s := l.S
	now, ttl := s.Config.Now(), r.time("cache.ttl", 20*time.Minute)
	s.Mu.Lock()
	known, ok := r.cache[name]
	if ok && now.Before(known.until) && equal(known.password, password) {
		s.Mu.Unlock()
		return known.user, nil
	}
	delete(r.cache, name)
	ctx, mappings := s.Inflight, l.mappings
	s.Mu.Unlock()
	id, err := l.askDirectory(ctx, r, name, password)
	if err != nil {
		s.Config.Log.Info("authentication failed", "realm", r.name, "user", name, "err", err)
		var e *esjson.Error
		errors.As(err, &e)
		return nil, e
	}
	roles, e := rolesOf(r, id, mappings)
	if e != nil {
		return nil, e
	}
	p := &privilege.Principal{Name: name, Realm: r.ref(), Metadata: esjson.Obj("ldap_dn", id.dn, "ldap_groups", append([]string{}, id.groups...))}
	p.User = l.withRoles(roles)
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if ttl > 0 {
		r.cache[name] = login{password, p, now.Add(ttl)}
	}
	return p, nil
}

// clearCaches forgets logins of the named realms ("*" is all), of those users or
// of everyone.
func (l *Logins) clearCaches(name string, users []string) (found bool) {
	for _, r := range l.Realms {
		if name != "*" && name != r.name {
			continue
		}
		found = true
		maps.DeleteFunc(r.cache, func(u string, _ login) bool { return len(users) == 0 || slices.Contains(users, u) })
	}
	return found
}

func (l *Logins) ClearRealmCache(c *store.Call) (int, any, error) {
	s := l.S
	head := func(failed int, failures ...esjson.Object) esjson.Object {
		o := esjson.Obj("total", s.Config.Nodes, "successful", s.Config.Nodes-failed, "failed", failed)
		if failed > 0 {
			o = o.With("failures", failures)
		}
		return o
	}
	for _, name := range esjson.SplitList(c.Vars["realms"]) {
		if l.clearCaches(name, esjson.SplitList(c.Q.Get("usernames"))) {
			continue
		}
		var failures []esjson.Object
		for n := range s.Config.Nodes {
			failures = append(failures, esjson.Obj("type", "failed_node_exception", "reason", "Failed node ["+s.NodeID(n)+"]", "node_id", s.NodeID(n),
				"caused_by", esjson.Illegal("could not find active realm [%s]", name)))
		}
		return 200, esjson.Obj("_nodes", head(s.Config.Nodes, failures...), "cluster_name", s.Config.Name, "nodes", esjson.Obj()), nil
	}
	nodes := esjson.Obj()
	for n := range s.Config.Nodes {
		nodes = nodes.With(s.NodeID(n), esjson.Obj("name", s.NodeName(n)))
	}
	return 200, esjson.Obj("_nodes", head(0), "cluster_name", s.Config.Name, "nodes", nodes), nil
}
