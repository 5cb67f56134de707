package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/runtime"
	"eslink/localtest/world"
)

// served keeps a local cloud up for a test, as serve does, and returns the
// command eslink that finds it.
func served(t *testing.T, rate float64) (*world.Deployment, command) {
	t.Helper()
	local, err := world.New(world.Config{Clock: runtime.Clock{Epoch: time.Now(), Rate: rate}, Root: "../.."})
	require.NoError(t, err)
	require.NoError(t, local.SeedProducts(""))
	for _, in := range local.Clusters.Instances() {
		local.Clusters.SetRestart(in.ID, restart)
	}
	d, err := world.Deploy(t.Context(), local, t.Output())
	require.NoError(t, err)
	t.Cleanup(d.Close)
	d.Run()
	cache := t.TempDir()
	key, err := guest(d)
	require.NoError(t, err)
	_, err = announce(d, key, cache)
	require.NoError(t, err)

	binary := filepath.Join(t.TempDir(), "eslink")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../shared/eslink").CombinedOutput()
	require.NoError(t, err, string(built))
	return d, command{binary, t.TempDir(), append(os.Environ(), "XDG_CACHE_HOME="+cache)}
}

// command is the command eslink in a directory of its own.
type command struct {
	binary, dir string
	environment []string
}

func (c command) prepare(t *testing.T, stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), c.binary, append(args, "--local")...)
	cmd.Dir, cmd.Stdin, cmd.Env = c.dir, strings.NewReader(stdin), c.environment
	return cmd
}

func (c command) run(t *testing.T, stdin string, args ...string) (out string, code int) {
	t.Helper()
	cmd := c.prepare(t, stdin, args...)
	raw, _ := cmd.CombinedOutput()
	return string(raw), cmd.ProcessState.ExitCode()
}

// TestALifeByCommands is what README tells a person to type, from a spec to its
// removal.
func TestALifeByCommands(t *testing.T) {
	t.Parallel()
	d, eslink := served(t, 300)
	ok := func(want int, says []string, stdin string, args ...string) {
		t.Helper()
		out, code := eslink.run(t, stdin, args...)
		require.Equal(t, want, code, "eslink %v: %s", args, out)
		for _, part := range says {
			require.Contains(t, out, part, "eslink %v", args)
		}
	}
	ok(0, []string{"wrote  es-to-es.yaml"}, "", "init", "es-to-es")
	ok(0, []string{"is a valid spec"}, "", "validate", "-f", "es-to-es.yaml")
	ok(0, []string{"status      planned", "restarts  the cluster", "CNY"}, "", "plan", "-f", "es-to-es.yaml")
	require.Empty(t, d.Left(), "a plan makes nothing")
	ok(4, []string{"approve"}, "", "start", "-f", "es-to-es.yaml", "--watch")
	ok(1, []string{"not approved"}, "no\n", "approve", "orders")
	require.Empty(t, d.Left(), "nothing is made before approval")
	ok(0, []string{"✓ verify", "status      done"}, "yes\n", "approve", "orders", "--watch")
	ok(0, []string{"✓ link", "✓ operation"}, "", "check", "orders")
	ok(0, []string{"no difference found", "content"}, "", "diff", "orders")
	ok(0, []string{"orders", "done"}, "", "status")
	ok(0, []string{`"status": "done"`}, "", "status", "orders", "-o", "json")
	ok(1, []string{"what to do:"}, "", "retry", "orders")
	ok(4, []string{"changes   reindex.remote.whitelist"}, "", "teardown", "orders", "--watch")
	ok(0, []string{"status      removed"}, "", "approve", "orders", "--yes", "--watch")
	require.Empty(t, d.Left(), "what is left of ours")
	d.Close()
	ok(1, []string{"does not answer"}, "", "status")
}
