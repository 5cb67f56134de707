package flow_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/bus"
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

// project is what of s.yaml matters here.
type project struct {
	Template  map[string]struct{ Timeout int }
	Resources map[string]struct {
		Extend struct{ Name string }
		Props  struct {
			FunctionName string `yaml:"functionName"`
			Timeout      int
			Code, Role   string
			Triggers     []struct {
				Type   string `yaml:"triggerType"`
				Config struct {
					Source struct {
						Parameters struct {
							MNS struct {
								QueueName      string `yaml:"QueueName"`
								IsBase64Decode *bool  `yaml:"IsBase64Decode"`
							} `yaml:"sourceMNSParameters"`
						} `yaml:"eventSourceParameters"`
					} `yaml:"eventSourceConfig"`
				} `yaml:"triggerConfig"`
			}
		}
	}
}

func load(t *testing.T) (p project) {
	raw, err := os.ReadFile(root + "s.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(raw, &p))
	return p
}

// The flow, functions/, s.yaml, the queues and the samples name the same steps.
func TestNamesAgree(t *testing.T) {
	t.Parallel()
	want := steps(t)
	others := []string{"approve", "check", "created", "runs", "status", "sweep"}
	all := slices.Sorted(slices.Values(slices.Concat(want, others)))

	var schema struct {
		Properties struct {
			Scenario struct{ Enum []string }
		}
	}
	raw, err := os.ReadFile(root + "events/schema/spec.schema.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &schema))
	assert.ElementsMatch(t, flow.Scenarios(), schema.Properties.Scenario.Enum, "the schema's scenarios")

	dirs, err := filepath.Glob(root + "functions/*/main.go")
	require.NoError(t, err)
	var functions []string
	for _, d := range dirs {
		functions = append(functions, filepath.Base(filepath.Dir(d)))
	}
	assert.Equal(t, all, slices.Sorted(slices.Values(functions)), "functions/")

	files, err := filepath.Glob(root + "events/samples/*.json")
	require.NoError(t, err)
	var samples []string
	for _, f := range files {
		samples = append(samples, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	assert.Equal(t, want, slices.Sorted(slices.Values(samples)), "events/samples")

	var resources, queues []string
	for name, r := range load(t).Resources {
		resources = append(resources, name)
		assert.Equal(t, "eslink-"+name, r.Props.FunctionName)
		assert.Equal(t, "./target/"+name, r.Props.Code)
		assert.True(t, strings.HasSuffix(r.Props.Role, "role/eslink-"+name), r.Props.Role)
		for _, trigger := range r.Props.Triggers {
			if queue := trigger.Config.Source.Parameters.MNS; queue.QueueName != "" {
				assert.Equal(t, bus.Queue(name), queue.QueueName)
				if assert.NotNil(t, queue.IsBase64Decode, name) {
					assert.False(t, *queue.IsBase64Decode, name)
				}
				queues = append(queues, name)
			}
		}
	}
	assert.Equal(t, all, slices.Sorted(slices.Values(resources)), "s.yaml")
	assert.Equal(t, want, slices.Sorted(slices.Values(queues)), "the queues of s.yaml")

	for _, step := range want {
		main, err := os.ReadFile(root + "functions/" + step + "/main.go")
		require.NoError(t, err)
		pkg := strings.ReplaceAll(step, "-", "")
		assert.Contains(t, string(main), `wire.Step("`+step+`", `+pkg+`.New)`)
		assert.Contains(t, string(main), `"eslink/shared/steps/`+pkg+`"`)
	}
}

// A step works up to 200 s, its function is killed after 240, the platform cuts
// the call at 300, and only then may its lease or its message be another's: see
// DESIGN's account of event streams, which hold a message over four attempts.
func TestTimesNest(t *testing.T) {
	t.Parallel()
	p := load(t)
	var queues struct {
		Defaults map[string]int
		Queues   map[string]map[string]int
	}
	raw, err := os.ReadFile(root + ".deploy/queues.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &queues))
	const work, cut = 200, 300
	for _, step := range steps(t) {
		r := p.Resources[step]
		timeout := r.Props.Timeout
		if timeout == 0 {
			timeout = p.Template[r.Extend.Name].Timeout
		}
		assert.GreaterOrEqual(t, timeout, work+20, "%s: time to save", step)
		assert.Less(t, timeout, cut, step)
		assert.Greater(t, int(run.DefaultLease.Seconds()), timeout, "%s: nobody takes a run from an invocation that lives", step)
		own, ok := queues.Queues[bus.Queue(step)]
		require.True(t, ok, step)
		visible := queues.Defaults["VisibilityTimeout"]
		if v, ok := own["VisibilityTimeout"]; ok {
			visible = v
		}
		assert.Greater(t, visible, 4*timeout+60, step)
		retention := queues.Defaults["MessageRetentionPeriod"]
		assert.Greater(t, time.Duration(retention)*time.Second, 24*bus.MaxDelay, "%s: a message outlives its delay", step)
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
