package destination_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/flow"
	"eslink/shared/steps/destination"
	"eslink/shared/steps/stepstest"
)

// clock is moved by the test alone.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// wired opens the destination through a wire that the test can break.
type wired struct{ *stepstest.Wire }

func (w wired) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(w, "http://dst:9200", "", "")
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "destination", Seeds: 1, Most: 2,
		Not: map[stepstest.Day]string{stepstest.TwoHits: "an index's name is unique", stepstest.Namesake: "one with documents is somebody's; TestSomebodyIsFaster"},
		Fresh: func(t *testing.T, _ uint64) stepstest.Scene {
			more := orders()
			more.Source, more.Dest = "more", "more"
			w := newWorld(t, orders(), more)
			w.run.Spec.Scenario, w.run.DeleteDestination, w.run.Cursor.Step = flow.ESToES, true, "destination"
			wire := &stepstest.Wire{To: w.nodes}
			w.step = &destination.Step{Clusters: wired{wire}, Parts: w.store}
			remove := func(names ...string) func() {
				return func() {
					for _, name := range names {
						if w.there(name) {
							w.ask(http.MethodDelete, "/"+name, "")
						}
					}
				}
			}
			return stepstest.Scene{
				Driver: &stepstest.Driver{T: t, Cloud: wire, Clock: &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}, Invocation: t.Context},
				Step:   w.step, Run: w.run,
				Stands: func() {
					require.True(t, w.there("orders") && w.there("more"))
					for i := range 2 {
						require.True(t, w.index(i).Created, "it is the run's")
						require.False(t, w.index(i).Creating)
					}
				},
				Nothing: func() {
					require.False(t, w.there("orders") || w.there("more"))
					require.Nil(t, w.run.Facts.Destination)
				},
				ByHand: map[string]func(){"one": remove("more"), "all": remove("orders", "more")},
			}
		}})
}
