package demo

import (
	"errors"
	"os/exec"

	"eslink/localtest/world"
	"eslink/shared/api"
)

// instance has the instance on AWS run the shipped script with this host's own sh and
// curl, where there are both.
func (o *options) instance(c *world.Config) {
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			return
		}
	}
	c.Script, o.script = true, true
}

// reached shows what the run has proved of its clusters.
func (s *session) reached(r *Report, v api.View) error {
	f := v.Facts.AWSVerify
	s.out.Say("%s, proven by level %s:", f.Summary, f.Level)
	s.out.Checks(f.Checks)
	r.Checks = f.Checks
	r.Scripts = s.d.AWS.Commands()
	if r.Scripts == 0 {
		return errors.New("prove: no probe ran on the machine")
	}
	if s.script {
		s.out.Say("the instance ran the shipped script %d times with this host's sh and curl", r.Scripts)
	}
	return nil
}
