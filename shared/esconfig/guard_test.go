package esconfig_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// A bare item that YAML would not read as one host and port is refused.
func TestWhatIsNoYAMLListIsRefused(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"[a:1,[b:1]", "[a:1,{b:1}]", "[*:1]"} {
		_, _, _, err := with(map[string]string{esconfig.Whitelist: value}, entry, "")
		require.Error(t, err, "%q", value)
	}
}

// Only the very entry goes, not its neighbours of like names.
func TestNeighboursOfLikeNamesStay(t *testing.T) {
	t.Parallel()
	const like = domain + ":92," + entry + "1,old-" + entry
	next, _, err := without(map[string]string{esconfig.Whitelist: like + "," + entry}, entryOnly)
	require.NoError(t, err)
	require.Equal(t, like, next[esconfig.Whitelist])
}

// An entry of ours that somebody has taken out already takes nothing along.
func TestAnEntryThatIsGoneTakesNothingAlong(t *testing.T) {
	t.Parallel()
	config := map[string]string{esconfig.Whitelist: ""}
	next, _, err := without(config, entryOnly)
	require.NoError(t, err)
	require.Equal(t, config, next)
}

// A key that is missing and one that is empty differ.
func TestMissingIsNotEmpty(t *testing.T) {
	t.Parallel()
	require.Len(t, esconfig.Difference(map[string]string{"a": ""}, map[string]string{}), 1)
	require.Empty(t, esconfig.Difference(map[string]string{"a": ""}, map[string]string{"a": ""}))
}

// A setting of ours stays for another run that has it in use, and for no other;
// and what somebody has made of it since stays as well.
func TestWhoseSakeASettingStaysFor(t *testing.T) {
	t.Parallel()
	const key = esconfig.WatcherEnabled
	mine := func() *run.Run {
		return &run.Run{ID: "mine", Direction: run.Up, Spec: spec(t, "watcher"), Facts: facts.Facts{Configure: &facts.Configure{}}}
	}
	for name, c := range map[string]struct {
		change    func(*run.Run)
		has, left string
	}{
		"another run":               {func(*run.Run) {}, "true", "true"},
		"switched off by hand":      {func(*run.Run) {}, "false", "false"},
		"the run itself":            {func(r *run.Run) { r.ID = "mine" }, "true", ""},
		"one that is torn down":     {func(r *run.Run) { r.Direction = run.Down }, "true", ""},
		"one that wrote nothing":    {func(r *run.Run) { r.Facts.Configure = nil }, "true", ""},
		"one of another instance":   {func(r *run.Run) { r.Spec.InstanceID = "es-cn-other" }, "true", ""},
		"one of no such a use case": {func(r *run.Run) { r.Spec.UseCases = nil }, "true", ""},
	} {
		book, err := esconfig.Read(t.Context(), &run.Store{Driver: &run.Mem{}, Now: time.Now}, mine())
		require.NoError(t, err)
		book.Settings = map[string]esconfig.Setting{key: {After: "true"}}
		o := mine()
		o.ID = "other"
		c.change(o)
		require.NoError(t, book.LoadOtherRuns(t.Context(), mine(), []*run.Run{o}), name)
		change, err := book.Of(map[string]string{key: c.has}, events.Spec{}, esconfig.Placeholder)
		require.NoError(t, err)
		require.Equal(t, c.left, change.Next[key], name)
	}
}

// A realm whose place somebody has changed, and which was given its own again,
// goes whole too.
func TestARealmGivenItsPlaceAgainGoesWhole(t *testing.T) {
	t.Parallel()
	s, before := spec(t, "ldap"), map[string]string{"a": "b"}
	s.UseCases[0].LDAP.Order = 5
	next, ours := apply(t, s, before, esconfig.Ours{}, nil)
	next[ldap1+"order"] = "7"
	next, ours = apply(t, s, next, ours, before)
	back, _ := apply(t, events.Spec{}, next, ours, before)
	require.Equal(t, before, back)
}
