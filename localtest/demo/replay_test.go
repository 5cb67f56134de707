package demo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/api"
	"eslink/shared/flow"
	"eslink/shared/run"
)

func TestAReplayedEventMayLieAhead(t *testing.T) {
	t.Parallel()
	up := api.View{Scenario: flow.ESToES, Status: run.Running, Direction: run.Up, Step: "survey"}
	require.True(t, ahead(up, "plan"))
	require.False(t, ahead(up, "survey"))
	require.False(t, ahead(up, "preflight"))
	require.False(t, ahead(up, "no-step"))
	down := up
	down.Direction = run.Down
	require.True(t, ahead(down, "preflight"))
	require.False(t, ahead(down, "plan"))
	require.False(t, ahead(down, "no-step"))
}
