package esconfig_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/esconfig"
)

const ours = "ep-1.example.com:9200"

// A value that could end the setting, or begin another, is not touched.
func TestWhatIsNoListIsRefused(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"a:1,\nb:1", "a:1\t,b:1", "\ra:1", "[a:1,[b:1]", "[a:1,{b:1}]", "[*:1]", "[a:1,]", `"a:1"`, "a b:1"} {
		_, _, err := esconfig.WithEntry(map[string]string{esconfig.Whitelist: value}, ours, "")
		require.Error(t, err, "%q", value)
	}
}

// Only the very entry goes, not its neighbours of like names.
func TestNeighboursOfLikeNamesStay(t *testing.T) {
	t.Parallel()
	config := map[string]string{esconfig.Whitelist: "ep-1.example.com:92," + ours + ",ep-1.example.com:9201"}
	next, _, err := esconfig.WithoutEntry(config, ours, "", nil)
	require.NoError(t, err)
	require.Equal(t, "ep-1.example.com:92,ep-1.example.com:9201", next[esconfig.Whitelist])
}

// A key that is missing and one that is empty differ.
func TestMissingIsNotEmpty(t *testing.T) {
	t.Parallel()
	require.Len(t, esconfig.Difference(map[string]string{"a": ""}, map[string]string{}), 1)
	require.Empty(t, esconfig.Difference(map[string]string{"a": ""}, map[string]string{"a": ""}))
}
