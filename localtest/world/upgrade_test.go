package world

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/deploy"
	"eslink/shared/run"
)

// TestUpgradeWhileARunIsUnderWay updates every function twice while a run
// goes up and down: just before an event is delivered, and while old instances
// still work. Another cloud's functions are removed meanwhile, with their queues
// and roles. Nothing is lost, and old and new have both worked.
func TestUpgradeWhileARunIsUnderWay(t *testing.T) {
	t.Parallel()
	deployed(t, Config{}, func(t *testing.T, d *Deployment) {
		// The next version is the same code elsewhere: the path tells which one runs.
		next := map[string]string{}
		at := t.TempDir()
		for _, f := range d.Project.Functions {
			next[f.Name] = filepath.Join(at, strings.TrimPrefix(f.Name, "eslink-"))
			duplicate(t, d.Platform.Binaries[f.Name], next[f.Name])
		}
		var mu sync.Mutex
		deliveries := map[string]int{}
		var updates, onNew atomic.Int32
		update := func(name string, binaries map[string]string) {
			f, ok := d.Project.Function(name)
			require.True(t, ok)
			require.NoError(t, d.Platform.Update(f, binaries[name]))
			updates.Add(1)
		}
		d.Events.Before = func(e runtime.Delivery) {
			mu.Lock()
			deliveries[e.Function]++
			n := deliveries[e.Function]
			mu.Unlock()
			for _, exe := range children(t, d) {
				if strings.HasPrefix(exe, at) {
					onNew.Add(1)
				}
			}
			switch n { // the second event of a step meets new code, the fourth the old one again
			case 2:
				update(e.Function, next)
			case 4:
				update(e.Function, d.Platform.Binaries)
			}
		}
		d.Events.Fault = func(e runtime.Delivery) runtime.Fault {
			return runtime.Fault{Copies: 1} // twice at once: an old instance may hold the lease that the new one wants
		}
		d.Run()
		spec := d.Spec()
		var reply api.Reply
		ask(t, d, "eslink-runs", events.Request{Action: "start", Spec: &spec}, &reply)
		azure := removal(t, d, deploy.Azure)
		comes(t, d, reply.RunID, run.Done)
		s := sim{Simulation: &Simulation{World: d.World}, id: reply.RunID}
		s.stands(t)
		update("eslink-runs", next)
		update("eslink-status", next)
		ask(t, d, "eslink-runs", events.Request{Action: "teardown", RunID: reply.RunID}, &reply)
		comes(t, d, reply.RunID, run.Removed)
		s.removed(t)
		t.Log(updates.Load(), "updates,", onNew.Load(), "times a new instance was seen,", azure, "changes took another cloud's functions away")
		require.Greater(t, updates.Load(), int32(15))
		require.Positive(t, onNew.Load())
		require.NotContains(t, d.Queues.Queues(), "eslink-azure-dns")
		require.Contains(t, d.Queues.Queues(), "eslink-nlb")
	})
}

// removal takes what one set of functions needs away, as down does.
func removal(t *testing.T, d *Deployment, set deploy.Set) (changes int) {
	t.Helper()
	target := deploy.Target{Region: Region, AccountID: AccountID, TableInstance: "eslink", Table: "eslink", LogProject: "eslink"}
	key := d.Account.RootKey()
	c, err := deploy.Connect(target, deploy.Key{ID: key.AccessKeyID, Secret: key.AccessKeySecret},
		deploy.Seam{Transport: http.RoundTripper(d.Transport()), MNS: d.Endpoints["mns"]})
	require.NoError(t, err)
	r, err := deploy.Read(target, set)
	require.NoError(t, err)
	require.NoError(t, r.Remove(t.Context(), c, target, false, false, func(string) { changes++ }))
	require.Positive(t, changes)
	return changes
}

func duplicate(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}
