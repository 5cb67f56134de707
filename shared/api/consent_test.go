package api_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/api"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Who may ask cannot consent: the function runs sends to approve.
func TestRunsDoesNotApprove(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const plan = "0c5f1d7a9b3e2846"
		id := w.ok(start(t, set("approve", "manual"))).RunID
		w.put(id, func(r *run.Run) { asks(r, plan) })
		p := w.refused(action("approve", id, `,"planId":"`+plan+`"`), 403, "approve")
		assert.Contains(t, p.Errors[0].Remedy, string(approval(id, plan)))
		assert.Equal(t, run.WaitingApproval, w.run(id).Status)
		assert.Equal(t, run.Running, w.ok(approval(id, plan)).Status)
		w.refused([]byte(`{"runId":"`+id+`","planId":"`+plan+`","by":"the chief"}`), 400, "invalid-request")
	})
}

func TestSpecsApproveThemselvesWhereTheDeploymentAllows(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.runs.AutoApprove = false
		p := w.refused(start(t), 400, "invalid-request")
		assert.Equal(t, "spec.approve", p.Errors[0].Field)
		assert.Contains(t, p.Errors[0].Remedy, "ESLINK_AUTO_APPROVE")
		w.ok(start(t, set("approve", "manual")))
		w.runs.AutoApprove = true
		w.ok(start(t, set("name", "other")))
	})
}

// However long a run waits, who asked, approved, cancelled and tore it down stays.
func TestTheTimelineRemembersWhoConsented(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const plan = "0c5f1d7a9b3e2846"
		id := w.ok(start(t, set("approve", "manual"))).RunID
		w.put(id, func(r *run.Run) { asks(r, plan) })
		ctx := fccontext.NewContext(t.Context(), &fccontext.FcContext{RequestID: "1-abc", Function: fccontext.Function{Name: "eslink-approve"}})
		_, err := w.runs.Approve(ctx, approval(id, plan))
		require.NoError(t, err)
		for n := range 300 {
			w.put(id, func(r *run.Run) { r.Note(time.Now(), fmt.Sprint("step", n), "done", "") })
			w.put(id, func(r *run.Run) { r.Note(time.Now(), "accept", run.Waiting, fmt.Sprint("look ", n)) })
		}
		w.ok(action("cancel", id))
		v, err := w.status.Get(t.Context(), id)
		require.NoError(t, err)
		says := fmt.Sprint(v.Timeline)
		assert.Contains(t, says, "approved plan "+plan)
		assert.Contains(t, says, "eslink-approve request 1-abc")
		count := map[string]int{}
		for i, e := range v.Timeline {
			count[e.What]++
			assert.False(t, i > 0 && e.At.Before(v.Timeline[i-1].At), "in the order of time")
		}
		assert.Equal(t, 1, count["approved"])
		assert.Equal(t, 1, count["cancel"])
	})
}

var request = regexp.MustCompile(`\{[^{}]*\}`)

// All that next names is accepted when sent.
func TestNextIsAccepted(t *testing.T) {
	const plan = "0c5f1d7a9b3e2846"
	for _, direction := range []run.Direction{run.Up, run.Down} {
		for _, status := range []run.Status{run.Planned, run.WaitingApproval, run.Running, run.Done, run.DoneDifferences, run.Failed, run.Cancelled, run.Expired, run.Removed} {
			if direction == run.Down && (status == run.Planned || status == run.Done || status == run.DoneDifferences) {
				continue // no walk up ends so
			}
			t.Run(fmt.Sprint(direction, status), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					first := string(start(t))
					id := w.ok(start(t)).RunID
					prepare := func() string {
						w.put(id, func(r *run.Run) {
							engine.Goto(r, "configure", status, time.Now())
							r.Cursor.WakeAt = time.Now().Add(time.Hour)
							r.Direction, r.Plan, r.Owns = direction, &run.Plan{ID: plan}, true
							r.Facts.Verify = &facts.Verify{Indices: []facts.IndexProof{{Differences: map[string]int{"missing": 1}}}}
							r.Approved = ""
						})
						return api.Next(w.run(id))
					}
					next := prepare()
					named := request.FindAllString(next, -1)
					quiet := status == run.Running || status == run.Done || status == run.Removed
					assert.Equal(t, quiet, len(named) == 0, next)
					spec := first[strings.Index(first, `"spec":`)+len(`"spec":`) : len(first)-1]
					for _, raw := range named {
						prepare()
						before := w.run(id).Cursor.Seq
						w.ok([]byte(strings.Replace(raw, "…", spec, 1)))
						assert.Greater(t, w.run(id).Cursor.Seq, before, "%s does something", raw)
					}
				})
			})
		}
	}
}

// After its seven days a plan cannot be approved, whether or not sweep has been by.
func TestApprovalHasAnEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const plan = "0c5f1d7a9b3e2846"
		id := w.ok(start(t, set("approve", "manual"))).RunID
		w.put(id, func(r *run.Run) {
			asks(r, plan)
		})
		time.Sleep(engine.ApprovalWithin + time.Second)
		p := w.refused(approval(id, plan), 409, "wrong-state")
		assert.Contains(t, p.Errors[0].Remedy, `{"action":"start"`)
		assert.Equal(t, run.Expired, w.run(id).Status)
		assert.Empty(t, w.sent)
	})
}
