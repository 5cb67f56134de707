package azure_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/azure"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/elasticcloud"
	"eslink/localtest/fakes/inside"
	"eslink/shared/apierr"
	client "eslink/shared/azure"
	"eslink/shared/azure/compute"
	"eslink/shared/azure/network"
	"eslink/shared/azure/privatedns"
	api "eslink/shared/elasticcloud"
	"eslink/shared/vantage"
)

const (
	tenant       = "11111111-1111-4111-8111-111111111111"
	app          = "22222222-2222-4222-8222-222222222222"
	secret       = "canary-client-secret"
	key          = "canary-api-key"
	subscription = "33333333-3333-4333-8333-333333333333"
	region       = "azure-eastus2"
	deployment   = "0123456789abcdef0123456789abcdef"
)

type world struct {
	*testing.T
	account *cloud.Account
	azure   *azure.Cloud
	elastic *elasticcloud.Cloud
	network *azure.Network
	machine *azure.Machine
	now     time.Time
	rt      http.RoundTripper
	service api.Service
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)}
	w.account = cloud.New(cloud.Config{Region: "ap-southeast-1", AccountID: "1234567890123456", Now: func() time.Time { return w.now }, SignNow: func() time.Time { return w.now }, Seed: 7})
	w.azure = azure.New(w.account, inside.Twin{})
	w.elastic = elasticcloud.New(w.account, w.azure)
	w.azure.Join(w.elastic)
	w.azure.Register(azure.Principal{Tenant: tenant, ClientID: app, Secret: secret})
	w.elastic.AddKey(key)
	w.elastic.AddDeployment(elasticcloud.Deployment{ID: deployment, Name: "search", Region: region, Alias: "search-d53192", ClusterID: "fb7e805e5cfb4931bdccc4f3cb591f5f",
		Elasticsearch: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Write([]byte(`{"tagline":"You Know, for Search"}`))
		})})
	w.network = w.azure.AddNetwork(subscription, "rg-net", "vnet1", "westeurope", &azure.Subnet{Name: "endpoints", Prefix: netip.MustParsePrefix("10.9.1.0/24")}, &azure.Subnet{Name: "delegated", Prefix: netip.MustParsePrefix("10.9.2.0/24"), Delegation: "Microsoft.Web/serverFarms"})
	w.machine = w.azure.AddMachine(w.network, "rg-net", "probe")
	w.service, _ = api.ServiceOf(region)
	w.rt = cloud.Transport(func(host string) http.Handler {
		if host == api.Host {
			return w.elastic
		}
		return w.azure
	})
	return w
}

func (w *world) account2(s string) *client.Account {
	a, err := client.Open(client.Config{Transport: w.rt}, client.Credentials{TenantID: tenant, ClientID: app, ClientSecret: s}, subscription)
	require.NoError(w, err)
	return a
}

func (w *world) net() *network.Client {
	c, err := network.New(w.account2(secret))
	require.NoError(w, err)
	return c
}

func (w *world) dns() *privatedns.Client {
	c, err := privatedns.New(w.account2(secret))
	require.NoError(w, err)
	return c
}

func (w *world) vm() *compute.Client {
	c, err := compute.New(w.account2(secret))
	require.NoError(w, err)
	return c
}

func (w *world) api() *api.Client { return api.New(api.Config{Transport: w.rt}, api.Key{APIKey: key}) }

func (w *world) subnet(name string) client.ID { return client.ID(w.network.ID + "/subnets/" + name) }

func (w *world) newEndpoint(name string) network.NewEndpoint {
	return network.NewEndpoint{Group: "rg-net", Name: name, Location: "westeurope", Subnet: w.subnet("endpoints"), Service: w.service.Alias, Message: "eslink run", Tags: map[string]string{"eslink-run": "r1"}}
}

// made makes a private endpoint and waits for it.
func (w *world) made(name string) network.Endpoint {
	w.Helper()
	_, err := w.net().CreateEndpoint(context.Background(), w.newEndpoint(name))
	require.NoError(w, err)
	w.now = w.now.Add(5 * time.Minute)
	e, err := w.net().Endpoint(context.Background(), "rg-net", name)
	require.NoError(w, err)
	require.Equal(w, network.Succeeded, e.State)
	return e
}

var ctx = context.Background()

// cases is what the fakes hold to, in words, each with its source.
var cases = []struct {
	says, source string
	check        func(w *world)
}{
	{"a private endpoint is provisioned by an operation that another process can take up", "azcore, runtime.NewPoller", func(w *world) {
		op, err := w.net().CreateEndpoint(ctx, w.newEndpoint("pe"))
		require.NoError(w, err)
		require.NotEmpty(w, op)
		assert.NotContains(w, op.String(), "signed")
		ended, err := w.net().PollCreate(ctx, op)
		require.NoError(w, err)
		assert.False(w, ended)
		w.now = w.now.Add(5 * time.Minute)
		ended, err = w.net().PollCreate(ctx, op)
		require.NoError(w, err)
		assert.True(w, ended)
	}},
	{"provisioned says nothing of the connection, which waits for approval", "Microsoft Learn, What is a private endpoint?", func(w *world) {
		e := w.made("pe")
		assert.Equal(w, network.Pending, e.Connection)
		assert.Regexp(w, `^[0-9a-f]{8}-[0-9a-f]{4}-`, e.GUID, "armnetwork does not know resourceGuid")
		assert.Equal(w, map[string]string{"eslink-run": "r1"}, e.Tags)
		assert.Equal(w, w.service.Alias, e.Service)
		i, err := w.net().Interface(ctx, e.Interfaces[0])
		require.NoError(w, err)
		assert.Equal(w, "10.9.1.4", i.PrivateIP)
	}},
	{"a repeated PUT is the same endpoint", "Azure Resource Manager, idempotent PUT", func(w *world) {
		first := w.made("pe")
		assert.Equal(w, first.GUID, w.made("pe").GUID)
		assert.Len(w, w.azure.Endpoints(), 1)
	}},
	{"a policy of the right name and GUID approves the connection after a while", "Elastic, Azure Private Link", func(w *world) {
		e := w.made("pe")
		_, err := w.api().CreateRuleset(ctx, api.Ruleset{Name: "p", Region: region, Type: api.AzureEndpoint, Rules: []api.Rule{api.AzureRule(e.Name, e.GUID, "")}})
		require.NoError(w, err)
		e, err = w.net().Endpoint(ctx, "rg-net", "pe")
		require.NoError(w, err)
		assert.Equal(w, network.Pending, e.Connection, "not at once")
		w.now = w.now.Add(5 * time.Minute)
		e, err = w.net().Endpoint(ctx, "rg-net", "pe")
		require.NoError(w, err)
		assert.Equal(w, network.Approved, e.Connection)
	}},
	{"a wrong GUID leaves it Pending", "Elastic, Azure Private Link, Test the connection", func(w *world) {
		w.made("pe")
		_, err := w.api().CreateRuleset(ctx, api.Ruleset{Name: "p", Region: region, Type: api.AzureEndpoint, Rules: []api.Rule{api.AzureRule("pe", "00000000-0000-4000-8000-000000000000", "")}})
		require.NoError(w, err)
		w.now = w.now.Add(time.Hour)
		e, err := w.net().Endpoint(ctx, "rg-net", "pe")
		require.NoError(w, err)
		assert.Equal(w, network.Pending, e.Connection)
	}},
	{"a policy for an endpoint that Elastic does not see yet is refused", "terraform-provider-ec, acceptance test of deployment_traffic_filter", func(w *world) {
		_, err := w.api().CreateRuleset(ctx, api.Ruleset{Name: "p", Region: region, Type: api.AzureEndpoint, Rules: []api.Rule{api.AzureRule("pe", "00000000-0000-4000-8000-000000000000", "")}})
		assert.Equal(w, api.NotSeen, apierr.CodeOf(err))
		assert.Empty(w, w.elastic.Rulesets())
	}},
	{"a new policy may not be seen by its ID for a while, and the list has it", "terraform-provider-ec, issue 857", func(w *world) {
		e := w.made("pe")
		id, err := w.api().CreateRuleset(ctx, api.Ruleset{Name: "p", Region: region, Type: api.AzureEndpoint, Rules: []api.Rule{api.AzureRule(e.Name, e.GUID, "")}})
		require.NoError(w, err)
		_, err = w.api().Ruleset(ctx, id)
		assert.True(w, api.IsHidden(err), err)
		list, err := w.api().Rulesets(ctx, region)
		require.NoError(w, err)
		require.Len(w, list, 1)
		assert.True(w, list[0].Holds(e.Name, e.GUID))
		_, err = w.api().Ruleset(ctx, id)
		assert.NoError(w, err)
	}},
	{"an update replaces all rules and gives them new IDs", "Elastic, network security API, warning", func(w *world) {
		e := w.made("pe")
		id, err := w.api().CreateRuleset(ctx, api.Ruleset{Name: "p", Region: region, Type: api.AzureEndpoint, Rules: []api.Rule{api.AzureRule(e.Name, e.GUID, "")}})
		require.NoError(w, err)
		w.api().Ruleset(ctx, id) // hidden
		before, err := w.api().Ruleset(ctx, id)
		require.NoError(w, err)
		changed := before
		changed.Name = "q"
		require.NoError(w, w.api().UpdateRuleset(ctx, changed))
		after, err := w.api().Ruleset(ctx, id)
		require.NoError(w, err)
		assert.Equal(w, "q", after.Name)
		assert.NotEqual(w, before.Rules[0].ID, after.Rules[0].ID)
		assert.Equal(w, e.GUID, after.Rules[0].EndpointGUID)
	}},
	{"a policy that has associations is not deleted", "apidocs-user.json, ignore_associations", func(w *world) {
		e := w.made("pe")
		id, err := w.api().CreateRuleset(ctx, api.Ruleset{Name: "p", Region: region, Type: api.AzureEndpoint, Rules: []api.Rule{api.AzureRule(e.Name, e.GUID, "")}})
		require.NoError(w, err)
		require.NoError(w, w.api().Associate(ctx, id, deployment))
		require.NoError(w, w.api().Associate(ctx, id, deployment), "repeating it is no error")
		assert.Error(w, w.api().DeleteRuleset(ctx, id))
		assert.Len(w, w.elastic.Rulesets(), 1)
		assert.False(w, w.elastic.Public(deployment))
		require.NoError(w, w.api().Disassociate(ctx, id, deployment))
		require.NoError(w, w.api().DeleteRuleset(ctx, id))
		assert.True(w, w.elastic.Public(deployment))
	}},
	{"the name of a deleted endpoint is blocked for 20 minutes", "Microsoft Learn, Troubleshoot Azure Private Endpoint", func(w *world) {
		w.made("pe")
		_, err := w.net().DeleteEndpoint(ctx, "rg-net", "pe")
		require.NoError(w, err)
		w.now = w.now.Add(2 * time.Minute)
		_, err = w.net().Endpoint(ctx, "rg-net", "pe")
		assert.True(w, apierr.IsNotFound(err), err)
		_, err = w.net().CreateEndpoint(ctx, w.newEndpoint("pe"))
		assert.Equal(w, client.NameBlocked, apierr.CodeOf(err))
		w.now = w.now.Add(21 * time.Minute)
		_, err = w.net().CreateEndpoint(ctx, w.newEndpoint("pe"))
		assert.NoError(w, err)
	}},
	{"a network takes one write at a time", "terraform-provider-azurerm, issue 21293", func(w *world) {
		_, err := w.net().CreateEndpoint(ctx, w.newEndpoint("one"))
		require.NoError(w, err)
		_, err = w.net().CreateEndpoint(ctx, w.newEndpoint("two"))
		assert.Equal(w, apierr.Retry, apierr.ClassOf(err))
		assert.Equal(w, 10*time.Second, apierr.RetryAfter(err))
	}},
	{"a delegated subnet takes no private endpoint", "Microsoft Learn, Troubleshoot Azure Private Endpoint", func(w *world) {
		n := w.newEndpoint("pe")
		n.Subnet = w.subnet("delegated")
		_, err := w.net().CreateEndpoint(ctx, n)
		assert.Equal(w, "PrivateEndpointCreationNotAllowedAsSubnetIsDelegated", apierr.CodeOf(err))
		assert.Equal(w, apierr.Fatal, apierr.ClassOf(err))
	}},
	{"a zone that exists is not created again, and one with links is not deleted", "Microsoft Learn, Private DNS REST", func(w *world) {
		d := w.dns()
		_, err := d.CreateZone(ctx, "rg-dns", w.service.Zone, nil)
		require.NoError(w, err)
		w.now = w.now.Add(time.Minute)
		_, err = d.CreateZone(ctx, "rg-dns", w.service.Zone, nil)
		assert.Equal(w, apierr.Conflict, apierr.ClassOf(err))
		_, err = d.CreateLink(ctx, "rg-dns", w.service.Zone, "l", client.ID(w.network.ID), nil)
		require.NoError(w, err)
		w.now = w.now.Add(2 * time.Minute)
		links, err := d.Links(ctx, "rg-dns", w.service.Zone)
		require.NoError(w, err)
		require.Len(w, links, 1)
		assert.Equal(w, privatedns.Completed, links[0].State)
		_, err = d.DeleteZone(ctx, "rg-dns", w.service.Zone)
		assert.Equal(w, apierr.Conflict, apierr.ClassOf(err))
		_, err = d.DeleteLink(ctx, "rg-dns", w.service.Zone, "l")
		require.NoError(w, err)
		w.now = w.now.Add(2 * time.Minute)
		_, err = d.DeleteZone(ctx, "rg-dns", w.service.Zone)
		require.NoError(w, err)
	}},
	{"a network is linked to one zone of a name", "azure-aks-docs, issue 212", func(w *world) {
		w.azure.AddZone(subscription, "rg-other", w.service.Zone, w.network.ID)
		_, err := w.dns().CreateZone(ctx, "rg-dns", w.service.Zone, nil)
		require.NoError(w, err)
		w.now = w.now.Add(time.Minute)
		_, err = w.dns().CreateLink(ctx, "rg-dns", w.service.Zone, "l", client.ID(w.network.ID), nil)
		assert.Equal(w, "BadRequest", apierr.CodeOf(err))
		zones, err := w.dns().ZonesNamed(ctx, w.service.Zone)
		require.NoError(w, err)
		assert.Len(w, zones, 2)
	}},
	{"a record is written over the one that was read, and over no other", "Microsoft Learn, Private DNS REST, ETag", func(w *world) {
		w.azure.AddZone(subscription, "rg-dns", w.service.Zone)
		d := w.dns()
		require.NoError(w, d.PutRecord(ctx, "rg-dns", w.service.Zone, "*", "10.9.1.4", "", map[string]string{"run": "r1"}))
		assert.Equal(w, apierr.Conflict, apierr.ClassOf(d.PutRecord(ctx, "rg-dns", w.service.Zone, "*", "10.9.1.5", "", nil)))
		r, err := d.Record(ctx, "rg-dns", w.service.Zone, "*")
		require.NoError(w, err)
		assert.Equal(w, []string{"10.9.1.4"}, r.Addresses)
		assert.Equal(w, "r1", r.Metadata["run"])
		w.azure.SetRecord(w.service.Zone, "*", "10.9.1.9")
		assert.Equal(w, apierr.Conflict, apierr.ClassOf(d.DeleteRecord(ctx, "rg-dns", w.service.Zone, "*", r.ETag)))
		names, err := d.Records(ctx, "rg-dns", w.service.Zone)
		require.NoError(w, err)
		assert.Equal(w, []string{"A/*"}, names)
	}},
	{"a managed run command runs, and its view says when it has ended", "Microsoft Learn, managed Run Command", func(w *world) {
		m, err := w.vm().Machine(ctx, "rg-net", "probe")
		require.NoError(w, err)
		assert.Equal(w, "Linux", m.OS)
		assert.Equal(w, "Ready", m.Agent)
		assert.Equal(w, "PowerState/running", m.Power)
		script, err := vantage.Target{Host: "search-d53192.es." + w.service.Zone, Ports: []int{443}}.Script()
		require.NoError(w, err)
		require.NoError(w, w.vm().Start(ctx, m, "c", compute.Script{Text: script, Seconds: 60, Protected: map[string]string{vantage.Auth: "Y2FuYXJ5OnA="}}))
		k, err := w.vm().Command(ctx, m.ID, "c")
		require.NoError(w, err)
		assert.Equal(w, compute.Pending, k.State)
		w.now = w.now.Add(time.Minute)
		k, err = w.vm().Command(ctx, m.ID, "c")
		require.NoError(w, err)
		assert.Equal(w, compute.Succeeded, k.State)
		out, err := vantage.Parse(k.Output)
		require.NoError(w, err)
		assert.Equal(w, vantage.CurlNotResolved, out.Best().Curl)
		require.NoError(w, w.vm().DeleteCommand(ctx, m.ID, "c"))
		assert.Zero(w, w.azure.Commands())
	}},
	{"a stopped machine refuses run commands, and a silent agent times out", "Microsoft Learn, managed Run Command", func(w *world) {
		m, err := w.vm().Machine(ctx, "rg-net", "probe")
		require.NoError(w, err)
		w.machine.Stopped = true
		script, err := vantage.Target{Host: "a.example", Ports: []int{443}}.Script()
		require.NoError(w, err)
		assert.Equal(w, "OperationNotAllowed", apierr.CodeOf(w.vm().Start(ctx, m, "c", compute.Script{Text: script, Seconds: 60})))
		w.machine.Stopped, w.machine.AgentSilent = false, true
		require.NoError(w, w.vm().Start(ctx, m, "c", compute.Script{Text: script, Seconds: 60}))
		w.now = w.now.Add(30 * time.Second)
		k, err := w.vm().Command(ctx, m.ID, "c")
		require.NoError(w, err)
		assert.Equal(w, compute.Pending, k.State)
		w.now = w.now.Add(2 * time.Minute)
		k, err = w.vm().Command(ctx, m.ID, "c")
		require.NoError(w, err)
		assert.Equal(w, compute.TimedOut, k.State)
	}},
	{"a lacking right is named", "Microsoft Learn, AuthorizationFailed", func(w *world) {
		w.azure.Register(azure.Principal{Tenant: tenant, ClientID: app, Secret: secret, Denied: map[string]bool{"Microsoft.Network/privateEndpoints/write": true}})
		_, err := w.net().CreateEndpoint(ctx, w.newEndpoint("pe"))
		assert.Equal(w, client.AuthorizationFailed, apierr.CodeOf(err))
		assert.ErrorContains(w, err, "Microsoft.Network/privateEndpoints/write")
	}},
	{"a key that the API does not know is refused otherwise than one that lacks rights", "apidocs-user.json", func(w *world) {
		_, err := api.New(api.Config{Transport: w.rt}, api.Key{APIKey: "another"}).Rulesets(ctx, region)
		assert.True(w, api.IsUnauthorized(err), err)
		w.elastic.SetTrouble(elasticcloud.Trouble{NoRights: true})
		_, err = w.api().Rulesets(ctx, region)
		assert.True(w, api.IsHidden(err), err)
		assert.False(w, api.IsUnauthorized(err))
	}},
	{"claims are listed by region", "Elastic, claim-private-connection-api", func(w *world) {
		k := api.Claim{Region: region, EndpointName: "pe", EndpointGUID: "00000000-0000-4000-8000-000000000000"}
		require.NoError(w, w.api().Claim(ctx, k))
		list, err := w.api().Claims(ctx, region)
		require.NoError(w, err)
		assert.Equal(w, []api.Claim{k}, list)
		require.NoError(w, w.api().Unclaim(ctx, k))
		assert.Empty(w, w.elastic.Claims())
	}},
	{"a deployment shows its applications by alias", "apidocs-user.json, ClusterMetadataInfo", func(w *world) {
		d, err := w.api().Deployment(ctx, deployment)
		require.NoError(w, err)
		assert.Equal(w, region, d.Region)
		var kinds []string
		for _, p := range d.Products {
			host, err := w.service.Private(p.Host)
			require.NoError(w, err)
			kinds = append(kinds, p.Kind+" "+host)
		}
		assert.Equal(w, []string{"elasticsearch search-d53192.es." + w.service.Zone, "kibana search-d53192.kb." + w.service.Zone, "apm search-d53192.apm." + w.service.Zone, "fleet search-d53192.fleet." + w.service.Zone}, kinds)
	}},
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			c.check(newWorld(t))
		})
	}
}

// Logins fail each in its own way, and no error shows the secret.
func TestLogins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.azure.Register(azure.Principal{Tenant: tenant, ClientID: "44444444-4444-4444-8444-444444444444", Secret: "old", Expired: true})
	for name, c := range map[string]client.Credentials{
		"AADSTS7000215": {TenantID: tenant, ClientID: app, ClientSecret: "canary-wrong"},
		"AADSTS7000222": {TenantID: tenant, ClientID: "44444444-4444-4444-8444-444444444444", ClientSecret: "old"},
		"AADSTS700016":  {TenantID: tenant, ClientID: "55555555-5555-4555-8555-555555555555", ClientSecret: "canary-wrong"},
		"AADSTS90002":   {TenantID: "66666666-6666-4666-8666-666666666666", ClientID: app, ClientSecret: "canary-wrong"},
	} {
		a, err := client.Open(client.Config{Transport: w.rt}, c, subscription)
		require.NoError(t, err)
		n, err := network.New(a)
		require.NoError(t, err)
		_, err = n.VirtualNetwork(ctx, "rg-net", "vnet1")
		assert.Equal(t, name, apierr.CodeOf(err), err)
		remedy, refused := client.IsLogin(err)
		assert.True(t, refused)
		assert.NotEmpty(t, remedy)
		assert.NotContains(t, err.Error(), "canary-wrong")
	}
	for _, e := range w.account.Exchanges() {
		assert.NotContains(t, e.ReqBody+e.RespBody, secret)
	}
}

// The same over sockets, as processes call the fakes.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Host == api.Host {
			w.elastic.ServeHTTP(rw, r)
			return
		}
		w.azure.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	to, err := url.Parse(server.URL)
	require.NoError(t, err)
	w.rt = rewrite{to}
	v, err := w.net().VirtualNetwork(ctx, "rg-net", "vnet1")
	require.NoError(t, err)
	assert.Len(t, v.Subnets, 2)
	free, err := w.net().FreeAddresses(ctx, w.subnet("endpoints"))
	require.NoError(t, err)
	assert.Equal(t, 251, free)
	e := w.made("pe")
	_, err = w.api().CreateRuleset(ctx, api.Ruleset{Name: "p", Region: region, Type: api.AzureEndpoint, Rules: []api.Rule{api.AzureRule(e.Name, e.GUID, "")}})
	require.NoError(t, err)
	server.CloseClientConnections()
	server.Close()
	_, err = w.api().Rulesets(ctx, region)
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err))
	_, err = w.net().VirtualNetwork(ctx, "rg-net", "vnet1")
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err), err)
}

type rewrite struct{ to *url.URL }

func (r rewrite) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Host, req.URL.Scheme, req.URL.Host = req.URL.Host, r.to.Scheme, r.to.Host
	return http.DefaultTransport.RoundTrip(req)
}

// A call whose reply is lost has had its effect: the caller cannot know.
func TestLostReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account.SetFault(func(c cloud.Call) cloud.Fault { return cloud.Fault{LoseReply: strings.HasPrefix(c.Action, "PUT")} })
	_, err := w.net().CreateEndpoint(ctx, w.newEndpoint("pe"))
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err))
	var e *apierr.Error
	require.True(t, errors.As(err, &e))
	assert.NotContains(t, err.Error(), "management.azure.com", "addresses may be signed")
	assert.Len(t, w.azure.Endpoints(), 1)
}
