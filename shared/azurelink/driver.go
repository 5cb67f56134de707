package azurelink

import (
	"context"
	"errors"
	"strconv"
	"time"

	"eslink/events"
	"eslink/shared/azure"
	"eslink/shared/azure/compute"
	"eslink/shared/facts"
	"eslink/shared/vantage"
)

// Prober proves deployments one after the other, by a probe each, for a step.
type Prober struct {
	Commands Commands
	Machine  compute.Machine // its ID and location
	// Prefix begins the names of the probes: eslink-<run>-<step>.
	Prefix string
	Facts  *facts.InsideProof
}

// name is that of the probe that is due. It changes only once the last one is
// deleted, so that a crash in between finds what it started.
func (p Prober) name() string { return p.Prefix + "-" + strconv.Itoa(p.Facts.Attempt+1) }

// Pause is how long to wait until the next look, and what for.
type Pause struct {
	For    time.Duration
	Reason string
}

// Prove does one thing for a deployment's proof: start the probe, look at it, store
// what it showed, delete it. A nil pause says that the facts have the result. Login
// makes the value of vantage.Auth when it is needed; nil sends none.
func (p Prober) Prove(ctx context.Context, d facts.Deployment, e Expect, login func() (string, error)) (*Pause, error) {
	f := p.Facts
	probe := Probe{Commands: p.Commands, Machine: p.Machine, Name: p.name(), Target: vantage.Target{Host: d.Host, Ports: d.Ports}}
	if f.Discard || f.Read != nil || f.Unread != "" {
		return p.delete(ctx, probe, d)
	}
	if login != nil {
		auth, err := login()
		if err != nil {
			return nil, err
		}
		probe.Auth = auth
	}
	state, out, err := probe.Step(ctx)
	switch {
	case state == Ended && err != nil:
		f.Unread = err.Error()
		return &Pause{time.Second, "the probe ended without a result; it is deleted"}, nil
	case err != nil:
		return nil, err
	case state == Started:
		f.Running = probe.Name
		return &Pause{FirstLook, "probe " + probe.Name + " starts on " + p.Machine.ID.Part("virtualMachines")}, nil
	case state == Underway:
		return &Pause{NextLook, "probe " + probe.Name + " is at work on " + p.Machine.ID.Part("virtualMachines")}, nil
	}
	f.Read = []facts.Check{}
	for _, v := range Judge(out, e) {
		f.Read = append(f.Read, facts.Check{Name: v.Check, OK: v.OK, Detail: v.Detail, Remedy: v.Remedy})
	}
	return &Pause{time.Second, "the probe's result is stored; it is deleted"}, nil
}

// delete deletes the probe whose result is stored, and makes the result count.
func (p Prober) delete(ctx context.Context, probe Probe, d facts.Deployment) (*Pause, error) {
	f := p.Facts
	if err := probe.Delete(ctx); err != nil {
		return nil, err
	}
	unread, read, discarded := f.Unread, f.Read, f.Discard
	f.Attempt++
	f.Running, f.Read, f.Unread, f.Discard = "", nil, "", false
	switch {
	case discarded:
		return &Pause{time.Second, "a probe of an earlier walk is deleted"}, nil
	case unread != "":
		return nil, events.NewProblem(409, "probe", "the machine could not run the probe",
			events.Finding{Field: "vantage.vm", Message: unread, Remedy: "see that the machine runs, that its guest agent is ready and that it reaches Azure on port 443, then retry; this says nothing about the network"})
	}
	f.Results = append(f.Results, facts.DeploymentChecks{DeploymentID: d.ID, Host: d.Host, Checks: read})
	return nil, nil
}

// Clean deletes whatever probe a stopped run may have left behind.
func (p Prober) Clean(ctx context.Context) error {
	var errs []error
	for _, name := range []string{p.Facts.Running, p.name()} {
		if name != "" {
			errs = append(errs, Probe{Commands: p.Commands, Machine: p.Machine, Name: name}.Delete(ctx))
		}
	}
	return errors.Join(errs...)
}

// MachineOf is the machine that preflight has seen.
func MachineOf(f *facts.AzurePreflight) compute.Machine {
	return compute.Machine{ID: azure.ID(f.MachineID), Location: f.MachineLocation}
}

// Failed is the problem of the checks that do not hold, or nil.
func Failed(step string, results []facts.DeploymentChecks) error {
	var fs []events.Finding
	for _, d := range results {
		for _, c := range d.Checks {
			if !c.OK {
				fs = append(fs, events.Finding{Field: "elastic.deploymentIds", Message: d.DeploymentID + ": " + c.Name + ": " + c.Detail, Remedy: c.Remedy})
			}
		}
	}
	if len(fs) == 0 {
		return nil
	}
	return events.NewProblem(409, "not-proven", step+" found that the link does not work", fs...)
}

// Bad reports whether a check of results does not hold.
func Bad(results []facts.DeploymentChecks) bool { return Failed("", results) != nil }
