// Package engine runs steps. It alone knows order, retry and waiting: it
// decodes a delivery, takes the run's lease, runs the step once, saves what came
// of it and publishes what is due next. Deliveries repeat, overtake each other
// and die half-way, so nothing is believed but the record, the record is saved
// before anything is sent, and whatever it says is unsent is sent.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	smithytime "github.com/aws/smithy-go/time"
	"github.com/aws/smithy-go/waiter"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/bus"
	"eslink/shared/flow"
	"eslink/shared/remedy"
	"eslink/shared/run"
)

// A Step is one function's work on a run, in both directions. Each call looks,
// acts at most once, and leaves; it may be called any number of times. It reads
// the record and writes its own facts, which are saved whatever it returns.
type Step interface {
	Up(ctx context.Context, r *run.Run) (Outcome, error)
	Down(ctx context.Context, r *run.Run) (Outcome, error)
}

// A Stopper is a step that starts what runs on without it. Stop is called instead of
// Up when the run is cancelled, until it is Done; what it stops goes on when the run
// does.
type Stopper interface {
	Stop(ctx context.Context, r *run.Run) (Outcome, error)
}

// Outcome is what a step says when nothing went wrong.
type Outcome struct {
	kind   outcomeKind
	wait   time.Duration
	reason string
	plan   *run.Plan
	to     string // the step to go back to
}

type outcomeKind int

const (
	done outcomeKind = iota
	doneDifferences
	waiting
	soon
	asking
	returning
)

// Done says that the step's goal holds.
func Done() Outcome { return Outcome{kind: done} }

// DoneWithDifferences says that the step is done, and that what it found makes
// the run end as done-with-differences.
func DoneWithDifferences() Outcome { return Outcome{kind: doneDifferences} }

// Wait asks to be called again after d. The reason is a sentence for a person.
func Wait(d time.Duration, reason string) Outcome {
	return Outcome{kind: waiting, wait: d, reason: reason}
}

// Waitf is Wait with a formatted reason.
func Waitf(d time.Duration, format string, args ...any) Outcome {
	return Wait(d, fmt.Sprintf(format, args...))
}

// Soon is Wait for a pause that is shorter than a queue round trip: the same
// invocation calls again, with the record saved and its lease given up in
// between, as long as it has the time. Then, and after a crash, it is a Wait.
func Soon(d time.Duration, reason string) Outcome {
	return Outcome{kind: soon, wait: d, reason: reason}
}

// Back sends the walk down back to an earlier step, which has more to do: from
// there it comes down again. The reason is a sentence for a person.
func Back(to, reason string) Outcome { return Outcome{kind: returning, to: to, reason: reason} }

// Ask waits until a person approves p.
func Ask(p *run.Plan) Outcome { return Outcome{kind: asking, plan: p} }

// IsDone, Reason and Delay let tests of steps read an outcome.
func (o Outcome) IsDone() bool         { return o.kind == done || o.kind == doneDifferences }
func (o Outcome) IsSoon() bool         { return o.kind == soon }
func (o Outcome) Differs() bool        { return o.kind == doneDifferences }
func (o Outcome) Reason() string       { return o.reason }
func (o Outcome) Delay() time.Duration { return o.wait }
func (o Outcome) Asked() *run.Plan     { return o.plan }
func (o Outcome) BackTo() string       { return o.to }

// ApprovalWithin is how long a run waits to be approved.
const ApprovalWithin = 7 * 24 * time.Hour

const (
	// minRetry and maxRetry bound the pause after a failed try.
	minRetry = 3 * time.Second
	maxRetry = 2 * time.Minute
	// saveTime is kept back from an invocation for saving and publishing.
	saveTime = 20 * time.Second
	// workTime is the longest a step may work: the platform cuts an event
	// stream's call at five minutes, and the functions' timeout is 240 s.
	workTime = 200 * time.Second
	// soonTime is how long an invocation takes up pauses by itself: what is left of
	// the functions' 240 s is for one more look.
	soonTime = 90 * time.Second
	// early is how much before its time an event may come and still count.
	early = time.Second
)

// Engine handles deliveries.
type Engine struct {
	Runs *run.Store
	Bus  bus.Bus
	Now  func() time.Time
	Log  *slog.Logger
	// Notifies says that there is a function notify, which is asked to tell people
	// when a run waits for them or has ended.
	Notifies bool
	// Pause waits in Now's time; nil means that it passes as the machine's does.
	Pause func(ctx context.Context, d time.Duration) error
}

// Handle processes one delivery to the function of the step called name. An
// error means that the platform should deliver it again, and park it in the
// dead-letter queue if that keeps failing.
func (e *Engine) Handle(ctx context.Context, name string, step Step, payload []byte) error {
	deliveries, err := events.Decode(payload)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if d.Step != name {
			return fmt.Errorf("event %s/%d is for step %s, this is %s", d.RunID, d.Seq, d.Step, name)
		}
		if err := e.handleAll(ctx, step, d); err != nil {
			e.Log.ErrorContext(ctx, "delivery failed", "run_id", d.RunID, "step", d.Step, "seq", d.Seq, "err", err)
			return err
		}
	}
	return nil
}

// handleAll handles a delivery as often as its step asks to be called soon.
func (e *Engine) handleAll(ctx context.Context, step Step, d events.Delivery) error {
	pause := e.Pause
	if pause == nil {
		pause = smithytime.SleepWithContext
	}
	for began := time.Now(); ; {
		again, wait, err := e.handle(ctx, step, d, time.Since(began) < soonTime)
		if err != nil || !again {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err // the platform delivers the event again
		}
	}
}

// handle handles a delivery once, and says whether to do so again after a pause.
func (e *Engine) handle(ctx context.Context, step Step, d events.Delivery, linger bool) (again bool, wait time.Duration, err error) {
	log := e.Log.With("run_id", d.RunID, "step", d.Step, "seq", d.Seq)
	work, stop := workContext(ctx)
	defer stop()

	r, err := e.Runs.Acquire(work, d.RunID)
	var held *run.HeldError
	if errors.As(err, &held) {
		// Not an error: the platform's few retries would be used up before the
		// lease ends.
		log.InfoContext(ctx, "run is held, event goes back", "reason", err.Error())
		return false, 0, e.publish(ctx, d.Event, d.Traceparent, held.Until.Sub(e.Now())+time.Second)
	}
	if err != nil {
		return false, 0, err
	}
	work = run.Fenced(work, r)
	save := context.WithoutCancel(ctx)
	switch now := e.Now(); {
	case d.Seq != r.Cursor.Seq || d.Step != r.Cursor.Step || !r.Status.Moving():
		log.InfoContext(ctx, "event skipped, the run has moved on", "run_seq", r.Cursor.Seq, "status", string(r.Status))
	case now.Before(r.Cursor.WakeAt.Add(-early)):
		// A message's delay is capped, so a long wait is made of several.
		if err := e.Runs.SaveAndRelease(save, r); err != nil {
			return false, 0, err
		}
		return false, 0, e.publish(save, d.Event, d.Traceparent, r.Cursor.WakeAt.Sub(now))
	default:
		owner, err := e.own(work, r)
		switch {
		case err != nil:
			return false, 0, err // the platform delivers the event again
		case owner != "":
			e.stop(r, Owned(work, e.Runs, owner))
		default:
			again = e.advance(work, log, r, step, linger)
			wait = r.Cursor.WakeAt.Sub(e.Now())
		}
	}
	r, err = e.save(save, r, d.Step)
	if err != nil {
		return false, 0, err
	}
	return again && r.Status.Moving(), wait, e.send(save, r, d.Traceparent)
}

// save writes the record back and gives up its lease. A record that is too large
// to be saved stops the run: what is saved then is the record as it was, with the
// reason.
func (e *Engine) save(ctx context.Context, r *run.Run, step string) (*run.Run, error) {
	err := e.Runs.SaveAndRelease(ctx, r)
	var large *run.TooLargeError
	if !errors.As(err, &large) {
		return r, err
	}
	last, err := e.Runs.Reread(ctx, r)
	if err != nil {
		return r, err
	}
	e.stop(last, events.NewProblem(409, "too-large", "the run's record is too large to be saved", events.Finding{
		Field: "spec.indices", Message: "after step " + step + " " + large.Error(), Remedy: "copy fewer indices in one run; what this run has made stays, and teardown removes it"}))
	e.Log.ErrorContext(ctx, "run stopped", "run_id", r.ID, "step", step, "err", large)
	return last, e.Runs.SaveAndRelease(ctx, last)
}

// workContext leaves time to save and publish before the invocation ends.
func workContext(ctx context.Context) (context.Context, context.CancelFunc) {
	d := workTime
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(deadline)-saveTime)
	}
	return context.WithTimeout(ctx, d)
}

// Send publishes the event that a saved record owes: for whoever changes a run
// from outside a step.
func (e *Engine) Send(ctx context.Context, r *run.Run) error { return e.send(ctx, r, "") }

// send publishes the event that a saved record owes, and notes that it did. A
// crash before that is repaired by the redelivery of whatever came last, or by
// Sweep; losing the note costs a duplicate.
func (e *Engine) send(ctx context.Context, r *run.Run, traceparent string) error {
	owed, news := r.Cursor.Sent < r.Cursor.Seq, e.Notifies && r.News()
	if !owed && !news {
		return nil
	}
	if owed {
		if err := e.publish(ctx, r.Event(), traceparent, r.Cursor.WakeAt.Sub(e.Now())); err != nil {
			return err
		}
		r.Cursor.Sent = r.Cursor.Seq
	}
	if news {
		// Telling people is never in the way of a run: Sweep asks for it again.
		if err := e.tell(ctx, r); err != nil {
			e.Log.WarnContext(ctx, "notify was not asked", "run_id", r.ID, "seq", r.Cursor.Seq, "err", err)
		}
	}
	if err := e.Runs.Save(ctx, r); err != nil && !errors.Is(err, run.ErrConflict) {
		return err
	}
	return nil // a conflict is the receiver of that event, which is quick
}

// Notify is the name of the function that tells people, and of its queue.
const Notify = "notify"

// tell asks the function notify to tell people of the run's status, and notes that.
func (e *Engine) tell(ctx context.Context, r *run.Run) error {
	if err := e.publish(ctx, events.Event{RunID: r.ID, Step: Notify, Seq: r.Cursor.Seq}, "", 0); err != nil {
		return err
	}
	r.Told = r.Cursor.Seq
	return nil
}

func (e *Engine) publish(ctx context.Context, ev events.Event, traceparent string, delay time.Duration) error {
	body, err := events.Encode(ev, "eslink", traceparent, e.Now())
	if err != nil {
		return err
	}
	return bus.Capped(ctx, e.Bus, bus.Queue(ev.Step), body, delay)
}

// advance runs the step once and moves the run by what came of it. It reports
// whether the same event is to be handled again, which it may if linger.
func (e *Engine) advance(ctx context.Context, log *slog.Logger, r *run.Run, step Step, linger bool) (again bool) {
	f, ok := flow.Of(r.Spec.Scenario)
	def, known := f.Step(r.Cursor.Step)
	if !ok || !known {
		e.stop(r, fmt.Errorf("scenario %q has no step %q", r.Spec.Scenario, r.Cursor.Step))
		return false
	}
	out, err := e.attempt(ctx, step, r)
	if err != nil {
		e.failed(r, def, err)
	} else {
		again = e.went(ctx, r, f, def, out, linger)
	}
	c := r.Cursor
	attrs := []any{"status", string(r.Status), "next", c.Step, "next_seq", c.Seq, "reason", c.Reason, "wake_at", c.WakeAt.UTC().Format(time.RFC3339), "err", err}
	if r.Status == run.Failed {
		log.ErrorContext(ctx, "run stopped", attrs...)
		return false
	}
	log.InfoContext(ctx, "step ran", attrs...)
	return again
}

// went moves the run by a step's outcome.
func (e *Engine) went(ctx context.Context, r *run.Run, f flow.Flow, def flow.Step, out Outcome, linger bool) (again bool) {
	c, now := &r.Cursor, e.Now()
	c.Since, c.Queued = since(*c, now), time.Time{}
	switch out.kind {
	case waiting, soon:
		if now.Sub(c.Since) > def.Within {
			e.stop(r, fmt.Errorf("not done within %s: %s", def.Within, out.reason))
			return false
		}
		c.Attempt = 0
		if out.kind == soon && linger {
			// The event that is handled is the one that is due.
			c.Sent, c.WakeAt, c.Reason = c.Seq, now.Add(out.wait), out.reason
			return true
		}
		e.wake(r, out.wait, out.reason)
		r.Note(now, c.Step, run.Waiting, out.reason)
	case asking:
		r.Plan, r.Status = out.plan, run.WaitingApproval
		c.Seq++
		c.Sent, c.WakeAt = c.Seq, now.Add(ApprovalWithin)
		c.Reason = "waits for approval of plan " + out.plan.ID
		r.Audit(now, c.Step, "asked", c.Reason, "")
	case returning:
		r.Note(now, c.Step, "back to "+out.to, out.reason)
		Goto(r, out.to, run.Running, now)
		c.Reason = out.reason
	default:
		r.Note(now, c.Step, "done", "")
		e.next(ctx, r, f, out)
	}
	return false
}

// since is when the step's time began: what it waited for its turn does not count.
func since(c run.Cursor, now time.Time) time.Time {
	if c.Queued.IsZero() {
		return c.Since
	}
	return c.Since.Add(now.Sub(c.Queued))
}

// Wake makes a run look now that waits for its turn. Who fails to be woken looks
// later by itself.
func (e *Engine) Wake(ctx context.Context, id string) {
	r, err := e.Runs.Acquire(ctx, id)
	if err == nil && !r.Cursor.Queued.IsZero() && r.Status.Moving() {
		e.wake(r, 0, "its turn has come")
	}
	if err == nil {
		err = e.Runs.SaveAndRelease(ctx, r)
	}
	if err == nil {
		err = e.Send(ctx, r)
	}
	if err != nil {
		e.Log.WarnContext(ctx, "a run whose turn has come was not woken", "run_id", id, "err", err)
	}
}

// failed moves the run by a step's error.
func (e *Engine) failed(r *run.Run, def flow.Step, err error) {
	c, now := &r.Cursor, e.Now()
	var held *run.HeldError
	if errors.As(err, &held) && held.Place > 0 {
		// Its turn comes: it is woken then, and looks by itself when whoever has the
		// lock should be done.
		if c.Queued.IsZero() {
			c.Queued = now
		}
		wait := held.Until.Sub(now) + time.Duration(held.Place)*time.Minute
		e.wake(r, min(max(wait, minRetry), bus.MaxDelay), "waits for its turn: "+held.Error())
		r.Note(now, c.Step, run.Waiting, c.Reason)
		return
	}
	c.Since, c.Queued = since(*c, now), time.Time{}
	class := classOf(err)
	passes := class == apierr.Retry || class == apierr.Conflict
	switch late := now.Sub(c.Since) > def.Within; {
	case passes && !late:
		c.Attempt++
		e.wake(r, e.pause(c.Attempt), "try "+fmt.Sprint(c.Attempt)+" failed, again soon: "+err.Error())
		r.Note(now, c.Step, run.Retrying, err.Error())
	case passes:
		e.stop(r, fmt.Errorf("not done within %s: %w", def.Within, err))
	default:
		e.stop(r, err)
	}
}

// attempt calls the step and turns a panic into an error that stops the run:
// the same input would panic again.
func (e *Engine) attempt(ctx context.Context, step Step, r *run.Run) (out Outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("step %s panicked: %v\n%s", r.Cursor.Step, v, debug.Stack())
		}
	}()
	if s, ok := step.(Stopper); ok && r.Cancelling != "" {
		return s.Stop(ctx, r)
	}
	if r.Direction == run.Down {
		return step.Down(ctx, r)
	}
	return step.Up(ctx, r)
}

// own takes what the run connects for good, if it is about to write for the first
// time, and saves that before anything is written: what only reads and plans owns
// nothing. owner is who has it already.
func (e *Engine) own(ctx context.Context, r *run.Run) (owner string, err error) {
	f, _ := flow.Of(r.Spec.Scenario)
	if def, _ := f.Step(r.Cursor.Step); !def.Undo || r.Owns || r.Direction == run.Down {
		return "", nil
	}
	err = e.Runs.Lock(ctx, TargetLock(r), r.ID, 0)
	var held *run.HeldError
	if errors.As(err, &held) {
		return held.Holder, nil
	}
	if err != nil {
		return "", err
	}
	r.Owns = true
	return "", e.Runs.Save(ctx, r)
}

// Owned is the problem of a run that wants what another one owns, which is called
// by its name too if that can be read.
func Owned(ctx context.Context, runs *run.Store, owner string) *events.Problem {
	name := ""
	if r, err := runs.Get(ctx, owner); err == nil {
		name = fmt.Sprintf(" (%q, %s)", r.Spec.Name, r.Status)
	}
	return events.NewProblem(409, "owned", "another run uses this target",
		events.Finding{Field: "spec.name", Message: "run " + owner + name + " owns this target",
			Remedy: "use that name: the same name with other indices copies over the existing link; or tear that run down first"})
}

// classOf adds to apierr what only the engine can meet: a lock that another run holds,
// and an invocation whose time is up.
func classOf(err error) apierr.Class {
	var held *run.HeldError
	if errors.As(err, &held) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, run.ErrConflict) {
		return apierr.Retry
	}
	return apierr.ClassOf(err)
}

// pause is the time before a failed try is repeated: exponential, with jitter.
func (e *Engine) pause(attempt int) time.Duration {
	d, err := waiter.ComputeDelay(int64(attempt), minRetry, maxRetry, time.Hour)
	if err != nil {
		return maxRetry
	}
	return d
}

// wake makes the same step due again after d.
func (e *Engine) wake(r *run.Run, d time.Duration, reason string) {
	r.Cursor.Seq++
	r.Cursor.WakeAt, r.Cursor.Swept = e.Now().Add(d), time.Time{}
	r.Cursor.Reason = reason
}

// next moves the cursor past a step that is done.
func (e *Engine) next(ctx context.Context, r *run.Run, f flow.Flow, out Outcome) {
	from := r.Cursor.Step
	if back := r.Cancelling; back != "" {
		Goto(r, back, run.Cancelled, e.Now())
		r.Cancelling, r.Cursor.Reason = "", "cancelled; what was made so far is kept, and nothing of it runs"
		return
	}
	to := f.After(from)
	if r.Direction == run.Down {
		to = f.Before(from)
	}
	status := run.Running
	switch {
	case to == "" && r.Direction == run.Down:
		if err := e.Forget(ctx, r); err != nil {
			r.Cursor.Attempt++
			e.wake(r, e.pause(r.Cursor.Attempt), "everything is removed; closing the record: "+err.Error())
			return
		}
		status, r.Owns = run.Removed, false
	case to == "" && out.kind == doneDifferences:
		status = run.DoneDifferences
	case to == "":
		status = run.Done
	case r.PlanOnly && from == f.Asking(): // only on the way up: it has nothing to undo
		// It stays on plan: whatever wakes it must ask for approval first.
		to, status = from, run.Planned
	}
	Goto(r, to, status, e.Now())
}

// Goto puts a run's cursor on a step. A status that is not Running owes no
// event. With no step to go to, the cursor stays where it is.
func Goto(r *run.Run, step string, status run.Status, now time.Time) {
	if step == "" {
		step = r.Cursor.Step
	}
	r.Cursor = run.Cursor{Step: step, Seq: r.Cursor.Seq + 1, Sent: r.Cursor.Sent, Since: now, WakeAt: now}
	r.Status, r.Problem = status, nil
	if !status.Moving() {
		r.Cursor.Sent = r.Cursor.Seq
	}
}

// Forget gives up what a removed run owned in our own table.
func (e *Engine) Forget(ctx context.Context, r *run.Run) error {
	if err := e.Runs.DeleteParts(ctx, r.ID); err != nil {
		return err
	}
	return e.Runs.Unlock(ctx, TargetLock(r), r.ID)
}

// TargetLock names the lock by which one run owns what it connects.
func TargetLock(r *run.Run) string { return "target/" + flow.TargetID(r.AccountID, r.Spec) }

// stop ends the walk until a person looks; action retry resumes it.
func (e *Engine) stop(r *run.Run, err error) {
	var p *events.Problem
	if !errors.As(err, &p) {
		p = remedy.Of(err)
	}
	if p == nil {
		p = events.NewProblem(500, "step-failed", "step "+r.Cursor.Step+" cannot go on")
		p.Detail = firstLine(err.Error())
	}
	r.Status, r.Problem = run.Failed, p
	r.Cursor.Seq++
	r.Cursor.Sent = r.Cursor.Seq
	r.Cursor.WakeAt = time.Time{}
	r.Cursor.Reason = p.Error()
	r.Note(e.Now(), r.Cursor.Step, run.Stopped, p.Error())
}

// firstLine keeps stack traces in the log and out of the record.
func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' {
			return s[:i]
		}
	}
	return s
}
