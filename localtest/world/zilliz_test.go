package world

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/api/check"
	"eslink/shared/run"
)

// host is the private name of the first cluster.
func host() string {
	return zilliz.PrivateHost(zilliz.Cluster{ID: awstest.Cluster, Region: awstest.ZillizRegion})
}

// zillizStands asserts what a run that is done leaves in the two clouds.
func (s *sim) zillizStands(t *testing.T, clusters ...string) {
	t.Helper()
	endpoints := s.AWS.Endpoints()
	require.Len(t, endpoints, 1)
	e := endpoints[0]
	assert.Equal(t, "available", e.State)
	assert.Equal(t, []string{awstest.SubnetA, awstest.SubnetB}, e.Subnets)
	registered := s.Zilliz.Endpoints()
	require.Len(t, registered, 1)
	assert.Equal(t, e.ID, registered[0].ID)
	zones := s.AWS.Zones()
	require.Len(t, zones, len(clusters))
	for _, id := range clusters {
		name := zilliz.PrivateHost(zilliz.Cluster{ID: id, Region: awstest.ZillizRegion})
		i := slices.IndexFunc(zones, func(z aws.Zone) bool { return z.Name == name })
		require.GreaterOrEqual(t, i, 0, name)
		assert.Equal(t, map[string]string{name: e.Names[0]}, zones[i].Aliases)
		assert.Equal(t, []string{awstest.VPC}, zones[i].VPCs)
	}
	for _, g := range s.AWS.Groups() {
		if g.ID != e.Groups[0] {
			continue
		}
		require.Len(t, g.Ingress, 1, "exactly the clients, on exactly the port")
		assert.Equal(t, []any{awstest.Clients, awstest.Port, awstest.Port, "tcp"}, []any{g.Ingress[0].Group, g.Ingress[0].From, g.Ingress[0].To, g.Ingress[0].Protocol})
	}
}

// zillizWrites are the writes to the two clouds, in order.
func (s *sim) zillizWrites() (out []string) {
	for _, e := range s.Account.Exchanges() {
		if e.Write && slices.Contains([]string{"ec2", "route53", "ssm", "zilliz"}, e.Product) && e.Status < 300 {
			out = append(out, e.Action)
		}
	}
	return out
}

func TestZillizAWSFromEndToEnd(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Done)
		s.zillizStands(t, awstest.Cluster)
		verify := v.Facts.AWSVerify
		assert.Equal(t, "login", verify.Level)
		var names []string
		for _, c := range verify.Checks {
			names = append(names, c.Name)
			assert.True(t, c.OK, c.Detail)
		}
		assert.Equal(t, []string{"link", "network", "login", "operation"}, names)
		assert.Contains(t, verify.Checks[1].Detail, "HTTP 400, as expected")
		assert.True(t, s.Zilliz.Public(awstest.Cluster), "nothing was asked of it")

		// A second walk writes nothing but the probe.
		before := len(s.zillizWrites())
		s.start(t, events.Request{Spec: &spec, Again: true})
		s.ends(t, run.Done)
		s.zillizStands(t, awstest.Cluster)
		assert.Equal(t, []string{"SendCommand"}, s.zillizWrites()[before:])

		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		assert.Empty(t, s.Left())
		assert.Empty(t, s.AWS.Zones())
		for _, g := range s.AWS.Groups() {
			assert.Contains(t, []string{awstest.Clients, awstest.MoreClients}, g.ID)
			assert.Len(t, g.Egress, 1, "what the clients' groups had is left alone")
		}
	})
}

// The log of all calls, the records and the queues hold no secret.
func TestZillizAWSShowsNoSecret(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 3}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Done)
		for _, e := range s.Account.Exchanges() {
			for _, canary := range []string{awstest.SecretKey, awstest.APIKey, awstest.DataKey} {
				assert.NotContains(t, e.URL+e.ReqBody+e.RespBody, canary, e.Action)
			}
		}
		assert.NotContains(t, v.Reason, "canary")
	})
}

// An account has to be admitted before it sees the service, and stays admitted:
// teardown names that.
func TestZillizAWSIsAdmittedFirst(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 1}, func(t *testing.T, s *sim) {
		s.Zilliz.AddService(zilliz.Service{Region: awstest.ZillizRegion, Name: awstest.Service, Whitelist: true}, awstest.Region, []string{awstest.Region + "a", awstest.Region + "b"}, nil)
		spec := ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Done)
		assert.Contains(t, strings.Join(v.Plan.Creates, "\n"), "which eslink cannot remove")
		assert.Equal(t, []string{awstest.ZillizRegion + "/" + awstest.Account}, s.Zilliz.Admitted())
		s.zillizStands(t, awstest.Cluster)
		s.do(t, events.Request{Action: "teardown"})
		v = s.ends(t, run.Removed)
		assert.Empty(t, s.Left())
		i := slices.IndexFunc(v.Timeline, func(e run.Entry) bool { return e.What == "left" })
		require.GreaterOrEqual(t, i, 0)
		assert.Contains(t, v.Timeline[i].Reason, "account "+awstest.Account+" stays on the whitelist")
	})
}

// The public address is closed after the proof alone, and approve: auto does not
// consent to it.
func TestZillizAWSClosesThePublicAddress(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 2}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		spec.Zilliz.PublicAccess, spec.Zilliz.ReopenPublic = events.Disable, true
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.WaitingApproval)
		require.Len(t, v.Plan.Access, 1)
		assert.Empty(t, s.zillizWrites())
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Done)
		assert.False(t, s.Zilliz.Public(awstest.Cluster))
		writes := s.zillizWrites()
		assert.Equal(t, "UpdateCluster", writes[len(writes)-1], "it is the last thing done")

		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		assert.True(t, s.Zilliz.Public(awstest.Cluster), "the run had closed it, and reopenPublic says so")
		assert.Empty(t, s.Left())
	})
}

// Without reopenPublic teardown asks before it cuts the last path.
func TestZillizAWSTeardownOfTheLastPathAsks(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 4}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		spec.Zilliz.PublicAccess, spec.AcceptRisks = events.Disable, []string{events.RiskPublicBlocked}
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		s.do(t, events.Request{Action: "teardown"})
		v := s.ends(t, run.WaitingApproval)
		s.zillizStands(t, awstest.Cluster)
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Removed)
		assert.Empty(t, s.Left())
		assert.False(t, s.Zilliz.Public(awstest.Cluster))
	})
}

// A later spec of the same name changes what stands: clusters, VPCs and the login.
func TestZillizAWSChangesOverWhatStands(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 5}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		more := ZillizSpec()
		more.Zilliz.ClusterIDs = append(more.Zilliz.ClusterIDs, awstest.OtherCluster)
		more.Vantage.Parameter = ""
		s.start(t, events.Request{Spec: &more})
		v := s.ends(t, run.Done)
		s.zillizStands(t, awstest.Cluster, awstest.OtherCluster)
		assert.Equal(t, "reached", v.Facts.AWSVerify.Level)
		assert.Contains(t, v.Facts.AWSVerify.Summary, "no login was tested")
		assert.Len(t, v.Facts.AWSVerify.Checks, 8)

		wide := ZillizSpec()
		wide.AWS.MoreVPCs = []events.AWSVPC{{ID: awstest.MoreVPC, Region: awstest.MoreRegion}}
		s.start(t, events.Request{Spec: &wide})
		s.ends(t, run.Done)
		require.Len(t, s.AWS.Zones(), 1, "the other cluster's zone is gone")
		assert.Equal(t, []string{awstest.VPC, awstest.MoreVPC}, s.AWS.Zones()[0].VPCs)
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		s.zillizStands(t, awstest.Cluster)
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		assert.Empty(t, s.Left())
	})
}

// Somebody else's zone of that name is never touched, but named.
func TestZillizAWSLeavesAForeignZoneAlone(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 6}, func(t *testing.T, s *sim) {
		id := s.AWS.AddZone(host(), "", "by hand", awstest.VPC)
		spec := ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Failed)
		assert.Equal(t, "aws-dns", v.Step)
		assert.Contains(t, v.Problem.Error(), id)
		s.AWS.RemoveZone(id)
		s.do(t, events.Request{Action: "retry"})
		s.ends(t, run.Done)
		s.zillizStands(t, awstest.Cluster)
	})
}

// Every operation of a function is refused once by its product's limit.
func TestZillizAWSIsThrottled(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 7}, func(t *testing.T, s *sim) {
		var mu sync.Mutex
		seen := map[string]bool{}
		s.Account.SetFault(func(c cloud.Call) cloud.Fault {
			mu.Lock()
			defer mu.Unlock()
			key := c.Product + " " + c.Action
			if foreign := c.Product == "ec2" || c.Product == "route53" || c.Product == "ssm" || c.Product == "sts" || c.Product == "zilliz"; !foreign || seen[key] {
				return cloud.Fault{}
			}
			seen[key] = true
			return cloud.Fault{Before: throttled(c)}
		})
		spec := ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		s.zillizStands(t, awstest.Cluster)
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		assert.Empty(t, s.Left())
	})
}

// The endpoint is in another region than the clusters.
func TestZillizAWSAcrossRegions(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 8}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		spec.AWS = &events.AWS{Region: awstest.MoreRegion, VPCID: awstest.MoreVPC, SubnetIDs: []string{awstest.MoreSubnet}, ClientCIDRs: []string{"10.30.0.0/16"}}
		spec.Vantage.InstanceID = awstest.MoreInstance
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Done)
		assert.Equal(t, "login", v.Facts.AWSVerify.Level)
		require.Len(t, s.AWS.Endpoints()[0].Names, 1)
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		assert.Empty(t, s.Left())
	})
}

// A timeout is traced to the group that lacks the rule, and to no other.
func TestZillizAWSTracesATimeout(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 9}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		spec.AWS.ManageClientEgress = false
		s.AWS.SetGroup(awstest.Clients, func(_, egress *[]aws.Rule) { *egress = nil })
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Failed)
		assert.Equal(t, "aws-verify", v.Step)
		message := v.Problem.Error()
		assert.Contains(t, message, awstest.Clients+" (the instance's) has no egress rule for TCP")
		assert.NotContains(t, message, "(the endpoint's)")
		assert.Contains(t, message, "aws ec2 authorize-security-group-egress")

		// manageClientEgress adds the rule, and teardown removes it.
		spec = ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		assert.Empty(t, s.Left())
	})
}

// Function check proves a run's links at any time, and one that eslink did not make.
func TestZillizAWSCheck(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Seed: 10}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		ask := func(req events.CheckRequest) (names string, reply check.Reply) {
			t.Helper()
			raw, err := json.Marshal(req)
			require.NoError(t, err)
			require.NoError(t, s.ask("check", raw, &reply))
			for _, c := range reply.Checks {
				names += fmt.Sprint(c.Name, " ", c.OK, ", ")
			}
			return names, reply
		}
		const good = "link true, network true, login true, operation true, "
		names, _ := ask(events.CheckRequest{RunID: s.id})
		assert.Equal(t, good, names)

		foreign := events.CheckRequest{Scenario: "zilliz-aws", AWS: &events.AWSCheck{Region: awstest.Region, EndpointID: s.AWS.Endpoints()[0].ID},
			Zilliz: &events.ZillizCheck{ProjectID: awstest.Project, ClusterID: awstest.Cluster}, Vantage: spec.Vantage, Secrets: spec.Secrets}
		names, reply := ask(foreign)
		assert.Equal(t, good, names)
		assert.True(t, reply.OK)

		// The FAQ's causes of a timeout are told apart.
		s.AWS.SetGroup(s.AWS.Endpoints()[0].Groups[0], func(in, _ *[]aws.Rule) { (*in)[0].Group = "sg-0123456789abcdef0" })
		names, reply = ask(foreign)
		assert.Equal(t, "link true, network false, login false, operation false, ", names)
		assert.Contains(t, reply.Checks[1].Detail, "(the endpoint's) has no ingress rule")
		assert.NotContains(t, reply.Checks[1].Detail, "(the instance's)")
		s.AWS.RemoveZone(s.AWS.Zones()[0].ID)
		names, reply = ask(foreign)
		assert.Equal(t, "link false, network false, login false, operation false, ", names)
		assert.Contains(t, reply.Checks[1].Detail, "does not resolve")

		// Without a machine nothing is proved, and that is no "ok" unless it is accepted.
		foreign.Vantage = nil
		_, reply = ask(foreign)
		assert.False(t, reply.OK)
	})
}
