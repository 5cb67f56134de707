package stepstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// Guard is one oddity of a world in which the step's goal holds, and what the
// step makes of it in one call.
type Guard[C any] struct {
	// Odd changes the run or the cloud; nil changes nothing.
	Odd  func(*run.Run, C)
	Down bool

	// Done says that the step is done, Reason is part of the reason of its wait.
	Done   bool
	Reason string
	// Err is part of the error, Class its class.
	Err   string
	Class apierr.Class
	// Writes are all that it writes.
	Writes []string
}

// Stub is a cloud that notes what it is asked to change.
type Stub interface{ Wrote() []string }

// Guards tries a table of oddities, each in a world of its own. standing returns
// a run whose step's goal holds, the stub of its cloud, and the step.
func Guards[C Stub, S engine.Step](t *testing.T, standing func() (*run.Run, C, S), table map[string]Guard[C]) {
	t.Helper()
	for name, g := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, cloud, s := standing()
			if g.Odd != nil {
				g.Odd(r, cloud)
			}
			walk := s.Up
			if r.Direction = run.Up; g.Down {
				walk, r.Direction = s.Down, run.Down
			}
			out, err := walk(t.Context(), r)
			require.Equal(t, g.Writes, cloud.Wrote())
			if g.Err != "" {
				require.ErrorContains(t, err, g.Err)
				require.Equal(t, g.Class, apierr.ClassOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, g.Done, out.IsDone(), out.Reason())
			require.Contains(t, out.Reason(), g.Reason)
		})
	}
}
