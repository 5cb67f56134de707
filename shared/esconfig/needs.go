package esconfig

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"eslink/events"
)

// Settings of use cases.
const (
	WatcherEnabled = "xpack.watcher.enabled"
	// Verification of certificates, of _reindex and of Watcher's webhooks; a
	// realm has its own.
	Verification        = "reindex.ssl.verification_mode"
	WebhookVerification = "xpack.http.ssl.verification_mode"

	// Realms begins the settings of all realms.
	Realms        = "xpack.security.authc.realms."
	reservedRealm = "xpack.security.authc.reserved_realm.enabled"
)

// Needs says what a spec needs of a configuration, given the domain of its
// endpoint or Placeholder, and what of that cannot be had. before is the
// configuration as it was before the run's first write, or nil. A spec of
// nothing needs nothing, or next to nothing: see base.
func Needs(s events.Spec, domain string, config map[string]string, ours Ours, before map[string]string) (Want, events.Findings) {
	n := needs{want: Want{Settings: map[string]string{}}, realms: realmsOf(config), config: config, ours: ours}
	// verify checks a certificate's chain and not its name, if the spec says so.
	verify := func(tls bool, key string) {
		if tls && s.Target.TLS == Certificate {
			n.want.Settings[key] = Certificate
		}
	}
	if protocol, port := s.Source(); port != 0 {
		n.want.Entry = fmt.Sprintf("%s:%d", domain, port)
		verify(protocol == "https", Verification)
	}
	directories := false
	for i, u := range s.UseCases {
		url := fmt.Sprintf("%s://%s:%d", u.Protocol, domain, u.Port)
		switch d := u.Directory(); {
		case d != nil:
			if !directories {
				n.base()
				directories = true
			}
			prefix := n.directory(fmt.Sprintf("useCases[%d].%s", i, u.Part()), u, url)
			verify(u.TLS(), prefix+"ssl.verification_mode")
		case u.Kind == events.Watcher:
			n.want.Settings[WatcherEnabled] = "true"
			verify(u.TLS(), WebhookVerification)
		case u.Plugin != nil && u.Plugin.Setting != "":
			n.want.Settings[u.Plugin.Setting] = url + u.Plugin.Path
		}
	}
	if !directories {
		n.leaveBase(before)
	}
	return n.want, n.findings
}

// commonSettings are those that mean the same for every run.
var commonSettings = []string{WatcherEnabled, WebhookVerification, Verification}

// common are those of them that a spec needs.
func common(s events.Spec) []string {
	want, _ := Needs(s, Placeholder, nil, Ours{}, nil)
	return slices.DeleteFunc(slices.Clone(commonSettings), func(key string) bool { return want.Settings[key] == "" })
}

// SecurePassword is the secure setting of the password that a realm binds with.
func SecurePassword(u events.UseCase) string { return realmPrefix(u) + securePassword }

const securePassword = "secure_bind_password"

// IsPassword reports whether a setting is such a secure one.
func IsPassword(key string) bool { return strings.HasSuffix(key, "."+securePassword) }

// KeystoreRemedy is what can be done where there is no keystore.
const KeystoreRemedy = "give userDnTemplates instead of bindDn and userSearch (Active Directory: leave bindDn out), which need no secret on the nodes; or, of an instance of cloud-native control (v3), have Alibaba Cloud put it on the keystore's allowlist"

func realmPrefix(u events.UseCase) string {
	kind := "ldap"
	if u.Kind == events.ActiveDirectory {
		kind = "active_directory"
	}
	return Realms + kind + "." + u.Directory().Realm + "."
}

// needs collects what a spec needs.
type needs struct {
	want     Want
	findings events.Findings
	realms   map[string]*realm // by prefix
	config   map[string]string
	ours     Ours
}

// realm is a realm of a configuration.
type realm struct {
	kind, name string
	order      int // math.MinInt if it has none: then it is the first
	keys       []string
}

// A realm's key since 7.0: type and name, then the setting.
var realmKey = regexp.MustCompile(`^(xpack\.security\.authc\.realms\.([a-z_]+)\.([^.]+)\.)(.+)$`)

func realmsOf(config map[string]string) map[string]*realm {
	all := map[string]*realm{}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		m := realmKey.FindStringSubmatch(key)
		if m == nil {
			continue
		}
		r := all[m[1]]
		if r == nil {
			r = &realm{kind: m[2], name: m[3], order: math.MinInt}
			all[m[1]] = r
		}
		r.keys = append(r.keys, key)
		if order, err := strconv.Atoi(strings.TrimSpace(config[key])); err == nil && m[4] == "order" {
			r.order = order
		}
	}
	return all
}

// directoryOf returns the prefix of the realm whose place a key is, if it is one
// of a directory.
func directoryOf(key string) (prefix string, ok bool) {
	m := realmKey.FindStringSubmatch(key)
	if m == nil || m[4] != "order" || slices.Contains(baseRealms, m[2]) {
		return "", false
	}
	return m[1], true
}

// own reports whether a key is as the run left it.
func (n *needs) own(key string) bool {
	set, ok := n.ours.Settings[key]
	return ok && n.config[key] == set.After
}

// The realms that Elasticsearch has of itself, by type. Before 8.0 they are
// there by default only while no other realm is configured.
var baseRealms = []string{"native", "file"}

// base keeps the native and the file realm, and in front: a user of theirs must
// be able to log in while a directory is down. elastic itself is of the reserved
// realm, which keeps its password with the native one's.
func (n *needs) base() {
	if strings.TrimSpace(n.config[reservedRealm]) == "false" {
		n.findings.Add("instanceId", reservedRealm+" is false: elastic could not log in", "remove that setting in the console first")
	}
	for _, kind := range baseRealms {
		there := false
		for _, prefix := range slices.Sorted(maps.Keys(n.realms)) {
			if r := n.realms[prefix]; r.kind == kind && !n.own(prefix+"order") {
				there = true
				if strings.TrimSpace(n.config[prefix+"enabled"]) == "false" {
					n.findings.Add("instanceId", "its "+kind+" realm "+r.name+" is switched off: users of that realm, who look after the cluster, could not log in while the directory is down",
						"remove "+prefix+"enabled in the console first")
				}
			}
		}
		if there {
			continue
		}
		prefix := Realms + kind + "." + kind + "1."
		order := n.realms[prefix]
		if order == nil {
			order = &realm{kind: kind, name: kind + "1", order: n.free(0)}
			n.realms[prefix] = order
		}
		n.want.Settings[prefix+"order"] = strconv.Itoa(order.order)
	}
}

// free is the first place from a number on that no realm has.
func (n *needs) free(from int) int {
	for slices.ContainsFunc(slices.Collect(maps.Values(n.realms)), func(r *realm) bool { return r.order == from }) {
		from++
	}
	return from
}

// leaveBase leaves our native and file realms in a configuration in which
// somebody else has begun to rely on them: with realms of their own, or with
// settings of these.
func (n *needs) leaveBase(before map[string]string) {
	was, others := realmsOf(before), false
	for prefix, r := range n.realms {
		others = others || was[prefix] == nil && !slices.Contains(baseRealms, r.kind) && !slices.ContainsFunc(r.keys, n.own)
	}
	for prefix, r := range n.realms {
		if key := prefix + "order"; slices.Contains(baseRealms, r.kind) && n.own(key) && (others || len(r.keys) > 1) {
			n.want.Settings[key] = n.config[key]
		}
	}
}

// directory adds a realm, in its form since 7.0, and returns its prefix.
func (n *needs) directory(field string, u events.UseCase, url string) (prefix string) {
	d := u.Directory()
	prefix = realmPrefix(u)
	for _, p := range slices.Sorted(maps.Keys(n.realms)) {
		if r := n.realms[p]; p != prefix && r.name == d.Realm {
			n.findings.Add(field+".realm", fmt.Sprintf("the instance has a realm %s already, of type %s", r.name, r.kind), "name another realm")
		}
	}
	order := n.order(field, prefix, d.Order)
	set := map[string]string{"order": strconv.Itoa(order), "url": url, "bind_dn": d.BindDN}
	if u.Kind == events.ActiveDirectory {
		set["domain_name"] = d.DomainName
	}
	if len(d.UserDNTemplates) > 0 {
		set["user_dn_templates"] = `["` + strings.Join(d.UserDNTemplates, `","`) + `"]` // names have commas
	}
	for part, s := range map[string]*events.Search{"user_search": d.UserSearch, "group_search": d.GroupSearch} {
		if s != nil {
			set[part+".base_dn"], set[part+".filter"] = s.BaseDN, s.Filter
		}
	}
	if d.UnmappedGroupsAsRoles {
		set["unmapped_groups_as_roles"] = "true"
	}
	same := true
	for key, value := range set {
		if value != "" {
			n.want.Settings[prefix+key] = value
			same = same && n.config[prefix+key] == value
		}
	}
	// One of that name which is not ours is left alone, unless it is the very
	// one that is wanted.
	if r := n.realms[prefix]; r != nil && len(r.keys) > 0 && !same && !slices.ContainsFunc(r.keys, n.own) {
		n.findings.Add(field+".realm", "the instance has a realm "+d.Realm+" already, with other settings", "name another realm, or remove that one in the console first")
	}
	if n.realms[prefix] == nil {
		n.realms[prefix] = &realm{name: d.Realm}
	}
	n.realms[prefix].order = order
	return prefix
}

// order is a realm's place: the one asked for, the one that it has, or the next
// after all others. It is after the base realms, and no other's.
func (n *needs) order(field, prefix string, asked int) int {
	base, last := math.MinInt, math.MinInt
	for p, r := range n.realms {
		if p == prefix {
			continue
		}
		last = max(last, r.order)
		if slices.Contains(baseRealms, r.kind) {
			base = max(base, r.order)
		}
	}
	has := math.MinInt
	if r := n.realms[prefix]; r != nil {
		has = r.order
	}
	next := max(last+1, 2)
	if asked == 0 {
		return cmp.Or(max(has, 0), next)
	}
	if asked <= base {
		n.findings.Add(field+".order", fmt.Sprintf("%d is not after the native and file realms (%d): they are kept first, so that elastic can log in whatever the directory does", asked, base),
			fmt.Sprintf("say %d, or leave the order out", next))
	}
	for _, p := range slices.Sorted(maps.Keys(n.realms)) {
		if r := n.realms[p]; p != prefix && r.order == asked && asked > base {
			n.findings.Add(field+".order", fmt.Sprintf("%d is the order of realm %s", asked, r.name), fmt.Sprintf("say %d, or leave the order out", next))
		}
	}
	return asked
}
