package world

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/api/check"
	"eslink/shared/run"
)

func inAzure(t *testing.T, c Config, do func(t *testing.T, s *sim)) {
	t.Helper()
	inWorld(t, c, do)
}

// azureStands asserts what a run that is done leaves in the two clouds.
func (s *sim) azureStands(t *testing.T) {
	t.Helper()
	endpoints := s.Azure.Endpoints()
	require.Len(t, endpoints, 1)
	e := endpoints[0]
	assert.Equal(t, "Approved", e.State())
	zones := s.Azure.Zones()
	require.Len(t, zones, 1)
	z := zones[0]
	assert.Equal(t, "privatelink.eastus2.azure.elastic-cloud.com", z.Name)
	require.Contains(t, z.Records, "*")
	assert.Equal(t, []string{e.Address.String()}, z.Records["*"].Addresses)
	require.Len(t, z.Links, 1)
	policies := s.Policies()
	require.Len(t, policies, 1)
	assert.Equal(t, e.GUID, policies[0].Request.Rules[0].AzureEndpointGUID)
	assert.Zero(t, s.Azure.Commands(), "probes are deleted")
}

// azureGone asserts that nothing of the run is left.
func (s *sim) azureGone(t *testing.T) {
	t.Helper()
	assert.Empty(t, s.Azure.Endpoints())
	assert.Empty(t, s.Azure.Zones())
	assert.Empty(t, s.Policies())
	assert.Empty(t, s.Elastic.Claims())
	assert.Zero(t, s.Azure.Commands())
}

func TestElasticAzureFromEndToEnd(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		spec := AzureSpec()
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Done)
		s.azureStands(t)
		assert.Equal(t, []string{ElasticDeployment}, s.Policies()[0].Associated)
		assert.False(t, s.Elastic.Public(ElasticDeployment))
		assert.Equal(t, []string{s.Azure.Endpoints()[0].GUID}, s.Elastic.Claims())
		verify := v.Facts.AzureVerify
		assert.Equal(t, "inside", verify.Level)
		require.Len(t, verify.Results, 1)
		var names []string
		for _, c := range verify.Results[0].Checks {
			names = append(names, c.Name)
			assert.True(t, c.OK, c.Detail)
		}
		assert.Equal(t, []string{"link", "network", "login", "operation"}, names)
		assert.Contains(t, verify.Access, "search kibana: https://search-d53192.kb.privatelink.eastus2.azure.elastic-cloud.com:443")

		// A second walk writes nothing but the probe.
		before := s.foreignWrites()
		s.start(t, events.Request{Spec: &spec, Again: true})
		s.ends(t, run.Done)
		s.azureStands(t)
		for _, w := range s.foreignWrites()[len(before):] {
			assert.Contains(t, w, "runCommands", "a second walk writes")
		}

		// Teardown makes the deployment public again: it asks, whatever approve says.
		s.do(t, events.Request{Action: "teardown"})
		v = s.ends(t, run.WaitingApproval)
		require.Len(t, v.Plan.Access, 1)
		assert.Contains(t, v.Plan.Access[0], "takes traffic from the internet again")
		assert.False(t, s.Elastic.Public(ElasticDeployment))
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Removed)
		s.azureGone(t)
		assert.True(t, s.Elastic.Public(ElasticDeployment))
	})
}

// foreignWrites are the writes to clouds other than Alibaba's, in order.
func (s *sim) foreignWrites() (out []string) {
	for _, e := range s.Account.Exchanges() {
		if e.Write && (e.Product == "azure" || e.Product == "elasticcloud") {
			out = append(out, e.Action)
		}
	}
	return out
}

// Function check proves a run's link at any time, and one that eslink did not make.
func TestAzureCheck(t *testing.T) {
	t.Parallel()
	inAzure(t, Config{}, func(t *testing.T, s *sim) {
		spec := AzureSpec()
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		ask := func(req events.CheckRequest) (reply check.Reply) {
			t.Helper()
			raw, err := json.Marshal(req)
			require.NoError(t, err)
			require.NoError(t, s.ask("check", raw, &reply))
			assert.Zero(t, s.Azure.Commands())
			return reply
		}
		codes := func(r check.Reply) (out []string) {
			for _, c := range r.Checks {
				out = append(out, fmt.Sprint(c.Name, " ", c.OK))
			}
			return out
		}
		good := []string{"link true", "network true", "login true", "operation true"}
		assert.Equal(t, good, codes(ask(events.CheckRequest{RunID: s.id})))

		foreign := events.CheckRequest{Scenario: "elastic-azure", Azure: &events.AzureCheck{EndpointID: s.Azure.Endpoints()[0].ID}, Elastic: &events.ElasticCheck{DeploymentID: ElasticDeployment},
			Vantage: spec.Vantage, Secrets: spec.Secrets}
		assert.Equal(t, good, codes(ask(foreign)))
		s.subnet(AzureSubnet).Blocked = "refused"
		assert.Equal(t, []string{"link true", "network false"}, codes(ask(foreign)))
		s.subnet(AzureSubnet).Blocked = ""
		s.Azure.SetRecord(azureZone, "*", "10.9.1.30")
		assert.Equal(t, []string{"link false", "network false"}, codes(ask(foreign)))

		// Without a machine nothing is proven, and that is no "ok" unless it is accepted.
		s.Azure.SetRecord(azureZone, "*", s.Azure.Endpoints()[0].Address.String())
		foreign.Vantage, foreign.Secrets.Target = nil, ""
		assert.False(t, ask(foreign).OK)
		foreign.AcceptRisks = []string{events.RiskNotProven}
		assert.True(t, ask(foreign).OK)

		// One that takes longer than a request goes on by its ID.
		s.machine().Slow = true
		foreign.Vantage, foreign.AcceptRisks, foreign.Secrets.Target = spec.Vantage, nil, SecretDeployment
		reply := ask(foreign)
		assert.False(t, reply.OK)
		assert.Contains(t, reply.Checks[1].Detail, "TimedOut")
	})
}
