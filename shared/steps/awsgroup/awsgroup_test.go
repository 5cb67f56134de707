package awsgroup_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/shared/run"
	"eslink/shared/steps/awsgroup"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/stepstest/zilliztest"
)

func own(w *zilliztest.World) (out []aws.Group) {
	for _, g := range w.Clouds.AWS.Groups() {
		if g.ID != awstest.Clients && g.ID != awstest.MoreClients {
			out = append(out, g)
		}
	}
	return out
}

func fresh(t *testing.T, seed uint64) stepstest.Scene {
	w := zilliztest.New(t, seed)
	s := w.Scene(awsgroup.New(w.Deps), w.Run("aws-group"))
	s.Stands = func() {
		w.Helper()
		all := own(w)
		require.Len(w, all, 1)
		require.Equal(w, all[0].ID, s.Run.Facts.AWSGroup.ID)
		require.Equal(w, s.Run.ID, all[0].Tags[run.TagKey])
		require.Empty(w, all[0].Ingress, "the port is not known yet")
	}
	s.Nothing = func() {
		w.Helper()
		require.Empty(w, own(w))
		require.Nil(w, s.Run.Facts.AWSGroup)
	}
	s.ByHand = map[string]func(){"the group": func() {
		for _, g := range own(w) {
			w.Clouds.AWS.RemoveGroup(g.ID)
		}
	}}
	s.Twice = func() (ids []string) {
		for _, name := range []string{"a", "b"} {
			id, err := w.EC2.CreateGroup(w.Context(), awstest.VPC, name, name, map[string]string{run.TagKey: s.Run.Tag()})
			require.NoError(w, err)
			ids = append(ids, id)
		}
		w.Advance(5 * time.Minute)
		return ids
	}
	s.Namesake = func() func() {
		_, err := w.EC2.CreateGroup(w.Context(), awstest.VPC, s.Run.Name("endpoint"), "x", map[string]string{run.TagKey: "another"})
		require.NoError(w, err)
		w.Advance(5 * time.Minute)
		return func() { require.Len(w, own(w), 1) }
	}
	return s
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "aws-group", Fresh: fresh, Most: 5})
}

// A group of the run's name that is not the run's stops the run.
func TestANamesakeStopsTheRun(t *testing.T) {
	t.Parallel()
	s := fresh(t, 2)
	s.Namesake()
	_, err := s.Walk(s.Step, s.Run, run.Up)
	require.ErrorContains(t, err, "that is not this run's")
}
