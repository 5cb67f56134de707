package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
	"golang.org/x/text/width"

	"eslink/shared/api"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// passage is one step of a walk, as the timeline tells it.
type passage struct {
	step, state, reason string
	since               time.Time // the step before was through
	took                time.Duration
}

// walk reads the last walk out of a timeline: all that follows the last start or
// teardown.
func walk(v api.View) []passage {
	begin := 0
	for i, e := range v.Timeline {
		switch e.What {
		case "start", "teardown":
			begin = i
		}
	}
	var out []passage
	var since time.Time
	for i, e := range v.Timeline[begin:] {
		if i == 0 {
			since = e.At
			continue
		}
		if n := len(out); n == 0 || out[n-1].step != e.Step {
			out = append(out, passage{step: e.Step})
		}
		p := &out[len(out)-1]
		p.state, p.reason, p.since, p.took = e.What, e.Reason, since, e.At.Sub(since)
		if e.What == "done" {
			since = e.At
		}
	}
	return out
}

// display shows a run: a line for each step that is through, and for the one
// that is not. A terminal has the latter redrawn in place; elsewhere each thing
// that happens to it is a line.
type display struct {
	w       io.Writer
	now     func() time.Time // of the cloud
	width   func() int       // of the terminal, 0 if there is none
	through int              // steps whose last line is out
	drawn   int              // on a terminal, lines below those, which the next drawing replaces
	last    string           // the reason last said
}

func newDisplay(f *os.File) *display {
	return &display{w: f, now: time.Now, width: func() int {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && term.IsTerminal(int(f.Fd())) {
			return max(w, 20)
		}
		return 0
	}}
}

func (d *display) say(format string, args ...any) { fmt.Fprintf(d.w, format+"\n", args...) }
func (d *display) title(s string)                 { d.say("\n%s", s) }

// show draws a run as it is now.
func (d *display) show(v api.View) {
	passages, columns := walk(v), d.width()
	if columns == 0 {
		d.plain(passages, v)
		return
	}
	n := len(passages)
	switch {
	case v.Status != run.Running:
	case n == 0 || over(passages, n-1): // the next step has not been heard of
		passages = append(passages, passage{step: v.Step, reason: v.Reason})
	default:
		passages[n-1].took = max(d.now().Sub(passages[n-1].since), 0)
	}
	var b strings.Builder
	d.erase(&b)
	for i := d.through; i < len(passages); i++ {
		b.WriteString(cut(d.line(passages[i], v), columns-1) + "\n")
		if over(passages, i) {
			d.through++
		} else {
			d.drawn++
		}
	}
	if f, ok := flow.Of(v.Scenario); ok && v.Direction == run.Up && d.through < len(f) {
		fmt.Fprintf(&b, "  %d of %d steps to go\n", len(f)-d.through, len(f))
		d.drawn++
	}
	io.WriteString(d.w, b.String())
}

// erase goes back over what was drawn to be replaced.
func (d *display) erase(w io.Writer) {
	if d.drawn > 0 {
		fmt.Fprintf(w, "\x1b[%dA\x1b[J", d.drawn)
	}
	d.drawn = 0
}

func over(passages []passage, i int) bool {
	return passages[i].state == "done" || i < len(passages)-1
}

// cut shortens a line to so many columns, of which a wide character takes two.
func cut(line string, columns int) string {
	used := 0
	for i, r := range line {
		w := 1
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			w = 2
		}
		if used += w; used > columns-1 && i+len(string(r)) < len(line) {
			return line[:i] + "…"
		}
	}
	return line
}

// plain says what is new since the last look: steps that are through, and where
// the one that is not has got to.
func (d *display) plain(passages []passage, v api.View) {
	for i := d.through; i < len(passages); i++ {
		if why := told(passages[i], v); over(passages, i) || why != d.last {
			d.last = why
			d.say("%s", d.line(passages[i], v))
		}
		if over(passages, i) {
			d.through++
		}
	}
}

// end leaves what a walk has shown standing.
func (d *display) end(v api.View) {
	if v.Status == run.Done || v.Status == run.Removed {
		d.erase(d.w)
	}
	d.through, d.drawn, d.last = 0, 0, ""
}

func (d *display) line(p passage, v api.View) string {
	mark := map[string]string{"done": "✓", "stopped": "✗", "asked": "?"}[p.state]
	if mark == "" {
		mark = "…"
	}
	return strings.TrimRight(fmt.Sprintf("%s %-18s %8s  %s", mark, p.step, p.took.Round(time.Second), told(p, v)), " ")
}

// told is what there is to say of a step: the copy's progress, or the reason.
func told(p passage, v api.View) string {
	if p.step == "progress" && v.Facts != nil && v.Facts.Progress != nil {
		return v.Facts.Progress.String()
	}
	return p.reason
}

func (d *display) checks(checks []facts.Check) {
	for _, c := range checks {
		mark := "✓"
		if !c.OK {
			mark = "✗"
		}
		d.say("  %s %-10s %s", mark, c.Name, c.Detail)
	}
}
