package awsendpoint_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/cloud"
	"eslink/shared/aws/ec2"
	"eslink/shared/run"
	"eslink/shared/steps/awsendpoint"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/stepstest/zilliztest"
)

func world(t *testing.T, seed uint64) (*zilliztest.World, stepstest.Scene) {
	w := zilliztest.New(t, seed)
	r := w.Run("aws-endpoint")
	w.Grouped(r)
	s := w.Scene(awsendpoint.New(w.Deps), r)
	s.Stands = func() {
		w.Helper()
		all := w.Clouds.AWS.Endpoints()
		require.Len(w, all, 1)
		require.Equal(w, all[0].ID, r.Facts.AWSEndpoint.ID)
		require.Equal(w, all[0].Names[0], r.Facts.AWSEndpoint.Name, "the regional one")
		require.Equal(w, r.ID, all[0].Tags[run.TagKey])
		require.Equal(w, []string{zilliztest.Group}, all[0].Groups)
	}
	s.Nothing = func() {
		w.Helper()
		require.Empty(w, w.Clouds.AWS.Endpoints())
		require.Nil(w, r.Facts.AWSEndpoint)
	}
	s.ByHand = map[string]func(){"the endpoint": func() {
		for _, e := range w.Clouds.AWS.Endpoints() {
			w.Clouds.AWS.RemoveEndpoint(e.ID)
		}
	}}
	create := func(tag, token string) string {
		e, err := w.EC2.CreateEndpoint(w.Context(), ec2.NewEndpoint{VpcID: awstest.VPC, ServiceName: awstest.Service, SubnetIDs: r.Spec.AWS.SubnetIDs, GroupIDs: []string{zilliztest.Group},
			Tags: map[string]string{run.TagKey: tag, "Name": r.Name("aws-endpoint")}}, token)
		require.NoError(w, err)
		w.Advance(5 * time.Minute)
		return e.ID
	}
	s.Twice = func() []string { return []string{create(r.Tag(), "a"), create(r.Tag(), "b")} }
	s.Namesake = func() func() {
		create("another", "c")
		return func() { require.Len(w, w.Clouds.AWS.Endpoints(), 1) }
	}
	return w, s
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "aws-endpoint", Most: 5, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		_, s := world(t, seed)
		return s
	}})
}

// States that a person has to look at, and those that pass.
func TestStates(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{"rejected": "Zilliz Cloud has rejected it", "failed": "AWS could not create it: no addresses", "expired": "nobody accepted it in time"} {
		w, s := world(t, 1)
		s.Up(s.Step, s.Run)
		w.Clouds.AWS.SetEndpointState(s.Run.Facts.AWSEndpoint.ID, state, map[string]string{"failed": "no addresses"}[state])
		_, err := s.Walk(s.Step, s.Run, run.Up)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "then retry")
		s.ByHand["the endpoint"]()
		s.Up(s.Step, s.Run)
		s.Stands()
	}
	w, s := world(t, 1)
	s.Up(s.Step, s.Run)
	w.Clouds.AWS.SetEndpointState(s.Run.Facts.AWSEndpoint.ID, "odd", "")
	out, err := s.Once(s.Step, s.Run)
	require.NoError(t, err)
	require.Contains(t, out.Reason(), `"odd"`)
}

// aws-sdk#805: 503 Unavailable is tried again with the same token.
func TestUnavailableMakesNoSecondEndpoint(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	n := 0
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Action != "CreateVpcEndpoint" {
			return cloud.Fault{}
		}
		switch n++; n {
		case 1:
			return cloud.Fault{Before: cloud.Errorf(503, "Unavailable", "The server is overloaded.")}
		case 2:
			return cloud.Fault{LoseReply: true}
		}
		return cloud.Fault{}
	})
	s.Up(s.Step, s.Run)
	s.Stands()
}

// Each refusal says what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(w *zilliztest.World, r *run.Run)
		want   string
	}{
		"zone": {func(_ *zilliztest.World, r *run.Run) { r.Spec.AWS.SubnetIDs = []string{awstest.SubnetC} }, "name subnets in us-west-2a, us-west-2b"},
		"service": {func(_ *zilliztest.World, r *run.Run) {
			r.Facts.ZillizSurvey.Service = "com.amazonaws.vpce.us-west-2.vpce-svc-00000000000000000"
		}, "why account " + awstest.Account + " does not see it"},
		"limit": {func(w *zilliztest.World, _ *run.Run) { w.Clouds.AWS.SetEndpointLimit(0) }, "Interface VPC endpoints per VPC"},
	} {
		w, s := world(t, 1)
		c.change(w, s.Run)
		_, err := s.Walk(s.Step, s.Run, run.Up)
		require.ErrorContains(t, err, c.want, name)
		require.Empty(t, w.Clouds.AWS.Endpoints(), name)
	}
}

// A later spec moves the endpoint to other subnets.
func TestSubnetsChange(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	w.Clouds.AWS.RemoveGroup(zilliztest.Group)
	w.Linked(s.Run, true)
	s.Run.Spec.AWS.SubnetIDs = []string{awstest.SubnetB}
	s.Up(s.Step, s.Run)
	require.Equal(t, s.Run.Spec.AWS.SubnetIDs, w.Clouds.AWS.Endpoints()[0].Subnets)
	s.Run.Spec.AWS.SubnetIDs = []string{awstest.SubnetB, awstest.SubnetA}
	s.Up(s.Step, s.Run)
	require.Len(t, w.Clouds.AWS.Endpoints()[0].Addresses, 2)
}
