package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/runtime"
	"eslink/shared/deploy"
)

const root = "../../"

// What is made from the table is as the table says, and nothing else is beside it.
func TestRenderedFilesAreUpToDate(t *testing.T) {
	t.Parallel()
	files, err := deploy.Render()
	require.NoError(t, err)
	for name, want := range files {
		got, err := os.ReadFile(root + name)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got), "%s: run go generate ./shared/deploy", name)
	}
	for _, pattern := range []string{"functions/*/*", "shared/deploy/*.yaml"} {
		there, err := filepath.Glob(root + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, there)
		for _, name := range there {
			name = filepath.ToSlash(strings.TrimPrefix(filepath.Clean(name), filepath.Clean(root)+string(filepath.Separator)))
			assert.Contains(t, files, name, "no line of the table says so")
		}
	}
}

// Each set's file has what the one of all has, so that each can be removed alone.
func TestSetsAreTheWhole(t *testing.T) {
	t.Parallel()
	load := func(files ...string) map[string]string {
		for i := range files {
			files[i] = root + files[i]
		}
		p, err := runtime.Load(variables, files...)
		require.NoError(t, err)
		out := map[string]string{}
		for _, f := range p.Functions {
			f.Code, f.Output = strings.TrimLeft(f.Code, "./"), strings.TrimLeft(f.Output, "./") // from their file's directory
			text, err := yaml.Marshal(f)
			require.NoError(t, err)
			out[f.Name] = string(text)
		}
		return out
	}
	var files []string
	for _, s := range deploy.Sets() {
		files = append(files, deploy.File(s))
	}
	assert.Equal(t, load(deploy.Files()...), load(slices.Clone(files)...))
	assert.Len(t, load(files...), len(deploy.Functions()))
}

// Only the scenarios of Alibaba Cloud Elasticsearch ask for networks.
func TestOtherSetsAskForNoNetwork(t *testing.T) {
	t.Parallel()
	for _, s := range deploy.Sets() {
		if s == deploy.Alibaba {
			continue
		}
		_, err := runtime.Load(func(name string) (string, bool) {
			if strings.Contains(name, "VPC") || strings.Contains(name, "VSWITCH") || strings.Contains(name, "SECURITY_GROUP") {
				return "", false
			}
			return variables(name)
		}, root+deploy.File(s))
		assert.NoError(t, err, s)
	}
}

// An account has 50 event streams a region, unless its quota is raised: s.yaml fits, and so does each other cloud beside
// what every scenario needs.
func TestStreamsFitTheQuota(t *testing.T) {
	t.Parallel()
	for _, s := range deploy.Sets() {
		streams := 0
		for _, f := range deploy.Of(deploy.Common, s) {
			if f.Step() {
				streams++
			}
		}
		assert.LessOrEqual(t, streams, 50, s)
	}
}
