package commands

import (
	"bytes"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"

	"eslink/shared/api"
	"eslink/shared/run"
)

// print writes a value as JSON or YAML, with the names that the wire has.
func (s *session) print(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if s.output == "yaml" {
		text, err := yaml.JSONToYAML(raw)
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		_, err = s.out.Write(text)
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "  "); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	indented.WriteByte('\n')
	_, err = s.out.Write(indented.Bytes())
	return err
}

// table writes runs, one a line.
func (s *session) table(runs []api.View) error {
	if len(runs) == 0 {
		fmt.Fprintln(s.out, "There are no runs. eslink start -f SPEC begins one.")
		return nil
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tNAME\tSCENARIO\tSTATUS\tSTEP\tREASON")
	for _, v := range runs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.RunID, v.Name, v.Scenario, v.Status, v.Step, shorten(v.Reason, 70))
	}
	return w.Flush()
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// describe writes one run for a person.
func (s *session) describe(v api.View) {
	fmt.Fprintf(s.out, "run         %s (%s), generation %d\nscenario    %s, %s\nstatus      %s", v.RunID, v.Name, v.Generation, v.Scenario, direction(v.Direction), v.Status)
	if v.Status == run.Running || v.Status == run.WaitingApproval {
		fmt.Fprintf(s.out, " at step %s", v.Step)
	}
	fmt.Fprintln(s.out)
	if v.Reason != "" {
		fmt.Fprintf(s.out, "reason      %s\n", v.Reason)
	}
	if v.WakeAt != nil && v.Status == run.Running {
		fmt.Fprintf(s.out, "next look   %s\n", v.WakeAt.UTC().Format(time.RFC3339))
	}
	if p := v.Progress; p != nil {
		fmt.Fprintf(s.out, "copied      %d of %d documents (%.0f%%)", p.Documents, p.Total, p.Percent)
		if p.ETA != "" {
			fmt.Fprintf(s.out, ", %.0f a second, %s left", p.DocsPerSecond, p.ETA)
		}
		fmt.Fprintln(s.out)
	}
	if v.Plan != nil && (v.Status == run.WaitingApproval || v.Status == run.Planned) {
		s.plan(v.Plan)
	}
	if v.Facts != nil && v.Facts.Verify != nil {
		for _, line := range v.Facts.Verify.Differences {
			fmt.Fprintf(s.out, "differs     %s\n", line)
		}
	}
	if next := s.next(v); next != "" {
		fmt.Fprintf(s.out, "next        %s\n", next)
	}
}

// next is what to do, as a command where one does it.
func (s *session) next(v api.View) string {
	command := "eslink "
	if s.local {
		command += "--local "
	}
	switch v.Status {
	case run.WaitingApproval:
		return command + "approve " + v.RunID
	case run.Planned:
		return command + "start -f SPEC"
	case run.Failed:
		return command + "retry " + v.RunID + ", once what the reason names is put right"
	}
	return v.Next
}

func direction(d run.Direction) string {
	if d == run.Down {
		return "being removed"
	}
	return "being provided"
}

// plan writes what a run will do, as approval is asked for it.
func (s *session) plan(p *run.Plan) {
	fmt.Fprintf(s.out, "plan        %s\n", p.ID)
	for _, what := range p.Creates {
		fmt.Fprintf(s.out, "  makes     %s\n", what)
	}
	for _, d := range p.Difference {
		fmt.Fprintf(s.out, "  changes   %s\n            from %q\n            to   %q\n", d.Key, d.Before, d.After)
	}
	if p.Restart.Needed {
		fmt.Fprintf(s.out, "  restarts  the cluster, node by node: about %s\n", time.Duration(p.Restart.Seconds)*time.Second)
	} else {
		fmt.Fprintln(s.out, "  restarts  nothing")
	}
	fmt.Fprintf(s.out, "  costs     %s %.2f a month (%.3f an hour)\n", p.Cost.Currency, p.Cost.PerMonth, p.Cost.PerHour)
	if p.Cost.Note != "" {
		fmt.Fprintf(s.out, "            %s\n", p.Cost.Note)
	}
}
