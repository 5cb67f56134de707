package world

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/run"
)

// deployed runs do over a world whose functions are processes, and whose clock
// is fast. In the end no process may be left.
func deployed(t *testing.T, c Config, do func(t *testing.T, d *Deployment)) {
	t.Helper()
	c.Root, c.Clock = "../..", runtime.Clock{Epoch: time.Now(), Rate: 60}
	w, err := New(c)
	require.NoError(t, err)
	require.NoError(t, w.SeedProducts(""))
	for _, in := range w.Clusters.Instances() {
		w.Clusters.SetRestart(in.ID, 2*time.Minute)
	}
	d, err := Deploy(t.Context(), w, t.Output())
	require.NoError(t, err)
	defer d.Close()
	do(t, d)
	d.Close()
	require.Empty(t, children(t, d), "processes are left")
}

// children lists the executables of this process's children that are functions
// of the deployment: other tests have theirs.
func children(t *testing.T, d *Deployment) (found []string) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])) // state, parent, …
		if exe := filepath.Dir(name) + "/exe"; fields[1] == fmt.Sprint(os.Getpid()) && fields[0] != "Z" {
			environment, _ := os.ReadFile(filepath.Dir(name) + "/environ") // as above
			if path, _ := os.Readlink(exe); bytes.Contains(environment, []byte("ESLINK_ENDPOINT_MNS="+d.Endpoints["mns"]+"\x00")) {
				found = append(found, path)
			}
		}
	}
	return found
}

// ask sends a request to a function, as `s invoke` does, until there is a reply:
// a function that is killed meanwhile gives none, one without its table a
// problem.
func ask(t *testing.T, d *Deployment, function string, request, into any) {
	t.Helper()
	payload, err := json.Marshal(request)
	require.NoError(t, err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		result, err := d.Platform.Invoke(t.Context(), function, payload)
		if err == nil {
			err = result.Err()
		}
		var p events.Problem
		if err == nil && json.Unmarshal(result.Body, &p) == nil && p.Type != "" {
			err = &p
		}
		if err == nil {
			require.NoError(t, json.Unmarshal(result.Body, into), string(result.Body))
			return
		}
		require.True(t, time.Now().Before(end), "%s: %v", function, err)
	}
}

// comes waits until a run is at rest, as want.
func comes(t *testing.T, d *Deployment, id string, want run.Status) {
	t.Helper()
	for end := time.Now().Add(4 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		var v api.View
		ask(t, d, "eslink-status", map[string]string{"runId": id}, &v)
		if v.Status != run.Running {
			require.Equal(t, want, v.Status, "%s: %s", v.Step, v.Reason)
			return
		}
		require.True(t, time.Now().Before(end), "still at %s: %s", v.Step, v.Reason)
	}
}

// TestDeploymentSurvives walks up and down with the compiled functions, over
// HTTPS and several zones, while functions are killed at random moments of their
// work, events come thrice at once, and the table is away for two minutes.
func TestDeploymentSurvives(t *testing.T) {
	t.Parallel()
	c := Config{Zones: 2, Alter: func(in *escluster.Instance) { in.Protocol = "HTTPS" }}
	deployed(t, c, func(t *testing.T, d *Deployment) {
		var mu sync.Mutex
		seen, dice := 0, rand.New(rand.NewPCG(1, 2))
		var killed, refused atomic.Int32
		d.Events.Before = func(e runtime.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if seen++; e.Queue != "" && seen%4 == 0 {
				time.AfterFunc(time.Duration(dice.IntN(100))*time.Millisecond, func() { killed.Add(int32(d.Platform.Kill(e.Function))) })
			}
		}
		d.Events.Fault = func(e runtime.Delivery) (f runtime.Fault) {
			mu.Lock()
			defer mu.Unlock()
			if e.Queue != "" && dice.IntN(5) == 0 {
				f.Copies = 2
			}
			return f
		}
		var back atomic.Pointer[time.Time] // when the table is there again
		d.Account.SetFault(func(c cloud.Call) (f cloud.Fault) {
			if c.Action == "CreateVpcEndpointService" {
				until := d.Clock.Now().Add(2 * time.Minute)
				back.CompareAndSwap(nil, &until)
			}
			if until := back.Load(); c.Product == "tablestore" && until != nil && d.Clock.Now().Before(*until) {
				refused.Add(1)
				f.Before = &cloud.Error{Status: 503, Code: "OTSServerUnavailable", Message: "Server is not available."}
			}
			return f
		})
		d.Run()
		spec := d.Spec()
		spec.Target.Protocol, spec.Target.TLS = "https", "certificate"
		var reply api.Reply
		ask(t, d, "eslink-runs", events.Request{Action: "start", Spec: &spec}, &reply)
		comes(t, d, reply.RunID, run.Done)
		s := sim{Simulation: &Simulation{World: d.World}, id: reply.RunID}
		s.stands(t)
		require.NotEmpty(t, children(t, d), "what would be found if any were left")
		require.Equal(t, "certificate", s.instance(Instance).Config["reindex.ssl.verification_mode"])
		ask(t, d, "eslink-runs", events.Request{Action: "teardown", RunID: reply.RunID}, &reply)
		comes(t, d, reply.RunID, run.Removed)
		s.removed(t)
		require.NotContains(t, s.instance(Instance).Config, "reindex.ssl.verification_mode")
		t.Log(killed.Load(), "processes killed,", refused.Load(), "calls of the table refused")
		require.Greater(t, killed.Load(), int32(5))
		require.Positive(t, refused.Load())
		discreet(t, d)
	})
}

// discreet proves that the log of calls holds no secret, and has URLs as HAR
// wants them.
func discreet(t *testing.T, d *Deployment) {
	t.Helper()
	var har bytes.Buffer
	require.NoError(t, cloud.WriteHAR(&har, d.Account.Exchanges()))
	secrets := []string{InstancePassword, TargetPassword, d.Account.RootKey().AccessKeySecret, "STS.N", "CAIS"}
	for _, secret := range secrets {
		require.NotContains(t, har.String(), secret)
	}
	for _, e := range d.Account.Exchanges() {
		u, err := url.Parse(e.URL)
		require.NoError(t, err)
		require.True(t, u.IsAbs(), e.URL)
	}
}
