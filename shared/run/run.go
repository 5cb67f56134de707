// Package run is the record of a run: what was asked (spec), where it stands
// (cursor), what its steps have learned (facts) and what happened (timeline).
// Store keeps records, and the leases and locks beside them, in a Driver that
// can compare and swap; nothing here knows which one.
package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/facts"
)

// Status is how a run stands, as users see it.
type Status string

const (
	Planned         Status = "planned"
	WaitingApproval Status = "waiting-approval"
	Running         Status = "running"
	Done            Status = "done"
	DoneDifferences Status = "done-with-differences"
	Failed          Status = "failed"
	Cancelled       Status = "cancelled"
	Expired         Status = "expired"
	Removed         Status = "removed"
)

// Moving reports whether events drive the run on.
func (s Status) Moving() bool { return s == Running }

// Notable reports whether people want to hear of it: the run waits for them, or has
// ended.
func (s Status) Notable() bool {
	return slices.Contains([]Status{WaitingApproval, Done, DoneDifferences, Failed, Expired, Removed}, s)
}

// Direction is which way the run walks its flow.
type Direction string

const (
	Up   Direction = "up"   // provision: the flow is read down
	Down Direction = "down" // tear down: the flow is read up
)

// Run is a run's record in memory. Steps read all of it and write their own
// facts; the engine alone moves the cursor.
type Run struct {
	ID         string
	Generation int
	AccountID  string
	Spec       events.Spec
	Direction  Direction
	Status     Status
	Cursor     Cursor
	// PlanOnly ends the walk after step plan.
	PlanOnly bool
	// KeepConfig, KeepAssociation and DeleteDestination are what teardown was asked.
	KeepConfig        bool
	KeepAssociation   bool
	DeleteDestination bool
	// Restore has step configure take back what it wrote, and stop.
	Restore bool
	// Plan is what waits for approval or was approved last; Approved is the ID
	// of the plan that was.
	Plan     *Plan
	Approved string
	Facts    facts.Facts
	Timeline []Entry
	// Problem says why the run stopped, in the words of RFC 9457.
	Problem *events.Problem
	// RequestsPerSecond, if set, throttles running copies (action throttle).
	RequestsPerSecond *float64
	// Cancelling is the step at which the run is to stand once it is cancelled,
	// while what it has started is being stopped.
	Cancelling string
	// KeepCopying says that it was cancelled without that.
	KeepCopying bool
	// Owns says that the run has come to a step that writes, and so owns what it
	// connects until it is removed.
	Owns bool
	// Tokens counts the generations of resources: see Token.
	Tokens    map[string]int
	CreatedAt time.Time
	// Told is the Seq of the last status that notify was asked to tell people of.
	Told int64

	rev    int64
	lease  lease
	writer string
	audit  []Entry // lines that the next save writes
	saved  Status  // as of the last save; empty before the first
}

// Cursor is where a run stands.
type Cursor struct {
	Step string `json:"step"`
	// Seq rises with every transition, waits included, so that a late or
	// repeated event is known by it.
	Seq int64 `json:"seq"`
	// Sent is the last Seq whose event is known to be published. The record is
	// its own outbox: Sent < Seq means that an event is owed.
	Sent int64 `json:"sent"`
	// Since is when the run came to this step, WakeAt when it is due.
	Since  time.Time `json:"since"`
	WakeAt time.Time `json:"wakeAt"`
	Reason string    `json:"reason,omitempty"`
	// Attempt counts failed tries of this step since it last got on.
	Attempt int `json:"attempt,omitempty"`
	// Queued is since when the step waits for a lock, which counts for none of its
	// time.
	Queued time.Time `json:"queued,omitzero"`
	// Swept is when sweep last sent this event again.
	Swept time.Time `json:"swept,omitzero"`
}

// Entry is one line of the timeline.
type Entry struct {
	At   time.Time `json:"at"`
	Step string    `json:"step"`
	What string    `json:"what"`
	// Reason is that of the last one, if the entry stands for several.
	Reason string `json:"reason,omitempty"`
	// Count is how many waits or retries the entry stands for, from First to At;
	// 0 means one.
	Count int       `json:"count,omitempty"`
	First time.Time `json:"first,omitzero"`
	// By says who did it, of what a person did: the function that was called, and
	// the request whose caller the cloud's audit trail names.
	By string `json:"by,omitempty"`
}

// maxTimeline bounds the timeline; the oldest entries but the first go.
const maxTimeline = 200

// What engine notes of a step that is not done. Waits and retries fold.
const (
	Waiting  = "waiting"
	Retrying = "retrying"
	Stopped  = "stopped"
)

// Note adds a line to the timeline. The same line again only renews its time; the
// waits of a step are one line, and so are its retries, until the run comes to
// another step.
func (r *Run) Note(at time.Time, step, what, reason string) {
	if n := len(r.Timeline); n > 0 {
		if last := &r.Timeline[n-1]; last.Step == step && last.What == what && last.Reason == reason && last.By == "" && last.Count == 0 && !folds(what) {
			last.At = at
			return
		}
	}
	e := Entry{At: at, Step: step, What: what, Reason: reason}
	if i := r.folded(step, what); i >= 0 {
		old := r.Timeline[i]
		e.Count, e.First = max(old.Count, 1)+1, old.First
		if e.First.IsZero() {
			e.First = old.At
		}
		r.Timeline = slices.Delete(r.Timeline, i, i+1) // the newest is last
	}
	r.add(e)
}

func folds(what string) bool { return what == Waiting || what == Retrying }

// folded is where the entry is that another wait or retry at a step joins, or -1.
func (r *Run) folded(step, what string) int {
	for i := len(r.Timeline) - 1; i >= 0 && folds(what); i-- {
		e := r.Timeline[i]
		if e.Step != step || e.What == "done" || e.What == "start" || e.What == Stopped || e.By != "" {
			break // another stay at the step
		}
		if e.What == what {
			return i
		}
	}
	return -1
}

// Audit adds a line that stays: to the timeline, and, with the next save, as a
// row of its own. by is as in Entry, or empty if no person did it.
func (r *Run) Audit(at time.Time, step, what, reason, by string) {
	e := Entry{At: at, Step: step, What: what, Reason: reason, By: by}
	r.add(e)
	r.audit = append(r.audit, e)
}

func (r *Run) add(e Entry) {
	r.Timeline = append(r.Timeline, e)
	if over := len(r.Timeline) - maxTimeline; over > 0 {
		r.Timeline = append(r.Timeline[:1], r.Timeline[1+over:]...)
	}
}

// Event is the event that the cursor calls for.
func (r *Run) Event() events.Event {
	return events.Event{RunID: r.ID, Step: r.Cursor.Step, Seq: r.Cursor.Seq}
}

// News reports whether the run has come to a status that nobody was told of yet.
func (r *Run) News() bool { return r.Status.Notable() && r.Told != r.Cursor.Seq }

// Rev is the revision of the record that r was read or last saved as.
func (r *Run) Rev() int64 { return r.rev }

// HeldUntil is when the lease on the record ends; zero if nobody has it.
func (r *Run) HeldUntil() time.Time { return r.lease.Until }

// Granted reports whether the run may do what p says.
func (r *Run) Granted(p *Plan) bool { return r.Spec.Approve == "auto" || r.Approved == p.ID }

// Plan is what a run is about to do to a cluster and a bill.
type Plan struct {
	ID string `json:"planId"`
	// Creates lists what will be made.
	Creates []string `json:"creates,omitempty"`
	// Notes say what else is worth knowing before: work at the source, what is not
	// carried over.
	Notes []string `json:"notes,omitempty"`
	// NotCarriedOver are settings of the source's indices that the copies do not get.
	NotCarriedOver []facts.DroppedSetting `json:"notCarriedOver,omitempty"`
	// Difference is what changes in the instance's esConfig. This run's own
	// endpoint, which does not exist yet, is written {endpoint}:9200.
	Difference []Change `json:"difference"`
	// Access says who will be locked out of what is connected, or let in.
	Access  []string `json:"access,omitempty"`
	Restart Restart  `json:"restart"`
	Cost    Cost     `json:"cost"`
}

// Change is one key of esConfig, before and after.
type Change struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Restart says whether and for how long the instance restarts its nodes.
type Restart struct {
	Needed  bool `json:"needed"`
	Seconds int  `json:"seconds,omitempty"` // as the cloud estimates
}

// Cost is the standing cost of what is made, without traffic.
type Cost struct {
	Currency string  `json:"currency"`
	PerHour  float64 `json:"perHour"`
	PerMonth float64 `json:"perMonth"`
	Note     string  `json:"note,omitempty"`
}

// Seal sets the plan's ID from what is to be approved: the difference,
// the cost and who is locked out or let in.
func (p *Plan) Seal() {
	raw, err := json.Marshal(struct {
		D []Change
		C Cost
		A []string `json:",omitempty"`
	}{p.Difference, p.Cost, p.Access})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	p.ID = digest(string(raw))
}

// Token returns the idempotency token for creating or changing a resource: the
// same for every repetition, another for the next one of that name.
func (r *Run) Token(resource string) string {
	return digest(r.ID, strconv.Itoa(r.Generation), resource, strconv.Itoa(r.Tokens[resource]))
}

// NextToken begins a new generation of a resource's tokens. Call it only when
// the resource was seen gone or terminally failed, or the change seen done:
// until then a repeated token must mean the same request.
func (r *Run) NextToken(resource string) {
	if r.Tokens == nil {
		r.Tokens = map[string]int{}
	}
	r.Tokens[resource]++
}

// Tag is the value of the tag eslink:run, and Name the name, of what this run
// creates.
func (r *Run) Tag() string             { return r.ID }
func (r *Run) Name(what string) string { return "eslink-" + r.ID + "-" + what }

// TagKey is the tag that carries the run ID on everything eslink creates.
const TagKey = "eslink:run"

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// Indices are those that the run copies: see Survey.Of.
func (r *Run) Indices() []events.Index { return r.Facts.Survey.Of(r.Spec) }

// Entry names the spec's entry that the i-th of Indices comes from.
func (r *Run) Entry(i int) string { return r.Facts.Survey.Entry(r.Spec, i) }
