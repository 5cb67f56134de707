package aws

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

// A Job is a script that an instance is to run as root.
type Job struct {
	Instance   string
	Script     string
	Parameters map[string]string // what entered the script
}

// A Runner runs a job and returns what it prints and its exit code. It is called
// once a job, without locks.
type Runner func(Job) (output string, code int)

// SetRunner says who runs jobs.
func (f *Fake) SetRunner(run Runner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run = run
}

// PutDocument creates a Systems Manager document.
func (f *Fake) PutDocument(region, name, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.documents[region+"/"+name] = content
}

// PutParameter writes Parameter Store. Nothing that eslink writes may hold the
// value.
func (f *Fake) PutParameter(region, name, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parameter[region+"/"+name] = value
	f.world.Hide(value)
}

// Parameter reads it as an instance's role does.
func (f *Fake) Parameter(region, name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.parameter[region+"/"+name]
	return v, ok
}

// Instance returns an instance.
func (f *Fake) Instance(id string) Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *f.instances[id]
}

// Commands counts the commands that were sent.
func (f *Fake) Commands() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.commands)
}

// command is one that was sent.
type command struct {
	id, comment, region, account string
	job                          Job
	sent, shown, listed          time.Time
	starts, ends                 time.Time
	within                       time.Duration // for its delivery
	status, output               string        // once it has ended
	code                         int
	cancelled                    bool
}

type ssmDocument struct {
	Parameters map[string]struct {
		AllowedPattern string
		Default        *string
	}
	MainSteps []struct {
		Action string
		Inputs struct{ RunCommand []string }
	}
}

// refused is a refusal with one of Systems Manager's codes.
func refused(code, message string) error { return cloud.Errorf(400, code, "%s", message) }

func instanceInformation(f *Fake, r *request) (any, error) {
	var ask struct {
		Filters []struct{ Values []string }
	}
	if err := json.Unmarshal(r.body, &ask); err != nil {
		return nil, err
	}
	list := []any{}
	for _, filter := range ask.Filters {
		for _, id := range filter.Values {
			if i := f.instances[id]; i != nil && i.Agent != "" && f.vpcs[i.VPC].Region == r.region && f.vpcs[i.VPC].Account == r.account {
				list = append(list, map[string]any{"InstanceId": id, "PingStatus": i.Agent, "PlatformType": i.Platform, "AgentVersion": "3.3.1000.0", "ResourceType": "EC2Instance"})
			}
		}
	}
	return map[string]any{"InstanceInformationList": list}, nil
}

func getDocument(f *Fake, r *request) (any, error) {
	content, ok := f.documents[r.region+"/"+r.params["Name"]]
	if !ok {
		return nil, refused("InvalidDocument", "Document with name "+r.params["Name"]+" does not exist.")
	}
	return map[string]any{"Name": r.params["Name"], "Content": content, "DocumentFormat": "JSON", "DocumentType": "Command", "Status": "Active"}, nil
}

func sendCommand(f *Fake, r *request) (any, error) {
	var ask struct {
		DocumentName, Comment string
		InstanceIds           []string
		Parameters            map[string][]string
		TimeoutSeconds        int
	}
	if err := json.Unmarshal(r.body, &ask); err != nil {
		return nil, err
	}
	var d ssmDocument
	content, ok := f.documents[r.region+"/"+ask.DocumentName]
	if !ok || json.Unmarshal([]byte(content), &d) != nil || len(d.MainSteps) != 1 {
		return nil, refused("InvalidDocument", "Document with name "+ask.DocumentName+" does not exist.")
	}
	if len(ask.InstanceIds) != 1 || len(ask.Comment) > 100 || ask.TimeoutSeconds < 30 {
		return nil, refused("ValidationException", "InstanceIds, Comment or TimeoutSeconds is not valid.")
	}
	i := f.instances[ask.InstanceIds[0]]
	if i == nil || i.Agent == "" || f.vpcs[i.VPC].Region != r.region || f.vpcs[i.VPC].Account != r.account || i.State != "running" {
		return nil, refused("InvalidInstanceId", "Instances ["+ask.InstanceIds[0]+"] not in a valid state for account "+r.account)
	}
	script, given := strings.Join(d.MainSteps[0].Inputs.RunCommand, "\n"), map[string]string{}
	for name := range ask.Parameters {
		if _, ok := d.Parameters[name]; !ok {
			return nil, refused("InvalidParameters", "Parameter "+name+" is not of the document.")
		}
	}
	for name, p := range d.Parameters {
		value := ""
		if v, ok := ask.Parameters[name]; ok {
			value = v[0]
		} else if p.Default != nil {
			value = *p.Default
		} else {
			return nil, refused("InvalidParameters", "Parameter "+name+" is missing.")
		}
		if !regexp.MustCompile(p.AllowedPattern).MatchString(value) {
			return nil, refused("InvalidParameters", "Parameter "+name+" does not match its allowedPattern.")
		}
		given[name] = value
		script = strings.ReplaceAll(script, "{{ "+name+" }}", value)
	}
	c := &command{id: f.uuid(), comment: ask.Comment, region: r.region, account: r.account, job: Job{i.ID, script, given}, sent: r.now,
		shown: r.now.Add(f.world.Lag(4 * time.Second)), listed: r.now.Add(f.world.Lag(20 * time.Second)), within: time.Duration(ask.TimeoutSeconds) * time.Second}
	c.starts = r.now.Add(f.between(time.Second, 6*time.Second))
	c.ends = c.starts.Add(f.between(time.Second, 30*time.Second))
	f.commands[c.id] = c
	return map[string]any{"Command": map[string]any{"CommandId": c.id, "Status": "Pending", "Comment": c.comment, "DocumentName": ask.DocumentName}}, nil
}

// settle brings a command to where it is now. The script runs at the first look
// after its end, which is when somebody could first see its effect.
func (f *Fake) settle(c *command, now time.Time) (status, details string) {
	i := f.instances[c.job.Instance]
	switch {
	case c.status != "":
		return c.status, first(map[string]string{"TimedOut": "Delivery Timed Out"}[c.status], c.status)
	case c.cancelled:
		c.status, c.code = "Cancelled", -1
		return c.status, c.status
	case i.Agent != "Online" && now.After(c.sent.Add(c.within)):
		c.status, c.code = "TimedOut", -1
		return "TimedOut", "Delivery Timed Out"
	case i.Agent != "Online" || now.Before(c.starts):
		return "Pending", "Pending"
	case now.Before(c.ends):
		return "InProgress", "InProgress"
	}
	run, job := f.run, c.job
	f.mu.Unlock()
	output, code := run(job)
	f.mu.Lock()
	c.output, c.code, c.status = output, code, "Success"
	if code != 0 {
		c.status = "Failed"
	}
	return c.status, c.status
}

// maxOutput is how much of a script's output GetCommandInvocation returns.
const maxOutput = 24000

func commandInvocation(f *Fake, r *request) (any, error) {
	c := f.commands[r.params["CommandId"]]
	if c == nil || c.region != r.region || c.account != r.account || c.job.Instance != r.params["InstanceId"] || r.now.Before(c.shown) {
		return nil, refused("InvocationDoesNotExist", "The command ID and managed node ID you specified did not match any invocations.")
	}
	status, details := f.settle(c, r.now)
	reply := map[string]any{"CommandId": c.id, "InstanceId": c.job.Instance, "Comment": c.comment, "Status": status, "StatusDetails": details, "ResponseCode": -1, "StandardOutputContent": ""}
	if c.status != "" {
		reply["ResponseCode"], reply["StandardOutputContent"] = c.code, c.output[:min(len(c.output), maxOutput)]
	}
	return reply, nil
}

func listCommands(f *Fake, r *request) (any, error) {
	var all []map[string]any
	for _, id := range slices.Sorted(maps.Keys(f.commands)) {
		c := f.commands[id]
		if c.region != r.region || c.account != r.account || c.job.Instance != r.params["InstanceId"] || r.now.Before(c.listed) {
			continue
		}
		all = append(all, map[string]any{"CommandId": c.id, "Comment": c.comment, "RequestedDateTime": float64(c.sent.Unix())})
	}
	items, next, err := page(r, "NextToken", all)
	reply := map[string]any{"Commands": append([]map[string]any{}, items...)}
	if next != "" {
		reply["NextToken"] = next
	}
	return reply, err
}

func cancelCommand(f *Fake, r *request) (any, error) {
	if c := f.commands[r.params["CommandId"]]; c != nil && c.account == r.account {
		c.cancelled = true
		return map[string]any{}, nil
	}
	return nil, refused("InvalidCommandId", "")
}
