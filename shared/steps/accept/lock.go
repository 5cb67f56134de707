package accept

import (
	"context"
	"time"

	"eslink/shared/engine"
	"eslink/shared/run"
)

// Locks are wider than a run.
type Locks interface {
	Lock(ctx context.Context, name, holder string, d time.Duration) error
	Unlock(ctx context.Context, name, holder string) error
}

// lockFor outlives a change of a connection, which takes a minute at most.
const lockFor = 5 * time.Minute

// lock is Done when it is this run's turn: PrivateLink refuses concurrent changes
// of connections in an account.
func (s *Step) lock(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if err := s.Locks.Lock(ctx, lockOf(r), r.ID, lockFor); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Done(), nil
}

func lockOf(r *run.Run) string { return "accept/" + r.AccountID }
