package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eslink/shared/run"
)

// overdue is how long after its time a run counts as forgotten. An event
// stream's own retries take up to a minute, a lease DefaultLease.
const overdue = 2 * time.Minute

// Sweep sends the event of every run that is overdue once more, since platforms
// drop events, and ends approvals that nobody gave. A run that somebody works
// on is left alone. One run's error does not keep the others from being swept.
func (e *Engine) Sweep(ctx context.Context) error {
	var errs []error
	for r, err := range e.Runs.Alive(ctx) {
		now := e.Now()
		switch {
		case err != nil:
			errs = append(errs, err)
		case now.Before(r.HeldUntil()):
		case r.Status == run.WaitingApproval && now.After(r.Cursor.WakeAt):
			errs = append(errs, e.expire(ctx, r.ID))
		case r.Status.Moving() && now.After(nextSweep(r.Cursor)):
			if err := e.sendAgain(ctx, r.ID); err != nil {
				errs = append(errs, fmt.Errorf("sweep run %s: %w", r.ID, err))
			}
		case e.Notifies && r.News():
			errs = append(errs, e.retell(ctx, r.ID))
		}
	}
	return errors.Join(errs...)
}

// retell asks notify once more to tell of a run, whose last asker did not get to it.
func (e *Engine) retell(ctx context.Context, id string) error {
	r, err := e.Runs.Acquire(ctx, id)
	if err != nil {
		return fmt.Errorf("tell of run %s: %w", id, err)
	}
	if r.News() {
		err = e.tell(ctx, r)
	}
	return errors.Join(err, e.Runs.SaveAndRelease(ctx, r))
}

// nextSweep is when a run that has not moved is sent an event again: each time after
// twice as long, up to an hour, so that none pile up while a queue is stuck.
func nextSweep(c run.Cursor) time.Time {
	if c.Swept.IsZero() {
		return c.WakeAt.Add(overdue)
	}
	return c.Swept.Add(min(max(c.Swept.Sub(c.WakeAt), overdue), time.Hour))
}

func (e *Engine) sendAgain(ctx context.Context, id string) error {
	r, err := e.Runs.Acquire(ctx, id)
	if err != nil {
		return err
	}
	now := e.Now()
	due := r.Status.Moving() && now.After(nextSweep(r.Cursor))
	if due {
		e.Log.WarnContext(ctx, "run is overdue, its event is sent again", "run_id", id, "step", r.Cursor.Step, "seq", r.Cursor.Seq)
		r.Cursor.Swept = now
	}
	if err := e.Runs.SaveAndRelease(ctx, r); err != nil || !due {
		return err
	}
	return e.publish(ctx, r.Event(), "", 0)
}

func (e *Engine) expire(ctx context.Context, id string) error {
	r, err := e.Runs.Acquire(ctx, id)
	if err != nil {
		return fmt.Errorf("expire run %s: %w", id, err)
	}
	if r.Status == run.WaitingApproval && e.Now().After(r.Cursor.WakeAt) {
		Expire(r, e.Now())
	}
	return e.Runs.SaveAndRelease(ctx, r)
}

// Expire ends a wait for approval.
func Expire(r *run.Run, now time.Time) {
	Goto(r, "", run.Expired, now)
	r.Cursor.Reason = "nobody approved the plan within " + ApprovalWithin.String()
	r.Audit(now, r.Cursor.Step, "expired", r.Cursor.Reason, "")
}
