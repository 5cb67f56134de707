package world

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/run"
)

// strike is a call and its fate.
type strike struct {
	point
	fate Crash
}

// worlds is how many worlds share the strikes at our own table and queues.
const worlds = 40

// TestCrashMatrix ends an invocation before, and after, every call of a clean
// provision and teardown that writes (cloud, clusters, table, queues), and loses
// every such call's reply; of those that read it takes a sample. Each end has
// one of each resource, then none. A strike at the cloud or a cluster has a
// world to itself in each direction; those at table and queues, which are the
// engine's and alike, come many to a world, far from each other.
func TestCrashMatrix(t *testing.T) {
	t.Parallel()
	crashMatrix(t, Spec(), func(t *testing.T, do func(*testing.T, *sim)) { inWorld(t, Config{}, do) }, 1, (*sim).stands, (*sim).removed)
}

// crashMatrix does so with a spec, in worlds that in makes; restarts is how often the
// instance restarts in each direction.
func crashMatrix(t *testing.T, spec events.Spec, in func(*testing.T, func(*testing.T, *sim)), restarts int, stands, removed func(*sim, *testing.T)) {
	var up, down [][]strike
	in(t, func(t *testing.T, s *sim) {
		var p pointer
		s.IO = func(c Call) Crash {
			if c.Function != "status" && c.Function != "sweep" {
				p.point(c)
			}
			return Lives
		}
		var n, m int
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		stands(s, t)
		up, n = strikes(p.turn())
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		removed(s, t)
		down, m = strikes(p.turn())
		t.Logf("%d points up, %d down", n, m)
	})
	for i := range max(len(up), len(down)) {
		up, down := up[i%len(up)], down[i%len(down)]
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			in(t, func(t *testing.T, s *sim) {
				var p pointer
				plan, struck := up, map[point]bool{}
				s.IO = func(c Call) Crash {
					if c.Function == "status" || c.Function == "sweep" {
						return Lives
					}
					at := p.point(c)
					p.mu.Lock()
					defer p.mu.Unlock()
					for _, k := range plan {
						if k.point == at && !struck[at] {
							struck[at] = true
							return k.fate
						}
					}
					return Lives
				}
				s.patiently(t, events.Request{Action: "start", Spec: &spec})
				s.ends(t, run.Done)
				stands(s, t)
				require.Equal(t, restarts, s.restarted(Instance))
				t.Logf("up %v: %d struck", plan, len(struck))
				require.Greater(t, 2*len(struck), len(plan), "calls that were never made")

				p.turn()
				p.mu.Lock()
				plan, struck = down, map[point]bool{}
				p.mu.Unlock()
				s.patiently(t, events.Request{Action: "teardown"})
				s.ends(t, run.Removed)
				removed(s, t)
				require.Equal(t, 2*restarts, s.restarted(Instance))
				t.Logf("down %v: %d struck", plan, len(struck))
				require.Greater(t, 2*len(struck), len(plan), "calls that were never made")
			})
		})
	}
}

// strikes are all fates of the calls that write, and one of each tenth that
// reads, in groups that share a world.
func strikes(calls []point) (groups [][]strike, n int) {
	r := rand.New(rand.NewPCG(1, 2))
	shared := make([][]strike, worlds)
	next := 0
	for _, c := range calls {
		all := []strike{{c, DiesBefore}, {c, DiesAfter}, {c, LosesReply}}
		switch {
		case !c.Write && r.IntN(10) > 0:
			continue
		case !c.Write:
			all = all[:1]
		}
		n += len(all)
		for _, k := range all {
			if c.Write && c.Op != "PutRow" && c.Op != "publish" {
				groups = append(groups, []strike{k})
				continue
			}
			shared[next%worlds] = append(shared[next%worlds], k)
			next++
		}
	}
	return append(groups, shared...), n
}

// patiently sends a request again if its function died, as a person would: at
// once, then when the lease of the dead has ended.
func (s *sim) patiently(t *testing.T, req events.Request) {
	t.Helper()
	if s.stop == nil {
		require.NoError(t, s.Start())
	}
	if req.Action != "start" {
		req.RunID = s.id
	} else if req.Spec == nil {
		spec := Spec()
		req.Spec = &spec
	}
	reply, err := s.Do(req)
	for tries := 0; err != nil && tries < 8; tries++ {
		time.Sleep(time.Minute)
		reply, err = s.Do(req)
	}
	require.NoError(t, err)
	s.id = reply.RunID
}
