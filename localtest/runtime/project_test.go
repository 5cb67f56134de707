package runtime

import (
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func getenv(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

var deployed = map[string]string{
	"ESLINK_ACCOUNT_ID": "1234567890123456", "ESLINK_TABLE_INSTANCE": "eslink", "ESLINK_LOG_PROJECT": "eslink",
	"ESLINK_SOURCE_VPC": "vpc-src", "ESLINK_SOURCE_VSWITCH": "vsw-src", "ESLINK_SOURCE_SECURITY_GROUP": "sg-src",
	"ESLINK_DESTINATION_VPC": "vpc-dst", "ESLINK_DESTINATION_VSWITCH": "vsw-dst", "ESLINK_DESTINATION_SECURITY_GROUP": "sg-dst",
}

// commands are those of fc3 (its src/commands-help) and of s itself, which no resource may be named after.
var commands = []string{"alias", "build", "concurrency", "deploy", "info", "instance", "invoke", "layer", "list", "local", "logs", "model", "plan", "provision", "remove",
	"s2tos3", "scaling", "session", "sync", "version", "clean", "cli", "component", "config", "env", "init", "preview", "registry", "secret", "set", "verify"}

func TestTheShippedProject(t *testing.T) {
	t.Parallel()
	p, err := Load(getenv(deployed), "../../s.yaml")
	require.NoError(t, err)
	sides := map[string]string{}
	for _, f := range p.Functions {
		name := strings.TrimSuffix(f.Resource, "-step")
		assert.NotContains(t, commands, f.Resource, "s takes that for a command of fc3, and fails for all resources")
		assert.Equal(t, "eslink-"+name, f.Name)
		assert.Equal(t, "acs:ram::1234567890123456:role/eslink-"+name, f.Role, "each function has a role of its own")
		assert.Equal(t, "./functions/"+name, f.Package)
		assert.Equal(t, "target/"+name+"/main", f.Output)
		assert.Equal(t, 240, f.Timeout)
		assert.Equal(t, "https://eslink.cn-hangzhou.ots.aliyuncs.com", f.Environment["ESLINK_TABLESTORE"])
		assert.Equal(t, 5, len(strings.Split(f.Environment["ESLINK_MNS"], ".")), "the MNS SDK wants five parts")
		require.Len(t, f.Triggers, 1, "of two EventBridge triggers, fc3 leaves the second as it was")
		tr := f.Triggers[0]
		switch f.Resource {
		case "runs", "approve", "status", "check":
			require.NotNil(t, tr.HTTP)
			assert.Equal(t, "function", tr.HTTP.AuthType)
		case "sweep":
			require.NotNil(t, tr.Timer)
		case "created":
			bus := tr.EventBridge
			require.NotNil(t, bus)
			assert.Equal(t, "Default", bus.Source.Type)
			assert.Equal(t, decay, bus.Run.Retry.Strategy, "what cannot be taken yet comes again for a day")
			assert.Equal(t, "eslink-dead", bus.DeadLetterQueue())
		default:
			require.NotNil(t, tr.EventBridge)
			assert.Equal(t, f.Name, tr.EventBridge.Queue())
			assert.Equal(t, "eslink-dead", tr.EventBridge.DeadLetterQueue())
			assert.False(t, tr.EventBridge.base64(), "the MNS SDK does not encode bodies")
		}
		if f.VPCConfig != nil {
			sides[f.VPCConfig.VPCID] += name + " "
			assert.Equal(t, strings.Replace(f.VPCConfig.VPCID, "vpc", "vsw", 1), f.VPCConfig.VSwitchIDs[0])
		}
	}
	assert.Equal(t, map[string]string{
		"vpc-src": "survey nlb-backend digest ",
		"vpc-dst": "plan configure destination reindex progress verify check ",
	}, sides)
}

func TestMissingVariableIsNamed(t *testing.T) {
	t.Parallel()
	_, err := Load(getenv(nil), "../../s.yaml")
	assert.ErrorContains(t, err, "ESLINK_ACCOUNT_ID is not set")
}

const small = `
edition: 3.0.0
name: t
access: default
vars: {region: cn-hangzhou, answer: 42, deep: {who: world}, loop: '${vars.loop}'}
template:
  base:
    region: ${vars.region}
    runtime: go1
    handler: main
    memorySize: 256
    timeout: 3
    role: acs:ram::1:role/echo
    environmentVariables: {GREETING: 'hello ${vars.deep.who}', STAGE: "${env('STAGE', 'dev')}"}
resources:
  echo:
    component: fc3
    extend: {name: base}
    actions:
      pre-deploy:
        - run: GOOS=linux GOARCH=amd64 CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o target/echo/main ./localtest/runtime/testdata/functions/echo
    props:
      functionName: echo
      code: ./target/echo
      environmentVariables: {MORE: '1'}
      triggers:
        - {triggerName: http, triggerType: http, triggerConfig: {authType: function, methods: [POST]}}
`

func TestVariablesAndTemplates(t *testing.T) {
	t.Parallel()
	p, err := parse([]byte(strings.Replace(small, "memorySize: 256", "memorySize: ${vars.memory}", 1)), getenv(nil))
	assert.ErrorContains(t, err, "no such variable")
	require.Nil(t, p)
	p, err = parse([]byte(small), getenv(map[string]string{"STAGE": "prod"}))
	require.NoError(t, err)
	f, ok := p.Function("echo")
	require.True(t, ok)
	assert.Equal(t, map[string]string{"GREETING": "hello world", "STAGE": "prod", "MORE": "1"}, f.Environment, "maps are merged over the template")
	assert.Equal(t, "echo", f.RoleName())
}

func TestWhatIsNotRunIsRefused(t *testing.T) {
	t.Parallel()
	trigger := "{triggerName: http, triggerType: http, triggerConfig: {authType: function, methods: [POST]}}"
	stream := func(more string) string {
		return `{triggerName: q, triggerType: eventbridge, triggerConfig: {triggerEnable: true, asyncInvocationType: false, eventRuleFilterPattern: '{}',
          eventSourceConfig: {eventSourceType: MNS, eventSourceParameters: {sourceMNSParameters: {QueueName: q}}},
          runOptions: {mode: event-streaming, retryStrategy: {PushRetryStrategy: BACKOFF_RETRY}, ` + more + `}}}`
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"an unknown key, which the fc3 component would pass over": {"timeout: 3", "timeout: 3\n    tiemout: 3", "tiemout"},
		"an open trigger":                  {"authType: function", "authType: anonymous", "open trigger is refused"},
		"a misspelt trigger key":           {"methods: [POST]", "method: [POST]", "method"},
		"another runtime":                  {"go1", "custom", "only go1"},
		"memory off the grid":              {"256", "200", "memorySize"},
		"too much CPU for the memory":      {"memorySize: 256", "memorySize: 256\n    cpu: 0.3", "1 to 4 GB a core"},
		"too little CPU for the memory":    {"memorySize: 256", "memorySize: 2048\n    cpu: 0.25", "1 to 4 GB a core"},
		"CPU off the grid":                 {"memorySize: 256", "memorySize: 128\n    cpu: 0.11", "steps of 0.05"},
		"another disk":                     {"memorySize: 256", "memorySize: 256\n    diskSize: 1024", "512 or 10240"},
		"a misspelt type of trigger":       {"triggerType: http", "triggerType: tymer", "only http"},
		"a misspelt authType":              {"authType: function", "authType: nobody", "want function"},
		"a long description":               {"functionName: echo", "functionName: echo\n      description: " + strings.Repeat("x", 257), "at most 256"},
		"a long name":                      {"functionName: echo", "functionName: " + strings.Repeat("x", 129), "at most 128"},
		"a name with a blank":              {"triggerName: http", "triggerName: h ttp", "triggerName"},
		"a misspelt mode":                  {trigger, strings.Replace(stream("errorsTolerance: ALL, batchWindow: {CountBasedWindow: 1}"), "event-streaming", "event-stream", 1), "only event-streaming is run"},
		"a variable in a circle":           {"hello ${vars.deep.who}", "${vars.loop}", "circle"},
		"other functions of the grammar":   {"'hello ${vars.deep.who}'", `"${config('AccountID')}"`, "only ${vars"},
		"a reserved variable":              {"MORE: '1'", "FC_X: '1'", "not a name that FC allows"},
		"the seam":                         {"MORE: '1'", "ESLINK_DNS: '1'", "never deployed"},
		"other build flags":                {"-trimpath ", "", "is not"},
		"a binary that is not the handler": {"code: ./target/echo", "code: ./target/other", "do not name"},
		"another component":                {"component: fc3", "component: fc", "only fc3"},
		"another edition":                  {"edition: 3.0.0", "edition: 1.0.0", "only 3.0.0"},
		"cron":                             {trigger, "{triggerName: t, triggerType: timer, triggerConfig: {cronExpression: '0 0 8 * * *', enable: true}}", "only @every"},
		"a timer with repeats":             {trigger, "{triggerName: t, triggerType: timer, triggerConfig: {cronExpression: '@every 1m', enable: true}}", "maxAsyncRetryAttempts 0"},
		"a timer with repeats of its own":  {trigger, "{triggerName: t, triggerType: timer, triggerConfig: {cronExpression: '@every 1m', enable: true}}\n      asyncInvokeConfig: {maxAsyncRetryAttempts: 3}", "maxAsyncRetryAttempts 0"},
		"a batch":                          {trigger, stream("errorsTolerance: ALL, batchWindow: {CountBasedWindow: 2}"), "batchWindow"},
		"a stream that blocks":             {trigger, stream("errorsTolerance: NONE, batchWindow: {CountBasedWindow: 1}"), "errorsTolerance"},
		"a trigger of other kind":          {"triggerType: http", "triggerType: oss", "only http"},
		"jwt without keys":                 {"authType: function", "authType: jwt, authConfig: {jwks: {keys: []}, tokenLookup: 'header:Authorization:Bearer'}", "no keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(small, c.old, c.new, 1)
			require.NotEqual(t, small, text)
			_, err := parse([]byte(text), getenv(nil))
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestOneQueueHasOneConsumer(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../s.yaml")
	require.NoError(t, err)
	_, err = parse([]byte(strings.Replace(string(data), "QueueName: eslink-nlb,", "QueueName: eslink-survey,", 1)), getenv(deployed))
	assert.ErrorContains(t, err, "queue eslink-survey: claimed by survey and by nlb")
}

// TestBuildMakesTheDeployedBinary runs the pre-deploy action itself and compares.
func TestBuildMakesTheDeployedBinary(t *testing.T) {
	t.Parallel()
	p, err := parse([]byte(small), getenv(nil))
	require.NoError(t, err)
	binaries, err := p.Build(t.Context(), "../..", t.TempDir())
	require.NoError(t, err)
	ours, err := os.ReadFile(binaries["echo"])
	require.NoError(t, err)
	if goos, goarch := goruntime.GOOS, goruntime.GOARCH; goos != "linux" || goarch != "amd64" {
		assert.NotEmpty(t, ours)
		return
	}
	out := filepath.Join(t.TempDir(), "main")
	run := `GOOS=linux GOARCH=amd64 CGO_ENABLED=0 go build ` + buildFlags + ` -o ` + out + ` ` + p.Functions[0].Package
	cmd := exec.CommandContext(t.Context(), "sh", "-c", run)
	cmd.Dir = "../.."
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	theirs, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.True(t, string(ours) == string(theirs), "what runs here is not what is deployed")
}
