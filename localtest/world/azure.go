package world

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/elastic/cloud-sdk-go/pkg/models"

	"eslink/events"
	"eslink/localtest/fakes/azure"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/elasticcloud"
	"eslink/localtest/fakes/inside"
	"eslink/shared/flow"

	api "eslink/shared/elasticcloud"
)

// What is on Azure and on Elastic Cloud: a network with a machine, in another region
// than the two deployments, of which a policy of somebody else's filters the second.
const (
	AzureTenant       = "11111111-1111-4111-8111-111111111111"
	AzureClient       = "22222222-2222-4222-8222-222222222222"
	AzureSubscription = "33333333-3333-4333-8333-333333333333"
	AzureLocation     = "westeurope"
	AzureGroup        = "rg-net"
	AzureDNSGroup     = "rg-dns"
	AzureNetwork      = "vnet1"
	AzureSubnet       = "endpoints"
	AzureMachine      = AzureGroup + "/probe"

	ElasticRegion     = "azure-eastus2"
	ElasticDeployment = "0123456789abcdef0123456789abcdef"
	ElasticOther      = "fedcba9876543210fedcba9876543210"
	ForeignPolicy     = "00000000000000000000000000000001"
	SecretAzure       = "eslink/azure"
	SecretElastic     = "eslink/ess"
	SecretDeployment  = "eslink/es-reader"
)

// Values that nothing that eslink writes may contain.
const (
	AzureSecret        = "canary-Entra-7c1d9e"
	ElasticKey         = "canary-Ess-5b2f8a"
	DeploymentPassword = "canary-Dep-8e4c6d"
)

// addAzure adds the two clouds, and the secrets for them.
func (w *World) addAzure() error {
	runner := w.Runner
	if runner == nil {
		runner = inside.Twin{}
	}
	w.Azure = azure.New(w.Account, runner)
	w.Elastic = elasticcloud.New(w.Account, w.Azure)
	w.Azure.Join(w.Elastic)
	w.hosts[azure.LoginHost], w.hosts[azure.ManagerHost], w.hosts[api.Host] = w.Azure, w.Azure, w.Elastic

	w.Azure.Register(azure.Principal{Tenant: AzureTenant, ClientID: AzureClient, Secret: AzureSecret})
	n := w.Azure.AddNetwork(AzureSubscription, AzureGroup, AzureNetwork, AzureLocation,
		&azure.Subnet{Name: "machines", Prefix: netip.MustParsePrefix("10.9.0.0/24")},
		&azure.Subnet{Name: AzureSubnet, Prefix: netip.MustParsePrefix("10.9.1.0/27")},
		&azure.Subnet{Name: "web", Prefix: netip.MustParsePrefix("10.9.2.0/24"), Delegation: "Microsoft.Web/serverFarms"})
	w.Azure.AddMachine(n, AzureGroup, "probe")

	w.Elastic.AddKey(ElasticKey)
	for _, d := range []elasticcloud.Deployment{
		{ID: ElasticDeployment, Name: "search", Region: ElasticRegion, Alias: "search-d53192", ClusterID: "fb7e805e5cfb4931bdccc4f3cb591f5f"},
		{ID: ElasticOther, Name: "logs", Region: ElasticRegion, Alias: "logs-7a41c0", ClusterID: "0c7e805e5cfb4931bdccc4f3cb591f5f"},
	} {
		d.Elasticsearch = elastic.New(elastic.Config{Name: d.ClusterID, Version: w.Version, Nodes: 1, Now: w.Clock.Now,
			Users: map[string]elastic.User{"reader": {Password: DeploymentPassword, Cluster: []string{"monitor"}}}})
		w.Elastic.AddDeployment(d)
	}

	name, region, kind, no := "office", ElasticRegion, "ip", false
	w.Elastic.AddRuleset(elasticcloud.Ruleset{ID: ForeignPolicy, Associated: []string{ElasticOther}, Request: models.TrafficFilterRulesetRequest{
		Name: &name, Region: &region, Type: &kind, IncludeByDefault: &no, Rules: []*models.TrafficFilterRule{{Source: "198.51.100.0/24", Description: "office"}}}})

	machine := "vm:" + AzureSubscription + "/" + AzureMachine
	for name, value := range map[string]any{
		SecretAzure:   map[string]any{"tenantId": AzureTenant, "clientId": AzureClient, "clientSecret": AzureSecret, "for": []string{AzureSubscription, machine}},
		SecretElastic: map[string]any{"apiKey": ElasticKey},
		SecretDeployment: map[string]any{"username": "reader", "password": DeploymentPassword,
			"for": []string{ElasticDeployment, ElasticOther, machine}},
	} {
		raw, err := json.Marshal(value)
		if err != nil {
			return err
		}
		w.Secrets.Put(name, string(raw))
	}
	return nil
}

// probes reports whether a write is one of a probe, which every walk repeats.
func probes(action string) bool {
	return strings.HasSuffix(action, "/runCommands") || action == "SendCommand"
}

// AzureSpec connects the network to the first deployment, and has its policy filter
// the deployment's traffic.
func AzureSpec() events.Spec {
	return events.Spec{Name: "search", Scenario: flow.ElasticAzure, Region: Region,
		Azure:       &events.Azure{SubscriptionID: AzureSubscription, ResourceGroup: AzureGroup, Location: AzureLocation, VirtualNetwork: AzureNetwork, Subnet: AzureSubnet, DNSResourceGroup: AzureDNSGroup},
		Elastic:     &events.Elastic{DeploymentIDs: []string{ElasticDeployment}, Region: ElasticRegion, Associate: true, Claim: true},
		Vantage:     &events.Vantage{VM: AzureMachine},
		Secrets:     events.Secrets{Azure: SecretAzure, Elastic: SecretElastic, Target: SecretDeployment},
		AcceptRisks: []string{events.RiskPublicBlocked}, Approve: "auto"}
}

// Policies are the private connection policies that are there, but for the one that
// the world began with.
func (w *World) Policies() []elasticcloud.Ruleset {
	return slices.DeleteFunc(w.Elastic.Rulesets(), func(r elasticcloud.Ruleset) bool { return r.ID == ForeignPolicy })
}

// leftInAzure lists what a run has made, or may have made, in the two clouds.
func (w *World) leftInAzure() (out []string) {
	for _, e := range w.Azure.Endpoints() {
		out = append(out, "private endpoint "+e.Name)
	}
	for _, z := range w.Azure.Zones() {
		out = append(out, "zone "+z.Name)
	}
	for _, r := range w.Policies() {
		out = append(out, "policy "+r.ID)
	}
	for _, guid := range w.Elastic.Claims() {
		out = append(out, "claim of "+guid)
	}
	if n := w.Azure.Commands(); n > 0 {
		out = append(out, fmt.Sprintf("%d run commands", n))
	}
	return out
}
