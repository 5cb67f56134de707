package world

import (
	"context"
	"eslink/shared/flow"
	"fmt"
	"slices"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/network"
	"eslink/localtest/services"
)

// Kinds are those of use cases that the host can serve, in the order in which
// they are told.
var Kinds = []string{events.Watcher, events.LDAP, events.ActiveDirectory, events.Dictionary, events.ReindexUseCase}

// people are in the host's LDAP directory, where reader may search; staff are in
// its Active Directory. Their passwords are canaries, as the clusters' are.
var (
	people = services.People{Suffix: "dc=example,dc=org", Users: []services.User{{Name: "zhang", Password: "canary-zhang"}, {Name: "reader", Password: "canary-reader"}},
		Groups: []services.Group{{Name: "analysts", Members: []string{"zhang"}}}}
	staff = services.People{Suffix: "dc=corp,dc=example,dc=org", Users: []services.User{{Name: "wang", Password: "canary-wang"}}, Groups: []services.Group{{Name: "analysts", Members: []string{"wang"}}}}
)

// plugin is one with a dictionary that it reads over HTTP, as analysis-ik does.
var plugin = elastic.Plugin{Name: "remote", Setting: "remote.dictionary", Analyzers: []string{"remote_smart"}}

// useCase is one of each kind, at the port where the host serves it.
func useCase(kind string) events.UseCase {
	u := events.UseCase{Kind: kind}
	switch kind {
	case events.Watcher:
		u.Port, u.Watcher = 8080, &events.Webhook{Path: "/alerts"}
	case events.LDAP:
		u.Port, u.LDAP = 389, &events.Directory{UserDNTemplates: []string{people.UserDN(services.OpenLDAP, "{0}")}, GroupSearch: &events.Search{BaseDN: people.Suffix},
			RoleMappings: []events.RoleMapping{{Groups: []string{people.GroupDN(services.OpenLDAP, "analysts")}, Roles: []string{"analyst"}}}, UserSecret: "eslink/zhang"}
	case events.ActiveDirectory:
		u.Port, u.ActiveDirectory = 3268, &events.Directory{DomainName: staff.Domain(), UnmappedGroupsAsRoles: true, UserSecret: "eslink/wang"}
	case events.Dictionary:
		u.Port, u.Plugin = 80, &events.Plugin{Setting: plugin.Setting, Path: "/words.dic", Analyzer: plugin.Analyzers[0], Word: "cloud-native"}
	case events.ReindexUseCase:
		u.Port = 9200
	}
	return u
}

// HostSpec is the spec that connects the instance to services of these kinds.
func (w *World) HostSpec(kinds ...string) events.Spec {
	s := events.Spec{Name: "services", Scenario: flow.ESToECS, Region: Region, InstanceID: Instance, Target: events.Target{ECSInstanceID: Host},
		Secrets: events.Secrets{Instance: SecretInstance}, Approve: "auto", AcceptRisks: w.risks}
	for _, kind := range kinds {
		u := useCase(kind)
		if u.LDAP != nil && !w.mapsRoles {
			u.LDAP.RoleMappings, u.LDAP.UnmappedGroupsAsRoles = nil, true
		}
		s.UseCases = append(s.UseCases, u)
	}
	if slices.Contains(kinds, events.ReindexUseCase) {
		s.Secrets.Target = SecretTarget
		s.Indices = w.Spec().Indices
	}
	return s
}

// Serve starts the services of these kinds on the host, and puts the logins that
// belong to them where specs name them. What cannot run here is an error that
// says what it takes.
func (w *World) Serve(ctx context.Context, kinds ...string) error {
	for _, u := range slices.Concat(people.Users, staff.Users) {
		recipients := []string{Instance}
		if u.Name == "reader" { // with whose login the realm searches
			recipients = []string{"ldap://" + HostIP + ":389"}
		}
		w.Secrets.Put("eslink/"+u.Name, Login(u.Name, u.Password, recipients...))
	}
	for _, kind := range kinds {
		service, err := w.offer(ctx, kind)
		if err != nil {
			return fmt.Errorf("use case %s: %w", kind, err)
		}
		w.Network.SetService(Host, useCase(kind).Port, service)
	}
	return nil
}

// offered are the services in this process. Nobody asks them before Serve.
type offered struct {
	hook       *services.Webhook
	ldap, ad   *services.Directory
	dictionary *services.Dictionary
}

func newOffered() offered {
	p := useCase(events.Dictionary).Plugin
	return offered{hook: &services.Webhook{}, ldap: services.NewDirectory(services.OpenLDAP, people),
		ad: services.NewDirectory(services.ActiveDirectory, staff), dictionary: services.NewDictionary(p.Path, p.Word)}
}

// fakeService is a service in this process.
func (w *World) fakeService(_ context.Context, kind string) (network.Service, error) {
	switch kind {
	case events.Watcher:
		return network.Service{Handler: w.offered.hook}, nil
	case events.LDAP:
		return network.Service{Serve: w.offered.ldap.ServeConn}, nil
	case events.ActiveDirectory:
		return network.Service{Serve: w.offered.ad.ServeConn}, nil
	case events.Dictionary:
		return network.Service{Handler: w.offered.dictionary}, nil
	case events.ReindexUseCase:
		return w.selfManaged(elastic.New(elastic.Config{Name: "self-managed", Version: w.Version, Now: w.Clock.Now, Analyzers: []string{"ik_smart", "ik_max_word"},
			Users: map[string]elastic.User{"elastic": superuser, "eslink_reader": reader}}))
	}
	return network.Service{}, fmt.Errorf("use %v", Kinds)
}

// selfManaged is a cluster that its user runs on the host, with the documents
// that ES_2 holds otherwise. Ask reaches it as Host.
func (w *World) selfManaged(s Server) (network.Service, error) {
	w.mu.Lock()
	w.Servers[Host] = s
	w.mu.Unlock()
	return network.Service{Handler: s}, w.seed(Host, w.docs)
}
