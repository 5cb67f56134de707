package zillizadmit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/run"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/stepstest/zilliztest"
	"eslink/shared/steps/zillizadmit"
)

func world(t *testing.T, seed uint64) (*zilliztest.World, stepstest.Scene) {
	w := zilliztest.New(t, seed)
	w.Clouds.Zilliz.AddService(zilliz.Service{Region: awstest.ZillizRegion, Name: awstest.Service, Whitelist: true}, awstest.Region, []string{awstest.Region + "a"}, nil)
	r := w.Run("zilliz-admit")
	r.Facts.ZillizSurvey.Whitelist = true
	s := w.Scene(zillizadmit.New(w.Deps), r)
	s.Stands = func() {
		w.Helper()
		require.Equal(w, []string{awstest.ZillizRegion + "/" + awstest.Account}, w.Clouds.Zilliz.Admitted())
	}
	s.Nothing = func() {} // the entry stays
	return w, s
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	const entry = "the whitelist has no list and no IDs"
	stepstest.BadDays(t, stepstest.Case{Step: "zilliz-admit", Most: 2, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		_, s := world(t, seed)
		return s
	}, Not: map[stepstest.Day]string{stepstest.Deleted: entry, stepstest.IDLost: entry, stepstest.TwoHits: entry, stepstest.Namesake: entry,
		stepstest.UnknownCode: "down calls nothing that could be refused"}})
}

// The entry stays after teardown, which says so.
func TestDownNamesWhatItLeaves(t *testing.T) {
	t.Parallel()
	_, s := world(t, 1)
	s.Up(s.Step, s.Run)
	s.Down(s.Step, s.Run)
	s.Stands()
	require.Len(t, s.Run.Timeline, 1)
	require.Contains(t, s.Run.Timeline[0].Reason, "account "+awstest.Account+" stays on the whitelist")
	require.Equal(t, run.Down, s.Run.Direction)
}

// Where no whitelist is needed nothing is written.
func TestNoWhitelist(t *testing.T) {
	t.Parallel()
	w, s := world(t, 1)
	s.Run.Facts.ZillizSurvey.Whitelist = false
	s.Up(s.Step, s.Run)
	require.Empty(t, w.Clouds.Zilliz.Admitted())
}
