package demo

import (
	"context"
	"errors"
	"fmt"

	"eslink/events"
	"eslink/localtest/fakes/inside"
	"eslink/localtest/world"
	"eslink/shared/api"
)

// runner has the machine on Azure run the shipped script with this host's own sh and
// curl, where there are both.
func (o *options) runner(c *world.Config) (release func()) {
	shell, err := inside.NewShell()
	if err != nil {
		fmt.Printf("%v: a twin in Go stands in for the probe's script\n", err)
		return func() {}
	}
	c.Runner, o.script = shell, true
	return func() { shell.Close() }
}

// proven shows what the run has proved of its deployments.
func (s *session) proven(ctx context.Context, r *Report, v api.View) error {
	if len(v.Plan.Access) > 0 {
		s.out.Say("who is locked out:")
		for _, line := range v.Plan.Access {
			s.out.Say("  %s", line)
		}
	}
	f := v.Facts.AzureVerify
	for _, d := range f.Results {
		s.out.Say("%s, proven %s:", d.Host, f.Level)
		s.out.Checks(d.Checks)
		r.Checks = append(r.Checks, d.Checks...)
	}
	for _, line := range f.Access {
		s.out.Say("  %s", line)
	}
	if s.script {
		s.out.Say("the machine ran the shipped script %d times with this host's sh and curl", s.d.Azure.Runs())
	}
	r.Scripts = s.d.Azure.Runs()
	if r.Scripts == 0 {
		return errors.New("prove: no probe ran on the machine")
	}
	asked, err := s.client.check(ctx, v.RunID)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	s.out.Say("function check, asked at any time: ok=%v", asked.OK)
	if !asked.OK {
		s.out.Checks(asked.Checks)
		return errors.New("check: the link does not pass")
	}
	return nil
}

// consent approves what a teardown asks, as a person would.
func (s *session) consent(ctx context.Context, v api.View) (api.View, error) {
	for _, line := range v.Plan.Access {
		s.out.Say("asks: %s", line)
	}
	s.out.Say("approved, here by the demo")
	if _, err := s.client.approve(ctx, events.Approval{RunID: v.RunID, PlanID: v.Plan.ID}); err != nil {
		return v, err
	}
	return s.follow(ctx, v.RunID)
}
