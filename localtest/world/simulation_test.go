package world

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/flow"
	"eslink/shared/run"
)

func TestProvisionProveTearDown(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.provision(t)
		require.Equal(t, 1, s.restarted(Instance))
		require.Zero(t, s.restarted(Target))
		require.NotEmpty(t, s.Left(), "what Left would find after teardown")

		before := len(s.Writes())
		ran := s.Invocations()
		s.start(t, events.Request{Again: true})
		s.ends(t, run.Done)
		require.Empty(t, s.Writes()[before:], "a second walk changes nothing")
		steps, _ := flow.Of(flow.ESToES)
		for _, step := range steps.Steps {
			require.Greater(t, s.Invocations()[step.Name], ran[step.Name], step.Name)
		}
		s.tearDown(t)
		require.Equal(t, 6, count(t, s.World, Instance, "dest"), "teardown keeps the copy")
	})
}
