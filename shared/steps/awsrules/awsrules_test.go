package awsrules_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/shared/run"
	"eslink/shared/steps/awsrules"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/stepstest/zilliztest"
)

func group(w *zilliztest.World, id string) aws.Group {
	for _, g := range w.Clouds.AWS.Groups() {
		if g.ID == id {
			return g
		}
	}
	return aws.Group{}
}

var foreign = aws.Rule{Protocol: "tcp", From: 443, To: 443, CIDR: netip.MustParsePrefix("10.0.0.0/8"), Description: "by hand"}

// world has clients whose group lets them out to 443 alone.
func world(t *testing.T, seed uint64) (*zilliztest.World, stepstest.Scene) {
	w := zilliztest.New(t, seed)
	r := w.Run("aws-rules")
	w.Linked(r, true)
	w.Clouds.AWS.SetGroup(awstest.Clients, func(_, egress *[]aws.Rule) { *egress = []aws.Rule{foreign} })
	s := w.Scene(awsrules.New(w.Deps), r)
	s.Stands = func() {
		w.Helper()
		in := group(w, zilliztest.Group).Ingress
		require.Len(w, in, 1)
		require.Equal(w, []any{awstest.Clients, awstest.Port, awstest.Port}, []any{in[0].Group, in[0].From, in[0].To})
		out := group(w, awstest.Clients).Egress
		require.Len(w, out, 2)
		require.Equal(w, foreign, out[0])
		require.Equal(w, []any{zilliztest.Group, awstest.Port, awstest.Port}, []any{out[1].Group, out[1].From, out[1].To})
	}
	s.Nothing = func() {
		w.Helper()
		require.Empty(w, group(w, zilliztest.Group).Ingress)
		require.Equal(w, []aws.Rule{foreign}, group(w, awstest.Clients).Egress, "what others made stays")
		require.Nil(w, r.Facts.AWSRules)
	}
	s.ByHand = map[string]func(){
		"the ingress rule": func() { w.Clouds.AWS.SetGroup(zilliztest.Group, func(in, _ *[]aws.Rule) { *in = nil }) },
		"the egress rule": func() {
			w.Clouds.AWS.SetGroup(awstest.Clients, func(_, out *[]aws.Rule) { *out = []aws.Rule{foreign} })
		},
	}
	return w, s
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "aws-rules", Most: 4, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		_, s := world(t, seed)
		return s
	}, Not: map[stepstest.Day]string{
		stepstest.IDLost:   "rules are known by what they admit",
		stepstest.TwoHits:  "a group has a rule once",
		stepstest.Namesake: "rules have no names; foreign ones are in every scene",
	}})
}

// A later spec changes the clients, and whether their egress is managed.
func TestClientsChange(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Up(s.Step, s.Run)
	s.Run.Spec.AWS.ClientSecurityGroupIDs, s.Run.Spec.AWS.ClientCIDRs = nil, []string{"10.20.9.0/24"}
	s.Up(s.Step, s.Run)
	in := group(w, zilliztest.Group).Ingress
	require.Len(t, in, 1)
	require.Equal(t, netip.MustParsePrefix("10.20.9.0/24"), in[0].CIDR)
	require.Equal(t, []aws.Rule{foreign}, group(w, awstest.Clients).Egress)
	s.Run.Spec.AWS.ClientSecurityGroupIDs, s.Run.Spec.AWS.ClientCIDRs = []string{awstest.Clients}, nil
	s.Up(s.Step, s.Run)
	s.Stands()
	s.Run.Spec.AWS.ManageClientEgress = false
	s.Up(s.Step, s.Run)
	require.Equal(t, []aws.Rule{foreign}, group(w, awstest.Clients).Egress)
}

// Egress is added only if no rule admits the port.
func TestEgressThatIsThere(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	all := aws.Rule{Protocol: "-1", CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	w.Clouds.AWS.SetGroup(awstest.Clients, func(_, out *[]aws.Rule) { *out = []aws.Rule{all} })
	s.Up(s.Step, s.Run)
	require.Equal(t, []aws.Rule{all}, group(w, awstest.Clients).Egress)
	require.Equal(t, run.Up, s.Run.Direction)
}
