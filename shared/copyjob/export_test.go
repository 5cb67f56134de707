package copyjob

import (
	"context"
	"time"
)

// PlanWindows is Plan without noting what starts.
func (j *Job) PlanWindows(ctx context.Context) error { return j.planWindows(ctx) }

// PrepareSettings notes what the destinations' settings are, and changes them.
func (j *Job) PrepareSettings(ctx context.Context) error {
	if _, err := j.bulk.Prepare(ctx); err != nil {
		return err
	}
	return j.bulk.Apply(ctx)
}

// PollBy is Next's.
func (j *Job) PollBy() time.Duration { return j.pollBy }
