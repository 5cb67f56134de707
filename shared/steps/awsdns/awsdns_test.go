package awsdns_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/cloud"
	"eslink/shared/awsaccount"
	"eslink/shared/run"
	"eslink/shared/steps/awsdns"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/stepstest/zilliztest"
)

func world(t *testing.T, seed uint64) (*zilliztest.World, stepstest.Scene) {
	w := zilliztest.New(t, seed)
	r := w.Run("aws-dns")
	w.Linked(r, true)
	s := w.Scene(awsdns.New(w.Deps), r)
	s.Stands = func() {
		w.Helper()
		all := w.Clouds.AWS.Zones()
		require.Len(w, all, 1)
		require.Equal(w, map[string]string{zilliztest.Host(): r.Facts.AWSEndpoint.Name}, all[0].Aliases)
		require.Equal(w, []string{awstest.VPC}, all[0].VPCs)
	}
	s.Nothing = func() {
		w.Helper()
		require.Empty(w, w.Clouds.AWS.Zones())
		require.Nil(w, r.Facts.AWSDNS)
	}
	s.ByHand = map[string]func(){"the zone": func() {
		for _, z := range w.Clouds.AWS.Zones() {
			w.Clouds.AWS.RemoveZone(z.ID)
		}
	}}
	s.Twice = func() []string {
		return []string{w.Clouds.AWS.AddZone(zilliztest.Host(), "", awsaccount.Mark(r), awstest.VPC), w.Clouds.AWS.AddZone(zilliztest.Host(), "", awsaccount.Mark(r), awstest.VPC)}
	}
	s.Namesake = func() func() {
		id := w.Clouds.AWS.AddZone(zilliztest.Host(), "", "by hand", awstest.MoreVPC)
		return func() {
			require.Len(w, w.Clouds.AWS.Zones(), 1)
			require.Equal(w, id, w.Clouds.AWS.Zones()[0].ID)
		}
	}
	return w, s
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "aws-dns", Most: 20, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		_, s := world(t, seed)
		return s
	}})
}

// A zone of that name on the VPC which is not the run's is named, and left alone;
// a public one, or one on another VPC, does not matter.
func TestForeignZones(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	id := w.Clouds.AWS.AddZone(zilliztest.Host(), "", "by hand", awstest.VPC)
	_, err := s.Walk(s.Step, s.Run, run.Up)
	require.ErrorContains(t, err, id)
	require.Len(t, w.Clouds.AWS.Zones(), 1)

	w, s = world(t, 1)
	w.Clouds.AWS.AddZone(zilliztest.Host(), "", "public")
	w.Clouds.AWS.AddZone(zilliztest.Host(), "", "elsewhere", awstest.MoreVPC)
	s.Up(s.Step, s.Run)
	require.Len(t, w.Clouds.AWS.Zones(), 3)
	s.Run.Spec.AWS.MoreVPCs = []events.AWSVPC{{ID: awstest.MoreVPC, Region: awstest.MoreRegion}}
	_, err = s.Walk(s.Step, s.Run, run.Up)
	require.ErrorContains(t, err, "leave the VPC out of moreVpcs")
}

// A record that points elsewhere is put right: the zone is the run's.
func TestAStaleRecordIsRepaired(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Up(s.Step, s.Run)
	w.Clouds.AWS.SetAlias(w.Clouds.AWS.Zones()[0].ID, zilliztest.Host(), "elsewhere.example.com")
	s.Up(s.Step, s.Run)
	s.Stands()
}

// Records of somebody else's in the run's zone stop its deletion, and are named.
func TestForeignRecordsAreKept(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Up(s.Step, s.Run)
	w.Clouds.AWS.AddRecord(w.Clouds.AWS.Zones()[0].ID, "www."+zilliztest.Host(), "10.0.0.1")
	_, err := s.Walk(s.Step, s.Run, run.Down)
	require.ErrorContains(t, err, "1 records that are not this run's")
	require.Len(t, w.Clouds.AWS.Zones(), 1)
}

// Further VPCs get the name, and lose it.
func TestMoreVPCs(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Run.Spec.AWS.MoreVPCs = []events.AWSVPC{{ID: awstest.MoreVPC, Region: awstest.MoreRegion}}
	s.Up(s.Step, s.Run)
	require.Equal(t, []string{awstest.VPC, awstest.MoreVPC}, w.Clouds.AWS.Zones()[0].VPCs)
	s.Run.Spec.AWS.MoreVPCs = nil
	s.Up(s.Step, s.Run)
	s.Stands()
}

// A change that stays PENDING has an end.
func TestAChangeThatStaysPending(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Action == "GetChange" {
			return cloud.Fault{Before: cloud.Errorf(400, "Throttling", "Rate exceeded")}
		}
		return cloud.Fault{}
	})
	s.Run.Direction = run.Up
	began := w.Now()
	for w.Now().Sub(began) < time.Hour {
		out, err := s.Once(s.Step, s.Run)
		require.False(t, err == nil && out.IsDone())
		w.Advance(time.Minute)
	}
	require.Len(t, w.Clouds.AWS.Zones(), 1)
}
