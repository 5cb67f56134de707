// Package awsverify is the step that proves each link: by what both control planes
// say, and by a probe on a machine inside the VPC.
package awsverify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/aws"
	"eslink/shared/aws/ec2"
	"eslink/shared/aws/route53"
	"eslink/shared/aws/ssm"
	"eslink/shared/awsaccount"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/vantage/zillizprobe"
	"eslink/shared/zilliz"
	"eslink/shared/zillizlink"
	"eslink/shared/zillizproject"
)

// Commands run on machines.
type Commands interface {
	Send(ctx context.Context, document, instanceID, comment string, parameters map[string]string, within time.Duration) (string, error)
	Sent(ctx context.Context, instanceID, comment string, after time.Time) (string, error)
	Invocation(ctx context.Context, commandID, instanceID string) (ssm.Invocation, error)
}

// Cloud is both clouds and the machine.
type Cloud struct {
	zillizlink.Cloud
	Commands Commands
}

// Step proves.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Cloud, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	from := kms.New(d.Aliyun)
	accounts := awsaccount.New(from, aws.Config{Transport: d.Transport("aws"), Now: d.Now})
	projects := zillizproject.Opener{Secrets: from, Config: zilliz.Config{Transport: d.Transport("zilliz")}}
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Cloud, error) {
		a, err := accounts.Open(ctx, r)
		if err != nil {
			return Cloud{}, err
		}
		p, err := projects.Open(ctx, r)
		if err != nil {
			return Cloud{}, err
		}
		region := r.Spec.AWS.Region
		return Cloud{zillizlink.Cloud{Network: ec2.New(a, region), Zones: route53.New(a), Project: p}, ssm.New(a, region)}, nil
	}}
}

const (
	// unseen is how long a command that was just sent may be unknown.
	unseen = time.Minute
	// glance is how often a command is looked at: the probe takes seconds.
	glance = 5 * time.Second
	// delivery is how long a command may wait for the machine's agent.
	delivery = 2 * time.Minute
	// later and tries are how often a network that may yet work is probed again: a
	// resolver remembers for a minute that a name did not exist.
	later = 45 * time.Second
	tries = 4
)

// The levels of a proof.
const (
	levelLogin   = "login"
	levelReached = "reached"
	levelControl = "control plane"
)

// Up proves one cluster after the other: sends a probe, reads it, judges.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	v := r.Facts.AWSVerify
	if v == nil || v.Level != "" { // a proof is of one walk
		walk := 1
		if v != nil {
			walk = v.Walk + 1
		}
		v = &facts.AWSVerify{Walk: walk}
		r.Facts.AWSVerify = v
	}
	for v.Next < len(r.Facts.ZillizAddress.Clusters) {
		out, done, err := s.prove(ctx, c, r, v)
		if err != nil {
			return engine.Outcome{}, zillizproject.Explain(err, r)
		}
		if !done {
			return out, nil
		}
	}
	return s.conclude(r, v)
}

// Link is the link to one of the run's clusters.
func Link(r *run.Run, k facts.PrivateAddress) zillizlink.Link {
	l := zillizlink.Link{Region: r.Spec.AWS.Region, VPCID: r.Spec.AWS.VPCID, EndpointID: r.Facts.AWSEndpoint.ID,
		ProjectID: r.Spec.Zilliz.ProjectID, ZillizRegion: r.Spec.Zilliz.Region, ClusterID: k.ClusterID, Host: k.Host, Port: k.Port}
	if r.Spec.Vantage != nil {
		l.InstanceID, l.Parameter = r.Spec.Vantage.InstanceID, r.Spec.Vantage.Parameter
	}
	return l
}

// prove makes the checks of the next cluster.
func (s *Step) prove(ctx context.Context, c Cloud, r *run.Run, v *facts.AWSVerify) (out engine.Outcome, done bool, err error) {
	l := Link(r, r.Facts.ZillizAddress.Clusters[v.Next])
	if l.InstanceID == "" {
		check, _, err := zillizlink.Control(ctx, c.Cloud, l)
		if err != nil {
			return out, false, err
		}
		add(r, v, l, check)
		v.Next++
		return out, true, nil
	}
	if v.Probe == nil {
		out, err := s.send(ctx, c.Commands, r, v, l)
		return out, false, err
	}
	i, err := c.Commands.Invocation(ctx, v.Probe.ID, l.InstanceID)
	switch {
	case apierr.IsNotFound(err) && s.Now().Before(v.Probe.Sent.Add(unseen)):
		return engine.Waitf(glance, "%s is sent the probe", l.InstanceID), false, nil
	case err != nil:
		return out, false, err
	case !i.Ended:
		return engine.Waitf(glance, "the probe of %s runs on %s", l.ClusterID, l.InstanceID), false, nil
	}
	checks, err := s.judge(ctx, c, l, i)
	if err != nil {
		return out, false, err
	}
	v.Probe = nil
	if failed := first(checks); failed != nil && failed.Name == "network" && v.Try+1 < tries && i.Succeeded() {
		v.Try++
		return engine.Waitf(later, "check network of %s fails and may yet pass: %s", l.ClusterID, failed.Detail), false, nil
	}
	for _, k := range checks {
		add(r, v, l, k)
	}
	v.Next, v.Try = v.Next+1, 0
	return out, true, nil
}

// add notes a check, by its cluster if there are several.
func add(r *run.Run, v *facts.AWSVerify, l zillizlink.Link, k facts.Check) {
	if len(r.Spec.Zilliz.ClusterIDs) > 1 {
		k.Name += " (" + l.ClusterID + ")"
	}
	v.Checks = append(v.Checks, k)
}

func first(checks []facts.Check) *facts.Check {
	for i := range checks {
		if !checks[i].OK {
			return &checks[i]
		}
	}
	return nil
}

// send sends the probe. The service takes no token. Possible prior states: never
// sent; sent, and the reply or its ID was lost (then the comment finds it, once
// the list shows it; before that a second one is sent, which only reads).
func (s *Step) send(ctx context.Context, c Commands, r *run.Run, v *facts.AWSVerify, l zillizlink.Link) (engine.Outcome, error) {
	parameters, err := zillizprobe.Target{Host: l.Host, Port: l.Port, Parameter: l.Parameter, Region: l.Region}.Parameters()
	if err != nil {
		return engine.Outcome{}, err
	}
	comment := fmt.Sprintf("eslink-%s-aws-verify-%d.%d.%d.%d", r.ID, r.Generation, v.Walk, v.Next, v.Try)
	id, err := c.Sent(ctx, l.InstanceID, comment, r.Cursor.Since.Add(-time.Minute))
	if apierr.IsNotFound(err) {
		id, err = c.Send(ctx, zillizprobe.Document, l.InstanceID, comment, parameters, delivery)
	}
	if err != nil {
		return engine.Outcome{}, fmt.Errorf("probe from %s: %w", l.InstanceID, err)
	}
	v.Probe = &facts.Command{ID: id, Sent: s.Now()}
	return engine.Waitf(glance, "%s is sent the probe of %s", l.InstanceID, l.ClusterID), nil
}

// judge reads what the machine saw.
func (s *Step) judge(ctx context.Context, c Cloud, l zillizlink.Link, i ssm.Invocation) ([]facts.Check, error) {
	link, addresses, err := zillizlink.Control(ctx, c.Cloud, l)
	if err != nil {
		return nil, err
	}
	if !i.Succeeded() {
		return append([]facts.Check{link}, notRun(l, fmt.Sprintf("the probe did not run on %s: the command is %q, exit code %d", l.InstanceID, i.Status, i.Code))...), nil
	}
	o, err := zillizprobe.Parse(i.Output, l.Parameter != "")
	if err != nil {
		return append([]facts.Check{link}, notRun(l, err.Error())...), nil
	}
	rest, err := zillizlink.Judge(l, o, addresses, func() (string, string, error) { return zillizlink.Trace(ctx, c.Cloud, l) })
	return append([]facts.Check{link}, rest...), err
}

// notRun are the checks of a probe that says nothing of the network.
func notRun(l zillizlink.Link, detail string) []facts.Check {
	return []facts.Check{{Name: "network", Detail: detail, Remedy: "see the command's output in Systems Manager (Run Command, on " + l.InstanceID + "), restart the agent if it does not answer, then retry"},
		{Name: "login", Detail: "not tried", Remedy: "fix check network first"}, {Name: "operation", Detail: "not tried", Remedy: "fix check network first"}}
}

// conclude ends the walk's proof.
func (s *Step) conclude(r *run.Run, v *facts.AWSVerify) (engine.Outcome, error) {
	var fs events.Findings
	for _, k := range v.Checks {
		if !k.OK {
			fs.Add("", "check "+k.Name+" failed: "+k.Detail, k.Remedy)
		}
	}
	if len(fs) > 0 {
		p := events.NewProblem(409, "not-proven", "the link is not proved", fs...)
		v.Next, v.Try = 0, 0 // retry probes all of them again
		v.Checks = nil
		return engine.Outcome{}, p
	}
	switch {
	case r.Spec.Vantage == nil:
		v.Level = levelControl
		var commands []string
		for _, k := range r.Facts.ZillizAddress.Clusters {
			commands = append(commands, fmt.Sprintf("curl -sS -o /dev/null -w '%%{http_code} %%{remote_ip}\\n' https://%s:%d/", k.Host, k.Port))
		}
		v.Summary = fmt.Sprintf("not proved from inside: on a client in %s run %s; 400 and one of %s is right", r.Spec.AWS.VPCID, strings.Join(commands, "; "), strings.Join(r.Facts.AWSAcceptance.Addresses, ", "))
	case r.Spec.Vantage.Parameter == "":
		v.Level, v.Summary = levelReached, "no login was tested: the clusters answer from inside the VPC, and the spec names no credential (vantage.parameter)"
	default:
		v.Level, v.Summary = levelLogin, "the clusters answer from inside the VPC, take the credential and list their collections"
	}
	return engine.Done(), nil
}

// Down has nothing to take back: commands are no resources.
func (s *Step) Down(_ context.Context, r *run.Run) (engine.Outcome, error) {
	r.Facts.AWSVerify = nil
	return engine.Done(), nil
}
