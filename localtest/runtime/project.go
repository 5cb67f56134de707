// Package runtime is Function Compute 3.0 on a laptop: it reads s.yaml, builds the functions with the command that
// s.yaml deploys them with, runs the unmodified binaries against the runtime API of fc-runtime-go-sdk v0.3.1, and
// wakes them by the triggers that s.yaml declares. What s.yaml says and this package does not do is an error.
//
// Not modelled: memory and CPU limits, initializer and pre-stop hooks, layers, versions other than LATEST.
package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Project is an s.yaml of Serverless Devs edition 3.0.0 with its variables, templates and environment resolved.
type Project struct {
	Name, Access string
	Functions    []Function // in file order
}

// Function is one fc3 resource. Names and units are those of the fc3 component's schema.
type Function struct {
	Resource string `yaml:"-"` // its key in s.yaml
	Package  string `yaml:"-"` // what its pre-deploy action builds, such as ./functions/survey
	Output   string `yaml:"-"` // where to, from the file's directory, such as target/survey/main

	Region            string            `yaml:"region"`
	Name              string            `yaml:"functionName"`
	Description       string            `yaml:"description"`
	Runtime           string            `yaml:"runtime"`
	Handler           string            `yaml:"handler"`
	Code              string            `yaml:"code"`
	CPU               float64           `yaml:"cpu"`
	MemorySize        int               `yaml:"memorySize"` // MB
	DiskSize          int               `yaml:"diskSize"`   // MB
	Timeout           int               `yaml:"timeout"`    // seconds
	Environment       map[string]string `yaml:"environmentVariables"`
	Role              string            `yaml:"role"` // full ARN
	InternetAccess    *bool             `yaml:"internetAccess"`
	VPCConfig         *VPCConfig        `yaml:"vpcConfig"`
	LogConfig         LogConfig         `yaml:"logConfig"`
	AsyncInvokeConfig *AsyncConfig      `yaml:"asyncInvokeConfig"`
	Triggers          []Trigger         `yaml:"triggers"`
}

// RoleName is the name in the role's ARN.
func (f Function) RoleName() string { return path.Base(f.Role) }

// VPCConfig is where a function's private connections leave from; nil means no VPC.
type VPCConfig struct {
	VPCID           string   `yaml:"vpcId"`
	VSwitchIDs      []string `yaml:"vSwitchIds"`
	SecurityGroupID string   `yaml:"securityGroupId"`
}

// LogConfig names the log store that a function's output goes to.
type LogConfig struct {
	Project               string `yaml:"project"`
	Logstore              string `yaml:"logstore"`
	EnableRequestMetrics  bool   `yaml:"enableRequestMetrics"`
	EnableInstanceMetrics bool   `yaml:"enableInstanceMetrics"`
	LogBeginRule          string `yaml:"logBeginRule"`
}

// AsyncConfig is read for MaxAsyncRetryAttempts: how often a timer's failed invocation is repeated (nil: three times).
type AsyncConfig struct {
	Qualifier                 string `yaml:"qualifier"`
	MaxAsyncEventAgeInSeconds int    `yaml:"maxAsyncEventAgeInSeconds"`
	MaxAsyncRetryAttempts     *int   `yaml:"maxAsyncRetryAttempts"`
}

// Trigger is one trigger; exactly one of HTTP, Timer and EventBridge is set, as Type says.
type Trigger struct {
	Name           string         `yaml:"triggerName"`
	Type           string         `yaml:"triggerType"`
	Description    string         `yaml:"description"`
	Qualifier      string         `yaml:"qualifier"`
	InvocationRole *string        `yaml:"invocationRole"`
	Config         map[string]any `yaml:"triggerConfig"`

	HTTP        *HTTPTrigger        `yaml:"-"`
	Timer       *TimerTrigger       `yaml:"-"`
	EventBridge *EventBridgeTrigger `yaml:"-"`
}

// Load reads deployment files as one project. getenv answers ${env('NAME')}, usually os.LookupEnv.
// Of the grammar it knows edition, name, access, validation, vars, template, resources with component fc3, extend,
// pre-deploy actions that build with go, ${vars.…} and ${env('NAME', 'default')}; the rest is refused by name.
func Load(getenv func(string) (string, bool), files ...string) (*Project, error) {
	all := &Project{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p, err := parse(data, getenv)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all.Name, all.Access, all.Functions = p.Name, p.Access, append(all.Functions, p.Functions...)
	}
	return all, all.check()
}

func parse(data []byte, getenv func(string) (string, bool)) (*Project, error) {
	var doc struct {
		Edition    string                    `yaml:"edition"`
		Name       string                    `yaml:"name"`
		Access     string                    `yaml:"access"`
		Validation bool                      `yaml:"validation"`
		Vars       map[string]any            `yaml:"vars"`
		Template   map[string]map[string]any `yaml:"template"`
		Resources  yaml.MapSlice             `yaml:"resources"`
	}
	if err := yaml.UnmarshalWithOptions(data, &doc, yaml.Strict()); err != nil {
		return nil, err
	}
	if doc.Edition != "3.0.0" {
		return nil, fmt.Errorf("edition %q: only 3.0.0 is read", doc.Edition)
	}
	r := resolver{vars: doc.Vars, getenv: getenv}
	p := &Project{Name: doc.Name, Access: doc.Access}
	for _, item := range doc.Resources {
		f, err := r.function(item, doc.Template)
		if err != nil {
			return nil, fmt.Errorf("resource %v: %w", item.Key, err)
		}
		p.Functions = append(p.Functions, f)
	}
	return p, p.check()
}

type resolver struct {
	vars   map[string]any
	getenv func(string) (string, bool)
}

var build = regexp.MustCompile(`^GOOS=linux GOARCH=amd64 CGO_ENABLED=0 go build ` + regexp.QuoteMeta(buildFlags) + ` -o (target/\S+) (\./\S+)$`)

func (r resolver) function(item yaml.MapItem, templates map[string]map[string]any) (f Function, err error) {
	var res struct {
		Component string `yaml:"component"`
		Extend    struct {
			Name string `yaml:"name"`
		} `yaml:"extend"`
		Actions map[string][]struct {
			Run  string `yaml:"run"`
			Path string `yaml:"path"` // where to run it, from the file's directory
		} `yaml:"actions"`
		Props map[string]any `yaml:"props"`
	}
	if err := recode(item.Value, &res); err != nil {
		return f, err
	}
	if res.Component != "fc3" {
		return f, fmt.Errorf("component %q: only fc3 is run", res.Component)
	}
	props := res.Props
	if name := res.Extend.Name; name != "" {
		template, ok := templates[name]
		if !ok {
			return f, fmt.Errorf("extend: no template %q", name)
		}
		props = merge(template, props)
	}
	resolved, err := r.value(props, 0)
	if err != nil {
		return f, err
	}
	if err := recode(resolved, &f); err != nil {
		return f, err
	}
	f.Resource = fmt.Sprint(item.Key)
	action := res.Actions["pre-deploy"]
	if len(res.Actions) != 1 || len(action) != 1 {
		return f, errors.New("actions: want one pre-deploy action that builds the function")
	}
	m := build.FindStringSubmatch(action[0].Run)
	if m == nil {
		return f, fmt.Errorf("actions: %q is not %s", action[0].Run, build)
	}
	f.Output, f.Package = path.Join(action[0].Path, m[1]), m[2]
	for i := range f.Triggers {
		if err := f.Triggers[i].decode(); err != nil {
			return f, fmt.Errorf("trigger %s: %w", f.Triggers[i].Name, err)
		}
	}
	return f, f.check()
}

// recode moves a generic value into a struct and refuses keys that the struct does not have.
func recode(from, to any) error {
	text, err := yaml.Marshal(from)
	if err != nil {
		return err
	}
	return yaml.UnmarshalWithOptions(text, to, yaml.Strict())
}

// merge lays b over a: maps are merged, all else is replaced, as Serverless Devs does with a template.
func merge(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	for k, v := range b {
		if x, ok := out[k].(map[string]any); ok {
			if y, ok := v.(map[string]any); ok {
				v = merge(x, y)
			}
		}
		out[k] = v
	}
	return out
}

var (
	reference = regexp.MustCompile(`\$\{([^}]*)\}`)
	envCall   = regexp.MustCompile(`^env\('(\w+)'(?:,\s*'([^']*)')?\)$`)
	varPath   = regexp.MustCompile(`^vars((?:\.\w+)+)$`)
)

func (r resolver) value(v any, depth int) (any, error) {
	if depth > 20 {
		return nil, fmt.Errorf("%v: variables refer to each other in a circle", v)
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		var errs []error // all of them: whoever fills in .env wants to know at once
		for _, k := range slices.Sorted(maps.Keys(v)) {
			y, err := r.value(v[k], depth)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", k, err))
			}
			out[k] = y
		}
		return out, errors.Join(errs...)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			y, err := r.value(x, depth)
			if err != nil {
				return nil, err
			}
			out[i] = y
		}
		return out, nil
	case string:
		found := reference.FindAllStringSubmatchIndex(v, -1)
		if len(found) == 1 && found[0][0] == 0 && found[0][1] == len(v) { // the whole value: keeps its type
			return r.lookup(v[found[0][2]:found[0][3]], depth)
		}
		var out strings.Builder
		end := 0
		for _, m := range found {
			x, err := r.lookup(v[m[2]:m[3]], depth)
			if err != nil {
				return nil, err
			}
			switch x.(type) {
			case map[string]any, []any, nil:
				return nil, fmt.Errorf("%q: %s is not a scalar", v, v[m[0]:m[1]])
			}
			fmt.Fprint(&out, v[end:m[0]], x)
			end = m[1]
		}
		return out.String() + v[end:], nil
	}
	return v, nil
}

func (r resolver) lookup(expr string, depth int) (any, error) {
	expr = strings.TrimSpace(expr)
	if m := envCall.FindStringSubmatchIndex(expr); m != nil {
		name := expr[m[2]:m[3]]
		if v, ok := r.getenv(name); ok {
			return v, nil
		}
		if m[4] < 0 {
			return nil, fmt.Errorf("${%s}: %s is not set and has no default", expr, name)
		}
		return expr[m[4]:m[5]], nil
	}
	m := varPath.FindStringSubmatch(expr)
	if m == nil {
		return nil, fmt.Errorf("${%s}: only ${vars.…} and ${env('NAME', 'default')} are read", expr)
	}
	var v any = r.vars
	for _, key := range strings.Split(m[1][1:], ".") {
		values, _ := v.(map[string]any) // of anything else, nil: it has no key
		var ok bool
		if v, ok = values[key]; !ok {
			return nil, fmt.Errorf("${%s}: no such variable", expr)
		}
	}
	return r.value(v, depth+1)
}

var (
	functionName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_-]{0,127}$`)
	triggerName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_-]{0,127}$`)
)

// size says what FC refuses of memory and CPU, and fc3 does not check: a core has 1 to 4 GB, and is dealt out in
// twentieths (FC's page on instance types; 0.3 cores with 256 MB were refused in a rehearsal).
func (f Function) size() error {
	twentieths := f.CPU * 20
	ratio := float64(f.MemorySize) / 1024 / f.CPU
	switch {
	case f.CPU == 0: // the platform's choice
	case f.CPU < 0.05 || f.CPU > 16 || math.Abs(twentieths-math.Round(twentieths)) > 1e-9:
		return fmt.Errorf("cpu %g: 0.05 to 16 cores in steps of 0.05", f.CPU)
	case ratio < 1 || ratio > 4:
		return fmt.Errorf("cpu %g with memorySize %d: 1 to 4 GB a core", f.CPU, f.MemorySize)
	}
	return nil
}

// names says what FC refuses of names, descriptions and the disk.
func (f Function) names() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !functionName.MatchString(f.Name) {
		bad("functionName %q: letters, digits, _ and -, at most 128, no digit first", f.Name)
	}
	if len([]rune(f.Description)) > 256 {
		bad("description of %d characters: at most 256", len([]rune(f.Description)))
	}
	if f.DiskSize != 0 && f.DiskSize != 512 && f.DiskSize != 10240 {
		bad("diskSize %d: 512 or 10240 MB", f.DiskSize)
	}
	for _, t := range f.Triggers {
		if !triggerName.MatchString(t.Name) {
			bad("triggerName %q: letters, digits, _ and -, at most 128, no digit first", t.Name)
		}
		if len([]rune(t.Description)) > 256 {
			bad("trigger %s: description of %d characters: at most 256", t.Name, len([]rune(t.Description)))
		}
	}
	return errs
}

var envName = regexp.MustCompile(`^[A-Za-z]\w*$`)

// check holds the limits of fc.md's sources: FC's page on environment variables, fc3's schema.json.
func (f Function) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.Runtime != "go1" {
		bad("runtime %q: only go1 is run", f.Runtime)
	}
	if f.Name == "" || f.Region == "" || f.Role == "" {
		bad("functionName, region and role are needed")
	}
	if f.Timeout < 1 || f.Timeout > 86400 {
		bad("timeout %d: 1 to 86400 s", f.Timeout)
	}
	if f.MemorySize < 128 || f.MemorySize > 32768 || f.MemorySize%64 != 0 {
		bad("memorySize %d: 128 to 32768 MB in steps of 64", f.MemorySize)
	}
	if err := f.size(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, f.names()...)
	if path.Join(f.Code, f.Handler) != f.Output {
		bad("code %s and handler %s do not name what the action builds, %s", f.Code, f.Handler, f.Output)
	}
	size := 0
	for k, v := range f.Environment {
		size += len(k) + len(v)
		if !envName.MatchString(k) || strings.HasPrefix(k, "FC_") {
			bad("environment variable %s: not a name that FC allows", k)
		}
		if strings.HasPrefix(k, "ESLINK_ENDPOINT_") || slices.Contains([]string{"ESLINK_DNS", "ESLINK_ROUTER", "ESLINK_CLOCK"}, k) {
			bad("environment variable %s: set by localtest alone, never deployed", k)
		}
	}
	if size > 4096 {
		bad("environment of %d bytes: at most 4096", size)
	}
	return errors.Join(errs...)
}

// check holds what concerns several functions.
func (p *Project) check() error {
	names, queues, packages := map[string]string{}, map[string]string{}, map[string]string{}
	claim := func(seen map[string]string, what, key, by string) error {
		if other, ok := seen[key]; ok {
			return fmt.Errorf("%s %s: claimed by %s and by %s", what, key, other, by)
		}
		seen[key] = by
		return nil
	}
	var errs []error
	for _, f := range p.Functions {
		errs = append(errs, claim(names, "function", f.Name, f.Resource), claim(packages, "binary", path.Base(f.Package), f.Resource))
		for _, t := range f.Triggers {
			if a := f.AsyncInvokeConfig; t.Timer != nil && (a == nil || a.MaxAsyncRetryAttempts == nil || *a.MaxAsyncRetryAttempts != 0) {
				errs = append(errs, fmt.Errorf("function %s: a timer needs asyncInvokeConfig.maxAsyncRetryAttempts 0; repeats are not run here", f.Name))
			}
			if t.EventBridge != nil && t.EventBridge.Queue() != "" {
				// One queue belongs to one event stream; a second consumer would take its messages.
				errs = append(errs, claim(queues, "queue", t.EventBridge.Queue(), f.Resource))
			}
		}
	}
	return errors.Join(errs...)
}

// Function finds a function by its deployed name.
func (p *Project) Function(name string) (Function, bool) {
	i := slices.IndexFunc(p.Functions, func(f Function) bool { return f.Name == name })
	if i < 0 {
		return Function{}, false
	}
	return p.Functions[i], true
}

func (t *Trigger) decode() error {
	var into any
	switch t.Type {
	case "http":
		t.HTTP = &HTTPTrigger{}
		into = t.HTTP
	case "timer":
		t.Timer = &TimerTrigger{}
		into = t.Timer
	case "eventbridge":
		t.EventBridge = &EventBridgeTrigger{}
		into = t.EventBridge
	default:
		return fmt.Errorf("triggerType %q: only http, timer and eventbridge are run", t.Type)
	}
	if t.Qualifier != "" && t.Qualifier != "LATEST" {
		return fmt.Errorf("qualifier %q: only LATEST is run", t.Qualifier)
	}
	if err := recode(t.Config, into); err != nil {
		return err
	}
	return into.(interface{ check() error }).check()
}

// Same compares the project with what `s preview -o json` prints of the same file, and says where they differ.
func (p *Project) Same(preview []byte) error {
	_, preview, _ = bytes.Cut(preview, []byte("{")) // warnings come first
	theirs, err := parse(append([]byte("{"), preview...), func(string) (string, bool) { return "", false })
	if err != nil {
		return fmt.Errorf("preview: %w", err)
	}
	if len(p.Functions) != len(theirs.Functions) {
		return fmt.Errorf("we read %d functions, s reads %d", len(p.Functions), len(theirs.Functions))
	}
	var errs []error
	for i, f := range p.Functions {
		ours, err1 := yaml.Marshal(f)
		other, err2 := yaml.Marshal(theirs.Functions[i])
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if g := theirs.Functions[i]; f.Package != g.Package || f.Output != g.Output || !bytes.Equal(ours, other) {
			errs = append(errs, fmt.Errorf("function %s: we read\n%s\ns reads\n%s", f.Name, ours, other))
		}
	}
	return errors.Join(errs...)
}
