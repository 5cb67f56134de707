package stepstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/shared/engine"
	"eslink/shared/run"
)

// A Day is a bad day that every step which writes has to survive, or has a
// reason not to meet.
type Day string

// The bad days.
const (
	// UpAndDown is no bad day: up makes it, a second walk writes nothing, down
	// leaves nothing, a second one writes nothing, and it can start again.
	UpAndDown Day = "up, down, up"
	// Duplicate calls the step without the waits that it asks for, both ways.
	Duplicate Day = "duplicate"
	// Late calls it an hour later than it asks for.
	Late Day = "late"
	// FailsBefore, LostReply and CrashBeforeSave meet each write, both ways.
	FailsBefore     Day = Day(CrashBefore)
	LostReply       Day = Day(LoseReply)
	CrashBeforeSave Day = Day(CrashAfter)
	// BreaksOff tears down after each of these mishaps at each write of the way up.
	BreaksOff Day = "down after a break"
	// Throttled refuses every request once.
	Throttled Day = "throttled"
	// Deleted removes by hand what the step made, before up and before down.
	Deleted Day = "deleted by hand"
	// IDLost does so after a crash that lost the ID.
	IDLost Day = "deleted, ID lost"
	// TwoHits has two resources that could be the run's: a person must choose.
	TwoHits Day = "two hits"
	// Namesake has a resource of the run's name that is not the run's: down leaves
	// it alone.
	Namesake Day = "namesake"
	// UnknownCode refuses every request with a code that no table knows.
	UnknownCode Day = "unknown code"
)

// Days lists them all.
func Days() []Day {
	return []Day{UpAndDown, Duplicate, Late, FailsBefore, LostReply, CrashBeforeSave, BreaksOff, Throttled, Deleted, IDLost, TwoHits, Namesake, UnknownCode}
}

// Scene is a fresh world in which a step is next.
type Scene struct {
	*Driver
	Step engine.Step
	Run  *run.Run
	// Stands demands that world and record are as Up leaves them, with one of each
	// resource; Nothing, that nothing of the run is left.
	Stands, Nothing func()
	// ByHand deletes all that the step made, or parts of it, whatever the record
	// says.
	ByHand map[string]func()
	// Twice creates two resources that could be the run's and returns their IDs.
	Twice func() []string
	// Namesake creates a resource of the run's name with another run's tag, and
	// returns what demands that it is there.
	Namesake func() (untouched func())
	// Undone ends the way down where Down leaves what the step before deletes. It
	// may be nil.
	Undone func()
}

// Case is a step and its bad days.
type Case struct {
	// Step is its name in the flow.
	Step string
	// Fresh makes a scene; durations and the lag of lists are drawn from seed.
	Fresh func(t *testing.T, seed uint64) Scene
	// Seeds is how many worlds each mishap meets each write in; 0 means 3.
	Seeds uint64
	// Most is how many invocations a way up may take when nothing goes wrong.
	Most int
	// Not has a reason for each day that cannot happen to the step.
	Not map[Day]string
}

// BadDays runs all bad days and prints the step's row of the table.
func BadDays(t *testing.T, c Case) {
	if c.Seeds == 0 {
		c.Seeds = 3
	}
	for d, why := range c.Not {
		require.Contains(t, Days(), d)
		require.NotEmpty(t, why, "%s: a hole needs a reason", d)
	}
	row := []string{c.Step}
	for _, d := range Days() {
		cell := "yes"
		if c.Not[d] != "" {
			cell = "no: " + c.Not[d]
		}
		row = append(row, cell)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			fmt.Printf("| %s |\n", strings.Join(row, " | "))
		}
	})
	for _, d := range Days() {
		if c.Not[d] == "" {
			t.Run(string(d), func(t *testing.T) {
				t.Parallel()
				c.run(t, d)
			})
		}
	}
}

func (c Case) run(t *testing.T, d Day) {
	s := c.Fresh(t, 1)
	switch d {
	case UpAndDown:
		require.LessOrEqual(t, s.Up(s.Step, s.Run), c.Most, "invocations")
		s.Stands()
		s.upDownUp()
	case Duplicate:
		s.again(2 * time.Second)
	case Late:
		s.again(time.Hour)
	case FailsBefore, LostReply, CrashBeforeSave:
		c.mishaps(t, Mishap(d), s)
	case BreaksOff:
		for _, m := range Mishaps() {
			c.breaksOff(t, m, c.Fresh(t, 1))
		}
	case Throttled:
		s.Throttle()
		s.Up(s.Step, s.Run)
		s.Cloud.SetFault(nil) // the demand reads the cloud, too
		s.Stands()
		s.Throttle()
		s.Down(s.Step, s.Run)
		s.Cloud.SetFault(nil)
		s.Nothing()
	case Deleted:
		c.deleted(t, s)
	case IDLost:
		for what := range s.ByHand {
			s := c.Fresh(t, 1)
			happened := s.Break(1, CrashAfter)
			for !happened() {
				s.call()
			}
			s.Cloud.SetFault(nil)
			s.ByHand[what]()
			s.up()
		}
	case TwoHits:
		ids := s.Twice()
		require.Len(t, ids, 2)
		for _, direction := range []run.Direction{run.Up, run.Down} {
			_, err := s.Walk(s.Step, s.Run, direction)
			for _, id := range ids {
				require.ErrorContains(t, err, id)
			}
			require.ErrorContains(t, err, "delete")
		}
	case Namesake:
		untouched := s.Namesake()
		s.Down(s.Step, s.Run)
		untouched()
	case UnknownCode:
		for _, direction := range []run.Direction{run.Up, run.Down} {
			s.Refuse("SomethingNew")
			_, err := s.Walk(s.Step, s.Run, direction)
			require.ErrorContains(t, err, "SomethingNew", direction)
			s.Cloud.SetFault(nil)
			s.up()
		}
	}
}

func (s Scene) up() {
	s.T.Helper()
	s.Up(s.Step, s.Run)
	s.Stands()
}

func (s Scene) down() {
	s.T.Helper()
	s.Down(s.Step, s.Run)
	if s.Undone != nil {
		s.Undone()
	}
	s.Nothing()
}

// call is one invocation and the wait that it asks for. Only errors that may
// pass are no failure.
func (s Scene) call() (done bool) {
	s.T.Helper()
	out, err := s.Once(s.Step, s.Run)
	if err != nil {
		require.True(s.T, passes(err), err)
	}
	s.Clock.Advance(max(out.Delay(), time.Second))
	return err == nil && out.IsDone()
}

func (s Scene) upDownUp() {
	s.T.Helper()
	for range 2 {
		s.up()
		before := s.Writes()
		require.Equal(s.T, 1, s.Up(s.Step, s.Run), "a second walk looks once")
		require.Equal(s.T, before, s.Writes(), "a second walk writes nothing")
		s.down()
		before = s.Writes()
		require.Equal(s.T, 1, s.Down(s.Step, s.Run), "a second walk looks once")
		require.Equal(s.T, before, s.Writes(), "a second walk writes nothing")
	}
	s.up()
}

// again calls the step in intervals of its own, both ways.
func (s Scene) again(every time.Duration) {
	s.T.Helper()
	for _, direction := range []run.Direction{run.Up, run.Down} {
		s.Run.Direction = direction
		for range 40 {
			out, err := s.Once(s.Step, s.Run)
			if err != nil {
				require.True(s.T, passes(err), err)
			}
			if err == nil && out.IsDone() {
				break
			}
			s.Clock.Advance(every)
		}
		if direction == run.Up {
			s.up()
		} else {
			s.down()
		}
	}
}

// mishaps breaks each write, up and down. The scene counts the writes.
func (c Case) mishaps(t *testing.T, m Mishap, s Scene) {
	before := s.Writes()
	s.up()
	ups := s.Writes() - before
	s.down()
	downs := s.Writes() - before - ups
	require.Positive(t, ups)
	for n := 1; n <= max(ups, downs); n++ {
		for seed := range c.Seeds {
			t.Run(fmt.Sprintf("write %d, seed %d", n, seed), func(t *testing.T) {
				t.Parallel()
				s := c.Fresh(t, seed)
				happened := s.Break(min(n, ups), m)
				s.up()
				require.True(t, happened())
				s.Cloud.SetFault(nil)
				if downs == 0 {
					return
				}
				happened = s.Break(min(n, downs), m)
				s.down()
				require.True(t, happened())
			})
		}
	}
}

// breaksOff tears down right after a mishap at each write of the way up.
func (c Case) breaksOff(t *testing.T, m Mishap, s Scene) {
	before := s.Writes()
	s.up()
	for n := 1; n <= s.Writes()-before; n++ {
		for seed := range c.Seeds {
			t.Run(fmt.Sprintf("%s, write %d, seed %d", m, n, seed), func(t *testing.T) {
				t.Parallel()
				s := c.Fresh(t, seed)
				happened := s.Break(n, m)
				for !happened() {
					s.call()
				}
				s.Cloud.SetFault(nil)
				s.down()
			})
		}
	}
}

func (c Case) deleted(t *testing.T, s Scene) {
	require.NotEmpty(t, s.ByHand)
	var all []string
	for what := range s.ByHand {
		all = append(all, what)
	}
	slices.Sort(all)
	for _, what := range all {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := c.Fresh(t, 1)
			s.up()
			s.ByHand[what]()
			s.up()
			s.ByHand[what]()
			s.down()
		})
	}
}
