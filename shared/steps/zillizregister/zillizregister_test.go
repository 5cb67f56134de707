package zillizregister_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/aws/awstest"
	"eslink/shared/ensure"
	"eslink/shared/run"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/stepstest/zilliztest"
	"eslink/shared/steps/zillizregister"
)

func world(t *testing.T, seed uint64) (*zilliztest.World, stepstest.Scene) {
	w := zilliztest.New(t, seed)
	r := w.Run("zilliz-register")
	e := w.Linked(r, false)
	s := w.Scene(zillizregister.New(w.Deps), r)
	s.Stands = func() {
		w.Helper()
		all := w.Clouds.Zilliz.Endpoints()
		require.Len(w, all, 1)
		require.Equal(w, e.ID, all[0].ID)
	}
	s.Nothing = func() {
		w.Helper()
		require.Empty(w, w.Clouds.Zilliz.Endpoints())
		require.Nil(w, r.Facts.ZillizRegister)
	}
	return w, s
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "zilliz-register", Most: 6, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		_, s := world(t, seed)
		return s
	}, Not: map[stepstest.Day]string{
		stepstest.Deleted:  "an entry that is gone and one that the list does not show yet look the same; a test of its own",
		stepstest.IDLost:   "the entry's ID is the endpoint's",
		stepstest.TwoHits:  "an endpoint is registered once",
		stepstest.Namesake: "entries have no names",
	}})
}

// An entry that is gone is registered again, once the list cannot be late.
func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Up(s.Step, s.Run)
	w.Advance(ensure.ListLag)
	w.Clouds.Zilliz.Remove(awstest.Project, s.Run.Facts.AWSEndpoint.ID)
	w.Advance(ensure.ListLag)
	s.Up(s.Step, s.Run)
	s.Stands()
}

// Statuses in unknown words count as listed; refused ones stop.
func TestStatuses(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Up(s.Step, s.Run)
	id := s.Run.Facts.AWSEndpoint.ID
	w.Clouds.Zilliz.SetEndpointStatus(awstest.Project, id, "SOMETHING_NEW")
	require.Equal(t, 1, s.Up(s.Step, s.Run))
	w.Clouds.Zilliz.SetEndpointStatus(awstest.Project, id, "REJECTED")
	_, err := s.Walk(s.Step, s.Run, run.Up)
	require.ErrorContains(t, err, "delete the entry there")
}

// The second page of the list holds the run's endpoint.
func TestTheListHasPages(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	for i := range 150 {
		w.Clouds.Zilliz.Register(awstest.Project, awstest.ZillizRegion, "vpce-0"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	s.Up(s.Step, s.Run)
	writes := s.Writes()
	require.Equal(t, 1, s.Up(s.Step, s.Run))
	require.Equal(t, writes, s.Writes())
}

// A key that is revoked half-way, and a plan that does not include endpoints.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	w.Clouds.Zilliz.RemoveKey(awstest.APIKey)
	_, err := s.Walk(s.Step, s.Run, run.Up)
	require.ErrorContains(t, err, "eslink/zilliz is not valid")

	w, s = world(t, 1)
	w.Clouds.Zilliz.LowPlan(awstest.Project)
	_, err = s.Walk(s.Step, s.Run, run.Up)
	require.ErrorContains(t, err, "is not registered by Zilliz Cloud")
	require.ErrorContains(t, err, "plan")
}
