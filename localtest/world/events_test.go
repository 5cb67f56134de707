package world

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/runtime"
	"eslink/shared/run"
)

func TestEveryEventComesSeveralTimesAtOnce(t *testing.T) {
	t.Parallel()
	for copies := 1; copies <= 2; copies++ {
		t.Run(fmt.Sprintf("%d more", copies), func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				s.Events.Fault = func(runtime.Delivery) runtime.Fault { return runtime.Fault{Copies: copies} }
				s.provision(t)
				require.Equal(t, 1, s.restarted(Instance))
				s.tearDown(t)
				require.Equal(t, 2, s.restarted(Instance))
			})
		})
	}
}

// Every event also comes again later, while others are under way, and is late
// itself now and then.
func TestEventsOutOfOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{Seed: seed}, func(t *testing.T, s *sim) {
				var past recorder
				s.Events.Before = past.keep
				var n atomic.Uint64
				s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
					r := rand.New(rand.NewPCG(seed, n.Add(1)))
					return runtime.Fault{Delay: time.Duration(r.IntN(200)) * time.Second, Copies: r.IntN(2)}
				}
				ctx, stop := context.WithCancel(context.Background())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for r := rand.New(rand.NewPCG(seed, 0)); ctx.Err() == nil; time.Sleep(17 * time.Second) {
						if all := past.all(); len(all) > 0 {
							d := all[r.IntN(len(all))]
							s.Invoke(ctx, d.Function, d.Payload)
						}
					}
				}()
				s.provision(t)
				require.Equal(t, 1, s.restarted(Instance))
				s.tearDown(t)
				require.Equal(t, 2, s.restarted(Instance))
				stop()
				<-ended
			})
		})
	}
}

// Each event of a clean run is lost once, one on the way up and one on the way
// down in each world; the sweep finds that the run is overdue.
func TestEachEventIsLostOnce(t *testing.T) {
	t.Parallel()
	var up, down int64
	lose := func(s *sim, lost ...int64) *atomic.Int64 {
		var n atomic.Int64
		s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
			if d.Queue == "" {
				return runtime.Fault{}
			}
			k := n.Add(1)
			for _, l := range lost {
				if k == l {
					return runtime.Fault{Drop: true}
				}
			}
			return runtime.Fault{}
		}
		return &n
	}
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		n := lose(s)
		s.provision(t)
		up = n.Load()
		s.tearDown(t)
		down = n.Load() - up
	})
	t.Logf("%d events up, %d down", up, down)
	for i := range max(up, down) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				lose(s, 1+i%up, 1+up+1+i%down) // one more was sent again
				s.provision(t)
				require.Equal(t, 1, s.restarted(Instance))
				s.tearDown(t)
				require.Equal(t, 2, s.restarted(Instance))
				require.Positive(t, s.Invocations()["sweep"])
			})
		})
	}
}

// Whatever comes once a run is over does nothing, and breeds nothing.
func TestMessagesAfterTheRunIsOver(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		var past recorder
		s.Events.Before = past.keep
		s.provision(t)
		again := func() {
			seen, writes, view := past.all(), len(s.Writes()), s.view(t)
			for _, d := range seen {
				result, err := s.Invoke(context.Background(), d.Function, d.Payload)
				require.NoError(t, err)
				require.NoError(t, result.Err())
			}
			time.Sleep(time.Hour)
			require.Len(t, s.Writes(), writes)
			require.Equal(t, view, s.view(t))
			after := past.all()
			for _, d := range after[len(seen):] {
				require.Equal(t, "eslink-sweep", d.Function)
			}
		}
		again()
		s.tearDown(t)
		again()
		s.removed(t)
	})
}

// What is no event of ours is parked, and no cloud is called.
func TestWhatIsNoEventIsParked(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		require.NoError(t, s.Start())
		calls := len(s.Account.Exchanges())
		bodies := map[string]string{
			"empty":           ``,
			"not JSON":        `{"specversion":`,
			"not an event":    `[1,2,3]`,
			"other version":   `{"specversion":"1.0","id":"x","source":"eslink/runs","type":"eslink.step.v9","datacontenttype":"application/json","data":{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":1}}`,
			"no such run id":  `{"specversion":"1.0","id":"x","source":"eslink/runs","type":"eslink.step.v1","data":{"runId":"../../etc/passwd","step":"nlb","seq":1}}`,
			"another step's":  `{"specversion":"1.0","id":"x","source":"eslink/runs","type":"eslink.step.v1","data":{"runId":"fd5dc36da1e3cf09","step":"verify","seq":1}}`,
			"huge":            `{"specversion":"1.0","data":{"runId":"` + strings.Repeat("a", 60_000) + `"}}`,
			"negative number": `{"specversion":"1.0","id":"x","source":"eslink/runs","type":"eslink.step.v1","data":{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":-1}}`,
		}
		for name, body := range bodies {
			if name == "empty" {
				continue // MNS itself refuses it
			}
			require.NoError(t, s.Queues.Send("eslink-nlb", body, 0), name)
		}
		time.Sleep(time.Hour)
		require.Len(t, s.Queues.Messages("eslink-dead"), len(bodies)-1)
		for _, e := range s.Account.Exchanges()[calls:] {
			require.Contains(t, []string{"mns", "ots", "tablestore"}, e.Product, e.Action)
		}
		require.Empty(t, s.Writes())
	})
}

// A step that panics stops its run, which keeps what it made; retry goes on.
func TestPanicInAStep(t *testing.T) {
	t.Parallel()
	for _, function := range []string{"survey", "nlb", "configure", "verify"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				var struck once
				s.IO = func(c Call) Crash {
					op, _ := operation(c.Request)
					if c.Function == function && op != "publish" && op != "PutRow" && op != "GetRow" && struck.first() {
						panic("a nil map, say")
					}
					return Lives
				}
				s.start(t, events.Request{})
				v := s.ends(t, run.Failed)
				require.Equal(t, function, v.Step)
				require.Contains(t, v.Problem.Error(), "panicked")
				require.NotContains(t, v.Problem.Error(), "goroutine", "the stack is for the log")
				s.do(t, events.Request{Action: "retry"})
				s.ends(t, run.Done)
				s.stands(t)
				s.tearDown(t)
			})
		})
	}
}
