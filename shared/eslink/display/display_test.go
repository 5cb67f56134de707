package display

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/shared/api"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// view is a run at its second step, after so many moves of it.
func view(moves int) api.View {
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	v := api.View{Scenario: flow.ESToES, Status: run.Running, Direction: run.Up, Step: "survey", Timeline: []run.Entry{
		{At: start, Step: "preflight", What: "start"}, {At: start.Add(6 * time.Second), Step: "preflight", What: "done"}}}
	for range moves {
		v.Timeline = append(v.Timeline, run.Entry{At: start.Add(20 * time.Second), Step: "survey", What: "waiting", Reason: strings.Repeat("理财", 20)})
	}
	return v
}

func TestATerminalRedrawsWhatMoves(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := &Display{W: &out, Width: func() int { return 40 }, Now: func() time.Time { return time.Date(2026, 3, 2, 9, 0, 30, 0, time.UTC) }}
	d.Show(view(0))
	d.Show(view(1))
	d.Show(view(2))
	require.Equal(t, 1, strings.Count(out.String(), "✓ preflight"), "what is through is written once")
	drawings := strings.Split(out.String(), "\x1b[2A\x1b[J")
	require.Len(t, drawings, 3)
	require.Equal(t, "… survey                  24s  理财理…\n  14 of 15 steps to go\n", drawings[2])
	done := view(2)
	done.Status = run.Done
	d.End(done)
	require.True(t, strings.HasSuffix(out.String(), "\x1b[2A\x1b[J"))
}

func TestElsewhereEachMoveIsALine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := &Display{W: &out, Width: func() int { return 0 }}
	for moves := range 4 {
		d.Show(view(moves))
	}
	require.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
	require.NotContains(t, out.String(), "\x1b")
}
