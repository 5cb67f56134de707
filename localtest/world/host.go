package world

import (
	"context"
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

// Passwords of the directories' users: canaries, as the clusters' are.
const (
	peoplePassword = "canary-Zhang-77d1"
	staffPassword  = "canary-Wang-31be"
)

// People are in the host's LDAP directory, Staff in its Active Directory.
var (
	People = services.People{Suffix: "dc=example,dc=org", Users: []services.User{{Name: "zhang", Password: peoplePassword}},
		Groups: []services.Group{{Name: "analysts", Members: []string{"zhang"}}}}
	Staff = services.People{Suffix: "dc=corp,dc=example,dc=org", Users: []services.User{{Name: "wang", Password: staffPassword}},
		Groups: []services.Group{{Name: "analysts", Members: []string{"wang"}}}}
)

// plugin is one with a dictionary that it reads over HTTP, as analysis-ik does.
var plugin = elastic.Plugin{Name: "remote", Setting: "remote.dictionary", Analyzers: []string{"remote_smart"}}

// hostUseCase is one of each kind, at the port that the host serves it.
func hostUseCase(kind string) events.UseCase {
	u := events.UseCase{Kind: kind}
	switch kind {
	case events.Watcher:
		u.Port, u.Watcher = 8080, &events.Webhook{Path: "/alerts"}
	case events.LDAP:
		u.Port, u.LDAP = 389, &events.Directory{UserDNTemplates: []string{People.UserDN(services.OpenLDAP, "{0}")}, GroupSearch: &events.Search{BaseDN: People.Suffix},
			RoleMappings: []events.RoleMapping{{Groups: []string{People.GroupDN(services.OpenLDAP, "analysts")}, Roles: []string{"analyst"}}}, UserSecret: "eslink/zhang"}
	case events.ActiveDirectory:
		u.Port, u.ActiveDirectory = 3268, &events.Directory{DomainName: Staff.Domain(), UnmappedGroupsAsRoles: true, UserSecret: "eslink/wang"}
	case events.Dictionary:
		u.Port, u.Plugin = 8081, &events.Plugin{Setting: plugin.Setting, Path: "/words.dic", Analyzer: plugin.Analyzers[0], Word: "cloud-native"}
	case events.ReindexUseCase:
		u.Port = 9200
	}
	return u
}

// HostSpec is the spec that connects the instance to services of these kinds.
func (w *World) HostSpec(kinds ...string) events.Spec {
	s := events.Spec{Name: "services", Scenario: events.ESToECS, Region: Region, InstanceID: Instance, Target: events.Target{ECSInstanceID: Host},
		Secrets: events.Secrets{Instance: SecretInstance}, Approve: "auto", AcceptRisks: w.risks}
	for _, kind := range kinds {
		s.UseCases = append(s.UseCases, hostUseCase(kind))
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
	w.Secrets.Put("eslink/zhang", login("zhang", peoplePassword))
	w.Secrets.Put("eslink/wang", login("wang", staffPassword))
	for _, kind := range kinds {
		service, err := w.offer(ctx, kind)
		if err != nil {
			return fmt.Errorf("use case %s: %w", kind, err)
		}
		w.Network.SetService(Host, hostUseCase(kind).Port, service)
	}
	return nil
}

// fakeService is a service in this process.
func (w *World) fakeService(_ context.Context, kind string) (network.Service, error) {
	switch kind {
	case events.Watcher:
		return network.Service{Handler: &services.Webhook{}}, nil
	case events.LDAP:
		return network.Service{Serve: services.NewDirectory(services.OpenLDAP, People).ServeConn}, nil
	case events.ActiveDirectory:
		return network.Service{Serve: services.NewDirectory(services.ActiveDirectory, Staff).ServeConn}, nil
	case events.Dictionary:
		u := hostUseCase(kind)
		return network.Service{Handler: services.NewDictionary(u.Plugin.Path, u.Plugin.Word)}, nil
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
