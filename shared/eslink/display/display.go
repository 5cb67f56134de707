// Package display shows a run to a person: a line for each step that is done, and
// for the one that is not. On a terminal the latter is redrawn in place; elsewhere
// each change is a line of its own. The command eslink and the local demo show the
// same.
package display

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"eslink/shared/api"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// Passage is one step of a walk, as the timeline tells it.
type Passage struct {
	Step, State, Reason string
	Since               time.Time // when the step before was done
	Took                time.Duration
}

// Walk reads the last walk out of a timeline: all that follows the last start or
// teardown.
func Walk(v api.View) []Passage {
	begin := 0
	for i, e := range v.Timeline {
		switch e.What {
		case "start", "teardown":
			begin = i
		}
	}
	var out []Passage
	var since time.Time
	for i, e := range v.Timeline[begin:] {
		if i == 0 {
			since = e.At
			continue
		}
		if n := len(out); n == 0 || out[n-1].Step != e.Step {
			out = append(out, Passage{Step: e.Step})
		}
		p := &out[len(out)-1]
		p.State, p.Reason, p.Since, p.Took = e.What, e.Reason, since, e.At.Sub(since)
		if e.What == "done" {
			since = e.At
		}
	}
	return out
}

// Display writes to a terminal or to a plain stream.
type Display struct {
	W   io.Writer
	Now func() time.Time // of the cloud that the run is in
	// Width is the terminal's, in columns; 0 if there is none.
	Width func() int

	through int    // steps whose last line is out
	drawn   int    // on a terminal, lines below those, which the next drawing replaces
	last    string // the reason last said
}

// New returns a display on a file; on a terminal as wide as that is.
func New(f *os.File) *Display {
	return &Display{W: f, Now: time.Now, Width: func() int {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && term.IsTerminal(int(f.Fd())) {
			return max(w, 20)
		}
		return 0
	}}
}

// Say writes a line; on a terminal it is wrapped between words.
func (d *Display) Say(format string, args ...any) { d.say("", fmt.Sprintf(format, args...)) }

// say writes text, and begins each line that it is wrapped into with indent.
func (d *Display) say(indent, text string) {
	if columns := d.Width(); columns > 0 {
		text = strings.ReplaceAll(ansi.Wrap(text, columns-1-len(indent), ""), "\n", "\n"+indent)
	}
	fmt.Fprintln(d.W, text)
}

// Title writes a heading.
func (d *Display) Title(s string) { d.Say("\n%s", s) }

// Show draws a run as it is now.
func (d *Display) Show(v api.View) {
	passages, columns := Walk(v), d.Width()
	if columns == 0 {
		d.plain(passages, v)
		return
	}
	n := len(passages)
	switch {
	case v.Status != run.Running:
	case n == 0 || over(passages, n-1): // the next step has not been heard of
		passages = append(passages, Passage{Step: v.Step, Reason: v.Reason})
	default:
		passages[n-1].Took = max(d.Now().Sub(passages[n-1].Since), 0)
	}
	var b strings.Builder
	d.erase(&b)
	for i := d.through; i < len(passages); i++ {
		b.WriteString(ansi.Truncate(d.line(passages[i], v), columns-2, "…") + "\n")
		if over(passages, i) {
			d.through++
		} else {
			d.drawn++
		}
	}
	if f, ok := flow.Of(v.Scenario); ok && v.Direction == run.Up && d.through < len(f.Steps) {
		fmt.Fprintf(&b, "  %d of %d steps to go\n", len(f.Steps)-d.through, len(f.Steps))
		d.drawn++
	}
	io.WriteString(d.W, b.String())
}

// erase goes back over what was drawn to be replaced.
func (d *Display) erase(w io.Writer) {
	if d.drawn > 0 {
		fmt.Fprintf(w, "\x1b[%dA\x1b[J", d.drawn)
	}
	d.drawn = 0
}

func over(passages []Passage, i int) bool {
	return passages[i].State == "done" || i < len(passages)-1
}

// plain writes what is new since the last time: steps that are done, and the
// reason of the one that is not.
func (d *Display) plain(passages []Passage, v api.View) {
	for i := d.through; i < len(passages); i++ {
		if why := told(passages[i], v); over(passages, i) || why != d.last {
			d.last = why
			d.Say("%s", d.line(passages[i], v))
		}
		if over(passages, i) {
			d.through++
		}
	}
}

// End leaves standing what a walk has shown.
func (d *Display) End(v api.View) {
	if v.Status == run.Done || v.Status == run.Removed {
		d.erase(d.W)
	}
	d.through, d.drawn, d.last = 0, 0, ""
}

func (d *Display) line(p Passage, v api.View) string {
	mark := map[string]string{"done": "✓", "stopped": "✗", "asked": "?"}[p.State]
	if mark == "" {
		mark = "…"
	}
	return strings.TrimRight(fmt.Sprintf("%s %-18s %8s  %s", mark, p.Step, p.Took.Round(time.Second), told(p, v)), " ")
}

// told is what there is to say of a step: the copy's progress, or the reason.
func told(p Passage, v api.View) string {
	if p.Step == "progress" && v.Facts != nil && v.Facts.Progress != nil {
		return v.Facts.Progress.String()
	}
	return p.Reason
}

// Checks writes a line for each check, and below one that fails its remedy.
func (d *Display) Checks(checks []facts.Check) {
	for _, c := range checks {
		mark := "✓"
		if !c.OK {
			mark = "✗"
		}
		const indent = "               "
		d.say(indent, fmt.Sprintf("  %s %-10s %s", mark, c.Name, c.Detail))
		if !c.OK && c.Remedy != "" {
			d.say(indent, indent+c.Remedy)
		}
	}
}
