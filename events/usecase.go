package events

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// What an instance may need a service on ECS for.
const (
	Watcher         = "watcher"
	LDAP            = "ldap"
	ActiveDirectory = "active-directory"
	Dictionary      = "dictionary"
	ReindexUseCase  = "reindex"
)

// UseCase is one thing that the instance needs a service on ECS for. No two of
// a spec have the same kind or the same port. The part that belongs to the kind
// is never nil; a Directory is of ldap or of active-directory.
type UseCase struct {
	Kind string `json:"kind"`
	Port int    `json:"port,omitempty"`
	// Protocol is http or https, ldap or ldaps, as the kind has it.
	Protocol        string     `json:"protocol,omitempty"`
	Watcher         *Webhook   `json:"watcher,omitempty"`
	LDAP            *Directory `json:"ldap,omitempty"`
	ActiveDirectory *Directory `json:"activeDirectory,omitempty"`
	Plugin          *Plugin    `json:"plugin,omitempty"`
}

// Webhook is the request by which Watcher is proven: the service sees it once
// for every check.
type Webhook struct {
	Path   string `json:"path,omitempty"`
	Method string `json:"method,omitempty"`
	Body   string `json:"body,omitempty"`
}

// Directory is a realm of users that a directory knows.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/ldap-realm.html
type Directory struct {
	Realm string `json:"realm,omitempty"`
	// Order is the realm's place among all realms; 0 is the next free one.
	Order int `json:"order,omitempty"`
	// DomainName is of active-directory.
	DomainName string `json:"domainName,omitempty"`
	// UserDNTemplates are of ldap, and need no secret on the nodes.
	UserDNTemplates []string `json:"userDnTemplates,omitempty"`
	// BindDN is who searches, with the password that BindSecret holds. Without
	// it a search is anonymous (ldap), or the user's own (active-directory).
	BindDN     string  `json:"bindDn,omitempty"`
	BindSecret string  `json:"bindSecret,omitempty"`
	UserSearch *Search `json:"userSearch,omitempty"`
	// GroupSearch is left out where the directory itself says whose member a
	// user is.
	GroupSearch           *Search       `json:"groupSearch,omitempty"`
	UnmappedGroupsAsRoles bool          `json:"unmappedGroupsAsRoles,omitempty"`
	RoleMappings          []RoleMapping `json:"roleMappings,omitempty"`
	// UserSecret names the secret of a user of the directory, who logs in to
	// prove the realm.
	UserSecret string `json:"userSecret"`
}

// Search is where and how a directory is searched.
type Search struct {
	BaseDN string `json:"baseDn"`
	Filter string `json:"filter,omitempty"`
}

// RoleMapping gives roles to members of groups, or to all users of the realm.
type RoleMapping struct {
	Groups []string `json:"groups,omitempty"` // distinguished names
	Roles  []string `json:"roles"`
}

// Plugin is a plugin that reads a dictionary over HTTP.
type Plugin struct {
	// Setting, if any, is the plugin's own setting that holds the dictionary's
	// address.
	Setting  string `json:"setting,omitempty"`
	Path     string `json:"path"`
	Analyzer string `json:"analyzer"`
	// Word is one token once the dictionary is read.
	Word string `json:"word"`
}

// UseCase returns the spec's use case of a kind.
func (s Spec) UseCase(kind string) (UseCase, bool) {
	i := slices.IndexFunc(s.UseCases, func(u UseCase) bool { return u.Kind == kind })
	if i < 0 {
		return UseCase{}, false
	}
	return s.UseCases[i], true
}

// Ports are those that the balancer listens on, in the spec's order.
func (s Spec) Ports() []int {
	if len(s.UseCases) == 0 {
		return []int{s.Target.Port}
	}
	var ports []int
	for _, u := range s.UseCases {
		ports = append(ports, u.Port)
	}
	return ports
}

// Copies reports whether the run moves documents.
func (s Spec) Copies() bool { return len(s.Indices) > 0 }

// Source is how the cluster that documents come from is spoken to.
func (s Spec) Source() (protocol string, port int) {
	if u, ok := s.UseCase(ReindexUseCase); ok {
		return u.Protocol, u.Port
	}
	return s.Target.Protocol, s.Target.Port
}

// Directory is the realm of the use case, or nil if its kind has none.
func (u UseCase) Directory() *Directory { return cmp.Or(u.LDAP, u.ActiveDirectory) }

// TLS reports whether the service speaks TLS.
func (u UseCase) TLS() bool { return u.Protocol == "https" || u.Protocol == "ldaps" }

func (u *UseCase) fill() {
	ports := map[string]int{"http": 8080, "https": 8080, "ldap": 389, "ldaps": 636}
	protocol, realm := "http", "ldap1"
	switch u.Kind {
	case Watcher:
		if u.Watcher == nil {
			u.Watcher = &Webhook{}
		}
		w := u.Watcher
		w.Path, w.Method, w.Body = cmp.Or(w.Path, "/"), cmp.Or(w.Method, "post"), cmp.Or(w.Body, `{"text":"eslink checks this webhook"}`)
	case ActiveDirectory:
		protocol, realm = "ldap", "ad1"
	case LDAP:
		protocol = "ldap"
	case ReindexUseCase:
		ports = map[string]int{"http": 9200, "https": 9200}
	}
	u.Protocol = cmp.Or(u.Protocol, protocol)
	u.Port = cmp.Or(u.Port, ports[u.Protocol])
	if d := u.Directory(); d != nil {
		d.Realm = cmp.Or(d.Realm, realm)
	}
}

func checkUseCases(all []UseCase, fs *Findings) {
	for i, u := range all {
		at := fmt.Sprintf("spec.useCases[%d]", i)
		for j, other := range all[:i] {
			if u.Kind == other.Kind {
				fs.Add(at+".kind", fmt.Sprintf("%s is the kind of useCases[%d] already", u.Kind, j), "name each kind once; another service of that kind takes a run of its own")
			}
			if u.Port == other.Port {
				fs.Add(at+".port", fmt.Sprintf("%d is the port of useCases[%d] already", u.Port, j), "give every use case a port of its own: the balancer has one listener a port")
			}
			d, o := u.Directory(), other.Directory()
			if d != nil && o != nil && u.Kind != other.Kind {
				if d.Realm == o.Realm {
					fs.Add(at+"."+u.Part()+".realm", fmt.Sprintf("%s is the realm of useCases[%d] already", d.Realm, j), "give every realm a name of its own")
				}
				if d.Order != 0 && d.Order == o.Order {
					fs.Add(at+"."+u.Part()+".order", fmt.Sprintf("%d is the order of useCases[%d] already", d.Order, j), "give every realm a place of its own, or leave it out")
				}
			}
		}
		if p := u.Plugin; p != nil && slices.ContainsFunc(coreSettings, func(prefix string) bool { return strings.HasPrefix(p.Setting, prefix) }) {
			fs.Add(at+".plugin.setting", p.Setting+" is a setting of Elasticsearch itself", "name the plugin's own setting, or leave it out if the plugin has another place for the address")
		}
	}
}

// Part is the name of the use case's own part.
func (u UseCase) Part() string {
	switch u.Kind {
	case ActiveDirectory:
		return "activeDirectory"
	case Dictionary:
		return "plugin"
	}
	return u.Kind
}

// coreSettings are settings that no plugin's dictionary has, by prefix: what
// they could do is not a use case's to ask.
var coreSettings = []string{"action.", "bootstrap.", "cluster.", "discovery.", "gateway.", "http.", "indices.", "ingest.", "logger.", "monitor.", "network.",
	"node.", "path.", "plugin.", "processors.", "reindex.", "remote_cluster.", "repositories.", "script.", "search.", "snapshot.", "thread_pool.", "transport.", "xpack."}

// hostAddress reports whether ip is an address that a host in a VPC may have.
func hostAddress(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsGlobalUnicast()
}
