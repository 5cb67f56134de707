package privatewhitelist_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/flow"
	"eslink/shared/run"
	"eslink/shared/steps/privatewhitelist"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	step engine.Step
	run  *run.Run
}

// newWorld has an instance whose private whitelist is 10.2.0.0/24, and 10.9.0.0/16
// and 10.9.1.1 in the group office.
func newWorld(t *testing.T, seed uint64, w events.Whitelist) *world {
	s := stepstest.New(t, seed)
	r := s.Run("private-whitelist")
	r.Spec = events.Spec{Name: "office", Scenario: flow.PrivateWhitelist, Region: faketest.Region, InstanceID: faketest.Src, Whitelist: &w}
	r.ID = flow.RunID(s.Account.AccountID, r.Spec)
	s.ES.SetGroup(faketest.Src, "office", "10.9.0.0/16", "10.9.1.1")
	return &world{s, privatewhitelist.New(s.Deps), r}
}

var before = map[string]string{"default": "10.2.0.0/24", "office": "10.9.0.0/16 10.9.1.1"}

func (w *world) groups() map[string]string {
	out := map[string]string{}
	for _, g := range w.ES.Groups(faketest.Src) {
		if g.Type == escluster.PrivateES {
			out[g.Name] = strings.Join(slices.Sorted(slices.Values(g.IPs)), " ")
		}
	}
	return out
}

func with(group, ips string) map[string]string {
	out := map[string]string{}
	for k, v := range before {
		out[k] = v
	}
	if out[group] = ips; ips == "" {
		delete(out, group)
	}
	return out
}

func list(n int) (ips []string) {
	for i := range n {
		ips = append(ips, fmt.Sprintf("10.7.%d.%d", i/200, i%200))
	}
	return ips
}

// rules are those of the document of UpdatePrivateNetworkWhiteIps, each with what
// the cloud answers and what the step says; both end in groups, or refuse.
var rules = map[string]struct {
	status string // of the instance; "": active
	change events.Whitelist
	token  string
	groups map[string]string
	code   string // of the cloud's refusal
	found  string // the field of the step's, "" if it waits or has nothing to do
	byHand bool   // only the request itself is wrong: the step cannot send it
}{
	"Cover replaces the plain list":        {change: events.Whitelist{Mode: "Cover", IPs: []string{"10.3.0.0/24"}}, groups: with("default", "10.3.0.0/24")},
	"Append is no mode of the plain list":  {change: events.Whitelist{Mode: "Append", IPs: []string{"10.3.0.0/24"}}, code: "InvalidParameter", groups: with("default", "10.2.0.0/24 10.3.0.0/24")},
	"but of the group default it is":       {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.0/24"}}, groups: with("default", "10.2.0.0/24 10.3.0.0/24")},
	"Delete empties the plain list":        {change: events.Whitelist{Mode: "Delete", Group: "default", IPs: []string{"10.2.0.0/24"}}, code: "InvalidParameter", found: "whitelist.ips"},
	"Cover replaces a group":               {change: events.Whitelist{Mode: "Cover", Group: "office", IPs: []string{"10.3.0.0/24"}}, groups: with("office", "10.3.0.0/24")},
	"Cover creates a group":                {change: events.Whitelist{Mode: "Cover", Group: "vpn", IPs: []string{"10.3.0.0/24"}}, groups: with("vpn", "10.3.0.0/24")},
	"Cover without IPs deletes a group":    {change: events.Whitelist{Mode: "Cover", Group: "office"}, groups: with("office", "")},
	"Append adds to a group":               {change: events.Whitelist{Mode: "Append", Group: "office", IPs: []string{"10.3.0.1", "10.9.1.1"}}, groups: with("office", "10.3.0.1 10.9.0.0/16 10.9.1.1")},
	"Append creates no group":              {change: events.Whitelist{Mode: "Append", Group: "vpn", IPs: []string{"10.3.0.1"}}, code: "NotFound", found: "whitelist.group"},
	"Delete takes from a group":            {change: events.Whitelist{Mode: "Delete", Group: "office", IPs: []string{"10.9.1.1", "10.3.0.1"}}, groups: with("office", "10.9.0.0/16")},
	"Delete knows no other group":          {change: events.Whitelist{Mode: "Delete", Group: "vpn", IPs: []string{"10.3.0.1"}}, code: "NotFound", found: "whitelist.group"},
	"Delete leaves one IP":                 {change: events.Whitelist{Mode: "Delete", Group: "office", IPs: []string{"10.9.0.0/16", "10.9.1.1"}}, code: "InvalidParameter", found: "whitelist.ips"},
	"a group holds 300 entries":            {change: events.Whitelist{Mode: "Append", Group: "office", IPs: list(299)}, code: "InvalidParameter", found: "whitelist.ips"},
	"300 are not too many":                 {change: events.Whitelist{Mode: "Append", Group: "office", IPs: list(298)}, groups: with("office", strings.Join(slices.Sorted(slices.Values(append(list(298), "10.9.0.0/16", "10.9.1.1"))), " "))},
	"not while inactive":                   {status: "inactive", change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.1"}}, code: "InstanceStatusNotSupportCurrentAction", found: "instanceId"},
	"not when invalid":                     {status: "invalid", change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.1"}}, code: "InstanceStatusNotSupportCurrentAction", found: "instanceId"},
	"not while activating":                 {status: "activating", change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.1"}}, code: "InstanceActivating"},
	"a token of 64 characters":             {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.0/24"}}, token: strings.Repeat("t", 64), groups: with("default", "10.2.0.0/24 10.3.0.0/24"), byHand: true},
	"a token of 65 characters":             {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.1"}}, token: strings.Repeat("t", 65), code: "InvalidParameter.ClientToken", byHand: true},
	"a token that is not ASCII":            {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.1"}}, token: "tökén", code: "InvalidParameter.ClientToken", byHand: true},
	"no mode of that name":                 {change: events.Whitelist{Mode: "cover", Group: "default", IPs: []string{"10.3.0.1"}}, code: "InvalidParameter", byHand: true},
	"the plain list cannot be deleted":     {change: events.Whitelist{Mode: "Cover"}, code: "InvalidParameter", byHand: true},
	"no public address":                    {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"8.8.8.8"}}, code: "InvalidParameter", byHand: true},
	"no network that is public in part":    {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"192.168.0.0/15"}}, code: "InvalidParameter", byHand: true},
	"no address out of range":              {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.0.0.256"}}, code: "InvalidParameter", byHand: true},
	"no prefix out of range":               {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.0.0.0/33"}}, code: "InvalidParameter", byHand: true},
	"no IPv6":                              {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"fd00::1"}}, code: "InvalidParameter", byHand: true},
	"no entry twice":                       {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{"10.3.0.1", "10.3.0.1"}}, code: "InvalidParameter", byHand: true},
	"no empty entry":                       {change: events.Whitelist{Mode: "Append", Group: "default", IPs: []string{""}}, code: "InvalidParameter", byHand: true},
	"everybody, and nobody but the node":   {change: events.Whitelist{Mode: "Cover", IPs: []string{"0.0.0.0/0", "127.0.0.1"}}, groups: with("default", "0.0.0.0/0 127.0.0.1")},
	"an unknown group is deleted, already": {change: events.Whitelist{Mode: "Cover", Group: "vpn"}, code: "NotFound", groups: before},
}

// The cloud's side: the client, over HTTP, against the fake.
func TestTheCloudHoldsEveryRule(t *testing.T) {
	t.Parallel()
	for name, c := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, c.change)
			if c.status != "" {
				w.ES.SetStatus(faketest.Src, c.status)
			}
			token := c.token
			if token == "" {
				token = "token"
			}
			err := escluster.New(w.Deps.Aliyun).ChangeWhitelist(w.Context(), faketest.Src, escluster.WhitelistChange{Mode: c.change.Mode, Group: c.change.Group, IPs: c.change.IPs}, token)
			if c.code != "" {
				require.Equal(t, c.code, apierr.CodeOf(err), "%v", err)
				require.Equal(t, before, w.groups())
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.groups, w.groups())
		})
	}
}

// Our side: the step makes it so, or says why it cannot be; and Down puts back
// what there was.
func TestTheStepHoldsEveryRule(t *testing.T) {
	t.Parallel()
	for name, c := range rules {
		if c.byHand {
			continue // a spec cannot ask for it: package events holds that
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, c.change)
			if c.status != "" {
				w.ES.SetStatus(faketest.Src, c.status)
			}
			if c.found != "" {
				_, err := w.Walk(w.step, w.run, run.Up)
				var p *events.Problem
				require.ErrorAs(t, err, &p)
				require.Equal(t, c.found, p.Errors[0].Field)
				require.NotEmpty(t, p.Errors[0].Remedy)
				require.Zero(t, w.Writes(), "nothing is tried that will be refused")
				require.Equal(t, before, w.groups())
				w.ES.SetStatus(faketest.Src, "active")
				w.Down(w.step, w.run)
				require.Zero(t, w.Writes())
				return
			}
			if c.status == "activating" {
				out, err := w.Once(w.step, w.run)
				require.NoError(t, err)
				require.Contains(t, out.Reason(), "carrying out a change")
				require.Zero(t, w.Writes())
				w.ES.SetStatus(faketest.Src, "active")
				c.groups = with("default", "10.2.0.0/24 10.3.0.1")
			}
			w.Up(w.step, w.run)
			w.holds(c.groups)
			writes := w.Writes()
			require.LessOrEqual(t, writes, 1)
			require.Equal(t, 1, w.Up(w.step, w.run))
			require.Equal(t, writes, w.Writes(), "a second walk writes nothing")
			w.Down(w.step, w.run)
			w.back()
		})
	}
}

// holds demands that the groups are as they should be, in force, and that the
// record tells the difference.
func (w *world) holds(groups map[string]string) {
	w.Helper()
	require.Equal(w, groups, w.groups())
	for _, i := range w.ES.Instances() {
		require.Equal(w, "active", i.Status, "the list is in force")
	}
	f := w.run.Facts.PrivateWhitelist
	require.NotNil(w, f)
	require.Nil(w, f.Pending)
	now := strings.Fields(groups[f.Group])
	require.ElementsMatch(w, now, f.IPs, "read back")
	was := strings.Fields(before[f.Group])
	require.ElementsMatch(w, except(now, was), f.Added)
	require.ElementsMatch(w, except(was, now), f.Removed)
	require.Equal(w, len(was) == 0 && len(now) > 0, f.Created)
}

func except(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func (w *world) back() {
	w.Helper()
	require.Equal(w, before, w.groups())
	require.Nil(w, w.run.Facts.PrivateWhitelist)
	require.Equal(w, 1, w.Down(w.step, w.run))
}

func TestTheDifferenceIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, events.Whitelist{Mode: "Cover", Group: "office", IPs: []string{"10.3.0.1", "10.9.1.1"}})
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	require.Equal(t, "cluster "+faketest.Src+" is about to change its whitelist group office: adds 10.3.0.1, removes 10.9.0.0/16", out.Reason())
	require.Zero(t, w.Writes(), "it is saved first")
	out, err = w.Once(w.step, w.run)
	require.NoError(t, err)
	require.Equal(t, "cluster "+faketest.Src+" is changing its whitelist group office: adds 10.3.0.1, removes 10.9.0.0/16", out.Reason())

	many := newWorldIn(w, events.Whitelist{Mode: "Append", Group: "office", IPs: list(200)})
	out, err = many.Once(many.step, many.run)
	require.NoError(t, err)
	require.Less(t, len(out.Reason()), 250, "a long list is cut short")
}

// newWorldIn is the same account with another run.
func newWorldIn(w *world, change events.Whitelist) *world {
	w.Advance(time.Hour)
	r := w.Run("private-whitelist")
	r.Spec = w.run.Spec
	r.Spec.Name, r.Spec.Whitelist = "other", &change
	r.ID = flow.RunID(w.Account.AccountID, r.Spec)
	return &world{w.World, w.step, r}
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	change := events.Whitelist{Mode: "Cover", Group: "office", IPs: []string{"10.3.0.1", "10.9.1.1"}}
	stepstest.BadDays(t, stepstest.Case{Step: "private-whitelist", Most: 12,
		Not: map[stepstest.Day]string{stepstest.TwoHits: "a group's name is unique", stepstest.Namesake: "the group is the spec's; TestOthersChangeTheGroupToo"},
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed, change)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: func() { w.holds(with("office", "10.3.0.1 10.9.1.1")) }, Nothing: w.back,
				ByHand: map[string]func(){"entries": func() { w.ES.SetGroup(faketest.Src, "office", "10.9.0.0/16", "10.9.1.1") }}}
		}})
}

func TestEveryWriteMeetsEveryMishap(t *testing.T) {
	t.Parallel()
	for _, change := range []events.Whitelist{
		{Mode: "Cover", Group: "office", IPs: []string{"10.3.0.1", "10.9.1.1"}}, {Mode: "Cover", Group: "office"}, {Mode: "Cover", Group: "vpn", IPs: []string{"10.3.0.1"}},
		{Mode: "Append", IPs: []string{"10.3.0.1"}}, {Mode: "Delete", Group: "office", IPs: []string{"10.9.1.1"}},
	} {
		for _, m := range stepstest.Mishaps() {
			t.Run(fmt.Sprint(change, m), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 4, change)
				happened := w.Break(1, m)
				w.Up(w.step, w.run)
				require.True(t, happened())
				f := *w.run.Facts.PrivateWhitelist
				require.True(t, len(f.Added)+len(f.Removed) > 0, "it knows that the change is its own")
				for n := 1; n <= 2; n++ {
					w.Up(w.step, w.run)
					happened = w.Break(n, m)
					w.Down(w.step, w.run)
					require.Equal(t, n == 1 || len(f.Added) > 0 && len(f.Removed) > 0, happened())
					w.back()
				}
			})
		}
	}
}

// What others add or remove stays as they left it.
func TestOthersChangeTheGroupToo(t *testing.T) {
	t.Parallel()
	replace := events.Whitelist{Mode: "Cover", Group: "office", IPs: []string{"10.3.0.1", "10.3.0.2"}}
	for name, c := range map[string]struct {
		change events.Whitelist
		others []string // what they make of the group
		left   string   // after Down
	}{
		"they add":                       {replace, []string{"10.3.0.1", "10.3.0.2", "10.4.0.1"}, "10.4.0.1 10.9.0.0/16 10.9.1.1"},
		"they remove one of ours":        {replace, []string{"10.3.0.1"}, "10.9.0.0/16 10.9.1.1"},
		"they put back what we removed":  {replace, []string{"10.3.0.1", "10.3.0.2", "10.9.1.1"}, "10.9.0.0/16 10.9.1.1"},
		"they delete the group":          {replace, nil, ""},
		"they add to a group of ours":    {events.Whitelist{Mode: "Cover", Group: "vpn", IPs: []string{"10.3.0.1"}}, []string{"10.3.0.1", "10.4.0.1"}, "10.4.0.1"},
		"they make a group that we took": {events.Whitelist{Mode: "Cover", Group: "office"}, []string{"10.4.0.1"}, "10.4.0.1 10.9.0.0/16 10.9.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 6, c.change)
			w.Up(w.step, w.run)
			w.ES.SetGroup(faketest.Src, c.change.Group, c.others...)
			w.Down(w.step, w.run)
			require.Equal(t, with(c.change.Group, c.left), w.groups())
			require.Nil(t, w.run.Facts.PrivateWhitelist)
		})
	}
	t.Run("they leave nothing but ours", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 7, events.Whitelist{Mode: "Append", Group: "office", IPs: []string{"10.3.0.1"}})
		w.Up(w.step, w.run)
		w.ES.SetGroup(faketest.Src, "office", "10.3.0.1")
		_, err := w.Walk(w.step, w.run, run.Down)
		require.ErrorContains(t, err, "add what is to stay")
		w.ES.SetGroup(faketest.Src, "office", "10.3.0.1", "10.4.0.1")
		w.Down(w.step, w.run)
		require.Equal(t, with("office", "10.4.0.1"), w.groups())
	})
	t.Run("between our look and our write", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 8, replace)
		_, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		w.ES.SetGroup(faketest.Src, "office", "10.9.0.0/16", "10.9.1.1", "10.4.0.1")
		w.Up(w.step, w.run)
		require.Equal(t, with("office", "10.3.0.1 10.3.0.2"), w.groups())
		w.Down(w.step, w.run)
		require.Equal(t, with("office", "10.4.0.1 10.9.0.0/16 10.9.1.1"), w.groups(), "what was replaced is what there was then")
	})
	t.Run("between our write and our next look", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 15, replace)
		for range 2 {
			_, err := w.Once(w.step, w.run)
			require.NoError(t, err)
		}
		w.Advance(time.Hour)
		w.ES.SetGroup(faketest.Src, "office", "10.3.0.2", "10.4.0.1")
		w.Up(w.step, w.run)
		require.Equal(t, with("office", "10.3.0.1 10.3.0.2"), w.groups())
		w.Down(w.step, w.run)
		require.Equal(t, with("office", "10.4.0.1 10.9.0.0/16 10.9.1.1"), w.groups())
	})
	t.Run("an entry was there before", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 9, events.Whitelist{Mode: "Append", Group: "office", IPs: []string{"10.9.1.1/32", "10.3.0.1"}})
		w.Up(w.step, w.run)
		require.Equal(t, with("office", "10.3.0.1 10.9.0.0/16 10.9.1.1"), w.groups(), "/32 is the address itself")
		w.Down(w.step, w.run)
		w.back()
	})
}

// A run's next generations add up, and teardown takes all of them back.
func TestGenerationsAddUp(t *testing.T) {
	t.Parallel()
	steps := []events.Whitelist{
		{Mode: "Append", Group: "office", IPs: []string{"10.3.0.1", "10.3.0.2"}},
		{Mode: "Delete", Group: "office", IPs: []string{"10.3.0.1", "10.9.1.1"}},
		{Mode: "Append", Group: "office", IPs: []string{"10.9.1.1"}},
		{Mode: "Cover", Group: "office"},
		{Mode: "Cover", Group: "office", IPs: []string{"10.5.0.1"}},
		{Mode: "Cover", Group: "office", IPs: []string{"10.5.0.1", "10.9.0.0/16"}},
	}
	now := []string{"10.3.0.1 10.3.0.2 10.9.0.0/16 10.9.1.1", "10.3.0.2 10.9.0.0/16", "10.3.0.2 10.9.0.0/16 10.9.1.1", "", "10.5.0.1", "10.5.0.1 10.9.0.0/16"}
	for n := range steps {
		t.Run(fmt.Sprint(n+1, " of them"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 10, steps[0])
			for i := range n + 1 {
				w.run.Generation, w.run.Spec.Whitelist = i+1, &steps[i]
				w.Up(w.step, w.run)
				w.holds(with("office", now[i]))
			}
			w.Down(w.step, w.run)
			w.back()
		})
	}
}

func TestTeardownOfWhatNeverBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11, events.Whitelist{Mode: "Append", Group: "office", IPs: []string{"10.3.0.1"}})
	require.Equal(t, 1, w.Down(w.step, w.run))
	_, err := w.Once(w.step, w.run) // the intent alone
	require.NoError(t, err)
	w.run.Direction = run.Up
	_, err = w.Once(w.step, w.run)
	require.NoError(t, err)
	require.NotNil(t, w.run.Facts.PrivateWhitelist.Pending)
	w.Down(w.step, w.run)
	require.Zero(t, w.Writes())
	w.back()
}

func TestStatesOnTheWayDown(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"activating", "inactive", "invalid", "gone"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 12, events.Whitelist{Mode: "Append", Group: "office", IPs: []string{"10.3.0.1"}})
			w.Up(w.step, w.run)
			w.run.Direction = run.Down
			writes := w.Writes()
			if state == "gone" {
				w.run.Spec.InstanceID = "es-cn-nobody00001"
			} else {
				w.ES.SetStatus(faketest.Src, state)
			}
			out, err := w.Once(w.step, w.run)
			require.Equal(t, writes, w.Writes())
			switch state {
			case "activating":
				require.NoError(t, err)
				require.Contains(t, out.Reason(), "can be reverted when that is done")
				w.ES.SetStatus(faketest.Src, "active")
				w.Down(w.step, w.run)
				w.back()
			case "inactive":
				require.ErrorContains(t, err, "make the cluster active, then retry")
				require.NotNil(t, w.run.Facts.PrivateWhitelist)
			default:
				require.NoError(t, err)
				require.True(t, out.IsDone())
				require.Nil(t, w.run.Facts.PrivateWhitelist)
			}
		})
	}
}

func TestTheClusterIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 13, events.Whitelist{Mode: "Append", IPs: []string{"10.3.0.1"}})
	w.run.Spec.InstanceID = "es-cn-nobody00001"
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "there is no cluster es-cn-nobody00001")
}

func TestBusyAtTheLastMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 14, events.Whitelist{Mode: "Append", IPs: []string{"10.3.0.1"}})
	n := 0
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Action == "UpdatePrivateNetworkWhiteIps" {
			assert.LessOrEqual(t, len(c.Params["clientToken"]), 64)
			if n++; n <= 2 {
				return cloud.Fault{Before: cloud.Errorf(400, "ConcurrencyUpdateInstanceConflict", "busy")}
			}
		}
		return cloud.Fault{}
	})
	w.Up(w.step, w.run)
	require.Equal(t, 3, n)
}
