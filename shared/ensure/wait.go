package ensure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// ListLag is how long a list may trail a write.
const ListLag = 2 * time.Minute

// Unlisted is how much longer lists may miss what was asked for at a time; zero
// for the zero time.
func Unlisted(asked, now time.Time) time.Duration {
	return max(0, asked.Add(ListLag).Sub(now))
}

// AwaitList reports whether to wait: a create was sent at asked and no reply is
// on record, so that a resource which no list shows may exist all the same.
// Steps call it on the way down when Lookup finds nothing.
func AwaitList(kind string, asked, now time.Time) (engine.Outcome, bool) {
	d := Unlisted(asked, now)
	return engine.Waitf(d, "no reply came to the request for a new %s: lists may not show it yet", kind), d > 0
}

// Pause is the time to the next look at a change that began at since. It grows
// with the time that has passed, within bounds, so that polling adds little to
// what the cloud needs, in few invocations.
func Pause(since, now time.Time, least, most time.Duration) time.Duration {
	return min(max(now.Sub(since)/3, least), most)
}

// Jobs tells whether the cloud has carried out a change. An error of class
// NotFound means that it has forgotten the job.
type Jobs interface {
	JobDone(ctx context.Context, id string) (bool, error)
}

// Await reports whether the job on record is still running. When it is over, it
// raises the job's token, which must not stand for another change, and takes the
// job off the record. What the job changed is for the step to look at.
func Await(ctx context.Context, jobs Jobs, r *run.Run, job **facts.Job) (running bool, err error) {
	j := *job
	if j == nil {
		return false, nil
	}
	done, err := jobs.JobDone(ctx, j.ID)
	if err != nil && !apierr.IsNotFound(err) {
		return false, fmt.Errorf("read job %s: %w", j.ID, err)
	}
	if err == nil && !done {
		return true, nil
	}
	if j.Token != "" {
		r.NextToken(j.Token)
	}
	*job = nil
	return false, nil
}

// Rows keep what must be stored before the record is saved; *run.Store has them.
type Rows interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Intent is a row that says when a create without idempotency token was sent:
//
//	if wait, err := in.Declare(ctx); err != nil || wait > 0 { … }
//	id, err := client.Create(…)
//	if err != nil {
//		return engine.Outcome{}, in.Refused(ctx, err)
//	}
type Intent struct {
	Rows  Rows
	RunID string
	// Name of the row, unique in the run: "asked/9200".
	Name string
	Now  func() time.Time
}

// intent is the row.
type intent struct {
	At time.Time `json:"at,omitzero"`
}

// Declare stores that the create is about to be sent. If an earlier one was sent
// so recently that lists may miss its resource, it stores nothing and returns
// how long to wait before looking again.
func (i Intent) Declare(ctx context.Context) (wait time.Duration, err error) {
	var last intent
	if err := i.Rows.GetPart(ctx, i.RunID, i.Name, &last); err != nil && !errors.Is(err, run.ErrNotFound) {
		return 0, err
	}
	if d := Unlisted(last.At, i.Now()); d > 0 {
		return d, nil
	}
	return 0, i.Rows.PutPart(ctx, i.RunID, i.Name, intent{i.Now()})
}

// Refused takes the intent back if err, the reply to the create, says that it
// certainly had no effect: HTTP 400 to 499. It returns err, or what kept it from
// that.
func (i Intent) Refused(ctx context.Context, err error) error {
	var refused *apierr.Error
	if !errors.As(err, &refused) || refused.Status < 400 || refused.Status > 499 {
		return err
	}
	if put := i.Rows.PutPart(ctx, i.RunID, i.Name, intent{}); put != nil {
		return put
	}
	return err
}
