package stepstest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/steps/stepstest"
)

const (
	reads = "it only reads"
	azure = "on two other clouds; localtest/world crashes each of its writes in TestAzureCrashMatrix and has its bad days in TestAzureBadDays"
)

// without are the steps whose tests do not run BadDays, and why.
var without = map[string]string{
	"awsacceptance":  reads,
	"awspreflight":   reads,
	"awsverify":      reads,
	"azureapproval":  reads,
	"azuredns":       azure,
	"azureendpoint":  azure,
	"azurepreflight": reads,
	"azureprobe":     "a probe's effect is its report; it is deleted by the step that read it",
	"azureverify":    reads,
	"digest":         reads,
	"elasticaccess":  azure,
	"elasticpolicy":  azure,
	"elasticsurvey":  reads,
	"linkplan":       reads,
	"plan":           reads,
	"preflight":      reads,
	"progress":       "it follows what reindex began; copyjob's tests have the bad days of tasks",
	"reindex":        "copyjob's tests have the bad days of tasks",
	"survey":         reads,
	"verify":         reads,
	"zillizaddress":  reads,
	"zillizsurvey":   reads,
}

// Every step either runs all bad days or says here why not. The table itself is
// printed by
//
//	go test -v -run TestBadDays ./shared/steps/... | grep '^|'
func TestEveryStepThatWritesMeetsEveryBadDay(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("../*")
	require.NoError(t, err)
	require.Greater(t, len(dirs), 15)
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if name == "stepstest" || !isDir(dir) {
			continue
		}
		runs := false
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			runs = runs || strings.Contains(string(text), "stepstest.BadDays(t,")
		}
		require.NotEqual(t, runs, without[name] != "", "step %s either runs BadDays or has a reason not to, and not both", name)
	}
	require.Len(t, stepstest.Days(), 13)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
