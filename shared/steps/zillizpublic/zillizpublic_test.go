package zillizpublic_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/run"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/stepstest/zilliztest"
	"eslink/shared/steps/zillizpublic"
)

func world(t *testing.T, seed uint64) (*zilliztest.World, stepstest.Scene) {
	w := zilliztest.New(t, seed)
	r := w.Run("zilliz-public")
	r.Spec.Zilliz.PublicAccess, r.Spec.Zilliz.ReopenPublic = events.Disable, true
	w.Clouds.Zilliz.GiveAddress(awstest.Cluster)
	s := w.Scene(zillizpublic.New(w.Deps), r)
	s.Stands = func() { w.Helper(); require.False(w, w.Clouds.Zilliz.Public(awstest.Cluster)) }
	s.Nothing = func() {
		w.Helper()
		require.True(w, w.Clouds.Zilliz.Public(awstest.Cluster))
		require.Nil(w, r.Facts.ZillizPublic)
	}
	s.ByHand = map[string]func(){"the closing": func() {
		w.Clouds.Zilliz.SetCluster(awstest.Cluster, func(c *zilliz.Cluster) { c.Public = true })
	}}
	return w, s
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "zilliz-public", Most: 4, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		_, s := world(t, seed)
		return s
	}, Not: map[stepstest.Day]string{
		stepstest.IDLost:      "nothing is created",
		stepstest.TwoHits:     "nothing is created",
		stepstest.Namesake:    "nothing is created",
		stepstest.UnknownCode: "down asks a person where the address cannot be read; a test of its own",
	}})
}

// Nothing is asked: nothing is touched.
func TestKeep(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Run.Spec.Zilliz.PublicAccess = "keep"
	s.Up(s.Step, s.Run)
	s.Down(s.Step, s.Run)
	require.True(t, w.Clouds.Zilliz.Public(awstest.Cluster))
	require.Zero(t, s.Writes())
}

// Where the API lacks the field a person has to do it: the run ends with that.
func TestWhatTheAPICannotClose(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Run.Spec.Zilliz.ClusterIDs = []string{awstest.OtherCluster}
	out, err := s.Once(s.Step, s.Run)
	require.NoError(t, err)
	require.True(t, out.Differs())
	require.Equal(t, []string{awstest.OtherCluster}, s.Run.Facts.ZillizPublic.ToDo)
	require.Contains(t, s.Run.Timeline[0].Reason, "Cluster Details, section Connect")
	require.Zero(t, s.Writes())
	require.True(t, w.Clouds.Zilliz.Public(awstest.OtherCluster))
}

// What somebody else closed is not opened, and teardown asks before it cuts the
// last path; approve: auto does not answer that.
func TestClosedBySomebodyElse(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	w.Clouds.Zilliz.SetCluster(awstest.Cluster, func(c *zilliz.Cluster) { c.Public = false })
	s.Up(s.Step, s.Run)
	require.Zero(t, s.Writes())
	s.Run.Direction = run.Down
	out, err := s.Once(s.Step, s.Run)
	require.NoError(t, err)
	require.NotNil(t, out.Asked())
	require.Equal(t, "auto", s.Run.Spec.Approve)
	s.Run.Approved = out.Asked().ID
	s.Down(s.Step, s.Run)
	require.False(t, w.Clouds.Zilliz.Public(awstest.Cluster))
	require.Zero(t, s.Writes())
}

// A cluster that cannot be read counts as one without a public address.
func TestACloudThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Up(s.Step, s.Run)
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Product == "zilliz" {
			return cloud.Fault{Before: cloud.Errorf(403, "77777", "No.")}
		}
		return cloud.Fault{}
	})
	s.Run.Direction = run.Down
	out, err := s.Once(s.Step, s.Run)
	require.NoError(t, err)
	require.Contains(t, out.Asked().Difference[0].After, "cannot be read")
}
