package shared_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/flow"
)

// sources are the Go files of shared and events that are no tests, parsed, by
// package.
func sources(t *testing.T) map[string][]*ast.File {
	t.Helper()
	out := map[string][]*ast.File{}
	for pkg := range imports(t) {
		if pkg != "events" && !strings.HasPrefix(pkg, "shared/") || test(pkg) {
			continue
		}
		names, err := filepath.Glob(root + pkg + "/*.go")
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			out[pkg] = append(out[pkg], file)
		}
	}
	require.Greater(t, len(out), 40)
	return out
}

// What depends on a scenario is data of package flow: nobody else branches on a
// scenario's name. (The table of functions has a step of the same name as one.)
func TestFlowAloneKnowsScenarios(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, s := range flow.Scenarios() {
		names[s] = true
	}
	for pkg, files := range sources(t) {
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					text, err := strconv.Unquote(n.Value)
					assert.False(t, err == nil && names[text] && pkg != "shared/flow" && pkg != tool, "%s names %s", pkg, n.Value)
				case *ast.SelectorExpr:
					x, ok := n.X.(*ast.Ident)
					assert.False(t, ok && x.Name == "flow" && ast.IsExported(n.Sel.Name) && scenario(n.Sel.Name), "%s names flow.%s", pkg, n.Sel.Name)
				}
				return true
			})
		}
	}
}

// scenario reports whether an identifier of package flow is that of a scenario.
func scenario(name string) bool {
	for _, s := range flow.Scenarios() {
		if strings.EqualFold(strings.ReplaceAll(s, "-", ""), name) {
			return true
		}
	}
	return false
}

// partOwners are the steps that write the parts of one balancer. Everybody else
// reads facts.Link, which is the same for all.
var partOwners = map[string][]string{
	"NLB":         {"nlb", "ipwhitelist", "nlbbackend"},
	"IPWhitelist": {"ipwhitelist"},
	"NLBBackend":  {"nlbbackend"},
	"CLB":         {"clb", "clbbackend"},
	"Firewall":    {"firewall", "clbbackend"},
	"CLBBackend":  {"clbbackend"},
}

func TestABalancersFactsAreItsStepsOwn(t *testing.T) {
	t.Parallel()
	for pkg, files := range sources(t) {
		step := strings.TrimPrefix(pkg, "shared/steps/")
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				owners, ok := partOwners[sel.Sel.Name]
				if !ok || !ofFacts(sel.X) {
					return true
				}
				assert.True(t, pkg == "shared/facts" || slices.Contains(owners, step), "%s reads Facts.%s; facts.Link says what it needs", pkg, sel.Sel.Name)
				return true
			})
		}
	}
}

// ofFacts reports whether an expression is likely to be a run's facts: r.Facts or
// a variable f of it.
func ofFacts(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.SelectorExpr:
		return x.Sel.Name == "Facts"
	case *ast.Ident:
		return x.Name == "f" || x.Name == "facts"
	}
	return false
}
