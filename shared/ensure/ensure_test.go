package ensure_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/shared/apierr"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

var (
	errGone      = &apierr.Error{Class: apierr.NotFound, Code: "Gone", Status: 404}
	errThrottled = &apierr.Error{Class: apierr.Retry, Code: "Throttling", Status: 429}
)

// thing is a resource of a cloud that the tests make up.
type thing struct {
	ID      string
	Leaving bool
}

// listed makes a list of resources by their IDs.
func listed(ids ...string) func(context.Context) ([]thing, error) {
	return func(context.Context) ([]thing, error) {
		var out []thing
		for _, id := range ids {
			out = append(out, thing{ID: id})
		}
		return out, nil
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	failing := func(context.Context) ([]thing, error) { return nil, errThrottled }
	// In the cloud there are a, b, old (being deleted) and broken (not readable).
	get := func(_ context.Context, id string) (thing, error) {
		switch id {
		case "a", "b":
			return thing{ID: id}, nil
		case "old":
			return thing{ID: id, Leaving: true}, nil
		case "broken":
			return thing{}, errThrottled
		}
		return thing{}, errGone
	}
	for name, c := range map[string]struct {
		recorded     string
		owned, named func(context.Context) ([]thing, error)
		down         bool

		want string // an ID
		gone int
		hits []string // of an AmbiguousError
		err  error
	}{
		"nothing on record, no lists":         {},
		"the one on record":                   {recorded: "a", owned: listed("b"), want: "a"},
		"the one on record cannot be read":    {recorded: "broken", owned: listed("a"), err: errThrottled},
		"the one on record is gone":           {recorded: "x", owned: listed(), gone: 1},
		"a newer one than the one on record":  {recorded: "x", owned: listed("a"), want: "a", gone: 1},
		"gone, and the list fails":            {recorded: "x", owned: failing, gone: 1, err: errThrottled},
		"by tag":                              {owned: listed("a"), named: failing, want: "a"},
		"by name":                             {owned: listed(), named: listed("b"), want: "b"},
		"by name when the tagged one is gone": {owned: listed("x"), named: listed("b"), want: "b"},
		"down: not by name":                   {owned: listed(), named: listed("b"), down: true},
		"two with the tag":                    {owned: listed("a", "b"), hits: []string{"a", "b"}},
		"two of the name":                     {named: listed("a", "b"), hits: []string{"a", "b"}},
		"a list shows what is gone":           {owned: listed("x", "a", "y"), want: "a"},
		"one stays and one is being deleted":  {owned: listed("old", "a"), want: "a"},
		"one is being deleted":                {owned: listed("old"), want: "old"},
		"a hit cannot be read":                {owned: listed("a", "broken"), err: errThrottled},
		"the second list fails":               {owned: listed(), named: failing, err: errThrottled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gone := 0
			l := ensure.Lookup[thing]{Kind: "thing", ID: func(x thing) string { return x.ID }, Get: get, Recorded: c.recorded, Gone: func() { gone++ },
				Owned: c.owned, Named: c.named, Direction: run.Up, Leaving: func(x thing) bool { return x.Leaving }, Remedy: "delete one"}
			if c.down {
				l.Direction = run.Down
			}
			found, err := l.Find(t.Context())
			require.Equal(t, c.gone, gone)
			var several *ensure.AmbiguousError
			switch {
			case c.err != nil:
				require.ErrorIs(t, err, c.err)
			case c.hits != nil:
				require.ErrorAs(t, err, &several)
				require.Equal(t, c.hits, several.IDs)
				require.EqualError(t, err, "things a, b all belong to this run, which needs one: delete one, then retry")
				require.Equal(t, apierr.Fatal, apierr.ClassOf(err))
			default:
				require.NoError(t, err)
			}
			if c.want == "" {
				require.Nil(t, found)
				return
			}
			require.Equal(t, c.want, found.ID)
		})
	}
}

func TestAwaitListEndsWithTheLag(t *testing.T) {
	t.Parallel()
	asked := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	out, wait := ensure.AwaitList("thing", asked, asked.Add(30*time.Second))
	require.True(t, wait)
	require.Equal(t, 90*time.Second, out.Delay())
	require.Equal(t, "no reply came to the request for a new thing: lists may not show it yet", out.Reason())
	_, wait = ensure.AwaitList("thing", asked, asked.Add(ensure.ListLag))
	require.False(t, wait)
	_, wait = ensure.AwaitList("thing", time.Time{}, asked)
	require.False(t, wait, "nothing was requested")
}

func TestPauseGrowsWithinBounds(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for passed, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Minute: 20 * time.Second, time.Hour: 45 * time.Second} {
		require.Equal(t, want, ensure.Pause(since, since.Add(passed), 10*time.Second, 45*time.Second))
	}
}

// reply is what a cloud says of any job.
type reply struct {
	done bool
	err  error
}

func (r reply) JobDone(context.Context, string) (bool, error) { return r.done, r.err }

func TestAwait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		none    bool
		reply   reply
		running bool
		err     error
		over    bool // the job is off the record, its token raised
	}{
		"no job":                 {none: true, reply: reply{err: errThrottled}},
		"running":                {running: true},
		"done":                   {reply: reply{done: true}, over: true},
		"forgotten by the cloud": {reply: reply{err: errGone}, over: true},
		"cannot be read":         {reply: reply{err: errThrottled}, err: errThrottled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, job := &run.Run{ID: "r"}, &facts.Job{ID: "j", Token: "add"}
			if c.none {
				job = nil
			}
			running, err := ensure.Await(t.Context(), c.reply, r, &job)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.running, running)
			require.Equal(t, c.over || c.none, job == nil)
			require.Equal(t, c.over, r.Tokens["add"] == 1)
		})
	}
}

// A create without token is not sent again before lists would show what the
// first one made, unless the first one was refused.
func TestIntent(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	in := ensure.Intent{Rows: &run.Store{Driver: &run.Mem{}, Now: clock}, RunID: "r", Name: "asked/9200", Now: clock}
	declare := func(want time.Duration) {
		t.Helper()
		wait, err := in.Declare(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, wait)
	}
	declare(0)
	now = now.Add(time.Minute)
	declare(time.Minute)
	now = now.Add(time.Minute)
	declare(0)

	for _, lost := range []error{errors.New("no reply"), &apierr.Error{Class: apierr.Retry, Status: 500}} {
		require.Equal(t, lost, in.Refused(t.Context(), lost))
		declare(ensure.ListLag)
	}
	refused := &apierr.Error{Class: apierr.Fatal, Code: "Quota", Status: 400}
	require.Equal(t, error(refused), in.Refused(t.Context(), refused))
	declare(0)
}

func TestByTagAndName(t *testing.T) {
	t.Parallel()
	r := &run.Run{ID: "fd5dc36da1e3cf09"}
	tagged, err := ensure.ByTag(r, func(_ context.Context, key, value string) ([]string, error) { return []string{key, value}, nil })(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"eslink:run", "fd5dc36da1e3cf09"}, tagged)
	named, err := ensure.ByName(r, "nlb", func(_ context.Context, name string) ([]string, error) { return []string{name}, nil })(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"eslink-fd5dc36da1e3cf09-nlb"}, named)
}
