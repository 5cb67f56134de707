package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/eslink/specs"
	"eslink/shared/flow"
)

// deployment answers calls from a script, and keeps what it was sent.
type deployment struct {
	t       *testing.T
	replies map[string][]string // by function, in order; the last one stays
	sent    []string            // "function payload"
}

func (d *deployment) Invoke(_ context.Context, function string, payload, into any) error {
	raw, err := json.Marshal(payload)
	require.NoError(d.t, err)
	d.sent = append(d.sent, function+" "+string(raw))
	replies := d.replies[function]
	require.NotEmpty(d.t, replies, "nothing answers %s", function)
	if len(replies) > 1 {
		d.replies[function] = replies[1:]
	}
	var p events.Problem
	if json.Unmarshal([]byte(replies[0]), &p) == nil && p.Type != "" {
		return &p
	}
	return json.Unmarshal([]byte(replies[0]), into)
}

// call runs a command line against a deployment.
func call(t *testing.T, d *deployment, stdin string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	s := &session{in: strings.NewReader(stdin), out: &o, err: &e, getenv: func(string) string { return "" }}
	s.connect = func() (functionCaller, error) { return d, nil }
	code = s.run(t.Context(), args)
	return o.String(), e.String(), code
}

const runs = `{"runs": [{"runId": "0a", "name": "orders", "status": "removed"}, {"runId": "0b", "name": "orders", "status": "running", "step": "nlb"},
	{"runId": "0c", "name": "logs", "status": "done"}, {"runId": "0d", "name": "logs", "status": "failed"}]}`

func TestEveryScenarioHasASpecThatIsValid(t *testing.T) {
	t.Parallel()
	for _, scenario := range flow.Scenarios() {
		require.Contains(t, specs.Scenarios(), scenario)
	}
	for _, scenario := range specs.Scenarios() {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, errs, code := call(t, nil, "", "init", scenario, "--dir", dir)
			require.Zero(t, code, errs)
			file := filepath.Join(dir, scenario+".yaml")
			out, errs, code := call(t, nil, "", "validate", "-f", file)
			require.Zero(t, code, errs)
			require.Contains(t, out, "is a valid spec")

			text, err := os.ReadFile(file)
			require.NoError(t, err)
			first, _, _ := strings.Cut(string(text), "\n")
			_, schema, found := strings.Cut(first, "$schema=")
			require.True(t, found, first)
			require.FileExists(t, filepath.Join(dir, schema), "the schema that the first line names")
		})
	}
}

func TestInitKeepsWhatExists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{".env", "es-to-es.yaml"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600))
	}
	out, _, code := call(t, nil, "", "init", "es-to-es", "--dir", dir)
	require.Zero(t, code)
	require.Contains(t, out, "kept")
	_, _, code = call(t, nil, "", "init", "es-to-es", "--dir", dir, "--force")
	require.Zero(t, code)
	env, err := os.ReadFile(filepath.Join(dir, ".env"))
	require.NoError(t, err)
	require.Equal(t, "mine", string(env), "keys are never replaced")
	spec, err := os.ReadFile(filepath.Join(dir, "es-to-es.yaml"))
	require.NoError(t, err)
	require.NotEqual(t, "mine", string(spec))
}

func TestASpecThatIsWrongNamesFieldAndRemedyAndCallsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ spec, says string }{
		"a field unknown": {"name: orders\nscenario: es-to-es\nregion: cn-hangzhou\nport: 1\n", "spec.port: there is no such field"},
		"no YAML":         {"name: [orders\n", "neither JSON nor YAML"},
		"empty":           {" \n", "is empty"},
		"a number's type": {"name: 7\n", "spec.name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &deployment{t: t}
			_, errs, code := call(t, d, c.spec, "start", "-f", "-")
			require.Equal(t, ExitError, code)
			require.Contains(t, errs, c.says)
			require.Empty(t, d.sent)
		})
	}
}

func TestAWordThatIsMissingIsUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"start"}, {"watch"}, {"throttle", "0b"}, {"check"}, {"init"}, {"init", "nothing"}, {"status", "-o", "xml"}, {"status", "--no-such-flag"}} {
		_, errs, code := call(t, &deployment{t: t}, "", args...)
		require.Equal(t, ExitUsage, code, "%v: %s", args, errs)
		require.NotEmpty(t, errs)
	}
	s := &session{getenv: func(string) string { return "" }, err: &bytes.Buffer{}, out: &bytes.Buffer{}}
	s.connect = s.deployment
	require.Equal(t, ExitUsage, s.run(t.Context(), []string{"status"}), "neither an account nor --local")
}

func TestNamesStandForRuns(t *testing.T) {
	t.Parallel()
	reply := `{"runId": "0b", "generation": 1, "status": "cancelled", "step": "nlb"}`
	d := &deployment{t: t, replies: map[string][]string{"status": {runs}, "runs": {reply}}}
	_, errs, code := call(t, d, "", "cancel", "orders")
	require.Zero(t, code, errs)
	require.Equal(t, `runs {"action":"cancel","runId":"0b"}`, d.sent[len(d.sent)-1], "the one that is not removed")
	_, errs, code = call(t, d, "", "cancel", "orders", "--keep-copying")
	require.Zero(t, code, errs)
	require.Equal(t, `runs {"action":"cancel","keepCopying":true,"runId":"0b"}`, d.sent[len(d.sent)-1])

	d = &deployment{t: t, replies: map[string][]string{"status": {runs}}}
	_, errs, code = call(t, d, "", "cancel", "logs")
	require.Equal(t, ExitError, code)
	require.Contains(t, errs, "0c, 0d")
	_, errs, code = call(t, d, "", "cancel", "none")
	require.Equal(t, ExitError, code)
	require.Contains(t, errs, "eslink status lists all")
	require.Len(t, d.sent, 2, "nothing was changed")
}

func TestApproveSendsThePlanThatWasShown(t *testing.T) {
	t.Parallel()
	waits := `{"runId": "0b", "name": "orders", "status": "waiting-approval", "step": "plan", "plan": {"planId": "p1", "cost": {"currency": "CNY", "perMonth": 156}}}`
	world := func() *deployment {
		return &deployment{t: t, replies: map[string][]string{"status": {runs, waits}, "approve": {`{"runId": "0b", "status": "running", "step": "plan"}`}}}
	}
	for name, c := range map[string]struct {
		answer string
		args   []string
		sends  bool
	}{
		"yes": {"yes\n", nil, true}, "no": {"no\n", nil, false}, "nothing": {"", nil, false}, "y is not yes": {"y\n", nil, false},
		"without a question": {"", []string{"--yes"}, true}, "that plan": {"", []string{"--plan", "p1"}, true}, "another plan": {"yes\n", []string{"--plan", "p2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := world()
			out, errs, code := call(t, d, c.answer, append([]string{"approve", "0b"}, c.args...)...)
			last := d.sent[len(d.sent)-1]
			if !c.sends {
				require.Equal(t, ExitError, code)
				require.False(t, strings.Contains(last, "approve"), last)
				return
			}
			require.Zero(t, code, errs)
			require.Equal(t, `approve {"runId":"0b","planId":"p1"}`, last)
			if len(c.args) == 0 {
				require.Contains(t, out, "CNY 156.00 a month")
			}
		})
	}
}

func TestExitCodesTellHowARunEnded(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]int{"done": ExitDone, "removed": ExitDone, "planned": ExitDone, "done-with-differences": ExitDifferences,
		"waiting-approval": ExitWaiting, "failed": ExitFailed, "expired": ExitFailed} {
		view := `{"runId": "0b", "name": "orders", "status": "` + status + `", "step": "plan"}`
		d := &deployment{t: t, replies: map[string][]string{"status": {runs, view}}}
		_, errs, code := call(t, d, "", "watch", "orders")
		require.Equal(t, want, code, "%s: %s", status, errs)
	}
	d := &deployment{t: t, replies: map[string][]string{"status": {runs}, "check": {`{"ok": false, "checks": [{"name": "link", "detail": "gone", "remedy": "start with again"}]}`}}}
	out, _, code := call(t, d, "", "check", "orders")
	require.Equal(t, ExitFailed, code)
	require.Contains(t, out, "start with again")
}

func TestOutputKeepsTheNamesOfTheWire(t *testing.T) {
	t.Parallel()
	d := &deployment{t: t, replies: map[string][]string{"status": {runs}}}
	out, _, code := call(t, d, "", "status", "-o", "json")
	require.Zero(t, code)
	require.Contains(t, out, `"runId": "0b"`)
	out, _, code = call(t, d, "", "status", "-o", "yaml")
	require.Zero(t, code)
	require.Contains(t, out, "runId: 0b")
	out, _, _ = call(t, d, "", "status")
	require.Contains(t, out, "RUN")
	require.Contains(t, out, "orders")
}

func TestAProblemIsToldWithFieldAndRemedy(t *testing.T) {
	t.Parallel()
	d := &deployment{t: t, replies: map[string][]string{"status": {runs}, "runs": {
		`{"type": "urn:eslink:problem:wrong-state", "title": "the run is done", "status": 409, "errors": [{"field": "action", "message": "retry does not fit", "remedy": "start it with again"}]}`}}}
	_, errs, code := call(t, d, "", "retry", "orders")
	require.Equal(t, ExitError, code)
	for _, part := range []string{"the run is done", "action: retry does not fit", "what to do: start it with again"} {
		require.Contains(t, errs, part)
	}
}
