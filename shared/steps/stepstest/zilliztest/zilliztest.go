// Package zilliztest is the world that the steps of zilliz-aws are tested in: AWS
// and Zilliz Cloud, the secrets for both, and runs with the facts of the steps
// before.
package zilliztest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/kms"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/aws"
	"eslink/shared/aws/ec2"
	"eslink/shared/aws/route53"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
	"eslink/shared/steps/stepstest"
)

// Group is a security group of the VPC that stands for the run's own.
const Group = "sg-0e0d0000000000001"

// Host is the first cluster's private name.
func Host() string {
	return zilliz.PrivateHost(zilliz.Cluster{ID: awstest.Cluster, Region: awstest.ZillizRegion})
}

// World is both clouds, with what a function gets of them.
type World struct {
	*stepstest.World
	Clouds awstest.World
	EC2    *ec2.Client
	DNS    *route53.Client
}

// New makes a world; durations and the lag of lists are drawn from seed.
func New(t testing.TB, seed uint64) *World {
	w := &World{World: stepstest.New(t, seed)}
	w.Clouds = awstest.New(w.Account)
	secrets := kms.New(w.Account)
	for name, value := range map[string]any{
		"eslink/aws":    map[string]any{"accessKeyId": awstest.AccessKeyID, "secretAccessKey": awstest.SecretKey, "for": []string{awstest.Account, awstest.Instance}},
		"eslink/zilliz": map[string]any{"apiKey": awstest.APIKey},
	} {
		raw, err := json.Marshal(value)
		require.NoError(t, err)
		secrets.Put(name, string(raw))
	}
	w.Deps.Aliyun.Transport = cloud.Transport(func(string) http.Handler { return secrets })
	w.Deps.Transport = func(string) http.RoundTripper { return w.Clouds.Transport() }
	account := aws.KeyAccount(aws.Config{Transport: w.Clouds.Transport(), Now: w.Now}, aws.Key{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretKey})
	w.EC2, w.DNS = ec2.New(account, awstest.Region), route53.New(account)
	return w
}

// Run is a run at a step, with what survey and preflight find.
func (w *World) Run(step string) *run.Run {
	spec := events.Spec{Name: "vectors", Scenario: flow.ZillizAWS, Region: "cn-hangzhou",
		AWS: &events.AWS{Region: awstest.Region, VPCID: awstest.VPC, SubnetIDs: []string{awstest.SubnetA, awstest.SubnetB},
			ClientSecurityGroupIDs: []string{awstest.Clients}, ManageClientEgress: true},
		Zilliz:  &events.Zilliz{ProjectID: awstest.Project, ClusterIDs: []string{awstest.Cluster}, Region: awstest.ZillizRegion, API: "global", PublicAccess: "keep"},
		Vantage: &events.Vantage{InstanceID: awstest.Instance, Parameter: awstest.DataParameter},
		Secrets: events.Secrets{AWS: "eslink/aws", Zilliz: "eslink/zilliz"}, Approve: "auto"}
	r := &run.Run{ID: flow.RunID(w.Account.AccountID, spec), Generation: 1, AccountID: w.Account.AccountID, Spec: spec, Direction: run.Up, Status: run.Running}
	r.Facts.ZillizSurvey = &facts.ZillizSurvey{Service: awstest.Service, Clusters: []facts.ZillizCluster{{ID: awstest.Cluster, Status: "RUNNING", Switchable: true, Public: true}}}
	r.Facts.AWSPreflight = &facts.AWSPreflight{AccountID: awstest.Account}
	w.At(r, step)
	return r
}

// Grouped gives the run a security group.
func (w *World) Grouped(r *run.Run) {
	w.Clouds.AWS.AddGroup(Group, awstest.VPC)
	r.Facts.AWSGroup = &facts.AWSGroup{ID: Group}
}

// Linked gives the run an endpoint, registered and available if accepted, and
// private addresses.
func (w *World) Linked(r *run.Run, accepted bool) ec2.Endpoint {
	w.Helper()
	w.Grouped(r)
	e, err := w.EC2.CreateEndpoint(w.Context(), ec2.NewEndpoint{VpcID: awstest.VPC, ServiceName: awstest.Service, SubnetIDs: r.Spec.AWS.SubnetIDs, GroupIDs: []string{Group},
		Tags: map[string]string{run.TagKey: r.Tag()}}, "scene")
	require.NoError(w, err)
	r.Facts.AWSEndpoint = &facts.AWSEndpoint{ID: e.ID, Name: e.Names[0].Name, ZoneID: e.Names[0].ZoneID}
	w.Advance(2 * time.Minute)
	if accepted {
		w.Clouds.Zilliz.Register(awstest.Project, awstest.ZillizRegion, e.ID)
		w.Clouds.AWS.Accept(e.ID, w.Now())
		w.Advance(10 * time.Minute)
		w.Clouds.Zilliz.GiveAddress(awstest.Cluster)
		r.Facts.AWSAcceptance = &facts.AWSAcceptance{}
		for _, known := range w.Clouds.AWS.Endpoints() {
			for _, a := range known.Addresses {
				r.Facts.AWSAcceptance.Addresses = append(r.Facts.AWSAcceptance.Addresses, a.String())
			}
		}
		r.Facts.ZillizAddress = &facts.ZillizAddress{Clusters: []facts.PrivateAddress{{ClusterID: awstest.Cluster, Host: Host(), Port: awstest.Port}}}
	}
	w.At(r, r.Cursor.Step)
	return e
}

// Scene is a scene of the world for BadDays.
func (w *World) Scene(step engine.Step, r *run.Run) stepstest.Scene {
	return stepstest.Scene{Driver: w.Driver, Step: step, Run: r}
}
