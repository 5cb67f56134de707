package flow_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/bus"
	"eslink/shared/deploy"
	"eslink/shared/flow"
	"eslink/shared/run"
)

func TestTheFlowOfESToES(t *testing.T) {
	t.Parallel()
	f, ok := flow.Of(flow.ESToES)
	require.True(t, ok)
	assert.Equal(t, []string{"preflight", "survey", "plan", "nlb", "ip-whitelist", "nlb-backend", "endpoint-service", "private-connection", "accept",
		"configure", "destination", "reindex", "progress", "digest", "verify"}, names(f))
	var down []string
	for at := f.Last(); at != ""; at = f.Before(at) {
		down = append(down, at)
	}
	assert.Equal(t, []string{"verify", "reindex", "destination", "configure", "accept", "private-connection", "endpoint-service", "nlb-backend", "ip-whitelist", "nlb"}, down)
	var again []string
	for at := f.First(); at != ""; at = f.After(at) {
		again = append(again, at)
	}
	assert.Equal(t, names(f), again)
	for _, s := range f.Steps {
		assert.GreaterOrEqual(t, s.Within, 20*time.Minute, s.Name)
		assert.LessOrEqual(t, s.Within, 7*24*time.Hour, s.Name)
	}
	ecs, ok := flow.Of(flow.ESToECS)
	require.True(t, ok)
	instead := map[string]string{"nlb": "clb", "ip-whitelist": "firewall", "nlb-backend": "clb-backend"}
	require.Len(t, ecs.Steps, len(f.Steps))
	for i, s := range f.Steps {
		if name, ok := instead[s.Name]; ok {
			assert.Equal(t, name, ecs.Steps[i].Name)
			assert.True(t, ecs.Steps[i].Undo)
			continue
		}
		assert.Equal(t, s, ecs.Steps[i], "a step that both scenarios have is the same")
	}
	_, ok = f.Step("no-such-step")
	assert.False(t, ok)
	assert.Empty(t, f.After("no-such-step"))
	_, ok = flow.Of("no-such-scenario")
	assert.False(t, ok)
}

func TestTheFlowOfPrivateWhitelist(t *testing.T) {
	t.Parallel()
	f, ok := flow.Of(flow.PrivateWhitelist)
	require.True(t, ok)
	assert.Equal(t, []string{"private-whitelist"}, names(f))
	assert.Equal(t, f.First(), f.Last())
	assert.Empty(t, f.After(f.First()))
	assert.Empty(t, f.Before(f.Last()))
}

func names(f flow.Flow) (out []string) {
	for _, s := range f.Steps {
		out = append(out, s.Name)
	}
	return out
}

// steps are the names that all scenarios use, sorted.
func steps(t *testing.T) []string {
	var out []string
	for _, scenario := range flow.Scenarios() {
		f, ok := flow.Of(scenario)
		require.True(t, ok)
		out = append(out, names(f)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

const root = "../../"

// The flow, the table of functions, the schema and the samples name the same.
// What is rendered from the table agrees with it by a test beside it.
func TestNamesAgree(t *testing.T) {
	t.Parallel()
	want := steps(t)
	var schema struct {
		Properties struct {
			Scenario struct{ Enum []string }
		}
	}
	raw, err := os.ReadFile(root + "events/schema/spec.schema.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &schema))
	assert.ElementsMatch(t, flow.Scenarios(), schema.Properties.Scenario.Enum, "the schema's scenarios")

	files, err := filepath.Glob(root + "events/samples/*.json")
	require.NoError(t, err)
	var samples []string
	for _, f := range files {
		samples = append(samples, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	assert.Equal(t, want, slices.Sorted(slices.Values(samples)), "events/samples")

	var deployed []string
	for _, f := range deploy.Functions() {
		if f.Step() {
			assert.Equal(t, bus.Queue(f.Name), f.Deployed(), "what a step publishes to is what its stream reads")
			deployed = append(deployed, f.Name)
		}
	}
	assert.Equal(t, want, slices.Sorted(slices.Values(deployed)), "shared/deploy/functions.go")
}

// A step works up to 200 s, its function is killed after 240, the platform cuts
// the call at 300, and only then may its lease or its message be another's: see
// DESIGN's account of event streams, which hold a message over four attempts.
func TestTimesNest(t *testing.T) {
	t.Parallel()
	const work, cut = 200, 300
	assert.GreaterOrEqual(t, deploy.Timeout, work+20, "time to save")
	assert.Less(t, deploy.Timeout, cut)
	assert.Greater(t, int(run.DefaultLease.Seconds()), deploy.Timeout, "nobody takes a run from an invocation that lives")
	resources, err := deploy.Read(deploy.Target{})
	require.NoError(t, err)
	for _, step := range steps(t) {
		q, ok := resources.Queues[bus.Queue(step)]
		require.True(t, ok, step)
		assert.Greater(t, int(q.VisibilityTimeout), 4*deploy.Timeout+60, step)
		assert.Greater(t, time.Duration(q.MessageRetentionPeriod)*time.Second, 24*bus.MaxDelay, "%s: a message outlives its delay", step)
	}
}

func TestPicturesNameTheFlowsOwnSteps(t *testing.T) {
	t.Parallel()
	for _, name := range flow.Scenarios() {
		f, _ := flow.Of(name)
		for _, part := range f.Picture {
			require.NotEmpty(t, part.Steps, "%s: %s", name, part.Name)
			for _, step := range part.Steps {
				s, ok := f.Step(step)
				require.True(t, ok && s.Undo, "%s: %s is made by %s", name, part.Name, step)
			}
		}
	}
}
