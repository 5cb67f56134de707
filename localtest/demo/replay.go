package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"eslink/events"
	"eslink/localtest/world"
	"eslink/shared/api"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// Replay feeds events to the functions that they are for, in the given order,
// and shows what each changed in its run's record. A file holds a delivery, as
// -events writes it and events/samples holds it, or a request to runs; a
// malformed one is fed, too, to be refused. A run ID that the local cloud does
// not know stands for the demo's own run, which is started first. Nothing else
// is delivered, and an event that is not due yet waits until it is. A run here
// need not go in as many moves as the recorded one; with -along it goes on by
// itself to the step of each event, which takes the run's own count.
func Replay(ctx context.Context, args []string) error {
	o := options{elasticsearch: "fake"}
	f := o.flags("replay")
	early := f.Bool("early", false, "deliver at once, also what is not due yet")
	along := f.Bool("along", false, "before each event, let the run go on by itself to that event's step; the event then takes the run's own count")
	if err := o.parse(f, args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return errors.New("replay: name at least one file, such as events/samples/preflight.json")
	}
	payloads := make([][]byte, f.NArg())
	for i, name := range f.Args() {
		var err error
		if payloads[i], err = os.ReadFile(name); err != nil {
			return fmt.Errorf("replay: %w", err)
		}
	}
	w, release, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := w.SeedProducts(""); err != nil {
		return err
	}
	output := io.Discard
	if o.verbose {
		output = os.Stderr
	}
	d, err := world.Deploy(ctx, w, output)
	if err != nil {
		return err
	}
	defer d.Close() // nothing is delivered but what is replayed
	r := replay{client{d}, "", *early, *along}
	spec := o.spec(d)
	reply, err := r.runs(ctx, events.Request{Action: "start", Spec: &spec})
	if err != nil {
		return fmt.Errorf("replay: start: %w", err)
	}
	r.run = reply.RunID
	fmt.Printf("run %s is started; its first event is not delivered but by you\n", r.run)
	refused := 0
	for i, name := range f.Args() {
		taken, err := r.feed(ctx, name, payloads[i])
		if err != nil {
			return fmt.Errorf("replay %s: %w", name, err)
		}
		if !taken {
			refused++
		}
	}
	if refused > 0 {
		return fmt.Errorf("replay: %d of %d were refused", refused, f.NArg())
	}
	return nil
}

// functionFor is the function that a payload is for, by what it holds: a delivery
// to a step, a creation that EventBridge tells of, or a request. Whatever is none
// of them goes to a step, which must refuse it.
func functionFor(payload []byte) string {
	if found, err := events.Decode(payload); err == nil {
		return "eslink-" + found[0].Event.Step
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(payload, &keys) != nil {
		return "eslink-preflight"
	}
	has := func(key string) bool { return len(keys[key]) > 0 }
	_, err := events.DecodeCreation(payload)
	switch {
	case has("action"):
		return "eslink-runs"
	case err == nil:
		return "eslink-created"
	case has("planId"):
		return "eslink-approve"
	case has("instanceId") || has("runId") && len(keys) == 1:
		return "eslink-check"
	}
	return "eslink-preflight"
}

// replay is a run to whose functions events are fed.
type replay struct {
	client
	run   string
	early bool // what is not due is delivered all the same
	along bool // the run goes on by itself to the step of the next event
}

// goOn delivers what is due until the run is at a step that lies ahead of it, or
// moves no more, and returns how it stands then.
func (r replay) goOn(ctx context.Context, step string) (api.View, error) {
	for {
		v, err := r.status(ctx, r.run)
		if err != nil || v.Status != run.Running || !ahead(v, step) {
			return v, err
		}
		if v.WakeAt != nil {
			if err := r.d.Clock.Sleep(ctx, v.WakeAt.Sub(r.d.Clock.Now())); err != nil {
				return v, err
			}
		}
		fmt.Printf("  … %s %d\n", v.Step, v.Seq)
		payload, err := events.Encode(events.Event{RunID: r.run, Step: v.Step, Seq: v.Seq}, "eslink/replay", "", r.d.Clock.Now())
		if err != nil {
			return v, err
		}
		if _, err := r.d.Platform.Invoke(ctx, "eslink-"+v.Step, payload); err != nil {
			return v, err
		}
	}
}

// ahead says whether a run has a step still before it.
func ahead(v api.View, step string) bool {
	steps, _ := flow.Of(v.Scenario)
	at := func(name string) int {
		return slices.IndexFunc(steps.Steps, func(s flow.Step) bool { return s.Name == name })
	}
	if v.Direction == run.Down {
		return at(step) >= 0 && at(step) < at(v.Step)
	}
	return at(step) > at(v.Step)
}

// feed delivers one payload, tells what came of it, and whether it was taken.
func (r replay) feed(ctx context.Context, name string, payload []byte) (taken bool, err error) {
	before, err := r.status(ctx, r.run)
	if err != nil {
		return false, err
	}
	fmt.Println(name)
	var event *events.Event
	function := functionFor(payload)
	if found, err := events.Decode(payload); err == nil {
		event = &found[0].Event
		payload = r.own(payload, event.RunID)
		if r.along {
			if before, err = r.goOn(ctx, event.Step); err != nil {
				return false, err
			}
			if event.Step == before.Step {
				event.Seq = before.Seq
			}
			if payload, err = events.Encode(events.Event{RunID: r.run, Step: event.Step, Seq: event.Seq}, "eslink/replay", "", r.d.Clock.Now()); err != nil {
				return false, err
			}
		}
	} else if function != "eslink-created" {
		var ask struct{ RunID string }
		_ = json.Unmarshal(payload, &ask) // what has no run ID stands as it is
		payload = r.own(payload, ask.RunID)
	}
	fmt.Printf("  to %s\n", function)
	due := event != nil && event.Seq == before.Seq && event.Step == before.Step && before.Status == run.Running
	if due && !r.early && before.WakeAt != nil {
		if wait := before.WakeAt.Sub(r.d.Clock.Now()); wait > 0 {
			fmt.Printf("  due in %s of the cloud's time\n", wait.Round(time.Second))
			if err := r.d.Clock.Sleep(ctx, wait); err != nil {
				return false, err
			}
		}
	}
	result, err := r.d.Platform.Invoke(ctx, function, payload)
	if err != nil {
		return false, err
	}
	var answer events.Problem
	taken = result.Err() == nil
	if err := result.Err(); err != nil {
		fmt.Printf("  refused: %v\n", err)
	} else if json.Unmarshal(result.Body, &answer) == nil && answer.Status >= 400 {
		taken = false
		fmt.Printf("  refused: %s\n", result.Body)
	} else if string(result.Body) != "null" {
		fmt.Printf("  answers %s\n", result.Body)
	}
	after, err := r.status(ctx, r.run)
	if err != nil {
		return false, err
	}
	for _, line := range r.outcome(before, after, event, due, taken) {
		fmt.Println("  " + ansi.Truncate(line, 399, "…"))
	}
	return taken, nil
}

// outcome tells what an event, or another payload, has changed, and why nothing.
func (r replay) outcome(before, after api.View, event *events.Event, due, taken bool) []string {
	lines := changed(before, after)
	switch {
	case len(lines) > 0:
	case taken && event != nil && !due:
		lines = []string{fmt.Sprintf("skipped: it is for step %s at %d, the run is %s at step %s, %d", event.Step, event.Seq, before.Status, before.Step, before.Seq)}
	case taken && due && before.WakeAt != nil && r.d.Clock.Now().Before(*before.WakeAt):
		lines = []string{"too early: published again, for " + before.WakeAt.Format(time.RFC3339)}
	default:
		lines = []string{"changed nothing"}
	}
	return lines
}

// own puts this run in the place of one that the local cloud does not know.
func (r replay) own(payload []byte, runID string) []byte {
	if runID == "" {
		return payload
	}
	return []byte(strings.ReplaceAll(string(payload), runID, r.run))
}

// changed lists what differs between two views of a run.
func changed(a, b api.View) []string {
	var out []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		x, _ := json.Marshal(va.Field(i).Interface()) // a view encodes
		y, _ := json.Marshal(vb.Field(i).Interface())
		if field := va.Type().Field(i).Name; string(x) != string(y) && field != "Timeline" && field != "Facts" {
			out = append(out, fmt.Sprintf("%s: %s -> %s", strings.ToLower(field[:1])+field[1:], x, y))
		}
	}
	if n := len(a.Timeline); len(b.Timeline) > n {
		for _, e := range b.Timeline[n:] {
			out = append(out, strings.TrimSpace(fmt.Sprintf("timeline: %s %s %s", e.Step, e.What, e.Reason)))
		}
	}
	var fa, fb map[string]json.RawMessage
	x, _ := json.Marshal(a.Facts)
	y, _ := json.Marshal(b.Facts)
	if json.Unmarshal(x, &fa) != nil || json.Unmarshal(y, &fb) != nil {
		return out
	}
	for name, v := range fb {
		if string(fa[name]) != string(v) {
			out = append(out, "facts."+name+": "+string(v))
		}
	}
	return out
}
