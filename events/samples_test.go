package events_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
)

// files reads all samples that match, by name.
func files(t *testing.T, pattern string) map[string][]byte {
	names, err := filepath.Glob("samples/" + pattern)
	require.NoError(t, err)
	require.NotEmpty(t, names)
	out := map[string][]byte{}
	for _, name := range names {
		out[strings.TrimSuffix(filepath.Base(name), ".json")], err = os.ReadFile(name)
		require.NoError(t, err)
	}
	return out
}

func TestSamplesOfEventsDecode(t *testing.T) {
	t.Parallel()
	for step, raw := range files(t, "*.json") {
		got, err := events.Decode(raw)
		require.NoError(t, err, step)
		require.Len(t, got, 1, step)
		assert.Equal(t, step, got[0].Step)
		assert.Equal(t, "fd5dc36da1e3cf09", got[0].RunID, step)
		assert.NotEmpty(t, got[0].Traceparent, step)
	}
}

// TestDecodeLeavesThePayload because a delivery that failed is made again, of
// the same bytes.
func TestDecodeLeavesThePayload(t *testing.T) {
	for name, raw := range files(t, "*.json") {
		before := string(raw)
		_, err := events.Decode(raw)
		require.NoError(t, err, name)
		require.Equal(t, before, string(raw), name)
	}
}

func TestSamplesOfRequestsParse(t *testing.T) {
	t.Parallel()
	for action, raw := range files(t, "requests/*.json") {
		got, err := events.ParseRequest(raw)
		require.NoError(t, err, action)
		assert.True(t, strings.HasPrefix(action, got.Action), "%s is %s", action, got.Action) // start-ldap
	}
}

func TestSamplesOfChecksParse(t *testing.T) {
	t.Parallel()
	for name, raw := range files(t, "checks/*.json") {
		got, err := events.ParseCheck(raw)
		require.NoError(t, err, name)
		assert.Equal(t, name, got.Scenario)
	}
}

func TestMalformedSamplesAreRefused(t *testing.T) {
	t.Parallel()
	for name, raw := range files(t, "malformed/*.json") {
		if strings.HasPrefix(name, "event-") {
			got, err := events.Decode(raw)
			assert.Error(t, err, name)
			assert.Empty(t, got, name)
			continue
		}
		_, err := events.ParseRequest(raw)
		p := problem(t, err)
		assert.NotContains(t, p.Error(), "hunter2", "what a user sent in the place of a secret's name is not repeated")
	}
}
