package linkcheck_test

import (
	"context"
	"encoding/json"
	"errors"
	"eslink/shared/flow"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/services"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/aliyun/slb"
	"eslink/shared/api/check"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
)

const (
	domain = "ep-a1.epsrv-b2.cn-hangzhou.privatelink.aliyuncs.com"
	realms = "xpack.security.authc.realms."
)

// lan is what the instance reaches, by host:port. silent never answers.
type lan struct{ pipes sync.Map }

func (n *lan) at(addr string) *services.Pipe {
	p, _ := n.pipes.Load(addr)
	pipe, _ := p.(*services.Pipe)
	return pipe
}

const silent = "silent"

func (n *lan) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	switch p := n.at(addr); {
	case p != nil:
		return p.Dial(ctx)
	case n.at(silent) != nil:
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	case host != domain:
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func (n *lan) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.at(r.URL.Host) == nil { // a transport's dial would outlive the request
		_, err := n.DialContext(r.Context(), "tcp", r.URL.Host)
		return nil, err
	}
	return (&http.Transport{DialContext: n.DialContext, DisableKeepAlives: true}).RoundTrip(r)
}

// world is an instance and the services beside it.
type world struct {
	t        *testing.T
	lan      *lan
	instance *elastic.Server
	client   *es.Client
	users    map[string]kms.Login // by use case
	linked   facts.Check
	op       linkcheck.Operator
}

func inWorld(t *testing.T, c elastic.Config, do func(*testing.T, *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, lan: &lan{}, linked: facts.Check{Name: "link", OK: true}, users: map[string]kms.Login{}}
		c.Version, c.Name, c.Remote = "7.17.29", "dst", w.lan
		c.Users = map[string]elastic.User{"elastic": elastic.Superuser("secret-1"), "native": {Password: "native-1"}, "poor": {Password: "poor-1", Cluster: []string{"monitor"}}}
		w.instance = elastic.New(c)
		t.Cleanup(w.instance.Stop)
		require.True(t, w.instance.Up())
		w.client = w.as("elastic", "secret-1")
		w.op = linkcheck.Operator{Client: w.client, Now: time.Now, Login: func(_ context.Context, l linkcheck.Link) (kms.Login, error) { return w.users[l.Kind], nil }}
		do(t, w)
	})
}

func (w *world) as(user, password string) *es.Client {
	c, err := es.New(w.instance, "http://dst:9200", user, password)
	require.NoError(w.t, err)
	return c
}

// serve puts a service at a port of the endpoint; the function takes it down.
func (w *world) serve(port string, serve func(net.Listener) error) (down func()) {
	p := services.Listen()
	w.lan.pipes.Store(domain+":"+port, p)
	done := make(chan error, 1)
	go func() { done <- serve(p) }()
	up := true
	down = func() {
		if up {
			up = false
			w.lan.pipes.Delete(domain + ":" + port)
			require.NoError(w.t, p.Close())
			require.NoError(w.t, <-done)
		}
	}
	w.t.Cleanup(down)
	return down
}

func (w *world) http(port string, h http.Handler) (down func()) {
	return w.serve(port, func(l net.Listener) error { return services.ServeHTTP(l, h) })
}

func link(u events.UseCase) linkcheck.Link {
	return linkcheck.Link{ID: "0123456789abcdef", InstanceID: "es-cn-dst", Domain: domain, CLB: "lb-1", UseCase: u}
}

// sees operates, and compares the three checks with what is wanted: the name of
// the first that fails and a part of its detail and of its remedy, or "".
func (w *world) sees(l linkcheck.Link, failing, detail, remedy string) (later bool) {
	w.t.Helper()
	began := time.Now()
	checks, later, err := w.op.Operate(w.t.Context(), l, w.linked)
	require.NoError(w.t, err)
	w.judged(checks, failing, detail, remedy)
	require.LessOrEqual(w.t, time.Since(began), 35*time.Second, "within an invocation")
	return later
}

func (w *world) judged(checks []facts.Check, failing, detail, remedy string) {
	w.t.Helper()
	require.Len(w.t, checks, 3)
	first := ""
	for i, k := range checks {
		require.Equal(w.t, []string{"network", "login", "operation"}[i], k.Name)
		require.NotEmpty(w.t, k.Detail)
		require.Equal(w.t, k.OK, k.Remedy == "", "%v", k)
		require.NotContains(w.t, k.Detail+k.Remedy, "canary")
		if !k.OK && k.Detail != "not reached" && first == "" {
			first = k.Name
			require.Contains(w.t, k.Detail, detail)
			require.Contains(w.t, k.Remedy, remedy)
		}
	}
	require.Equal(w.t, failing, first, "%v", checks)
}

var watcher = link(events.UseCase{Kind: events.Watcher, Port: 8080, Protocol: "http", Watcher: &events.Webhook{Path: "/alerts", Method: "post", Body: "ping"}})

var on = map[string]string{"xpack.watcher.enabled": "true"}

func TestAWebhookIsSentOnceAndNothingIsLeftBehind(t *testing.T) {
	inWorld(t, elastic.Config{Settings: on}, func(t *testing.T, w *world) {
		hook := &services.Webhook{}
		w.http("8080", hook)
		w.sees(watcher, "", "", "")
		got := hook.Received()
		require.Len(t, got, 1)
		require.Equal(t, "POST /alerts ping", got[0].Method+" "+got[0].Path+" "+got[0].Body)
		bare, err := w.client.WithoutReplica(t.Context())
		require.NoError(t, err)
		require.Empty(t, bare, "no index, and so no watch and no history")
	})
}

func TestWebhooksThatFail(t *testing.T) {
	t.Run("answers", func(t *testing.T) {
		inWorld(t, elastic.Config{Settings: on}, func(t *testing.T, w *world) {
			hook := &services.Webhook{}
			down := w.http("8080", hook)
			for status, want := range map[int][3]string{
				401: {"login", "is answered 401", "needs no login"}, 403: {"login", "is answered 403", "needs no login"},
				404: {"operation", "POST http://" + domain + ":8080/alerts is answered 404", "watcher.path"}, 500: {"operation", "is answered 500", "service's own log"},
				204: {}, 301: {},
			} {
				hook.Answer(status)
				w.sees(watcher, want[0], want[1], want[2])
			}
			down()
			w.sees(watcher, "network", "Connection refused", "0.0.0.0 rather than 127.0.0.1")
			w.lan.pipes.Store(silent, services.Listen())
			w.sees(watcher, "network", "timed out", "admit 100.64.0.0/10")
			w.lan.pipes.Delete(silent)
			elsewhere := watcher
			elsewhere.Domain = "ep-a1-cn-hangzhou-i.epsrv-b2.cn-hangzhou.privatelink.aliyuncs.com"
			w.sees(elsewhere, "network", "Name or service not known", "without its zone segment")
			w.http("8080", hook)
			secure := watcher
			secure.Protocol = "https"
			w.sees(secure, "network", "SSL", "without TLS")
			w.op.Client = w.as("poor", "poor-1")
			w.sees(watcher, "operation", "unauthorized", "manage_watcher")
		})
	})
	for _, version := range []string{"7.17.29", "8.15.1"} {
		t.Run("off "+version, func(t *testing.T) {
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.instance = elastic.New(elastic.Config{Version: version, Users: map[string]elastic.User{"elastic": elastic.Superuser("secret-1")}})
				t.Cleanup(w.instance.Stop)
				w.op.Client = w.as("elastic", "secret-1")
				w.sees(watcher, "operation", "does not know Watcher's API", "xpack.watcher.enabled")
			})
		})
	}
}

var people = services.People{Suffix: "dc=example,dc=org", Users: []services.User{{Name: "zhang", Password: "canary-1"}, {Name: "li", Password: "canary-2"}, {Name: "native", Password: "canary-3"}},
	Groups: []services.Group{{Name: "readers", Members: []string{"zhang"}}}}

// realm are the settings of a directory's realm, and its use case.
func realm(kind services.Kind) (map[string]string, linkcheck.Link) {
	base := map[string]string{realms + "native.native1.order": "0", realms + "file.file1.order": "1"}
	d := &events.Directory{Realm: "ldap1", UserSecret: "eslink/zhang", UnmappedGroupsAsRoles: true}
	u := events.UseCase{Kind: events.LDAP, Port: 389, Protocol: "ldap", LDAP: d}
	prefix := realms + "ldap.ldap1."
	if kind == services.ActiveDirectory {
		d.Realm, d.DomainName = "ad1", people.Domain()
		u = events.UseCase{Kind: events.ActiveDirectory, Port: 389, Protocol: "ldap", ActiveDirectory: d}
		prefix = realms + "active_directory.ad1."
		base[prefix+"domain_name"] = people.Domain()
	} else {
		base[prefix+"user_dn_templates"] = `["` + people.UserDN(kind, "{0}") + `"]`
		base[prefix+"group_search.base_dn"] = people.Suffix
	}
	base[prefix+"order"], base[prefix+"url"], base[prefix+"unmapped_groups_as_roles"] = "2", "ldap://"+domain+":389", "true"
	return base, link(u)
}

func TestADirectorysUserLogsIn(t *testing.T) {
	for _, kind := range []services.Kind{services.OpenLDAP, services.ActiveDirectory} {
		t.Run(string(kind), func(t *testing.T) {
			settings, l := realm(kind)
			inWorld(t, elastic.Config{Settings: settings}, func(t *testing.T, w *world) {
				d := services.NewDirectory(kind, people)
				down := w.serve("389", d.Serve)
				user := func(name, password string) { w.users[l.Kind] = kms.Login{Username: name, Password: password} }
				user("zhang", "canary-1")
				w.sees(l, "", "", "")
				foreign := l
				foreign.LDAP, foreign.ActiveDirectory = nil, nil // of a link that eslink did not make
				w.sees(foreign, "", "", "")
				user("zhang", "canary-wrong")
				w.sees(l, "login", "refuses zhang", "put the right password")
				user("li", "canary-2")
				if kind == services.OpenLDAP { // of Active Directory everybody has a group
					w.sees(l, "operation", "has no role", "roleMappings")
				}
				user("native", "native-1")
				w.sees(l, "operation", "native is a user of realm native1", "whom the directory alone knows")
				user("zhang", "canary-1")
				other := l
				other.Domain = "ep-other.epsrv-b2.cn-hangzhou.privatelink.aliyuncs.com"
				w.sees(other, "operation", "and not this endpoint", "url")
				w.op.Client = w.as("poor", "poor-1")
				w.sees(l, "", "", "")
				w.op.Client = w.client

				down() // the login just made is not believed
				w.sees(l, "login", "no directory answers", "whether the directory runs")
				w.linked.OK = false
				w.sees(l, "network", "does not answer", "fix check `link` first")
			})
		})
	}
}

func TestAWordOfTheDictionary(t *testing.T) {
	plugin := elastic.Plugin{Name: "remote", Setting: "remote.dictionary", Analyzers: []string{"remote_smart"}}
	inWorld(t, elastic.Config{Plugins: []elastic.Plugin{plugin}, Settings: map[string]string{"remote.dictionary": "http://" + domain + ":8080/words.dic"}}, func(t *testing.T, w *world) {
		l := link(events.UseCase{Kind: events.Dictionary, Port: 8080, Protocol: "http", Plugin: &events.Plugin{Path: "/words.dic", Analyzer: "remote_smart", Word: "cloud-native"}})
		l.Before = []string{"cloud", "native"}
		require.True(t, w.sees(l, "operation", `makes ["cloud" "native"] of cloud-native; before the link it made ["cloud" "native"] of it`, "http://"+domain+":8080/words.dic"))
		w.linked.OK = false
		require.False(t, w.sees(l, "network", "does not answer", "fix check `link` first"), "waiting does not help")
		w.linked.OK = true
		dictionary := services.NewDictionary("/words.dic", "other")
		w.http("8080", dictionary)
		dictionary.Set("Cloud-Native")
		time.Sleep(2 * time.Minute)
		require.False(t, w.sees(l, "", "", ""))
		l.Before = nil
		w.sees(l, "", "", "")
		l.Before = []string{"cloud-native"}
		w.sees(l, "operation", "as it did before the link", "does not know of itself")
		l.Plugin = &events.Plugin{Path: "/words.dic", Analyzer: "nowhere", Word: "x"}
		w.sees(l, "operation", "nowhere", "install the plugin")
	})
}

// cloud is a control plane that says what it is told.
type cloudView struct {
	endpoint   escluster.Endpoint
	connection privatelink.Connection
	listener   slb.Listener
	servers    []slb.Health
	missing    bool
	gone       bool // the endpoint service
}

func good() cloudView {
	return cloudView{escluster.Endpoint{ID: "ep-a1", Domain: domain, ServiceID: "epsrv-b2", Status: "Active", Connection: "Connected"},
		privatelink.Connection{EndpointID: "ep-a1", Status: privatelink.ConnectionConnected},
		slb.Listener{Port: 8080, Status: slb.Running}, []slb.Health{{Server: slb.Server{ID: "i-1", Port: 8080}, Status: slb.Normal}}, false, false}
}

func (c cloudView) ListEndpoints(context.Context, string) ([]escluster.Endpoint, error) {
	return []escluster.Endpoint{c.endpoint}, nil
}

func (c cloudView) Connections(context.Context, string) ([]privatelink.Connection, error) {
	if c.gone {
		return nil, &apierr.Error{Class: apierr.NotFound, Code: "EndpointServiceNotFound"}
	}
	return []privatelink.Connection{c.connection}, nil
}

func (c cloudView) Listener(context.Context, string, int) (slb.Listener, error) {
	if c.missing {
		return slb.Listener{}, &apierr.Error{Class: apierr.NotFound, Code: "InvalidParameter"}
	}
	return c.listener, nil
}

func (c cloudView) Health(context.Context, string, int) ([]slb.Health, error) { return c.servers, nil }

func (c cloudView) cloud() linkcheck.Cloud {
	return linkcheck.Cloud{Endpoints: c, Connections: c, Classic: c}
}

func TestTheLinkOfACLB(t *testing.T) {
	t.Parallel()
	l := watcher
	l.EndpointID, l.ServiceID = "ep-a1", "epsrv-b2"
	for name, c := range map[string]struct {
		change         func(*cloudView)
		detail, remedy string
	}{
		"all is well":       {func(*cloudView) {}, "endpoint connected", ""},
		"no endpoint":       {func(c *cloudView) { c.endpoint.ID = "ep-other" }, "has no endpoint ep-a1", "again"},
		"not allowed":       {func(c *cloudView) { c.endpoint.Connection = "Disconnected" }, "connection Disconnected", "allow the connection"},
		"service's side":    {func(c *cloudView) { c.connection.Status = "Disconnected" }, "does not have endpoint ep-a1 connected", "connections"},
		"no service":        {func(c *cloudView) { c.gone = true }, "does not have endpoint ep-a1 connected", "connections"},
		"no listener":       {func(c *cloudView) { c.missing = true }, "no listener on port 8080", "again"},
		"stopped listener":  {func(c *cloudView) { c.listener.Status = slb.Stopped }, "on port 8080 is stopped", "start the listener"},
		"no server":         {func(c *cloudView) { c.servers = nil }, "no server behind it", "again"},
		"unhealthy server":  {func(c *cloudView) { c.servers[0].Status = slb.Abnormal }, "i-1:8080 behind clb lb-1 is abnormal", "0.0.0.0 rather than 127.0.0.1"},
		"not yet looked at": {func(c *cloudView) { c.servers[0].Status = slb.Unavailable }, "unavailable", "100.64.0.0/10"},
	} {
		v := good()
		c.change(&v)
		k, err := v.cloud().Link(t.Context(), l)
		require.NoError(t, err)
		require.Equal(t, c.remedy == "", k.OK, name)
		require.Contains(t, k.Detail, c.detail, name)
		require.Contains(t, k.Remedy, c.remedy, name)
	}
}

// opener opens the world's instance.
type opener struct{ w *world }

func (c opener) Open(context.Context, clusters.Side) (*es.Client, error) { return c.w.client, nil }

func (c opener) Login(_ context.Context, s clusters.Side) (kms.Login, error) {
	if s.Secret != "eslink/b" {
		return kms.Login{}, errors.New("no such secret")
	}
	return kms.Login{Username: "zhang", Password: "canary-1"}, nil
}

func (w *world) service(v cloudView) *check.Service {
	return &check.Service{Clusters: opener{w}, Cloud: v.cloud(), Now: time.Now,
		Describe: func(_ context.Context, id string) (escluster.Instance, error) {
			return escluster.Instance{ID: id, Domain: "dst", Port: 9200}, nil
		},
		Resources: func(context.Context, string) ([]privatelink.Resource, error) {
			return []privatelink.Resource{{ID: "lb-1", Type: "slb"}, {ID: "lb-1", Type: "slb"}}, nil
		},
		ListLB: func(context.Context, string) ([]nlb.Listener, error) { return nil, errors.New("it is no NLB") }}
}

func (w *world) ask(s *check.Service, request string) check.Reply {
	w.t.Helper()
	reply, err := s.Do(w.t.Context(), []byte(`{"instanceId":"es-cn-dst000000001","endpointId":"ep-a1aaaaaa",`+request+`}`))
	require.NoError(w.t, err)
	return reply
}

func TestLinksThatEslinkDidNotMake(t *testing.T) {
	settings, _ := realm(services.OpenLDAP)
	settings["xpack.watcher.enabled"] = "true"
	plugin := elastic.Plugin{Name: "remote", URL: "http://" + domain + ":80/words.dic", Analyzers: []string{"remote_smart"}}
	inWorld(t, elastic.Config{Settings: settings, Plugins: []elastic.Plugin{plugin}}, func(t *testing.T, w *world) {
		v := good()
		v.endpoint.ID, v.connection.EndpointID = "ep-a1aaaaaa", "ep-a1aaaaaa"
		s := w.service(v)
		hook := &services.Webhook{}
		w.http("8080", hook)
		w.serve("389", services.NewDirectory(services.OpenLDAP, people).Serve)
		words := services.NewDictionary("/words.dic", "cloud-native")
		w.http("80", words)
		time.Sleep(2 * time.Minute)
		for request, name := range map[string]string{
			`"useCase":"watcher","secrets":{"instance":"eslink/a"},"watcher":{"path":"/x"}`:                                                                     "a webhook",
			`"useCase":"ldap","secrets":{"instance":"eslink/a","target":"eslink/b"}`:                                                                            "a login",
			`"useCase":"dictionary","port":80,"secrets":{"instance":"eslink/a"},"plugin":{"path":"/words.dic","analyzer":"remote_smart","word":"cloud-native"}`: "a word",
		} {
			reply := w.ask(s, request)
			require.True(t, reply.OK, "%s: %v", name, reply.Checks)
			require.Len(t, reply.Checks, 4)
			require.Equal(t, "link", reply.Checks[0].Name, "plain names for one use case")
		}
		require.Equal(t, "/x", hook.Received()[0].Path)
	})
}

// The script that the seed tells of deletes the index that it is given, and
// waits for a copy of all documents.
func TestChecksNeitherDeleteWhatIsThereNorHang(t *testing.T) {
	inWorld(t, elastic.Config{Settings: map[string]string{"reindex.remote.whitelist": domain + ":9200"}}, func(t *testing.T, w *world) {
		ctx := t.Context()
		require.NoError(t, w.client.Create(ctx, "orders", es.Definition{Settings: json.RawMessage(`{"number_of_shards":1}`)}))
		before, err := w.client.Definition(ctx, "orders")
		require.NoError(t, err)
		v := good()
		v.endpoint.ID, v.connection.EndpointID, v.listener.Port = "ep-a1aaaaaa", "ep-a1aaaaaa", 9200
		s := w.service(v)
		const ask = `"secrets":{"instance":"eslink/a","target":"eslink/b"},"remoteIndex":"orders","localIndex":"orders","cleanup":true`
		w.lan.pipes.Store(silent, services.Listen())
		began := time.Now()
		reply := w.ask(s, ask)
		require.False(t, reply.OK)
		require.LessOrEqual(t, time.Since(began), 90*time.Second)
		w.judged(reply.Checks[1:], "network", "", "see check link")
		after, err := w.client.Definition(ctx, "orders")
		require.NoError(t, err)
		require.Equal(t, before, after, "the index is the one that it was")

		// An index by the check's own name that is somebody else's.
		time.Sleep(time.Minute)
		probe := linkcheck.Prober{Client: w.client, Now: time.Now}
		l := watcher
		l.UseCase = events.UseCase{Kind: events.ReindexUseCase, Port: 9200, Protocol: "http"}
		require.NoError(t, w.client.Create(ctx, l.Index(), es.Definition{}))
		_, err = probe.Start(ctx, l)
		require.ErrorContains(t, err, "is not eslink's")
		require.ErrorContains(t, probe.Finish(ctx, l), "is not eslink's")
		_, err = w.client.Definition(ctx, l.Index())
		require.NoError(t, err)
	})
}

func TestSeveralUseCasesInOneRun(t *testing.T) {
	settings, directory := realm(services.OpenLDAP)
	settings["xpack.watcher.enabled"] = "true"
	inWorld(t, elastic.Config{Settings: settings}, func(t *testing.T, w *world) {
		w.http("8080", &services.Webhook{})
		w.serve("389", services.NewDirectory(services.OpenLDAP, people).Serve)
		v := good()
		s := w.service(v)
		directory.LDAP.UserSecret = "eslink/b"
		s.Runs = runs{&run.Run{ID: "0123456789abcdef", Spec: events.Spec{InstanceID: "es-cn-dst", Scenario: flow.ESToECS, UseCases: []events.UseCase{watcher.UseCase, directory.UseCase}},
			Facts: facts.Facts{Preflight: &facts.Preflight{}, CLB: &facts.CLB{ID: "lb-1"}, CLBBackend: &facts.CLBBackend{Ports: []facts.CLBPort{{Port: 389}}}, EndpointService: &facts.EndpointService{ID: "epsrv-b2"},
				PrivateConnection: &facts.PrivateConnection{EndpointID: "ep-a1"}, Accept: &facts.Accept{Domain: domain}}}}
		reply, err := s.Do(t.Context(), []byte(`{"runId":"0123456789abcdef"}`))
		require.NoError(t, err)
		require.True(t, reply.OK, "%v", reply.Checks)
		var names []string
		for _, k := range reply.Checks {
			names = append(names, k.Name)
		}
		require.Equal(t, "link (watcher) network (watcher) login (watcher) operation (watcher) link (ldap) network (ldap) login (ldap) operation (ldap)", strings.Join(names, " "))
	})
}

type runs struct{ r *run.Run }

func (r runs) Get(context.Context, string) (*run.Run, error) { return r.r, nil }
