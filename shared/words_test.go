package shared_test

import (
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/wordstest"
)

// pending are the folders whose words are still being changed.
var pending = []string{}

// Comments and texts of the whole module are in plain words; see wordstest for
// what is refused and what to say instead. Reasons, problems and remedies are
// checked as they are produced, too: by stepstest and by the tests of whole runs.
func TestWordsArePlain(t *testing.T) {
	t.Parallel()
	texts := 0
	require.NoError(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", ".build", "testdata", "wordstest", "node_modules"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(file, root)))
		if !strings.HasSuffix(file, ".go") || slices.ContainsFunc(pending, func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") }) {
			return nil
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		if _, err := parser.ParseFile(files, file, src, parser.PackageClauseOnly); err != nil {
			return err
		}
		var s scanner.Scanner
		at := files.AddFile(file+" ", -1, len(src))
		s.Init(at, src, nil, scanner.ScanComments)
		for {
			pos, tok, lit := s.Scan()
			if tok == token.EOF {
				return nil
			}
			if tok == token.COMMENT || tok == token.STRING {
				texts++
				if word := wordstest.Refuse(strings.Join(strings.Fields(strings.ReplaceAll(lit, "//", " ")), " ")); word != "" {
					assert.Fail(t, "not plain: "+word, "%s: %s", files.Position(pos), lit)
				}
			}
		}
	}))
	require.Greater(t, texts, 3000, "the module is here")
}
