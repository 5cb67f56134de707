package azurelink

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"eslink/shared/apierr"
	"eslink/shared/azure"
	"eslink/shared/azure/compute"
	"eslink/shared/vantage"
)

func number(n int) string { return strconv.Itoa(n) }

// Commands run scripts on a machine.
type Commands interface {
	Start(ctx context.Context, m compute.Machine, name string, s compute.Script) error
	Command(ctx context.Context, machine azure.ID, name string) (compute.Command, error)
	DeleteCommand(ctx context.Context, machine azure.ID, name string) error
}

// scriptSeconds is when the platform ends a probe: longer than two ports take that
// nobody answers.
const scriptSeconds = 120

// Probe is one probe under a name of its own.
type Probe struct {
	Commands Commands
	Machine  compute.Machine // its ID and location
	Name     string
	Target   vantage.Target
	// Auth is the login in the form of vantage.Basic; "" sends none.
	Auth string
}

// State is how far a probe is.
type State int

const (
	Started  State = iota // just now
	Underway              // it runs
	Ended                 // with an output
)

// Step does the next thing: it starts the probe if there is none of its name, else
// reads it. Possible prior states: never started; started, and the reply lost (the
// name finds it); ended; deleted after its output was stored, which callers know.
func (p Probe) Step(ctx context.Context) (State, vantage.Output, error) {
	script, err := p.Target.Script()
	if err != nil {
		return 0, vantage.Output{}, err
	}
	c, err := p.Commands.Command(ctx, p.Machine.ID, p.Name)
	if apierr.IsNotFound(err) {
		s := compute.Script{Text: script, Seconds: scriptSeconds}
		if p.Auth != "" {
			s.Protected = map[string]string{vantage.Auth: p.Auth}
		}
		return Started, vantage.Output{}, p.Commands.Start(ctx, p.Machine, p.Name, s)
	}
	if err != nil {
		return 0, vantage.Output{}, err
	}
	switch c.State {
	case compute.Succeeded:
		out, err := vantage.Parse(c.Output)
		return Ended, out, err
	case compute.Failed, compute.TimedOut, compute.Canceled:
		return Ended, vantage.Output{}, fmt.Errorf("the probe on %s ended as %s (exit status %d): %w", p.Machine.ID.Part("virtualMachines"), c.State, c.Exit, ErrNotRun)
	}
	return Underway, vantage.Output{}, nil
}

// Delete deletes the probe; one that is gone is no error.
func (p Probe) Delete(ctx context.Context) error {
	if err := p.Commands.DeleteCommand(ctx, p.Machine.ID, p.Name); err != nil && !apierr.IsNotFound(err) {
		return err
	}
	return nil
}

// ErrNotRun says that a machine did not run the script to its end, which says nothing
// of the network.
var ErrNotRun = fmt.Errorf("see that the machine runs and that its guest agent is ready (at least 2.4.0.2), then retry")

// Pauses between looks at a probe: it starts within some seconds.
const (
	FirstLook = 20 * time.Second
	NextLook  = 10 * time.Second
)
