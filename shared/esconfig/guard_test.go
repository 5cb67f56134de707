package esconfig_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/esconfig"
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
