package created_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/api"
	"eslink/shared/api/created"
	"eslink/shared/apierr"
	"eslink/shared/run"
)

const account = "1234567890123456"

// world is a region with instances, profiles and what Begin says. How the
// function fares in the cloud is told by package world of localtest.
type world struct {
	*created.Creations
	now       time.Time
	instances map[string]escluster.Instance
	broken    map[string]error // of Describe, by instance
	store     run.Store
	begun     []string // instances
	refuse    error    // of Begin
	log       bytes.Buffer
}

func open(t *testing.T) *world {
	w := &world{now: time.Date(2026, 3, 2, 9, 1, 0, 0, time.UTC), instances: map[string]escluster.Instance{}, broken: map[string]error{}}
	w.store = run.Store{Driver: &run.Mem{}, Now: func() time.Time { return w.now }}
	w.Creations = &created.Creations{Clusters: w, Runs: w, Profiles: &w.store, Region: "cn-hangzhou", Now: w.store.Now, Log: slog.New(slog.NewTextHandler(&w.log, nil))}
	spec := events.Spec{Name: "orders", Scenario: "es-to-es", Region: "cn-hangzhou", Target: events.Target{InstanceID: "es-cn-src000000002"}}
	require.NoError(t, w.store.PutProfile(t.Context(), run.Profile{Name: "orders", Spec: spec}))
	return w
}

func (w *world) add(id string, age time.Duration) {
	w.instances[id] = escluster.Instance{ID: id, CreatedAt: w.now.Add(-age), Tags: map[string]string{run.ProfileTag: "orders"}}
}

func (w *world) Describe(_ context.Context, id string) (escluster.Instance, error) {
	in, ok := w.instances[id]
	if !ok {
		return in, &apierr.Error{Class: apierr.NotFound, Code: "InstanceNotFound"}
	}
	return in, w.broken[id]
}

func (w *world) List(context.Context) (out []escluster.Summary, _ error) {
	for _, i := range w.instances {
		out = append(out, escluster.Summary{ID: i.ID, CreatedAt: i.CreatedAt, Tags: i.Tags})
	}
	return out, nil
}

func (w *world) Begin(_ context.Context, _ string, spec events.Spec) (api.Reply, bool, error) {
	if w.refuse != nil {
		return api.Reply{}, false, w.refuse
	}
	for _, id := range w.begun {
		if id == spec.InstanceID {
			return api.Reply{}, false, nil
		}
	}
	w.begun = append(w.begun, spec.InstanceID)
	return api.Reply{}, true, nil
}

// hears delivers a sample, of an event that is a minute old, with edits.
func (w *world) hears(t *testing.T, sample string, edits ...string) error {
	t.Helper()
	raw, err := os.ReadFile("../../../events/samples/created/" + sample + ".json")
	require.NoError(t, err)
	w.log.Reset()
	return w.Handle(t.Context(), account, []byte(strings.NewReplacer(edits...).Replace(string(raw))))
}

func TestAnOrderMeansWhateverIsNew(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.add("es-cn-old000000001", 25*time.Hour)
	require.ErrorContains(t, w.hears(t, "order"), "no new one is listed yet", "it is delivered again")
	w.add("es-cn-new000000001", time.Minute)
	w.add("es-cn-new000000002", time.Minute)
	w.broken["es-cn-new000000001"] = &apierr.Error{Class: apierr.Retry, Code: "Throttling"}
	require.ErrorContains(t, w.hears(t, "order"), "Throttling")
	require.Equal(t, []string{"es-cn-new000000002"}, w.begun, "one's trouble is not the other's")
	w.broken = nil
	require.NoError(t, w.hears(t, "order"))
	require.ElementsMatch(t, []string{"es-cn-new000000001", "es-cn-new000000002"}, w.begun)
	require.Error(t, w.hears(t, "order"), "a third one may be under way")
	w.now = w.now.Add(30 * time.Minute)
	require.NoError(t, w.hears(t, "order"), "not for ever")
	require.Contains(t, w.log.String(), "no new one was found")
	require.Len(t, w.begun, 2)
}

func TestWhatIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age   time.Duration // of the event
		do    func(w *world)
		again bool
	}{
		"not there yet":      {time.Minute, func(*world) {}, true},
		"not there any more": {time.Hour, func(*world) {}, false},
		"throttled": {time.Minute, func(w *world) {
			w.add("es-cn-new000000003", 0)
			w.broken["es-cn-new000000003"] = &apierr.Error{Class: apierr.Retry}
		}, true},
		"refused by the cloud": {time.Minute, func(w *world) {
			w.add("es-cn-new000000003", 0)
			w.broken["es-cn-new000000003"] = &apierr.Error{Code: "Forbidden.RAM"}
		}, true},
		"refused by us": {time.Minute, func(w *world) {
			w.add("es-cn-new000000003", 0)
			w.refuse = fmt.Errorf("begin: %w", events.NewProblem(409, "owned", "another run uses this target"))
		}, false},
		"no queue": {time.Minute, func(w *world) {
			w.add("es-cn-new000000003", 0)
			w.refuse = errors.New("no queue")
		}, true},
		"the cloud does not say when it was created": {time.Minute, func(w *world) { w.instances["es-cn-new000000003"] = escluster.Instance{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			w.now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).Add(c.age)
			c.do(w)
			err := w.hears(t, "api")
			assert.Equal(t, c.again, err != nil, "%v", err)
			assert.Equal(t, !c.again, strings.Contains(w.log.String(), "no run: "), w.log.String())
			assert.Empty(t, w.begun)
		})
	}
	w := open(t)
	w.now = w.now.AddDate(1, 0, 0)
	require.Error(t, w.hears(t, "api", `"time": "2026-03-02T09:00:00Z"`, `"time": "soon"`, `"eventTime": "2026-03-02T09:00:00Z"`, `"eventTime": ""`), "an event that does not say when")
}

func TestATagAloneStartsNothingTwice(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.add("es-cn-new000000003", time.Minute)
	for range 2 {
		for _, sample := range []string{"api", "api-bare", "console", "config"} {
			require.NoError(t, w.hears(t, sample))
		}
	}
	require.Equal(t, []string{"es-cn-new000000003"}, w.begun)
	require.Contains(t, w.log.String(), "it has a record already")
}
