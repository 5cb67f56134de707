package demo

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/runtime"
	"eslink/localtest/world"
	"eslink/shared/api"
	"eslink/shared/flow"
	"eslink/shared/run"
)

func TestAReplayedEventMayLieAhead(t *testing.T) {
	t.Parallel()
	up := api.View{Scenario: flow.ESToES, Status: run.Running, Direction: run.Up, Step: "survey"}
	require.True(t, ahead(up, "plan"))
	require.False(t, ahead(up, "survey"))
	require.False(t, ahead(up, "preflight"))
	require.False(t, ahead(up, "no-step"))
	down := up
	down.Direction = run.Down
	require.True(t, ahead(down, "preflight"))
	require.False(t, ahead(down, "plan"))
	require.False(t, ahead(down, "no-step"))
}

// What a file holds says which function it is for, not what it is called.
func TestTheFunctionOfAFile(t *testing.T) {
	t.Parallel()
	const samples = "../../events/samples/"
	for pattern, want := range map[string]string{
		"nlb.json": "eslink-nlb", "azure-dns.json": "eslink-azure-dns", "created/*.json": "eslink-created",
		"requests/start*.json": "eslink-runs", "requests/teardown.json": "eslink-runs", "malformed/request-unknown-field.json": "eslink-runs",
		"malformed/event-*.json": "eslink-preflight", "malformed/request-not-json.json": "eslink-preflight",
	} {
		files, err := filepath.Glob(samples + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, name := range files {
			payload, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, want, functionFor(payload), name)
		}
	}
	require.Equal(t, "eslink-check", functionFor([]byte(`{"runId":"0123456789abcdef"}`)))
	require.Equal(t, "eslink-check", functionFor([]byte(`{"instanceId":"es-cn-1","endpointId":"ep-1"}`)))
	require.Equal(t, "eslink-approve", functionFor([]byte(`{"runId":"0123456789abcdef","planId":"x"}`)))
}

// Flags are held against what there is before anything is built.
func TestFlagsAreCheckedFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		return filepath.Join(dir, name)
	}
	for want, args := range map[string][]string{
		"-rate 0.0001":       {"-rate", "0.0001"},
		"-rate 601":          {"-rate", "601"},
		"-docs: ":            {"-docs", filepath.Join(dir, "none")},
		"it is empty":        {"-docs", write("empty", " \n")},
		"line 3 is not JSON": {"-docs", write("bad", `{"index":{}}`+"\n"+`{"a":1}`+"\n{\n")},
		"-har: ":             {"-har", filepath.Join(dir, "none", "x.har")},
		"-json: ":            {"-json", filepath.Join(dir, "none", "x.json")},
		"demo takes no":      {"more"},
	} {
		err := Demo(t.Context(), args)
		require.ErrorContains(t, err, want, "%v", args)
	}
}

// A file's documents need not match the demo's own query.
func TestADocsFileIsCopiedWhole(t *testing.T) {
	t.Parallel()
	local, err := world.New(world.Config{Clock: runtime.Clock{Epoch: time.Now(), Rate: fastest}, Root: "../.."})
	require.NoError(t, err)
	d := &world.Deployment{World: local}
	require.NotEmpty(t, (&options{scenario: flow.ESToES}).spec(d).Indices[0].Query)
	require.Empty(t, (&options{scenario: flow.ESToES, docs: "x"}).spec(d).Indices[0].Query)
	require.Empty(t, (&options{scenario: flow.ESToECS, useCases: world.Kinds, docs: "x"}).spec(d).Indices[0].Query)
}
