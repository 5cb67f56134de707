// Package api is what users call: runs, which changes runs, and status, which
// reads them. Both answer in JSON, and with problem documents (RFC 9457) for
// what cannot be done.
package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	smithytime "github.com/aws/smithy-go/time"

	"eslink/events"
	"eslink/shared/checksum"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// Runs changes runs, and the profiles of those to come.
type Runs struct {
	Store  *run.Store
	Engine *engine.Engine
	Region string
	Now    func() time.Time
	// AutoApprove says that specs may approve their own plans here.
	AutoApprove bool
}

// Reply is what every action answers with.
type Reply struct {
	RunID      string     `json:"runId,omitempty"`
	Generation int        `json:"generation,omitempty"`
	Status     run.Status `json:"status,omitempty"`
	Step       string     `json:"step,omitempty"`
	// Profiles alone answer an action on profiles: all that there are now.
	Profiles []run.Profile `json:"profiles,omitzero"`
}

func reply(r *run.Run) Reply {
	return Reply{RunID: r.ID, Generation: r.Generation, Status: r.Status, Step: r.Cursor.Step}
}

// Do carries out one request, a JSON document as in request.schema.json, for an
// account. Errors that a caller can correct are *events.Problem.
func (a *Runs) Do(ctx context.Context, account string, raw []byte) (Reply, error) {
	req, err := events.ParseRequest(raw)
	if err != nil {
		return Reply{}, err
	}
	switch req.Action {
	case "approve":
		return Reply{}, events.NewProblem(403, "approve", "consent is a function of its own",
			events.Finding{Field: "action", Message: "the function runs does not approve", Remedy: fmt.Sprintf(`send {"runId":%q,"planId":%q} to the function approve, which needs a right of its own`, req.RunID, req.PlanID)})
	case "start":
		return a.start(ctx, account, req)
	case "put-profile", "delete-profile", "profiles":
		return a.profiles(ctx, req)
	}
	r, err := a.take(ctx, req.RunID)
	if err != nil {
		return Reply{}, err
	}
	if err := a.change(r, req, caller(ctx)); err != nil {
		return Reply{}, errors.Join(err, a.Store.SaveAndRelease(context.WithoutCancel(ctx), r))
	}
	return a.commit(ctx, r)
}

// commit saves what was changed and publishes what that calls for.
func (a *Runs) commit(ctx context.Context, r *run.Run) (Reply, error) {
	ctx = context.WithoutCancel(ctx)
	if err := a.Store.SaveAndRelease(ctx, r); err != nil {
		return Reply{}, err
	}
	return reply(r), a.Engine.Send(ctx, r)
}

const (
	// patience is how long a request waits for a step that is at work.
	patience = 25 * time.Second
	glance   = 500 * time.Millisecond
)

// take acquires a run, waiting a little while a step has it.
func (a *Runs) take(ctx context.Context, id string) (*run.Run, error) {
	for waited := time.Duration(0); ; waited += glance {
		r, err := a.Store.Acquire(ctx, id)
		var held *run.HeldError
		switch {
		case errors.As(err, &held) && waited < patience:
			if err := smithytime.SleepWithContext(ctx, glance); err != nil {
				return nil, err
			}
		case errors.As(err, &held):
			return nil, events.NewProblem(409, "busy", "a step of this run is at work",
				events.Finding{Field: "runId", Message: err.Error(), Remedy: "send the same request again then"})
		case errors.Is(err, run.ErrNotFound):
			return nil, events.NewProblem(404, "no-such-run", "there is no such run",
				events.Finding{Field: "runId", Message: id + " is unknown", Remedy: "ask status without runId for all runs"})
		default:
			return r, err
		}
	}
}

// change applies every action but start.
func (a *Runs) change(r *run.Run, req events.Request, by string) error {
	now := a.Now()
	f, _ := flow.Of(r.Spec.Scenario)
	var err error
	switch req.Action {
	case "cancel":
		if r.Cancelling != "" && r.Status.Moving() {
			return nil // it is being done
		}
		err = cancel(r, f, req.KeepCopying, now)
	case "retry":
		if r.Status != run.Failed && r.Status != run.Cancelled {
			return wrongState(r, "retry", "only a run that failed or was cancelled can be resumed")
		}
		r.KeepCopying = false
		engine.Goto(r, "", run.Running, now)
	case "teardown":
		if r.Status == run.Removed {
			return nil
		}
		teardown(r, f, req, now)
	case "restore":
		err = restore(r, f, now)
	case "throttle":
		if !r.Status.Moving() || r.Direction == run.Down {
			return wrongState(r, "throttle", "only a run that copies or is about to can be throttled")
		}
		r.RequestsPerSecond = &req.RequestsPerSecond
	}
	if err != nil {
		return err
	}
	r.Audit(now, r.Cursor.Step, req.Action, "", by)
	return nil
}

// cancel stops a run, and sends it first to the step that stops what it has started.
func cancel(r *run.Run, f flow.Flow, keepCopying bool, now time.Time) error {
	if !r.Status.Moving() && r.Status != run.WaitingApproval && r.Status != run.Planned {
		return wrongState(r, "cancel", "only a run that moves or waits can be cancelled")
	}
	starts := f.Starting(r.Cursor.Step)
	switch {
	case starts == "" || r.Direction == run.Down:
		engine.Goto(r, "", run.Cancelled, now)
		r.Cursor.Reason = "cancelled; what was made so far is kept"
	case keepCopying:
		engine.Goto(r, "", run.Cancelled, now)
		r.KeepCopying, r.Cursor.Reason = true, "cancelled; what was made so far is kept, and the tasks that copy go on"
	default:
		r.Cancelling = r.Cursor.Step
		if r.Cursor.Step == f.After(starts) {
			r.Cancelling = starts // which prepares again what is copied later
		}
		engine.Goto(r, starts, run.Running, now)
		r.Cursor.Reason = "is being cancelled: the tasks that copy are stopped"
	}
	return nil
}

// teardown turns a run to walk up, or tells one that does what else to keep.
func teardown(r *run.Run, f flow.Flow, req events.Request, now time.Time) {
	switch {
	case r.Direction == run.Down && r.Status.Moving():
		// a second request changes only what it was asked to keep
	case r.Direction == run.Down:
		engine.Goto(r, "", run.Running, now)
	default:
		r.Direction = run.Down
		engine.Goto(r, f.Last(), run.Running, now)
	}
	r.KeepConfig, r.KeepAssociation, r.DeleteDestination = req.KeepConfig, req.KeepAssociation, req.DeleteDestination
	r.Restore, r.Cancelling, r.KeepCopying = false, "", false
}

// restore sends a run that has stopped to the step that takes back what it wrote.
func restore(r *run.Run, f flow.Flow, now time.Time) error {
	settled := r.Status == run.Failed || r.Status == run.Cancelled || r.Status == run.Done || r.Status == run.DoneDifferences
	if !settled || r.Direction == run.Down {
		return wrongState(r, "restore", "only a run that has stopped while it provisions can be; teardown takes back what it wrote, too")
	}
	if r.Facts.Configure == nil {
		return wrongState(r, "restore", "it has written nothing into esConfig")
	}
	r.Restore, r.Cancelling, r.Facts.Configure.Writes = true, "", 0
	engine.Goto(r, f.Restoring(), run.Running, now)
	return nil
}

// Approve lets a run do what its plan says. It is a function of its own, so that
// a role can ask for a change without being able to consent to it.
func (a *Runs) Approve(ctx context.Context, raw []byte) (Reply, error) {
	req, err := events.ParseApproval(raw)
	if err != nil {
		return Reply{}, err
	}
	r, err := a.take(ctx, req.RunID)
	if err != nil {
		return Reply{}, err
	}
	if err := a.approve(r, req.PlanID, caller(ctx)); err != nil {
		return Reply{}, errors.Join(err, a.Store.SaveAndRelease(context.WithoutCancel(ctx), r))
	}
	return a.commit(ctx, r)
}

// caller says through which function and request a person acted: the cloud's
// audit trail names the caller of a request by its ID. No field of a request is
// believed.
func caller(ctx context.Context) string {
	fc, ok := fccontext.FromContext(ctx)
	if !ok {
		return ""
	}
	return strings.TrimPrefix(fc.Function.Name+" request "+fc.RequestID, " ")
}

func (a *Runs) approve(r *run.Run, planID, by string) error {
	switch {
	case r.Approved == planID && r.Status != run.WaitingApproval:
		return nil // approved already: the reply was lost, or sent twice
	case r.Status != run.WaitingApproval:
		return wrongStateOf(r, "runId", "approve", "nothing waits for approval")
	case a.Now().After(r.Cursor.WakeAt): // sweep has not come by yet
		engine.Expire(r, a.Now())
		return wrongStateOf(r, "runId", "approve", "nobody approved the plan in time")
	case r.Plan.ID != planID:
		return events.NewProblem(409, "other-plan", "this is not the plan that waits for approval",
			events.Finding{Field: "planId", Message: "the plan is now " + r.Plan.ID, Remedy: "look at it with status, then approve that one"})
	}
	r.Approved = planID
	engine.Goto(r, "", run.Running, a.Now())
	r.Audit(a.Now(), r.Cursor.Step, "approved", "plan "+planID, by)
	return nil
}

func wrongState(r *run.Run, action, why string) error { return wrongStateOf(r, "action", action, why) }

func wrongStateOf(r *run.Run, field, action, why string) error {
	return events.NewProblem(409, "wrong-state", "the run is "+string(r.Status),
		events.Finding{Field: field, Message: action + " does not fit: " + why,
			Remedy: cmp.Or(Next(r), "ask status for its state, and wait until it has ended if it is running")})
}

// start makes a run, or goes on with the one that the spec belongs to.
func (a *Runs) start(ctx context.Context, account string, req events.Request) (Reply, error) {
	spec := *req.Spec
	f, err := a.flowOf(spec)
	if err != nil {
		return Reply{}, err
	}
	if req.Plan && f.Asking() == "" {
		return Reply{}, wrong("plan", "scenario "+spec.Scenario+" has no plan: it restarts nothing and costs nothing", "leave it out")
	}
	fresh := a.fresh(account, spec)
	fresh.PlanOnly = req.Plan
	if err := a.free(ctx, fresh); err != nil {
		return Reply{}, err
	}
	if r, err := a.Store.Get(ctx, fresh.ID); err == nil && stays(r, spec, req) && r.Cursor.Sent >= r.Cursor.Seq {
		return reply(r), nil // without its lease, which a step may have
	}
	r, err := a.take(ctx, fresh.ID)
	var p *events.Problem
	if errors.As(err, &p) && p.Status == 404 {
		got, err := a.create(ctx, f, fresh)
		if !errors.Is(err, run.ErrConflict) {
			return got, err
		}
		r, err = a.take(ctx, fresh.ID) // the same request, at the same time
		if err != nil {
			return Reply{}, err
		}
	} else if err != nil {
		return Reply{}, err
	}
	if err := a.restart(r, spec, req); err != nil {
		return Reply{}, errors.Join(err, a.Store.SaveAndRelease(context.WithoutCancel(ctx), r))
	}
	return a.commit(ctx, r)
}

// Begin starts the run of a spec for somebody who may ask more than once: not if
// the run has a record, of whatever generation and however it ended. It tells
// whether it began. Whoever dies after the record is made leaves the event to
// sweep.
func (a *Runs) Begin(ctx context.Context, account string, spec events.Spec) (Reply, bool, error) {
	f, err := a.flowOf(spec)
	if err != nil {
		return Reply{}, false, err
	}
	fresh := a.fresh(account, spec)
	r, err := a.Store.Get(ctx, fresh.ID)
	if err == nil {
		return reply(r), false, nil
	}
	if !errors.Is(err, run.ErrNotFound) {
		return Reply{}, false, err
	}
	if err := a.free(ctx, fresh); err != nil {
		return Reply{}, false, err
	}
	got, err := a.create(ctx, f, fresh)
	if errors.Is(err, run.ErrConflict) { // somebody else began it just now
		return got, false, nil
	}
	return got, err == nil, err
}

// flowOf is the flow of a spec that this deployment can run.
func (a *Runs) flowOf(spec events.Spec) (flow.Flow, error) {
	if spec.Region != a.Region {
		return flow.Flow{}, wrong("spec.region", "this deployment serves "+a.Region, "deploy eslink in "+spec.Region+", or correct the region")
	}
	if spec.Approve == "auto" && !a.AutoApprove {
		return flow.Flow{}, wrong("spec.approve", "this deployment does not let a spec approve its own plans",
			"say manual, and approve the plan that status shows; or deploy with ESLINK_AUTO_APPROVE=allow")
	}
	f, ok := flow.Of(spec.Scenario)
	if !ok {
		return flow.Flow{}, wrong("spec.scenario", "this deployment has no scenario "+spec.Scenario, "use one of "+strings.Join(flow.Scenarios(), ", "))
	}
	return f, nil
}

func wrong(field, message, remedy string) error {
	return events.NewProblem(400, "invalid-request", "the request is invalid; nothing was called or written", events.Finding{Field: field, Message: message, Remedy: remedy})
}

func (a *Runs) fresh(account string, spec events.Spec) *run.Run {
	return &run.Run{ID: flow.RunID(account, spec), Generation: 1, AccountID: account, Spec: spec, Direction: run.Up, CreatedAt: a.Now()}
}

// free refuses a run whose target another one owns. It takes nothing: a run owns
// its target from the first step on that writes, where it is refused likewise.
func (a *Runs) free(ctx context.Context, r *run.Run) error {
	owner, err := a.Store.Holder(ctx, engine.TargetLock(r))
	if err == nil && owner != "" && owner != r.ID {
		return engine.Owned(ctx, a.Store, owner)
	}
	return err
}

// create stores a new run at its first step, or returns run.ErrConflict.
func (a *Runs) create(ctx context.Context, f flow.Flow, r *run.Run) (Reply, error) {
	engine.Goto(r, f.First(), run.Running, a.Now())
	r.Note(a.Now(), r.Cursor.Step, "start", "")
	if err := a.Store.Create(ctx, r); err != nil {
		return Reply{}, err
	}
	return reply(r), a.Engine.Send(context.WithoutCancel(ctx), r)
}

// profiles changes the profiles, and answers with all that there are then.
func (a *Runs) profiles(ctx context.Context, req events.Request) (Reply, error) {
	switch req.Action {
	case "put-profile":
		if _, err := a.flowOf(*req.Spec); err != nil {
			return Reply{}, err
		}
		if err := a.Store.PutProfile(ctx, run.Profile{Name: req.Profile, Spec: *req.Spec, At: a.Now()}); err != nil {
			return Reply{}, err
		}
	case "delete-profile":
		err := a.Store.DeleteProfile(ctx, req.Profile)
		if errors.Is(err, run.ErrNotFound) {
			return Reply{}, events.NewProblem(404, "no-such-profile", "there is no such profile",
				events.Finding{Field: "profile", Message: req.Profile + " is unknown", Remedy: "list them with action profiles"})
		}
		if err != nil {
			return Reply{}, err
		}
	}
	all, err := a.Store.Profiles(ctx)
	return Reply{Profiles: append([]run.Profile{}, all...)}, err
}

// restart decides what start means for a run that exists.
func (a *Runs) restart(r *run.Run, spec events.Spec, req events.Request) error {
	f, _ := flow.Of(spec.Scenario)
	first := f.First()
	switch changed := differences(r.Spec, spec); {
	case r.Status == run.Removed:
		a.renew(r, spec, req)
		r.Facts = facts.Facts{}
	case r.Direction == run.Down:
		return wrongState(r, "start", "it is being torn down")
	case len(changed) > 0:
		if err := a.respec(r, f, spec, req, changed); err != nil {
			return err
		}
	default:
		goes := false
		if first, goes = resume(r, f, req); !goes {
			return nil
		}
	}
	r.Restore, r.Cancelling, r.KeepCopying = false, "", false
	engine.Goto(r, first, run.Running, a.Now())
	r.Note(a.Now(), first, "start", "")
	return nil
}

// resume is from which step start goes on with a run of the same spec, if it does.
func resume(r *run.Run, f flow.Flow, req events.Request) (first string, goes bool) {
	switch r.Status {
	case run.Planned:
		if req.Plan {
			return "", false
		}
		r.PlanOnly = false
		return f.Asking(), true
	case run.Cancelled, run.Expired:
		r.PlanOnly = req.Plan
		return f.First(), true
	case run.Failed:
		if req.Again {
			r.PlanOnly, r.Facts.Digest = req.Plan, nil
			if r.Facts.Verify != nil {
				r.Facts.Verify = &facts.Verify{} // whose operation may have left an index behind
			}
		}
		return f.First(), req.Again
	case run.Done, run.DoneDifferences:
		if req.Again {
			r.Facts.Digest, r.Facts.Verify = nil, nil // a proof is of one walk
		}
		return f.First(), req.Again
	}
	return "", false
}

// respec gives a run another spec: of one that owns nothing all of it may change.
func (a *Runs) respec(r *run.Run, f flow.Flow, spec events.Spec, req events.Request, changed []difference) error {
	switch {
	case r.Status.Moving():
		return wrongState(r, "start", "the spec differs in "+paths(changed)+" while it moves")
	case !r.Owns:
		// Nothing is made yet, so there is nothing that the old spec stands for:
		// this is how a spec is corrected after findings.
		a.renew(r, spec, req)
		r.Facts = facts.Facts{}
	case slices.ContainsFunc(changed, func(d difference) bool { return !f.MayChange(d.path, d.appears) }):
		return events.NewProblem(409, "other-spec", "the run exists with another spec",
			events.Finding{Field: "spec", Message: "it differs in " + paths(changed),
				Remedy: "only " + strings.Join(f.Changes, ", ") + " may change while the link exists; tear the run down first, or start under that spec"})
	default:
		a.renew(r, spec, req)
		nextGeneration(&r.Facts)
	}
	return nil
}

// stays reports whether start only returns the run: it has the same spec, and
// goes on or waits as it is.
func stays(r *run.Run, spec events.Spec, req events.Request) bool {
	if r.Direction == run.Down || len(differences(r.Spec, spec)) > 0 {
		return false
	}
	switch r.Status {
	case run.Cancelled, run.Expired, run.Removed:
		return false
	case run.Planned:
		return req.Plan
	case run.Done, run.DoneDifferences, run.Failed:
		return !req.Again
	}
	return true
}

func (a *Runs) renew(r *run.Run, spec events.Spec, req events.Request) {
	r.Generation++
	r.Plan, r.Approved = nil, "" // each generation is approved by itself
	r.Spec, r.Direction, r.PlanOnly = spec, run.Up, req.Plan
	r.KeepConfig, r.KeepAssociation, r.DeleteDestination, r.RequestsPerSecond = false, false, false, nil
}

// nextGeneration keeps the link and forgets the copy, but for the destination
// indices that the run may have to delete one day.
func nextGeneration(f *facts.Facts) {
	var earlier []facts.DestinationIndex
	if f.Destination != nil {
		earlier = f.Destination.Earlier
		for _, ix := range f.Destination.Indices {
			if ix.Created {
				earlier = append(earlier, ix)
			}
		}
	}
	f.Survey, f.Destination, f.Reindex, f.Progress, f.Digest, f.Verify = nil, nil, nil, nil, nil, nil
	if len(earlier) > 0 {
		f.Destination = &facts.DestinationFacts{Earlier: earlier}
	}
}

// A difference is a field in which two specs differ, as a path of their JSON. It
// appears if one of them lacks it.
type difference struct {
	path    string
	appears bool
}

// differences are those of two specs: of what both have as an object, in the
// fields below it.
func differences(a, b events.Spec) []difference { return differing("", plain(a), plain(b)) }

func differing(path string, a, b any) (out []difference) {
	x, ok := a.(map[string]any)
	y, both := b.(map[string]any)
	if !ok || !both {
		if !reflect.DeepEqual(a, b) {
			out = append(out, difference{path, a == nil || b == nil})
		}
		return out
	}
	names := maps.Clone(x)
	maps.Copy(names, y)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, differing(strings.TrimPrefix(path+"."+name, "."), x[name], y[name])...)
	}
	return out
}

// paths lists differences for a person.
func paths(list []difference) string {
	var out []string
	for _, d := range list {
		out = append(out, d.path)
	}
	return strings.Join(out, ", ")
}

// plain is v as any JSON decodes, so that only meaning counts.
func plain(v any) (out any) {
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		panic(err) // a spec came from JSON, and goes back to it
	}
	return out
}

// Next says what a person can do about a run now, or "" if nothing is needed. All
// that it names is accepted when sent, with the run's spec for the "…".
func Next(r *run.Run) string {
	down := r.Direction == run.Down
	retry, teardown := fmt.Sprintf(`{"action":"retry","runId":%q}`, r.ID), fmt.Sprintf(`{"action":"teardown","runId":%q}`, r.ID)
	const start, again = `{"action":"start","spec":…}`, `{"action":"start","spec":…,"again":true}`
	switch r.Status {
	case run.WaitingApproval:
		return fmt.Sprintf(`look at plan, then send {"runId":%q,"planId":%q} to the function approve; after %s it expires`, r.ID, r.Plan.ID, r.Cursor.WakeAt.UTC().Format(time.RFC3339))
	case run.Planned:
		return "send " + start + " without plan to go on"
	case run.Failed:
		if down {
			return "fix what problem says, then send " + retry
		}
		return "fix what problem says, then send " + retry + ", " + again + " to begin at the first step, or " + teardown + " to remove what was made"
	case run.Cancelled:
		if down {
			return "send " + retry + " to go on removing"
		}
		runs := ""
		if r.KeepCopying {
			runs = "the tasks that copy run on; start and teardown stop them; "
		}
		return runs + "send " + retry + " to go on, or " + teardown + " to remove what was made"
	case run.Expired:
		if down {
			return "send " + teardown + " again"
		}
		return "send " + start + " again"
	case run.DoneDifferences:
		if v := r.Facts.Verify; v != nil && onlyCut(v) {
			return "nothing differs but digits of decimals that no double holds: Elasticsearch cuts them from what it reads from another cluster, and would each time; " +
				"facts.verify.differences names documents and fields: write those by themselves if the digits matter"
		}
		return "look at facts.verify.differences; " + again + " walks once more"
	}
	return ""
}

// onlyCut reports whether all differences are digits that Elasticsearch cuts.
func onlyCut(v *facts.Verify) bool {
	cut := false
	for _, p := range v.Indices {
		for class := range p.Differences {
			if class != checksum.Precision {
				return false
			}
			cut = true
		}
		if p.Other > 0 {
			return false
		}
	}
	return cut
}
