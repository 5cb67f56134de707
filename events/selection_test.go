package events_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	p := events.Patterns{"logs-*", "a*b*c", "orders", "x.y"}
	for _, name := range []string{"logs-", "logs-1", "abc", "aXbYc", "orders"} {
		assert.True(t, p.Match(name), name)
	}
	for _, name := range []string{"", "log", "my-logs-1", "ab", "abcd", "orders-1", "xzy"} {
		assert.False(t, p.Match(name), name)
	}
	assert.False(t, events.Patterns(nil).Match("a"))
}

func TestRename(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to, name, want string
		ok                   bool
	}{
		{"^logs-(.*)$", "old-$1", "logs-1", "old-1", true},
		{"logs-(.*)", "old-$1x", "logs-1", "old-1x", true},
		{"(a|b)-(.*)", "$2.$1", "b-c", "c.b", true},
		{"logs", "old", "logs-1", "", false},
		{"a|b", "c", "ab", "", false},
		{"a(b)?", "c$1", "a", "c", true},
		{"(", "c", "(", "", false},
	} {
		got, ok := events.Rename{From: c.from, To: c.to}.Of(c.name)
		assert.Equal(t, c.ok, ok, c.from)
		assert.Equal(t, c.want, got, c.from)
	}
}

// What is said of patterns is read in either form, and their faults are named.
func TestASpecWithPatterns(t *testing.T) {
	t.Parallel()
	r, err := events.ParseRequest(sample(t, "start-patterns", nil))
	require.NoError(t, err)
	require.True(t, r.Spec.Patterned())
	assert.Equal(t, events.Patterns{"logs-*"}, r.Spec.Indices[0].Include)
	assert.Equal(t, events.Patterns{"logs-old-*", "logs-debug"}, r.Spec.Indices[0].Exclude)
	assert.Empty(t, r.Spec.Indices[0].Dest)
	assert.Equal(t, "source", r.Spec.Indices[0].Destination.MappingsFrom())
	r, err = events.ParseRequest(start(t, nil))
	require.NoError(t, err)
	require.False(t, r.Spec.Patterned())

	for path, bad := range map[string][]any{
		"spec.indices[0].include":     {null, "", ".kibana*", "-a*", "A*", "a,b", "a?", raw("[]"), raw(`["a*","a*"]`), raw(`[".a"]`), 5},
		"spec.indices[0].exclude":     {null, "", "B", raw("[]")},
		"spec.indices[0].source":      {"orders"},
		"spec.indices[0].dest":        {"orders"},
		"spec.indices[0].rename":      {null, "old-", raw("[]")},
		"spec.indices[0].rename.from": {nil, null, "", "(", "a)(b", 5},
		"spec.indices[0].rename.to":   {nil, null, "", ".old-$1", "Old", "a*", "old-$2", 5},
	} {
		for _, v := range bad {
			at := "spec.indices.0." + path[len("spec.indices[0]."):]
			_, err := events.ParseRequest(sample(t, "start-patterns", map[string]any{at: v}))
			var p *events.Problem
			require.ErrorAs(t, err, &p, "%s %v", path, v)
			assert.Equal(t, []string{path}, fields(p), "%v", v)
			assert.NotEmpty(t, p.Errors[0].Remedy)
		}
	}
	for path, v := range map[string]any{"exclude": "a*", "rename": raw(`{"from":"a","to":"b"}`)} {
		_, err := events.ParseRequest(start(t, map[string]any{"spec.indices.0." + path: v}))
		var p *events.Problem
		require.ErrorAs(t, err, &p, path)
		assert.Equal(t, []string{"spec.indices[0]." + path}, fields(p))
	}
}

func TestNamesOfIndices(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"orders": true, "old-订单": true, ".orders": false, "Orders": false, "a b": false, "": false, "a*": false} {
		assert.Equal(t, want, events.IsIndexName(name), name)
	}
}
