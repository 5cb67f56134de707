package world

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/runtime"
)

func TestBulkFilesThatAreWrongNameTheLine(t *testing.T) {
	t.Parallel()
	good := "{\"index\":{}}\n{\"productName\":\"a\"}\n"
	for docs, want := range map[string]string{
		good + "{\"index\":{}}\n{\"productName\":\n":         "line 4 is not a JSON object",
		good + "\n{\"productName\":\"a\"}\n":                 "line 4: an action such as",
		"{\"delete\":{\"_id\":\"1\"}}\n":                     "line 1: an action such as",
		"{\"index\":{\"_index\":\"other\"}}\n" + good:        "line 1: action index is for index other, not product_info",
		good + "{\"create\":{}}":                             "line 4: the document of action create is missing",
		good + "{\"index\":{}}\n{\"productName\":{\"a\":1}}": "line 3: index: {",
	} {
		w, err := New(Config{Root: "../..", Clock: runtime.Clock{Epoch: time.Now(), Rate: 600}})
		require.NoError(t, err)
		require.ErrorContains(t, w.SeedProducts(docs), want)
	}
}

func TestLongBulkFilesGoInParts(t *testing.T) {
	t.Parallel()
	docs := strings.Repeat("{\"index\":{}}\n{\"productName\":\""+strings.Repeat("wealth ", 60)+"\"}\n", 30_000)
	w, err := New(Config{Root: "../..", Clock: runtime.Clock{Epoch: time.Now(), Rate: 600}})
	require.NoError(t, err)
	require.NoError(t, w.SeedProducts(docs))
	require.Equal(t, 30_000, count(t, w, Target, "product_info"))
}
