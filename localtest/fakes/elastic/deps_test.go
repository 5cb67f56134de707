package elastic_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type layer struct {
	name string
	may  []string
}

// layers are the packages of the server, bottom up, each with those of them that it
// may import.
var layers = []layer{
	{"esjson", nil},
	{"analysis", nil},
	{"privilege", []string{"esjson"}},
	{"index", []string{"esjson", "analysis"}},
	{"store", []string{"esjson", "analysis", "privilege", "index"}},
	{"search", []string{"esjson", "index", "store"}},
	{"reindex", []string{"esjson", "index", "store", "search"}},
	{"security", []string{"esjson", "privilege", "store"}},
	{"watcher", []string{"esjson", "store"}},
	{".", []string{"esjson", "analysis", "privilege", "store", "search", "reindex", "security", "watcher"}},
}

func TestArrowsRunOneWay(t *testing.T) {
	t.Parallel()
	const root = "eslink/localtest/fakes/elastic/"
	known := []string{"elastictest"}
	for n, one := range layers {
		known = append(known, one.name)
		for _, below := range one.may {
			assert.True(t, slices.ContainsFunc(layers[:n], func(l layer) bool { return l.name == below }), "%s may not import %s, which is not below it", one.name, below)
		}
		files, err := filepath.Glob(filepath.Join(one.name, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files, one.name)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				if name, ok := strings.CutPrefix(path, root); ok {
					assert.Contains(t, one.may, name, "%s imports %s", file, name)
				} else {
					assert.False(t, strings.HasPrefix(path, "eslink/"), "%s imports %s", file, path)
				}
			}
		}
	}
	folders, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, f := range folders {
		if f.IsDir() {
			assert.Contains(t, known, f.Name(), "a package without a layer")
		}
	}
}
