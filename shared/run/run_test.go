package run_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"eslink/events"
	"eslink/shared/facts"
	"eslink/shared/run"
)

func TestTheTimelineIsBounded(t *testing.T) {
	t.Parallel()
	r, at := &run.Run{}, time.Unix(0, 0)
	r.Note(at, "preflight", "start", "")
	for i := range 1000 {
		r.Note(at.Add(time.Duration(i)*time.Second), "nlb", "done", fmt.Sprint(i))
	}
	assert.Len(t, r.Timeline, 200)
	assert.Equal(t, "start", r.Timeline[0].What, "how it began stays")
	assert.Equal(t, "801", r.Timeline[1].Reason)
	assert.Equal(t, "999", r.Timeline[199].Reason)
	r.Note(at.Add(time.Hour), "nlb", "done", "999")
	assert.Len(t, r.Timeline, 200)
	assert.Equal(t, at.Add(time.Hour), r.Timeline[199].At, "the same line only renews its time")
	assert.Equal(t, "998", r.Timeline[198].Reason)
}

// The waits of a step are one entry, and so are its retries, until the run comes
// to another step or stops.
func TestWaitsFold(t *testing.T) {
	t.Parallel()
	r, at := &run.Run{}, time.Unix(1000, 0)
	after := func(seconds int) time.Time { return at.Add(time.Duration(seconds) * time.Second) }
	r.Note(at, "preflight", "start", "")
	for i := range 300 {
		r.Note(after(i), "nlb", run.Waiting, fmt.Sprint("wait ", i))
		if i%100 == 0 {
			r.Note(after(i), "nlb", run.Retrying, fmt.Sprint("retry ", i))
		}
	}
	assert.Equal(t, []run.Entry{
		{At: at, Step: "preflight", What: "start"},
		{At: after(200), Step: "nlb", What: run.Retrying, Reason: "retry 200", Count: 3, First: at},
		{At: after(299), Step: "nlb", What: run.Waiting, Reason: "wait 299", Count: 300, First: at},
	}, r.Timeline)
	r.Note(after(400), "nlb", run.Stopped, "late")
	r.Note(after(500), "nlb", run.Waiting, "again")
	r.Note(after(600), "accept", run.Waiting, "there")
	r.Note(after(700), "nlb", run.Waiting, "back")
	assert.Len(t, r.Timeline, 7)
	assert.Zero(t, r.Timeline[6].Count)

	// A flow of one step: each walk is a stay of its own.
	r = &run.Run{}
	for range 2 {
		r.Note(at, "private-whitelist", "start", "")
		r.Note(at, "private-whitelist", run.Waiting, "w")
		r.Note(at, "private-whitelist", "done", "")
	}
	assert.Len(t, r.Timeline, 6)
}

func TestTokensRepeatUntilRaised(t *testing.T) {
	t.Parallel()
	a, b := &run.Run{ID: id, Generation: 1}, &run.Run{ID: id, Generation: 1}
	first := a.Token("nlb")
	assert.Equal(t, first, b.Token("nlb"), "another process derives the same")
	assert.Equal(t, first, a.Token("nlb"))
	assert.Regexp(t, "^[0-9a-f]{16}$", first)
	assert.NotEqual(t, first, a.Token("listener"))
	assert.NotEqual(t, first, (&run.Run{ID: id, Generation: 2}).Token("nlb"))
	assert.NotEqual(t, first, (&run.Run{ID: "0123456789abcdef", Generation: 1}).Token("nlb"))
	a.NextToken("nlb")
	assert.NotEqual(t, first, a.Token("nlb"))
	assert.Equal(t, b.Token("listener"), a.Token("listener"), "of one resource alone")
}

// What is approved is the difference and the cost, and nothing that moves by itself.
func TestSealCoversWhatIsApproved(t *testing.T) {
	t.Parallel()
	seal := func(change func(*run.Plan)) string {
		p := full().Plan
		change(p)
		p.Seal()
		return p.ID
	}
	base := seal(func(*run.Plan) {})
	assert.Regexp(t, "^[0-9a-f]{16}$", base)
	for name, change := range map[string]func(*run.Plan){
		"estimate": func(p *run.Plan) { p.Restart.Seconds++ }, "an earlier ID": func(p *run.Plan) { p.ID = "x" }, "list": func(p *run.Plan) { p.Creates = nil },
	} {
		assert.Equal(t, base, seal(change), name)
	}
	for name, change := range map[string]func(*run.Plan){
		"after": func(p *run.Plan) { p.Difference[0].After += "," }, "before": func(p *run.Plan) { p.Difference[0].Before = "x" },
		"key": func(p *run.Plan) { p.Difference[0].Key = "x" }, "none": func(p *run.Plan) { p.Difference = nil }, "cost": func(p *run.Plan) { p.Cost.PerHour++ },
	} {
		assert.NotEqual(t, base, seal(change), name)
	}
	r := full()
	r.Approved = ""
	assert.False(t, r.Granted(r.Plan))
	r.Approved = r.Plan.ID
	assert.True(t, r.Granted(r.Plan))
	r.Approved, r.Spec.Approve = "", "auto"
	assert.True(t, r.Granted(r.Plan))
}

func TestTheIndicesThatASpecMeans(t *testing.T) {
	t.Parallel()
	r := run.Run{Spec: events.Spec{Indices: []events.Index{{Source: "a", Dest: "b"}, {Source: "c", Dest: "d"}}}}
	assert.Equal(t, r.Spec.Indices, r.Indices(), "no survey is needed")
	assert.Equal(t, "indices[1]", r.Entry(1))

	r.Spec.Indices[1] = events.Index{Include: events.Patterns{"l-*"}, Exclude: events.Patterns{"l-3"}, Rename: &events.Rename{}, Query: json.RawMessage(`{}`), Existing: "refuse"}
	assert.Empty(t, r.Indices(), "nobody knows yet")
	r.Facts.Survey = &facts.Survey{Chosen: []facts.Chosen{{Entry: 0, Source: "a", Dest: "b"}, {Entry: 1, Source: "l-1", Dest: "o-1"}, {Entry: 1, Source: "l-2", Dest: "o-2"}}}
	assert.Equal(t, []events.Index{{Source: "a", Dest: "b"},
		{Source: "l-1", Dest: "o-1", Query: json.RawMessage(`{}`), Existing: "refuse"}, {Source: "l-2", Dest: "o-2", Query: json.RawMessage(`{}`), Existing: "refuse"}}, r.Indices())
	assert.Equal(t, "indices[1]", r.Entry(2))
	assert.NotEmpty(t, r.Spec.Indices[1].Include, "the spec stays")
}
