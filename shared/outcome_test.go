package shared_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An Outcome and an error are never returned together: a reader would have to
// know which of the two counts.
func TestOutcomesComeWithoutError(t *testing.T) {
	t.Parallel()
	outcomes := []string{"Done", "DoneWithDifferences", "Wait", "Waitf", "Soon", "Back", "Ask"}
	seen := 0
	require.NoError(t, filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, file, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			ret, ok := n.(*ast.ReturnStmt)
			if !ok || len(ret.Results) != 2 {
				return true
			}
			call, ok := ret.Results[0].(*ast.CallExpr)
			if !ok {
				return true
			}
			of, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := of.X.(*ast.Ident); !ok || pkg.Name != "engine" || !slices.Contains(outcomes, of.Sel.Name) {
				return true
			}
			seen++
			_, isCall := ret.Results[1].(*ast.CallExpr)
			second, isName := ret.Results[1].(*ast.Ident)
			assert.False(t, isCall || isName && second.Name == "err", "%s: engine.%s is returned together with an error", files.Position(ret.Pos()), of.Sel.Name)
			return true
		})
		return nil
	}))
	require.Greater(t, seen, 100, "the steps are here")
}
