package world

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/elastic/cloud-sdk-go/pkg/models"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/azure"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/elasticcloud"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/flow"
	"eslink/shared/run"
)

const azureZone = "privatelink.eastus2.azure.elastic-cloud.com"

// connect starts the run of the usual spec, as alter changes it.
func (s *sim) connect(t *testing.T, alter func(*events.Spec)) events.Spec {
	t.Helper()
	spec := AzureSpec()
	if alter != nil {
		alter(&spec)
	}
	s.start(t, events.Request{Spec: &spec})
	return spec
}

// dissolve tears the run down, and consents to what that asks.
func (s *sim) dissolve(t *testing.T) {
	t.Helper()
	s.do(t, events.Request{Action: "teardown"})
	for range 5 {
		v := s.until(t, ended)
		if v.Status != run.WaitingApproval {
			require.Equal(t, run.Removed, v.Status, "%s: %s", v.Step, v.Reason)
			return
		}
		s.approve(t, v.Plan.ID)
	}
	t.Fatal("teardown asks for ever")
}

// fails waits until the run has stopped, and returns the problem's text.
func (s *sim) fails(t *testing.T) (api.View, string) {
	t.Helper()
	v := s.ends(t, run.Failed)
	require.NotNil(t, v.Problem)
	return v, v.Problem.Error()
}

// A first association turns the internet away: approve: auto does not answer that.
func TestAzureLockOutIsAskedFor(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.connect(t, func(spec *events.Spec) { spec.AcceptRisks = nil })
		v := s.ends(t, run.WaitingApproval)
		assert.Equal(t, "link-plan", v.Step)
		assert.Contains(t, strings.Join(v.Plan.Access, "\n"), "everybody who uses it over the internet is locked out")
		assert.Empty(t, s.Azure.Endpoints(), "nothing is made before")
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Done)
		s.azureStands(t)
		s.dissolve(t)
		s.azureGone(t)
	})
}

// Ours is one of two policies: nobody is locked out, and taking ours away lets nobody
// in, so nothing is asked.
func TestAzureOursIsOneOfTwo(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		spec := s.connect(t, func(spec *events.Spec) {
			spec.AcceptRisks, spec.Elastic.DeploymentIDs = nil, []string{ElasticOther}
		})
		v := s.ends(t, run.Done)
		s.azureStands(t)
		assert.Contains(t, v.Facts.AzureProbe.Results[0].Checks[0].Detail, "the traffic filter refuses, as it does until the policy is associated")
		s.start(t, events.Request{Spec: &spec, Again: true})
		v = s.ends(t, run.Done)
		assert.NotContains(t, v.Facts.AzureProbe.Results[0].Checks[0].Detail, "refuses")
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		s.azureGone(t)
		s.foreignStands(t)
	})
}

// foreignStands asserts that the policy that the world began with is as it was.
func (s *sim) foreignStands(t *testing.T) {
	t.Helper()
	for _, r := range s.Elastic.Rulesets() {
		if r.ID == ForeignPolicy {
			assert.Equal(t, []string{ElasticOther}, r.Associated)
			assert.Equal(t, "office", *r.Request.Name)
			require.Len(t, r.Request.Rules, 1)
			assert.Equal(t, "198.51.100.0/24", r.Request.Rules[0].Source)
			return
		}
	}
	t.Error("somebody else's policy is gone")
}

func TestAzureKeepsTheAssociation(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.connect(t, nil)
		s.ends(t, run.Done)
		s.do(t, events.Request{Action: "teardown", KeepAssociation: true})
		v := s.ends(t, run.Removed)
		assert.False(t, s.Elastic.Public(ElasticDeployment))
		require.Len(t, s.Policies(), 1)
		assert.Empty(t, s.Azure.Endpoints())
		assert.Contains(t, fmt.Sprint(v.Timeline), "stays associated with 1 deployments, as asked")
	})
}

// A policy that others use keeps their rules, name, description and default, and their
// associations, through up, again and teardown.
func TestAzureForeignRulesSurvive(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		name, region, kind, yes := "shared", ElasticRegion, "azure_private_endpoint", true
		foreign := elasticcloud.Ruleset{ID: "11111111111111111111111111111111", Associated: []string{ElasticOther}, Request: models.TrafficFilterRulesetRequest{
			Name: &name, Description: "of the network team", Region: &region, Type: &kind, IncludeByDefault: &yes,
			Rules: []*models.TrafficFilterRule{{ID: "r1", AzureEndpointName: "theirs", AzureEndpointGUID: "99999999-9999-4999-8999-999999999999", Description: "theirs"}}}}
		s.Elastic.AddRuleset(foreign)
		shared := func(rules int, associated ...string) {
			t.Helper()
			require.Len(t, s.Policies(), 1)
			r := s.Policies()[0]
			assert.Equal(t, foreign.ID, r.ID)
			assert.Equal(t, "shared", *r.Request.Name)
			assert.Equal(t, "of the network team", r.Request.Description)
			assert.True(t, *r.Request.IncludeByDefault)
			require.Len(t, r.Request.Rules, rules)
			assert.Equal(t, "theirs", r.Request.Rules[0].AzureEndpointName)
			assert.Equal(t, associated, r.Associated)
		}
		spec := s.connect(t, func(spec *events.Spec) { spec.Elastic.Policy = &events.Policy{Name: "shared", Description: "mine"} })
		s.ends(t, run.Done)
		shared(2, ElasticOther, ElasticDeployment)
		s.start(t, events.Request{Spec: &spec, Again: true})
		s.ends(t, run.Done)
		shared(2, ElasticOther, ElasticDeployment)
		s.dissolve(t)
		shared(1, ElasticOther)
		assert.Empty(t, s.Azure.Endpoints())
	})
}

// A set with associations that the key cannot see is not deleted, and that is said.
func TestAzureUnseenAssociationsKeepThePolicy(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.connect(t, nil)
		s.ends(t, run.Done)
		r := s.Policies()[0]
		r.Unseen = 2
		s.Elastic.AddRuleset(r)
		s.dissolve(t)
		require.Len(t, s.Policies(), 1)
		assert.Contains(t, fmt.Sprint(s.view(t).Timeline), "deployments that the key may not see")
	})
}

// One run has a network and a region of deployments.
func TestAzureOneRunPerNetworkAndRegion(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.connect(t, nil)
		s.ends(t, run.Done)
		other := AzureSpec()
		other.Name, other.Elastic.DeploymentIDs = "logs", []string{ElasticOther}
		_, err := s.Do(events.Request{Action: "start", Spec: &other})
		require.ErrorContains(t, err, `"search"`)
		require.ErrorContains(t, err, s.id)
		other.Name, other.Azure.Subnet = "search", "machines"
		_, err = s.Do(events.Request{Action: "start", Spec: &other})
		require.ErrorContains(t, err, "azure.subnet")
	})
}

// Each thing that a later spec may change is changed, and changed back.
func TestAzureChangesAndBack(t *testing.T) {
	t.Parallel()
	both := []string{ElasticDeployment, ElasticOther}
	for name, c := range map[string]struct {
		alter   func(*events.Spec)
		changed func(t *testing.T, s *sim)
		back    func(t *testing.T, s *sim)
		asks    int // of the two walks, those that ask
	}{
		"a deployment is added": {
			alter:   func(spec *events.Spec) { spec.Elastic.DeploymentIDs = both },
			changed: func(t *testing.T, s *sim) { assert.ElementsMatch(t, both, s.Policies()[0].Associated) },
			back:    func(t *testing.T, s *sim) { assert.Equal(t, both[:1], s.Policies()[0].Associated) }, asks: 1},
		"no association": {
			alter:   func(spec *events.Spec) { spec.Elastic.Associate = false },
			changed: func(t *testing.T, s *sim) { assert.True(t, s.Elastic.Public(ElasticDeployment)) },
			back:    func(t *testing.T, s *sim) { assert.False(t, s.Elastic.Public(ElasticDeployment)) }, asks: 1},
		"no claim": {
			alter:   func(spec *events.Spec) { spec.Elastic.Claim = false },
			changed: func(t *testing.T, s *sim) { assert.Empty(t, s.Elastic.Claims()) },
			back:    func(t *testing.T, s *sim) { assert.Len(t, s.Elastic.Claims(), 1) }},
		"the policy's name": {
			alter: func(spec *events.Spec) {
				spec.Elastic.Policy = &events.Policy{Name: "team", Description: "of the team"}
			},
			changed: func(t *testing.T, s *sim) { assert.Equal(t, "team", *s.Policies()[0].Request.Name) },
			back: func(t *testing.T, s *sim) {
				assert.Equal(t, "eslink-"+s.id, *s.Policies()[0].Request.Name)
			}},
		"apply by default": {
			alter:   func(spec *events.Spec) { spec.Elastic.ApplyByDefault = true },
			changed: func(t *testing.T, s *sim) { assert.True(t, *s.Policies()[0].Request.IncludeByDefault) },
			back:    func(t *testing.T, s *sim) { assert.False(t, *s.Policies()[0].Request.IncludeByDefault) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAzure(t, Config{}, func(t *testing.T, s *sim) {
				spec := s.connect(t, nil)
				s.ends(t, run.Done)
				endpoint := s.Azure.Endpoints()[0].GUID
				asked := 0
				walk := func(spec events.Spec) {
					s.start(t, events.Request{Spec: &spec})
					v := s.until(t, ended)
					if v.Status == run.WaitingApproval {
						asked++
						s.approve(t, v.Plan.ID)
					}
					s.ends(t, run.Done)
					s.azureStands(t)
					assert.Equal(t, endpoint, s.Azure.Endpoints()[0].GUID, "the link stands")
				}
				changed := AzureSpec()
				c.alter(&changed)
				walk(changed)
				c.changed(t, s)
				walk(spec)
				c.back(t, s)
				assert.Equal(t, c.asks, asked)
				s.foreignStands(t)
				s.dissolve(t)
				s.azureGone(t)
			})
		})
	}
}

// What stops a run, by the step that finds it, with what its remedy says; and the same
// run goes on once that is repaired.
func TestAzureFindings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world  func(s *sim)
		spec   func(*events.Spec)
		step   string
		says   string
		repair func(s *sim) // nil: nothing to go on with
	}{
		"the subnet is delegated":    {spec: func(p *events.Spec) { p.Azure.Subnet = "web" }, step: "azure-preflight", says: "delegated to Microsoft.Web/serverFarms"},
		"there is no such network":   {spec: func(p *events.Spec) { p.Azure.VirtualNetwork = "vnet9" }, step: "azure-preflight", says: "there is no network vnet9"},
		"the network is elsewhere":   {spec: func(p *events.Spec) { p.Azure.Location = "eastus2" }, step: "azure-preflight", says: "say location westeurope"},
		"there is no such machine":   {spec: func(p *events.Spec) { p.Vantage.VM = "rg-net/other"; p.Secrets.Azure = "eslink/azure-other" }, step: "azure-preflight", says: "there is no machine other"},
		"the machine may not see it": {spec: func(p *events.Spec) { p.Vantage.VM = "rg-net/other" }, step: "azure-preflight", says: "vm:" + AzureSubscription + "/rg-net/other"},
		"the key lacks rights":       {world: func(s *sim) { s.Elastic.SetTrouble(elasticcloud.Trouble{NoRights: true}) }, step: "elastic-survey", says: "API key lacks rights", repair: func(s *sim) { s.Elastic.SetTrouble(elasticcloud.Trouble{}) }},
		"the client secret has expired": {world: func(s *sim) {
			s.Azure.Register(azure.Principal{Tenant: AzureTenant, ClientID: AzureClient, Secret: AzureSecret, Expired: true})
		}, step: "azure-preflight", says: "make a new one", repair: func(s *sim) {
			s.Azure.Register(azure.Principal{Tenant: AzureTenant, ClientID: AzureClient, Secret: AzureSecret})
		}},
		"the deployment is elsewhere":   {spec: func(p *events.Spec) { p.Elastic.Region = "azure-westus2" }, step: "elastic-survey", says: "deployments of several regions are several runs"},
		"an unknown region":             {spec: func(p *events.Spec) { p.Elastic.Region = "azure-moon1" }, step: "elastic-survey", says: "elastic.service"},
		"a deployment of another cloud": {spec: func(p *events.Spec) { p.Elastic.Region = "aws-us-east-1" }, step: "elastic-survey", says: "not one of Azure"},
		"there is no such deployment":   {spec: func(p *events.Spec) { p.Elastic.DeploymentIDs = []string{strings.Repeat("a", 32)} }, step: "elastic-survey", says: "no such hosted deployment"},
		"policies without ours":         {spec: func(p *events.Spec) { p.Elastic.DeploymentIDs, p.Elastic.Associate = []string{ElasticOther}, false }, step: "link-plan", says: "office (ip)"},
		"the record is somebody else's": {world: func(s *sim) {
			s.Azure.AddZone(AzureSubscription, AzureDNSGroup, azureZone)
			s.Azure.SetRecord(azureZone, "*", "10.9.1.30")
		}, step: "azure-dns", says: "10.9.1.30", repair: func(s *sim) { s.Azure.SetRecord(azureZone, "*") }},
		"claimed by another organization": {world: func(s *sim) {
			s.Account.SetFault(func(c cloud.Call) cloud.Fault {
				if c.Product == "elasticcloud" && strings.HasPrefix(c.Action, "POST") && strings.HasSuffix(c.Action, "/rulesets") {
					return cloud.Fault{Before: cloud.Errorf(400, "traffic_filter.link_id_claimed", "The private endpoint is claimed by another organization.")}
				}
				return cloud.Fault{}
			})
		}, step: "elastic-policy", says: "has to give up the claim", repair: func(s *sim) { s.Account.SetFault(nil) }},
		"never approved":          {world: func(s *sim) { s.Azure.SetTrouble(azure.Trouble{NeverApproved: true}) }, step: "azure-approval", says: "has not approved private endpoint"},
		"rejected":                {world: func(s *sim) { s.Azure.SetTrouble(azure.Trouble{Rejected: true}) }, step: "azure-approval", says: "start the run with again"},
		"a security group":        {world: func(s *sim) { s.subnet(AzureSubnet).Blocked = "refused" }, step: "azure-probe", says: "network security group", repair: func(s *sim) { s.subnet(AzureSubnet).Blocked = "" }},
		"packets are dropped":     {world: func(s *sim) { s.subnet(AzureSubnet).Blocked = "hang" }, step: "azure-probe", says: "not answered, although the connection is approved", repair: func(s *sim) { s.subnet(AzureSubnet).Blocked = "" }},
		"the machine has no curl": {world: func(s *sim) { s.machine().Missing = []string{"curl"} }, step: "azure-probe", says: "says nothing about the network", repair: func(s *sim) { s.machine().Missing = nil }},
		"the machine is stopped":  {world: func(s *sim) { s.machine().Stopped = true }, step: "azure-preflight", says: "start it", repair: func(s *sim) { s.machine().Stopped = false }},
		"the agent is silent":     {world: func(s *sim) { s.machine().AgentSilent = true }, step: "azure-preflight", says: "guest agent", repair: func(s *sim) { s.machine().AgentSilent = false }},
		"the script times out":    {world: func(s *sim) { s.machine().Slow = true }, step: "azure-probe", says: "TimedOut", repair: func(s *sim) { s.machine().Slow = false }},
		"the script dies":         {world: func(s *sim) { s.machine().Crashes = true }, step: "azure-probe", says: "exit status 137", repair: func(s *sim) { s.machine().Crashes = false }},
		"the login may not go there": {world: func(s *sim) {
			s.Secrets.Put(SecretDeployment, `{"username":"reader","password":"`+DeploymentPassword+`","for":["`+ElasticDeployment+`"]}`)
		}, step: "azure-verify", says: "may not be used for vm:", repair: func(s *sim) {
			s.Secrets.Put(SecretDeployment, `{"username":"reader","password":"`+DeploymentPassword+`","for":["`+ElasticDeployment+`","vm:`+AzureSubscription+"/"+AzureMachine+`"]}`)
		}},
		"the password is wrong": {world: func(s *sim) {
			s.Secrets.Put(SecretDeployment, `{"username":"reader","password":"nope","for":["`+ElasticDeployment+`","vm:`+AzureSubscription+"/"+AzureMachine+`"]}`)
		}, step: "azure-verify", says: "refuses the user and password", repair: func(s *sim) {
			s.Secrets.Put(SecretDeployment, `{"username":"reader","password":"`+DeploymentPassword+`","for":["`+ElasticDeployment+`","vm:`+AzureSubscription+"/"+AzureMachine+`"]}`)
		}},
		"a service that answers with a command": {world: func(s *sim) {
			s.Elastic.AddDeployment(elasticcloud.Deployment{ID: ElasticDeployment, Name: "search", Region: ElasticRegion, Alias: "a;touch x", ClusterID: "fb7e805e5cfb4931bdccc4f3cb591f5f"})
		}, step: "azure-probe", says: "is not a DNS name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAzure(t, Config{}, func(t *testing.T, s *sim) {
				s.Secrets.Put("eslink/azure-other", `{"tenantId":"`+AzureTenant+`","clientId":"`+AzureClient+`","clientSecret":"`+AzureSecret+`","for":["`+AzureSubscription+`","vm:`+AzureSubscription+`/rg-net/other"]}`)
				if c.world != nil {
					c.world(s)
				}
				s.connect(t, c.spec)
				v, text := s.fails(t)
				assert.Equal(t, c.step, v.Step, text)
				assert.Contains(t, text, c.says)
				assert.Zero(t, s.Azure.Commands(), "a probe is deleted, also after a failure")
				if c.repair == nil {
					s.Account.SetFault(nil)
					s.dissolve(t)
					assert.Empty(t, s.Azure.Endpoints())
					return
				}
				c.repair(s)
				s.do(t, events.Request{Action: "retry"})
				s.ends(t, run.Done)
				s.azureStands(t)
				s.dissolve(t)
				assert.Empty(t, s.Azure.Endpoints())
				assert.Empty(t, s.Policies())
			})
		})
	}
}

func (s *sim) subnet(name string) *azure.Subnet { return s.Azure.Subnet(name) }
func (s *sim) machine() *azure.Machine          { return s.Azure.Machine("probe") }

// What passes by itself does not stop a run.
func TestAzureBadDays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]func(s *sim){
		"a new policy is refused twice":                func(s *sim) { s.Elastic.SetTrouble(elasticcloud.Trouble{HiddenReads: 2}) },
		"an association that has succeeded is refused": func(s *sim) { s.Elastic.SetTrouble(elasticcloud.Trouble{AssociateLies: true}) },
		"another operation for ten minutes":            func(s *sim) { s.Azure.SetTrouble(azure.Trouble{Busy: s.Clock.Now().Add(10 * time.Minute)}) },
		"each call is throttled once": func(s *sim) {
			seen := map[string]bool{}
			s.Account.SetFault(func(c cloud.Call) cloud.Fault {
				if key := c.Action + c.Params["path"]; (c.Product == "azure" || c.Product == "elasticcloud") && !seen[key] {
					seen[key] = true
					return cloud.Fault{Before: cloud.Errorf(429, "TooManyRequests", "Number of requests exceeded the limit.")}
				}
				return cloud.Fault{}
			})
		},
		"each write's reply is lost once": func(s *sim) {
			seen := map[string]bool{}
			s.Account.SetFault(func(c cloud.Call) cloud.Fault {
				if key := c.Action + c.Params["path"]; (c.Product == "azure" || c.Product == "elasticcloud") && !strings.HasPrefix(c.Action, "GET") && !seen[key] {
					seen[key] = true
					return cloud.Fault{LoseReply: true}
				}
				return cloud.Fault{}
			})
		},
		"a service error once at each call": func(s *sim) {
			seen := map[string]bool{}
			s.Account.SetFault(func(c cloud.Call) cloud.Fault {
				if key := c.Action + c.Params["path"]; (c.Product == "azure" || c.Product == "elasticcloud") && !seen[key] {
					seen[key] = true
					return cloud.Fault{Before: cloud.Errorf(500, "traffic_filter.request_execution_failed", "The request failed.")}
				}
				return cloud.Fault{}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAzure(t, Config{}, func(t *testing.T, s *sim) {
				c(s)
				s.connect(t, nil)
				s.ends(t, run.Done)
				s.azureStands(t)
				assert.Equal(t, []string{ElasticDeployment}, s.Policies()[0].Associated)
				s.dissolve(t)
				s.azureGone(t)
				s.foreignStands(t)
			})
		})
	}
}

// A connection that the service's owner has ended is never approved again: the run
// deletes its endpoint, makes another one, and record and policy follow.
func TestAzureDisconnectedLater(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		spec := s.connect(t, nil)
		s.ends(t, run.Done)
		first := s.Azure.Endpoints()[0]
		s.Azure.Disconnect(first.Name)
		s.start(t, events.Request{Spec: &spec, Again: true})
		v := s.ends(t, run.Done)
		s.azureStands(t)
		second := s.Azure.Endpoints()[0]
		assert.NotEqual(t, first.GUID, second.GUID)
		assert.NotEqual(t, first.Name, second.Name, "the name of a deleted endpoint is blocked")
		assert.NotEqual(t, first.Address, second.Address)
		assert.Equal(t, 2, v.Facts.AzureEndpoint.Generation)
		require.Len(t, s.Policies()[0].Request.Rules, 1)
		s.dissolve(t)
	})
}

// What somebody has changed of ours is repaired by the next walk.
func TestAzureIsRepaired(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(s *sim){
		"the record's address is stale": func(s *sim) { s.Azure.SetRecord(azureZone, "*", "10.9.1.29") },
		"the record is gone":            func(s *sim) { s.Azure.SetRecord(azureZone, "*") },
		"the endpoint is gone":          func(s *sim) { s.Azure.Remove(s.Azure.Endpoints()[0].Name) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inAzure(t, Config{}, func(t *testing.T, s *sim) {
				spec := s.connect(t, nil)
				s.ends(t, run.Done)
				harm(s)
				s.start(t, events.Request{Spec: &spec, Again: true})
				s.ends(t, run.Done)
				s.azureStands(t)
				s.dissolve(t)
				s.azureGone(t)
			})
		})
	}
}

// A zone that somebody has made and linked is adopted, and stays.
func TestAzureAdoptsAZone(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.Azure.AddZone(AzureSubscription, "rg-hub", azureZone, AzureSpec().Azure.NetworkID())
		s.connect(t, nil)
		v := s.ends(t, run.Done)
		s.azureStands(t)
		assert.Equal(t, "rg-hub", v.Facts.AzureDNS.Group)
		s.dissolve(t)
		require.Len(t, s.Azure.Zones(), 1)
		z := s.Azure.Zones()[0]
		assert.Empty(t, z.Records)
		assert.Len(t, z.Links, 1)
	})
}

// Without a machine the run proves what the control planes say, and says so.
func TestAzureNotProvenInside(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.connect(t, func(spec *events.Spec) {
			spec.Vantage, spec.Secrets.Target = nil, ""
			spec.AcceptRisks = append(spec.AcceptRisks, events.RiskNotProven)
		})
		v := s.ends(t, run.Done)
		assert.Equal(t, "control plane", v.Facts.AzureVerify.Level)
		assert.Contains(t, strings.Join(v.Facts.AzureVerify.Access, "\n"), "curl -v https://search-d53192.es."+azureZone)
		assert.Zero(t, s.Azure.Runs())
		s.dissolve(t)
		s.azureGone(t)
	})
}

// Teardown from any state leaves nothing.
func TestAzureTearDownFromEachStep(t *testing.T) {
	t.Parallel()
	f, _ := flow.Of(flow.ElasticAzure)
	for i, step := range f.Steps {
		t.Run(step.Name, func(t *testing.T) {
			t.Parallel()
			inAzure(t, Config{}, func(t *testing.T, s *sim) {
				s.connect(t, nil)
				s.until(t, func(v api.View) bool { // the first ones are over in an instant
					return slices.IndexFunc(f.Steps, func(k flow.Step) bool { return k.Name == v.Step }) >= i
				})
				time.Sleep(15 * time.Second)
				s.dissolve(t)
				s.azureGone(t)
				s.foreignStands(t)
			})
		})
	}
}

// No secret is in anything that eslink writes, says or logs, nor in what was called.
func TestAzureSecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		var logs strings.Builder
		s.Logs = &logs
		s.connect(t, nil)
		v := s.ends(t, run.Done)
		s.dissolve(t)
		all := logs.String() + fmt.Sprintf("%+v", v)
		for _, e := range s.Account.Exchanges() {
			all += e.URL + e.ReqBody + e.RespBody + fmt.Sprint(e.ReqHeader)
		}
		require.Contains(t, all, "eslink-"+s.id)
		for _, secret := range []string{AzureSecret, ElasticKey, DeploymentPassword, "cmVhZGVyOmNhbmFyeS1EZXAt", "t=signed-"} {
			if secret == "t=signed-" {
				assert.NotContains(t, logs.String()+fmt.Sprintf("%+v", v), secret)
				continue
			}
			assert.NotContains(t, all, secret)
		}
	})
}

// TestAzureCrashMatrix does as TestCrashMatrix does, for a deployment that a policy
// filters already, so that nothing is asked.
func TestAzureCrashMatrix(t *testing.T) {
	t.Parallel()
	spec := AzureSpec()
	spec.Elastic.DeploymentIDs = []string{ElasticOther}
	in := func(t *testing.T, do func(*testing.T, *sim)) { inAzure(t, Config{}, do) }
	stands := func(s *sim, t *testing.T) {
		s.azureStands(t)
		assert.Equal(t, []string{ElasticOther}, s.Policies()[0].Associated)
		assert.Len(t, s.Elastic.Claims(), 1)
	}
	crashMatrix(t, spec, in, 0, stands, func(s *sim, t *testing.T) {
		s.azureGone(t)
		s.foreignStands(t)
	})
}

// TestAzureLeastRights holds the role files to what a run and its teardown call:
// nothing is missing and nothing is granted in vain. What Azure checks on a network
// that is joined, no call shows.
func TestAzureLeastRights(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.connect(t, nil)
		s.ends(t, run.Done)
		s.dissolve(t)
		called := map[string]bool{"Microsoft.Network/virtualNetworks/join/action": true, "Microsoft.Network/virtualNetworks/subnets/join/action": true}
		for _, e := range s.Account.Exchanges() {
			method, kind, _ := strings.Cut(e.Action, " ")
			if verb := map[string]string{"GET": "read", "PUT": "write", "DELETE": "delete"}[method]; e.Product == "azure" && strings.HasPrefix(kind, "Microsoft.") {
				called[kind+"/"+verb] = true
			}
		}
		var granted []string
		for _, name := range []string{"network", "machine"} {
			raw, err := os.ReadFile("../../shared/azure/roles/" + name + ".json")
			require.NoError(t, err)
			var role struct{ Actions []string }
			require.NoError(t, json.Unmarshal(raw, &role))
			granted = append(granted, role.Actions...)
		}
		assert.ElementsMatch(t, slices.Collect(maps.Keys(called)), granted)
	})
}

// Further networks get links to the zone, and lose them.
func TestAzureMoreNetworks(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		hub := s.Azure.AddNetwork(AzureSubscription, "rg-hub", "hub", AzureLocation)
		s.connect(t, func(spec *events.Spec) { spec.Azure.MoreVirtualNetworkIDs = []string{hub.ID} })
		s.ends(t, run.Done)
		require.Len(t, s.Azure.Zones(), 1)
		var linked []string
		for _, l := range s.Azure.Zones()[0].Links {
			linked = append(linked, l.Network)
		}
		assert.ElementsMatch(t, []string{AzureSpec().Azure.NetworkID(), hub.ID}, linked)
		s.dissolve(t)
		s.azureGone(t)
	})
}

// Every event comes twice.
func TestAzureEventsComeTwice(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		s.Events.Fault = func(runtime.Delivery) runtime.Fault { return runtime.Fault{Copies: 1} }
		s.connect(t, nil)
		s.ends(t, run.Done)
		s.azureStands(t)
		s.dissolve(t)
		s.azureGone(t)
	})
}
