package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/aliyun"
	"eslink/shared/api"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/wire"
)

const account = "1234567890123456"

// world is the functions runs and status over a store and a bus in memory, in a
// bubble of virtual time.
type world struct {
	t      *testing.T
	store  *run.Store
	runs   *api.Runs
	status *api.Status
	engine *engine.Engine
	sent   []events.Event
	down   error // of the bus
}

func bubble(t *testing.T, test func(*testing.T, *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: &run.Store{Driver: &run.Mem{}, Now: time.Now}}
		w.engine = &engine.Engine{Runs: w.store, Bus: w, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		w.runs = &api.Runs{Store: w.store, Engine: w.engine, Region: "cn-hangzhou", Now: time.Now, AutoApprove: true}
		w.status = &api.Status{Store: w.store}
		test(t, w)
	})
}

// Publish is a bus.Bus that remembers.
func (w *world) Publish(_ context.Context, _ string, body []byte, _ time.Duration) error {
	if w.down != nil {
		return w.down
	}
	d, err := events.Decode(body)
	require.NoError(w.t, err)
	w.sent = append(w.sent, d[0].Event)
	return nil
}

// start is the sample request, with edits to the spec.
func start(t testing.TB, edits ...func(spec map[string]any, request map[string]any)) []byte {
	raw, err := os.ReadFile("../../events/samples/requests/start.json")
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(raw, &doc))
	for _, edit := range edits {
		edit(doc["spec"].(map[string]any), doc)
	}
	raw, err = json.Marshal(doc)
	require.NoError(t, err)
	return raw
}

func set(field string, v any) func(spec, request map[string]any) {
	return func(spec, _ map[string]any) { spec[field] = v }
}

func ask(field string, v any) func(spec, request map[string]any) {
	return func(_, request map[string]any) { request[field] = v }
}

// do sends a request to the function runs, or an approval to approve.
func (w *world) do(raw []byte) (api.Reply, error) {
	if bytes.HasPrefix(raw, []byte(`{"runId"`)) {
		return w.runs.Approve(w.t.Context(), raw)
	}
	return w.runs.Do(w.t.Context(), account, raw)
}

func (w *world) ok(raw []byte) api.Reply {
	w.t.Helper()
	reply, err := w.do(raw)
	require.NoError(w.t, err)
	return reply
}

// refused returns the problem that answers raw, and holds it to what every
// problem says.
func (w *world) refused(raw []byte, status int, kind string) *events.Problem {
	w.t.Helper()
	_, err := w.do(raw)
	var p *events.Problem
	require.ErrorAs(w.t, err, &p, string(raw))
	assert.Equal(w.t, status, p.Status, p.Error())
	assert.Equal(w.t, "urn:eslink:problem:"+kind, p.Type)
	require.NotEmpty(w.t, p.Errors)
	for _, f := range p.Errors {
		assert.NotEmpty(w.t, f.Remedy, p.Error())
	}
	return p
}

// put makes the run what change says, as steps would have.
func (w *world) put(id string, change func(*run.Run)) {
	w.t.Helper()
	r, err := w.store.Acquire(w.t.Context(), id)
	require.NoError(w.t, err)
	change(r)
	r.Cursor.Sent = r.Cursor.Seq
	require.NoError(w.t, w.store.SaveAndRelease(w.t.Context(), r))
	w.sent = nil
}

func (w *world) run(id string) *run.Run {
	r, err := w.store.Get(w.t.Context(), id)
	require.NoError(w.t, err)
	return r
}

func action(name, id string, more ...string) []byte {
	return fmt.Appendf(nil, `{"action":%q,"runId":%q%s}`, name, id, strings.Join(more, ""))
}

func approval(id, plan string) []byte { return fmt.Appendf(nil, `{"runId":%q,"planId":%q}`, id, plan) }

// asks has a run wait for approval of a plan.
func asks(r *run.Run, plan string) {
	engine.Goto(r, "plan", run.WaitingApproval, time.Now())
	r.Plan, r.Cursor.WakeAt = &run.Plan{ID: plan}, time.Now().Add(engine.ApprovalWithin)
}

// at puts a run on a step, with a status.
func at(step string, status run.Status) func(*run.Run) {
	return func(r *run.Run) { engine.Goto(r, step, status, time.Now()) }
}

// owning is a run that has come to a step that writes.
func (w *world) owning(r *run.Run) {
	require.NoError(w.t, w.store.Lock(w.t.Context(), engine.TargetLock(r), r.ID, 0))
	r.Owns = true
}

// standing is a run that is done: its link stands.
func standing(r *run.Run) {
	engine.Goto(r, "verify", run.Done, time.Now())
	r.Owns = true
	r.Facts.NLB = &facts.NLB{ID: "nlb-1"}
	r.Facts.Accept = &facts.Accept{Domain: "d"}
	r.Facts.Destination = &facts.DestinationFacts{Indices: []facts.DestinationIndex{{Name: "dest", Created: true}, {Name: "old"}}}
	r.Facts.Reindex, r.Facts.Digest, r.Facts.Verify = &facts.Reindex{}, &facts.Digest{}, &facts.Verify{}
}

func TestStartMakesARunOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.ok(start(t))
		assert.Regexp(t, "^[0-9a-f]{16}$", first.RunID)
		assert.Equal(t, api.Reply{RunID: first.RunID, Generation: 1, Status: run.Running, Step: "preflight"}, first)
		assert.Equal(t, []events.Event{{RunID: first.RunID, Step: "preflight", Seq: 1}}, w.sent)
		assert.Equal(t, first, w.ok(start(t)), "the same spec returns the run")
		assert.Equal(t, first, w.ok(start(t, func(spec, _ map[string]any) {
			spec["indices"].([]any)[0].(map[string]any)["query"] = json.RawMessage(`{ "match" : {"productName":"wealth management product"} }`)
		})), "in other words, too")
		assert.Len(t, w.sent, 1)
		for _, status := range []run.Status{run.Running, run.WaitingApproval, run.Done, run.DoneDifferences, run.Failed} {
			w.put(first.RunID, func(r *run.Run) { at("plan", status)(r); r.Plan = &run.Plan{} })
			assert.Equal(t, api.Reply{RunID: first.RunID, Generation: 1, Status: status, Step: "plan"}, w.ok(start(t)))
			assert.Empty(t, w.sent, status)
		}
		raw, err := json.Marshal(first)
		require.NoError(t, err)
		assert.JSONEq(t, `{"runId":"`+first.RunID+`","generation":1,"status":"running","step":"preflight"}`, string(raw))
	})
}

func TestTwoStartsAtOnceMakeOneRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store.Driver = &slow{}
		var wg sync.WaitGroup
		ids := make(chan api.Reply, 4)
		for range cap(ids) {
			wg.Go(func() {
				reply, err := w.do(start(t))
				assert.NoError(t, err)
				ids <- reply
			})
		}
		wg.Wait()
		one := <-ids
		for range 3 {
			assert.Equal(t, one, <-ids)
		}
		all, err := w.store.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, all, 1)
	})
}

// slow is a driver whose callers overlap.
type slow struct{ run.Mem }

func (s *slow) Get(ctx context.Context, key run.Key) (run.Row, error) {
	defer time.Sleep(100 * time.Millisecond)
	return s.Mem.Get(ctx, key)
}

func TestAStartWhoseMessageWasLostIsMendedByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.down = errors.New("no queue")
		_, err := w.do(start(t))
		require.ErrorIs(t, err, w.down)
		w.down = nil
		reply := w.ok(start(t))
		assert.Equal(t, []events.Event{{RunID: reply.RunID, Step: "preflight", Seq: 1}}, w.sent)
	})
}

func TestAgainWalksEveryStepOfAFinishedRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		again := start(t, ask("again", true))
		assert.Equal(t, run.Running, w.ok(again).Status)
		assert.Len(t, w.sent, 1, "it walks already")
		w.put(id, standing)
		seq := w.run(id).Cursor.Seq
		assert.Equal(t, api.Reply{RunID: id, Generation: 1, Status: run.Running, Step: "preflight"}, w.ok(again))
		assert.Equal(t, []events.Event{{RunID: id, Step: "preflight", Seq: seq + 1}}, w.sent)
		f := w.run(id).Facts
		assert.NotNil(t, f.NLB)
		assert.NotNil(t, f.Reindex)
		assert.Nil(t, f.Verify, "a proof is of one walk")

		w.put(id, func(r *run.Run) {
			at("verify", run.Failed)(r)
			r.Facts.Verify, r.Restore = &facts.Verify{Operated: []facts.Check{{Name: "link"}}}, true
		})
		assert.Equal(t, run.Failed, w.ok(start(t)).Status)
		assert.Equal(t, api.Reply{RunID: id, Generation: 1, Status: run.Running, Step: "preflight"}, w.ok(again), "one that failed, too")
		r := w.run(id)
		assert.Equal(t, &facts.Verify{}, r.Facts.Verify)
		assert.False(t, r.Restore)
		w.put(id, func(r *run.Run) { at("configure", run.Failed)(r); r.Direction = run.Down })
		w.refused(again, 409, "wrong-state")
	})
}

func TestAnotherSpecOverAStandingLinkIsTheNextGeneration(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, standing)
		other := start(t, set("indices", []any{map[string]any{"source": "orders"}}), set("reindex", map[string]any{"size": 10}))
		assert.Equal(t, api.Reply{RunID: id, Generation: 2, Status: run.Running, Step: "preflight"}, w.ok(other))
		r := w.run(id)
		assert.Equal(t, "orders", r.Spec.Indices[0].Dest)
		assert.Equal(t, "nlb-1", r.Facts.NLB.ID, "the link stays")
		assert.Nil(t, r.Facts.Reindex)
		assert.Equal(t, []facts.DestinationIndex{{Name: "dest", Created: true}}, r.Facts.Destination.Earlier, "what it made it may have to delete one day")
		p := w.refused(start(t), 409, "wrong-state")
		assert.Contains(t, p.Error(), "indices, reindex", "not while it moves")
	})
}

func TestAChangeThatTheLinkDoesNotBearIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, standing)
		p := w.refused(start(t, set("zone", "cn-hangzhou-j"), set("secrets", map[string]any{"instance": "eslink/x", "target": "eslink/y"}), set("indices", []any{map[string]any{"source": "b"}})), 409, "other-spec")
		assert.Equal(t, "it differs in indices, secrets.instance, secrets.target, zone", p.Errors[0].Message)
		assert.Equal(t, run.Done, w.run(id).Status)
		assert.Empty(t, w.sent)
		p = w.refused(start(t, set("target", map[string]any{"instanceId": "es-cn-src000000002", "protocol": "https"})), 409, "other-spec")
		assert.Equal(t, "it differs in target.protocol", p.Errors[0].Message)
	})
}

func TestASpecIsMendedAfterFindings(t *testing.T) {
	for _, step := range []string{"preflight", "survey", "plan"} {
		for _, status := range []run.Status{run.Failed, run.Cancelled, run.Expired, run.Planned, run.WaitingApproval} {
			t.Run(step+" "+string(status), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					id := w.ok(start(t)).RunID
					w.put(id, func(r *run.Run) {
						at(step, status)(r)
						r.Facts.Preflight, r.Plan, r.Approved = &facts.Preflight{}, &run.Plan{ID: "0c5f1d7a9b3e2846"}, "0c5f1d7a9b3e2846"
					})
					mended := start(t, set("zone", "cn-hangzhou-j"), set("acceptRisks", []string{"single-node"}))
					assert.Equal(t, api.Reply{RunID: id, Generation: 2, Status: run.Running, Step: "preflight"}, w.ok(mended))
					r := w.run(id)
					assert.Equal(t, facts.Facts{}, r.Facts)
					assert.Nil(t, r.Plan)
					assert.Empty(t, r.Approved, "another spec needs another approval")
				})
			})
		}
	}
}

func TestATargetBelongsToOneRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, w.owning)
		p := w.refused(start(t, set("name", "other")), 409, "owned")
		assert.Equal(t, `run `+id+` ("orders", running) owns this target`, p.Errors[0].Message)
		all, err := w.store.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, all, 1)
		w.ok(start(t, set("name", "other"), set("target", map[string]any{"instanceId": "es-cn-src000000003"})))

		w.put(id, func(r *run.Run) {
			require.NoError(t, w.engine.Forget(t.Context(), r))
			r.Direction = run.Down
			at("nlb", run.Removed)(r)
		})
		third := w.ok(start(t, set("name", "third"))).RunID
		assert.NotEqual(t, id, third, "a removed run owns nothing")
		w.put(third, w.owning)
		w.refused(start(t), 409, "owned")
	})
}

func TestStartAfterRemovalIsANewGeneration(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, standing)
		token := w.run(id).Token("nlb")
		w.ok(action("teardown", id, `,"keepConfig":true`))
		for _, status := range []run.Status{run.Running, run.Failed, run.Cancelled, run.WaitingApproval} {
			w.put(id, func(r *run.Run) { at("configure", status)(r); r.Plan = &run.Plan{ID: "x"} })
			w.refused(start(t), 409, "wrong-state")
		}
		w.put(id, func(r *run.Run) { require.NoError(t, w.engine.Forget(t.Context(), r)); at("nlb", run.Removed)(r) })
		assert.Equal(t, api.Reply{RunID: id, Generation: 2, Status: run.Running, Step: "preflight"}, w.ok(start(t)))
		r := w.run(id)
		assert.Equal(t, run.Up, r.Direction)
		assert.Equal(t, facts.Facts{}, r.Facts)
		assert.False(t, r.KeepConfig)
		assert.NotEqual(t, token, r.Token("nlb"), "what was deleted is not asked for again by its old token")
		w.put(id, w.owning)
		w.refused(start(t, set("name", "other")), 409, "owned")
	})
}

func TestPlanOnly(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		plan := start(t, ask("plan", true), set("approve", "manual"))
		id := w.ok(plan).RunID
		assert.True(t, w.run(id).PlanOnly)
		w.put(id, at("plan", run.Planned))
		assert.Equal(t, run.Planned, w.ok(plan).Status)
		assert.Empty(t, w.sent)
		w.ok(action("cancel", id))
		w.ok(action("retry", id))
		assert.Equal(t, "plan", w.run(id).Cursor.Step, "no way leads past the approval")
		w.put(id, at("plan", run.Planned))
		assert.Equal(t, api.Reply{RunID: id, Generation: 1, Status: run.Running, Step: "plan"}, w.ok(start(t, set("approve", "manual"))), "a later start goes on from there")
		assert.False(t, w.run(id).PlanOnly)
	})
}

func TestApprove(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const plan, old = "0c5f1d7a9b3e2846", "ffffffffffffffff"
		approve := func(plan string) []byte { return approval(w.only(), plan) }
		id := w.ok(start(t, set("approve", "manual"))).RunID
		w.refused(approve(plan), 409, "wrong-state")
		w.put(id, func(r *run.Run) { asks(r, plan) })
		p := w.refused(approve(old), 409, "other-plan")
		assert.Equal(t, "the plan is now "+plan, p.Errors[0].Message)
		assert.Equal(t, run.Running, w.ok(approve(plan)).Status)
		assert.Len(t, w.sent, 1)
		seq := w.run(id).Cursor.Seq
		assert.Equal(t, run.Running, w.ok(approve(plan)).Status, "twice is once")
		assert.Equal(t, seq, w.run(id).Cursor.Seq)
		assert.Len(t, w.sent, 1)
		// In configure something else than the placeholder has changed.
		w.put(id, func(r *run.Run) { asks(r, old); r.Cursor.Step = "configure" })
		w.refused(approve(plan), 409, "other-plan")
		w.put(id, func(r *run.Run) { at("configure", run.Expired)(r) })
		p = w.refused(approve(old), 409, "wrong-state")
		assert.Equal(t, `send {"action":"start","spec":…} again`, p.Errors[0].Remedy, "too late")
		w.put(id, func(r *run.Run) { r.Approved = "" })
		assert.Equal(t, "preflight", w.ok(start(t, set("approve", "manual"))).Step)
	})
}

func (w *world) only() string {
	all, err := w.store.List(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, all, 1)
	return all[0].ID
}

// Every action in every status: the status that follows, or none if refused.
func TestEveryActionInEveryStatus(t *testing.T) {
	const plan = "0c5f1d7a9b3e2846"
	all := []run.Status{run.Planned, run.WaitingApproval, run.Running, run.Done, run.DoneDifferences, run.Failed, run.Cancelled, run.Expired, run.Removed}
	type next map[run.Status]run.Status
	every := next{}
	for _, s := range all {
		every[s] = run.Running
	}
	every[run.Removed] = run.Removed
	for name, allowed := range map[string]next{
		"approve":  {run.WaitingApproval: run.Running},
		"cancel":   {run.Planned: run.Cancelled, run.WaitingApproval: run.Cancelled, run.Running: run.Cancelled},
		"retry":    {run.Failed: run.Running, run.Cancelled: run.Running},
		"throttle": {run.Running: run.Running},
		"teardown": every,
		"restore":  {run.Done: run.Running, run.DoneDifferences: run.Running, run.Failed: run.Running, run.Cancelled: run.Running},
	} {
		for _, status := range all {
			t.Run(name+" "+string(status), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					id := w.ok(start(t, set("approve", "manual"))).RunID
					w.put(id, func(r *run.Run) {
						asks(r, plan)
						r.Status = status
						r.Facts.Configure = &facts.Configure{Writes: 3}
						r.Problem = events.NewProblem(500, "x", "x")
					})
					before := w.run(id)
					more := map[string]string{"approve": `,"planId":"` + plan + `"`, "throttle": `,"requestsPerSecond":5`, "teardown": `,"deleteDestination":true`}[name]
					want, ok := allowed[status]
					raw, field := action(name, id, more), "action"
					if name == "approve" {
						raw, field = approval(id, plan), "runId"
					}
					if !ok {
						p := w.refused(raw, 409, "wrong-state")
						assert.Equal(t, field, p.Errors[0].Field)
						after := w.run(id)
						assert.Equal(t, before.Cursor, after.Cursor)
						assert.Equal(t, before.Timeline, after.Timeline)
						assert.Empty(t, w.sent)
						assert.True(t, after.HeldUntil().IsZero(), "nobody keeps the run")
						return
					}
					reply := w.ok(raw)
					assert.Equal(t, want, reply.Status)
					moves := want == run.Running && name != "throttle"
					assert.Equal(t, moves, len(w.sent) == 1)
					r := w.run(id)
					assert.True(t, r.HeldUntil().IsZero())
					switch {
					case name == "throttle":
						assert.Equal(t, 5.0, *r.RequestsPerSecond)
					case name == "teardown" && status != run.Removed:
						assert.Equal(t, "verify", reply.Step)
						assert.Equal(t, run.Down, r.Direction)
						assert.True(t, r.DeleteDestination)
						assert.False(t, r.KeepConfig)
						w.refused(action("throttle", id, `,"requestsPerSecond":5`), 409, "wrong-state")
					case name == "restore":
						assert.Equal(t, "configure", reply.Step)
						assert.True(t, r.Restore)
						assert.Zero(t, r.Facts.Configure.Writes, "a walk of its own")
						w.ok(action("teardown", id))
						assert.False(t, w.run(id).Restore)
					case name == "retry":
						assert.Nil(t, r.Problem)
						assert.Equal(t, "plan", reply.Step, "where it stood")
					}
				})
			})
		}
	}
}

func TestRestoreOfWhatWasNeverWritten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, at("plan", run.Failed))
		p := w.refused(action("restore", id), 409, "wrong-state")
		assert.Contains(t, p.Error(), "it has written nothing into esConfig")
		w.put(id, func(r *run.Run) {
			at("configure", run.Failed)(r)
			r.Facts.Configure = &facts.Configure{}
			r.Direction = run.Down
		})
		p = w.refused(action("restore", id), 409, "wrong-state")
		assert.Contains(t, p.Error(), "teardown takes back what it wrote")
		w.put(id, func(r *run.Run) { at("configure", run.Cancelled)(r); r.Direction, r.Restore = run.Up, true })
		w.ok(start(t))
		assert.False(t, w.run(id).Restore, "a new walk configures again")
	})
}

// hosted is a request for a scenario of an ECS instance.
func hosted(useCases string, edits ...func(spec, req map[string]any)) []byte {
	spec := map[string]any{"name": "services", "scenario": "es-to-ecs", "region": "cn-hangzhou", "instanceId": "es-cn-dst000000001", "target": map[string]any{"ecsInstanceId": "i-bp1ecs00000000000001"},
		"secrets": map[string]any{"instance": "eslink/es1"}, "useCases": json.RawMessage(useCases)}
	req := map[string]any{"action": "start", "spec": spec}
	for _, edit := range edits {
		edit(spec, req)
	}
	raw, _ := json.Marshal(req) // what edits put in encodes
	return raw
}

func TestOtherUseCasesOverTheStandingLink(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const watcher, word = `{"kind":"watcher"}`, `{"kind":"dictionary","port":80,"plugin":{"path":"/","analyzer":"a","word":"b"}}`
		id := w.ok(hosted("[" + watcher + "]")).RunID
		stand := func(r *run.Run) {
			standing(r)
			r.Facts.NLB, r.Facts.CLB = nil, &facts.CLB{ID: "lb-1"}
			r.Facts.Configure = &facts.Configure{Keys: []string{"xpack.watcher.enabled"}}
			r.Facts.Dictionary = &facts.Dictionary{Word: "b"}
		}
		w.put(id, stand)
		assert.Equal(t, api.Reply{RunID: id, Generation: 2, Status: run.Running, Step: "preflight"}, w.ok(hosted("["+watcher+","+word+"]")))
		r := w.run(id)
		assert.Equal(t, "lb-1", r.Facts.CLB.ID, "the link is kept")
		assert.NotNil(t, r.Facts.Configure)
		assert.NotNil(t, r.Facts.Dictionary, "what was seen before there was a link")
		assert.Nil(t, r.Facts.Verify)
		assert.Len(t, r.Spec.UseCases, 2)

		w.refused(hosted("["+watcher+"]"), 409, "wrong-state")
		w.put(id, stand)
		copies := func(spec, _ map[string]any) {
			spec["secrets"] = map[string]any{"instance": "eslink/es1", "target": "eslink/reader"}
			spec["indices"] = []any{map[string]any{"source": "a"}}
		}
		assert.Equal(t, 3, w.ok(hosted(`[{"kind":"reindex"}]`, copies)).Generation, "the secret of what is copied comes with it")
		w.put(id, stand)
		w.refused(hosted(`[{"kind":"reindex"}]`, copies, func(spec, _ map[string]any) {
			spec["secrets"].(map[string]any)["target"] = "eslink/other"
		}), 409, "other-spec")
		w.refused(hosted("["+watcher+"]", set("secrets", map[string]any{"instance": "eslink/other"})), 409, "other-spec")
		assert.Equal(t, 4, w.ok(hosted("["+watcher+"]")).Generation)
		w.put(id, w.owning)
		w.refused(hosted("["+watcher+"]", set("name", "other")), 409, "owned")
	})
}

func TestTeardownTwice(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, standing)
		w.ok(action("teardown", id))
		w.put(id, at("accept", run.Running))
		assert.Equal(t, "accept", w.ok(action("teardown", id, `,"keepConfig":true`)).Step, "it does not start over")
		assert.Empty(t, w.sent)
		assert.True(t, w.run(id).KeepConfig)
		w.put(id, at("accept", run.Failed))
		assert.Equal(t, api.Reply{RunID: id, Generation: 1, Status: run.Running, Step: "accept"}, w.ok(action("teardown", id)))
		assert.Len(t, w.sent, 1)
	})
}

func TestABusyRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		r, err := w.store.Acquire(t.Context(), id)
		require.NoError(t, err)
		begun := time.Now()
		p := w.refused(action("cancel", id), 409, "busy")
		assert.Contains(t, p.Error(), "another invocation until ")
		assert.Less(t, time.Since(begun), 30*time.Second)
		go func() {
			time.Sleep(5 * time.Second)
			assert.NoError(t, w.store.SaveAndRelease(t.Context(), r))
		}()
		assert.Equal(t, run.Cancelled, w.ok(action("cancel", id)).Status, "a short step is waited for")
	})
}

func TestWhatIsWrongInItself(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.refused(start(t, set("region", "cn-beijing"), set("zone", "cn-beijing-a")), 400, "invalid-request")
		assert.Equal(t, "spec.region", p.Errors[0].Field)
		w.refused([]byte(`{"action":"start"}`), 400, "invalid-request")
		p = w.refused(action("retry", "0123456789abcdef"), 404, "no-such-run")
		assert.Equal(t, "runId", p.Errors[0].Field)
		all, err := w.store.List(t.Context())
		require.NoError(t, err)
		assert.Empty(t, all)
		assert.Empty(t, w.sent)
	})
}

func TestProfiles(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		put := func(name string, edits ...func(spec, request map[string]any)) []byte {
			return start(t, append(edits, ask("action", "put-profile"), ask("profile", name), func(spec, _ map[string]any) { delete(spec, "instanceId") })...)
		}
		raw, err := json.Marshal(w.ok([]byte(`{"action":"profiles"}`)))
		require.NoError(t, err)
		assert.JSONEq(t, `{"profiles":[]}`, string(raw))
		w.ok(put("search"))
		time.Sleep(time.Minute)
		got := w.ok(put("orders", set("approve", "manual"))).Profiles
		require.Len(t, got, 2)
		assert.Equal(t, "orders", got[0].Name)
		assert.Equal(t, "manual", got[0].Spec.Approve)
		assert.Equal(t, "auto", got[1].Spec.Approve)
		assert.Equal(t, time.Now().UTC(), got[0].At.UTC())
		assert.Len(t, w.ok(put("orders")).Profiles, 2, "one of a name")
		p, err := w.store.Profile(t.Context(), "orders")
		require.NoError(t, err)
		assert.Equal(t, "auto", p.Spec.Approve)
		assert.Equal(t, "es-cn-src000000002", p.Spec.Target.InstanceID)
		problem := w.refused(put("far", set("region", "cn-beijing"), set("zone", "cn-beijing-a")), 400, "invalid-request")
		assert.Equal(t, "spec.region", problem.Errors[0].Field)
		assert.Len(t, w.ok([]byte(`{"action":"delete-profile","profile":"orders"}`)).Profiles, 1)
		w.refused([]byte(`{"action":"delete-profile","profile":"orders"}`), 404, "no-such-profile")
		_, err = w.store.Profile(t.Context(), "orders")
		assert.ErrorIs(t, err, run.ErrNotFound)
		assert.Empty(t, w.sent, "nothing is started")
		watcher, err := os.ReadFile("../../events/samples/requests/start-watcher.json")
		require.NoError(t, err)
		var doc struct{ Spec map[string]any }
		require.NoError(t, json.Unmarshal(watcher, &doc))
		id := doc.Spec["instanceId"].(string)
		delete(doc.Spec, "instanceId")
		watcher, err = json.Marshal(map[string]any{"action": "put-profile", "profile": "watcher", "spec": doc.Spec})
		require.NoError(t, err)
		w.ok(watcher)
		p, err = w.store.Profile(t.Context(), "watcher")
		require.NoError(t, err)
		spec, err := p.Spec.For(id)
		require.NoError(t, err)
		begun, began, err := w.runs.Begin(t.Context(), account, spec)
		require.NoError(t, err)
		assert.True(t, began, "a profile may be of either scenario")
		assert.Equal(t, "preflight", begun.Step)
		for i := range 150 {
			w.ok(put(fmt.Sprint("p", i)))
		}
		assert.Len(t, w.ok([]byte(`{"action":"profiles"}`)).Profiles, 152)
	})
}

// Begin is for those who hear of a cluster more than once.
func TestBeginStartsOnlyWhatHasNoRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		req, err := events.ParseRequest(start(t))
		require.NoError(t, err)
		begin := func() (api.Reply, bool) {
			t.Helper()
			reply, began, err := w.runs.Begin(t.Context(), account, *req.Spec)
			require.NoError(t, err)
			return reply, began
		}
		w.down = errors.New("no queue")
		_, began, err := w.runs.Begin(t.Context(), account, *req.Spec)
		require.ErrorIs(t, err, w.down)
		require.False(t, began)
		w.down = nil
		reply, began := begin()
		assert.False(t, began, "there is a record, and sweep sends what it owes")
		time.Sleep(5 * time.Minute)
		require.NoError(t, w.engine.Sweep(t.Context()))
		assert.Equal(t, []events.Event{{RunID: reply.RunID, Step: "preflight", Seq: 1}}, w.sent)
		for _, status := range []run.Status{run.Planned, run.WaitingApproval, run.Running, run.Done, run.Failed, run.Cancelled, run.Expired, run.Removed} {
			w.put(reply.RunID, at("plan", status))
			got, began := begin()
			assert.False(t, began, status)
			assert.Equal(t, api.Reply{RunID: reply.RunID, Generation: 1, Status: status, Step: "plan"}, got)
			assert.Empty(t, w.sent)
		}
		req.Spec.Target.InstanceID = "es-cn-src000000003"
		_, began = begin()
		assert.True(t, began)
		assert.Len(t, w.sent, 1)
		w.put(w.sent[0].RunID, w.owning)
		req.Spec.Name = "other"
		_, _, err = w.runs.Begin(t.Context(), account, *req.Spec)
		assert.ErrorContains(t, err, "owns this target")
	})
}

// A flow without plan: what it stands for may be changed, and nothing is planned.
func TestAWhitelistsRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		office := func(mode string, more ...string) []byte {
			return fmt.Appendf(nil, `{"action":"start","spec":{"name":"office","scenario":"private-whitelist","region":"cn-hangzhou","instanceId":"es-cn-dst000000001",
				"whitelist":{"mode":%q,"group":"office","ips":["10.0.0.1"]}}%s}`, mode, strings.Join(more, ""))
		}
		p := w.refused(office("Cover", `,"plan":true`), 400, "invalid-request")
		assert.Equal(t, "plan", p.Errors[0].Field)
		first := w.ok(office("Cover"))
		assert.Equal(t, "private-whitelist", first.Step)
		w.put(first.RunID, w.owning)
		for _, status := range []run.Status{run.Done, run.Failed} {
			w.put(first.RunID, func(r *run.Run) {
				at("private-whitelist", status)(r)
				r.Facts.PrivateWhitelist = &facts.PrivateWhitelist{Group: "office", Added: []string{"10.0.0.9"}}
			})
			generation := w.run(first.RunID).Generation
			mode := map[run.Status]string{run.Done: "Append", run.Failed: "Delete"}[status]
			assert.Equal(t, api.Reply{RunID: first.RunID, Generation: generation + 1, Status: run.Running, Step: "private-whitelist"}, w.ok(office(mode)))
			assert.NotNil(t, w.run(first.RunID).Facts.PrivateWhitelist, "what it has changed it has to take back one day")
		}
		w.put(first.RunID, at("private-whitelist", run.Done))
		assert.Equal(t, "private-whitelist", w.ok(action("teardown", first.RunID)).Step)
	})
}

// function is what wire would build, over the world's parts.
func (w *world) function() *wire.Function {
	return &wire.Function{Deps: deps.Deps{Runs: w.store, Now: time.Now, Aliyun: aliyun.Config{Region: "cn-hangzhou"}}, Engine: w.engine, AutoApprove: func() bool { return true }, Log: slog.New(slog.DiscardHandler)}
}

func trigger(method, body string, query map[string]string) []byte {
	raw, _ := json.Marshal(map[string]any{"version": "v1", "rawPath": "/", "body": body, "isBase64Encoded": false, "queryParameters": query,
		"headers": map[string]string{}, "requestContext": map[string]any{"http": map[string]any{"method": method, "path": "/"}}})
	return raw
}

type response struct {
	StatusCode int
	Headers    map[string]string
	Body       string
}

func TestTheFunctionsOverHTTPAndBare(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ctx := fccontext.NewContext(t.Context(), &fccontext.FcContext{AccountId: account})
		runs, status := api.RunsFunction(w.function()), api.StatusFunction(w.function())
		http := func(h wire.Handler, payload []byte) (out response) {
			t.Helper()
			raw, err := h(ctx, payload)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(raw, &out))
			return out
		}
		bare := func(h wire.Handler, payload string) string {
			raw, err := h(ctx, []byte(payload))
			require.NoError(t, err)
			return string(raw)
		}
		got := http(runs, trigger("POST", string(start(t)), nil))
		assert.Equal(t, 200, got.StatusCode)
		assert.Equal(t, "application/json", got.Headers["Content-Type"])
		var reply api.Reply
		require.NoError(t, json.Unmarshal([]byte(got.Body), &reply))
		assert.JSONEq(t, got.Body, bare(runs, string(start(t))), "bare, the reply is the body")

		got = http(runs, trigger("POST", `{"action":"start","spec":{"colour":1}}`, nil))
		assert.Equal(t, 400, got.StatusCode)
		assert.Equal(t, "application/problem+json", got.Headers["Content-Type"])
		var p events.Problem
		require.NoError(t, json.Unmarshal([]byte(got.Body), &p))
		assert.Equal(t, 400, p.Status)
		assert.Contains(t, got.Body, `"field":"spec.colour"`)
		assert.JSONEq(t, got.Body, bare(runs, `{"action":"start","spec":{"colour":1}}`))
		assert.Equal(t, 409, http(runs, trigger("POST", string(action("retry", reply.RunID)), nil)).StatusCode)
		assert.Equal(t, 404, http(runs, trigger("POST", string(action("retry", "0123456789abcdef")), nil)).StatusCode)
		assert.Equal(t, 405, http(runs, trigger("GET", "", nil)).StatusCode)
		assert.Equal(t, 405, http(status, trigger("POST", "{}", nil)).StatusCode)

		got = http(status, trigger("GET", "", map[string]string{"runId": reply.RunID}))
		assert.Equal(t, 200, got.StatusCode)
		var view api.View
		require.NoError(t, json.Unmarshal([]byte(got.Body), &view))
		assert.Equal(t, "preflight", view.Step)
		assert.Equal(t, "start", view.Timeline[0].What)
		assert.JSONEq(t, got.Body, bare(status, `{"runId":"`+reply.RunID+`"}`))
		assert.Equal(t, 404, http(status, trigger("GET", "", map[string]string{"runId": "x"})).StatusCode)
		assert.Contains(t, bare(status, `x`), `"status":400`)
		for _, name := range []string{"runid", "RunId", "runIds", "run"} {
			got := http(status, trigger("GET", "", map[string]string{name: reply.RunID}))
			assert.Equal(t, 400, got.StatusCode, name)
			assert.Contains(t, got.Body, "status has no parameter", name)
			assert.Contains(t, bare(status, `{"`+name+`":"`+reply.RunID+`"}`), "status has no parameter", name)
		}
		assert.Equal(t, 200, http(status, trigger("GET", "", map[string]string{"x-trace": "1"})).StatusCode)
		list := http(status, trigger("GET", "", nil))
		assert.Contains(t, list.Body, `{"runs":[{"runId":"`+reply.RunID+`"`)
		assert.NotContains(t, list.Body, "timeline")
		assert.JSONEq(t, list.Body, bare(status, `{}`))

		w.down = errors.New("the queue's secret is hunter2")
		w.put(reply.RunID, at("nlb", run.Failed))
		got = http(runs, trigger("POST", string(action("retry", reply.RunID)), nil))
		assert.Equal(t, 500, got.StatusCode)
		assert.NotContains(t, got.Body, "hunter2", "what is not a problem for the caller is for the log")
		_, err := api.RunsFunction(w.function())(t.Context(), start(t))
		assert.NoError(t, err)
	})
}

func TestSweepFunction(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.ok(start(t))
		time.Sleep(5 * time.Minute)
		_, err := api.SweepFunction(w.function())(t.Context(), []byte(`{"triggerName":"timer"}`))
		require.NoError(t, err)
		assert.Len(t, w.sent, 2)
	})
}

func TestStatusSaysWhatToDo(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		each := []facts.IndexProgress{{Dest: "dest", Documents: 3, Total: 4, DocsPerSecond: 1.5, ETA: "1s"}}
		for status, next := range map[run.Status]string{
			run.Planned: "without plan", run.WaitingApproval: `"planId":"0c5f1d7a9b3e2846"`, run.Failed: `"action":"retry","runId":"` + id + `"`,
			run.Cancelled: `"action":"retry"`, run.Expired: `"action":"start"`, run.DoneDifferences: "differences", run.Running: "", run.Done: "", run.Removed: "",
		} {
			w.put(id, func(r *run.Run) {
				at("plan", status)(r)
				r.Plan, r.Cursor.Reason = &run.Plan{ID: "0c5f1d7a9b3e2846"}, "because"
				r.Facts.Progress = &facts.Progress{Documents: 3, Total: 4, DocsPerSecond: 1.5, ETA: "1s", Indices: each}
			})
			v, err := w.status.Get(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, status, v.Status)
			assert.Equal(t, "because", v.Reason)
			assert.Contains(t, v.Next, next)
			assert.Equal(t, next == "", v.Next == "")
			assert.Equal(t, &api.Progress{Documents: 3, Total: 4, Percent: 75, DocsPerSecond: 1.5, ETA: "1s", Indices: each}, v.Progress)
			all, _, err := w.status.List(t.Context(), "")
			require.NoError(t, err)
			assert.Equal(t, &api.Progress{Documents: 3, Total: 4, Percent: 75, DocsPerSecond: 1.5, ETA: "1s"}, all[0].Progress, "in brief")
		}
	})
}
