package world

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/run"
)

// Each oddity stops the run before its first write, or waits, with what to do; then
// the run goes on.
func TestZillizAWSFindings(t *testing.T) {
	t.Parallel()
	machine := func(change func(*aws.Instance)) func(*sim) {
		return func(s *sim) { s.AWS.SetInstance(awstest.Instance, change) }
	}
	cluster := func(change func(*zilliz.Cluster)) func(*sim) {
		return func(s *sim) { s.Zilliz.SetCluster(awstest.Cluster, change) }
	}
	for name, c := range map[string]struct {
		world  func(*sim)
		spec   func(*events.Spec)
		step   string
		says   string
		repair func(*sim)
	}{
		"not a Dedicated cluster":  {spec: func(s *events.Spec) { s.Zilliz.ClusterIDs = []string{awstest.Serverless} }, step: "zilliz-survey", says: "not a Dedicated one"},
		"unknown cluster":          {spec: func(s *events.Spec) { s.Zilliz.ClusterIDs = []string{"in01-ffffffffffff"} }, step: "zilliz-survey", says: "correct the ID"},
		"no service in the region": {spec: func(s *events.Spec) { s.Zilliz.Region = "aws-eu-central-1" }, step: "zilliz-survey", says: "no endpoint service"},
		"cluster suspended":        {world: cluster(func(c *zilliz.Cluster) { c.Status = "SUSPENDED" }), step: "zilliz-survey", says: "resume it", repair: cluster(func(c *zilliz.Cluster) { c.Status = "RUNNING" })},
		"key illegal":              {world: func(s *sim) { s.Zilliz.RemoveKey(awstest.APIKey) }, step: "zilliz-survey", says: "is not valid", repair: func(s *sim) { s.Zilliz.AddKey(awstest.APIKey) }},
		"key of AWS revoked":       {world: func(s *sim) { s.AWS.RemoveKey(awstest.AccessKeyID) }, step: "aws-preflight", says: "trust policy", repair: func(s *sim) { s.AWS.AddKey(awstest.AccessKeyID, awstest.SecretKey, awstest.Account) }},
		"DNS attributes off":       {world: func(s *sim) { s.AWS.SetVPC(awstest.VPC, func(v *aws.VPC) { v.DNSHostnames = false }) }, step: "aws-preflight", says: "modify-vpc-attribute", repair: func(s *sim) { s.AWS.SetVPC(awstest.VPC, func(v *aws.VPC) { v.DNSHostnames = true }) }},
		"zone without the service": {spec: func(s *events.Spec) { s.AWS.SubnetIDs = []string{awstest.SubnetC} }, step: "aws-preflight", says: "name subnets in us-west-2a, us-west-2b"},
		"a zone twice":             {spec: func(s *events.Spec) { s.AWS.SubnetIDs = []string{awstest.SubnetA, awstest.SubnetVM} }, step: "aws-preflight", says: "one subnet a zone"},
		"subnet full":              {world: func(s *sim) { s.AWS.SetSubnet(awstest.SubnetA, func(n *aws.Subnet) { n.Free = 0 }) }, step: "aws-preflight", says: "no free address", repair: func(s *sim) { s.AWS.SetSubnet(awstest.SubnetA, func(n *aws.Subnet) { n.Free = 9 }) }},
		"subnet of another VPC":    {spec: func(s *events.Spec) { s.AWS.SubnetIDs = []string{"subnet-0123456789abcdef0"} }, step: "aws-preflight", says: "correct the ID"},
		"group of another VPC":     {spec: func(s *events.Spec) { s.AWS.ClientSecurityGroupIDs = []string{"sg-0123456789abcdef0"} }, step: "aws-preflight", says: "correct the ID"},
		"VPC of another account": {spec: func(s *events.Spec) {
			s.AWS.MoreVPCs = []events.AWSVPC{{ID: "vpc-0123456789abcdef0", Region: awstest.MoreRegion}}
		}, step: "aws-preflight", says: "create-vpc-association-authorization"},
		"no machine":                  {spec: func(s *events.Spec) { s.Vantage = nil }, step: "aws-preflight", says: "not-proven-inside"},
		"a machine that is no client": {world: machine(func(i *aws.Instance) { i.Groups = nil }), step: "aws-preflight", says: "is no client", repair: machine(func(i *aws.Instance) { i.Groups = []string{awstest.Clients} })},
		"a machine that is stopped":   {world: machine(func(i *aws.Instance) { i.State = "stopped" }), step: "aws-preflight", says: "start it", repair: machine(func(i *aws.Instance) { i.State = "running" })},
		"a machine without an agent":  {world: machine(func(i *aws.Instance) { i.Agent = "" }), step: "aws-preflight", says: "AmazonSSMManagedInstanceCore", repair: machine(func(i *aws.Instance) { i.Agent = "Online" })},
		"a machine of another system": {world: machine(func(i *aws.Instance) { i.Platform = "Windows" }), step: "aws-preflight", says: "shell script", repair: machine(func(i *aws.Instance) { i.Platform = "Linux" })},
		"another document":            {world: func(s *sim) { s.AWS.PutDocument(awstest.Region, "eslink-probe", "{}") }, step: "aws-preflight", says: "update-document"},
		"a machine that the secret lacks": {world: func(s *sim) {
			s.Secrets.Put(SecretAWS, `{"accessKeyId":"`+awstest.AccessKeyID+`","secretAccessKey":"`+awstest.SecretKey+`","for":["`+awstest.Account+`"]}`)
		}, step: "aws-preflight", says: "may not be used for " + awstest.Instance},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{Seed: 11}, func(t *testing.T, s *sim) {
				spec := ZillizSpec()
				if c.spec != nil {
					c.spec(&spec)
				}
				if c.world != nil {
					c.world(s)
				}
				s.start(t, events.Request{Spec: &spec})
				v := s.ends(t, run.Failed)
				assert.Equal(t, c.step, v.Step)
				assert.Contains(t, v.Problem.Error(), c.says)
				assert.Empty(t, s.zillizWrites(), "it is said before the first write")
				if c.repair == nil {
					return
				}
				c.repair(s)
				s.do(t, events.Request{Action: "retry"})
				s.ends(t, run.Done)
				s.zillizStands(t, awstest.Cluster)
			})
		})
	}
}

// TestZillizAWSLeastRights holds the policy file to what runs and their teardown
// call.
func TestZillizAWSLeastRights(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../shared/awsaccount/policy.json")
	require.NoError(t, err)
	var policy struct {
		Statement []struct{ Action []string }
	}
	require.NoError(t, json.Unmarshal(raw, &policy))
	var granted []string
	for _, s := range policy.Statement {
		granted = append(granted, s.Action...)
	}
	inWorld(t, Config{Seed: 12}, func(t *testing.T, s *sim) {
		spec := ZillizSpec()
		spec.AWS.MoreVPCs = []events.AWSVPC{{ID: awstest.MoreVPC, Region: awstest.MoreRegion}}
		s.AWS.SetGroup(awstest.Clients, func(_, egress *[]aws.Rule) { *egress = nil })
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		spec.AWS.MoreVPCs, spec.AWS.SubnetIDs = nil, []string{awstest.SubnetA}
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		called := map[string]bool{}
		for _, e := range s.Account.Exchanges() {
			if slices.Contains([]string{"ec2", "route53", "ssm"}, e.Product) {
				called[e.Product+":"+e.Action] = true
			}
		}
		for action := range called {
			assert.Contains(t, granted, action, "missing")
		}
		for _, action := range granted {
			// What AWS asks for besides the call itself: tags on creation, and another
			// region. ACLs are read where a connection hangs.
			if !slices.Contains([]string{"ec2:CreateTags", "vpce:AllowMultiRegion", "ec2:DescribeNetworkAcls"}, action) {
				assert.True(t, called[action], "%s is granted in vain", action)
			}
		}
	})
}
