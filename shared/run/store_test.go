package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/facts"
	"eslink/shared/run"
)

var errNoReply = errors.New("no reply")

// flaky is a driver that loses replies: of the next lose writes the effect
// stays and the reply does not come.
type flaky struct {
	run.Mem
	lose int
}

func (f *flaky) Put(ctx context.Context, key run.Key, row run.Row, expect int64) error {
	err := f.Mem.Put(ctx, key, row, expect)
	if err == nil && f.lose > 0 {
		f.lose--
		return errNoReply
	}
	return err
}

type world struct {
	run.Store
	driver *flaky
	clock  time.Time
}

func open() *world {
	w := &world{driver: &flaky{}, clock: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	w.Store = run.Store{Driver: w.driver, Now: func() time.Time { return w.clock }}
	return w
}

const id = "fd5dc36da1e3cf09"

var record = run.Key{Kind: "run/" + id, ID: "record"}

func (w *world) create(t *testing.T) *run.Run {
	r := &run.Run{ID: id, Generation: 1, Status: run.Running, Cursor: run.Cursor{Step: "preflight", Seq: 1}}
	require.NoError(t, w.Create(t.Context(), r))
	return r
}

func TestCreateHappensOnce(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	assert.ErrorIs(t, w.Create(t.Context(), &run.Run{ID: id}), run.ErrConflict)
	_, err := w.Get(t.Context(), "0000000000000000")
	assert.ErrorIs(t, err, run.ErrNotFound)
	_, err = w.Acquire(t.Context(), "0000000000000000")
	assert.ErrorIs(t, err, run.ErrNotFound)
}

func TestALeaseKeepsOthersOutUntilItEnds(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	first, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	var held *run.HeldError
	_, err = w.Acquire(t.Context(), id)
	require.ErrorAs(t, err, &held)
	assert.Equal(t, w.clock.Add(run.DefaultLease), held.Until)
	assert.Equal(t, held.Until, first.HeldUntil())

	w.clock = w.clock.Add(run.DefaultLease)
	second, err := w.Acquire(t.Context(), id)
	require.NoError(t, err, "the lease has ended, its holder may be dead")
	first.Cursor.Step = "survey"
	assert.ErrorIs(t, w.SaveAndRelease(t.Context(), first), run.ErrConflict, "whoever comes late changes nothing")
	second.Cursor.Step = "plan"
	require.NoError(t, w.Save(t.Context(), second))
	_, err = w.Acquire(t.Context(), id)
	assert.ErrorAs(t, err, &held, "Save keeps the lease")
	require.NoError(t, w.SaveAndRelease(t.Context(), second))
	third, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, "plan", third.Cursor.Step)
	assert.Equal(t, second.Rev()+1, third.Rev())
}

func TestOfAllWhoAcquireOneWins(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	var wg sync.WaitGroup
	won := make(chan *run.Run, 16)
	for range cap(won) {
		wg.Go(func() {
			r, err := w.Acquire(t.Context(), id)
			var held *run.HeldError
			if err == nil {
				won <- r
			} else {
				assert.ErrorAs(t, err, &held)
			}
		})
	}
	wg.Wait()
	assert.Len(t, won, 1)
}

// A lost reply looks like a failure, and must be safe to meet again.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	w.driver.lose = 1
	_, err := w.Acquire(t.Context(), id)
	require.ErrorIs(t, err, errNoReply)
	var held *run.HeldError
	_, err = w.Acquire(t.Context(), id)
	require.ErrorAs(t, err, &held, "the lease is taken, by an invocation that does not know it")
	w.clock = held.Until

	r, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	r.Cursor.Seq = 2
	w.driver.lose = 1
	require.ErrorIs(t, w.SaveAndRelease(t.Context(), r), errNoReply)
	require.NoError(t, w.SaveAndRelease(t.Context(), r), "the same write again is the same success")
	r, err = w.Acquire(t.Context(), id)
	require.NoError(t, err)
	assert.EqualValues(t, 2, r.Cursor.Seq)

	w.driver.lose = 1
	require.ErrorIs(t, w.Lock(t.Context(), "accept", id, time.Minute), errNoReply)
	assert.ErrorAs(t, w.Lock(t.Context(), "accept", "other", time.Minute), &held)
	assert.NoError(t, w.Lock(t.Context(), "accept", id, time.Minute))
	w.driver.lose = 1
	require.ErrorIs(t, w.Unlock(t.Context(), "accept", id), errNoReply)
	assert.NoError(t, w.Unlock(t.Context(), "accept", id))
	assert.NoError(t, w.Lock(t.Context(), "accept", "other", time.Minute))

	w.driver.lose = 1
	require.ErrorIs(t, w.PutPart(t.Context(), id, "ids/0/0", []int{1}), errNoReply)
	require.NoError(t, w.PutPart(t.Context(), id, "ids/0/0", []int{2}))
	var got []int
	require.NoError(t, w.GetPart(t.Context(), id, "ids/0/0", &got))
	assert.Equal(t, []int{2}, got)
}

func TestLocks(t *testing.T) {
	t.Parallel()
	w := open()
	ctx := t.Context()
	var held *run.HeldError
	require.NoError(t, w.Lock(ctx, "esconfig/es-cn-1", "a", time.Minute))
	require.ErrorAs(t, w.Lock(ctx, "esconfig/es-cn-1", "b", time.Minute), &held)
	assert.Equal(t, "esconfig/es-cn-1 is held by a until 2026-03-02T09:01:00Z; place 1 in the queue", held.Error())
	require.NoError(t, w.Lock(ctx, "esconfig/es-cn-2", "b", time.Minute), "another lock")
	require.NoError(t, w.Unlock(ctx, "esconfig/es-cn-1", "b"), "what b does not have b cannot give up")
	require.ErrorAs(t, w.Lock(ctx, "esconfig/es-cn-1", "b", time.Minute), &held)
	w.clock = w.clock.Add(30 * time.Second)
	require.NoError(t, w.Lock(ctx, "esconfig/es-cn-1", "a", time.Minute), "its holder renews it")
	w.clock = w.clock.Add(time.Minute)
	require.NoError(t, w.Lock(ctx, "esconfig/es-cn-1", "b", 0), "it has ended")
	w.clock = w.clock.AddDate(9, 0, 0)
	require.ErrorAs(t, w.Lock(ctx, "esconfig/es-cn-1", "a", time.Minute), &held, "a lock without an end has none")
	require.NoError(t, w.Unlock(ctx, "esconfig/es-cn-1", "b"))
	require.NoError(t, w.Lock(ctx, "esconfig/es-cn-1", "a", time.Minute))
	assert.NoError(t, w.Unlock(ctx, "never taken", "a"))
}

func TestOfAllWhoLockOneWins(t *testing.T) {
	t.Parallel()
	w := open()
	var wg sync.WaitGroup
	won := make(chan string, 16)
	for i := range cap(won) {
		wg.Go(func() {
			holder := fmt.Sprint(i)
			var held *run.HeldError
			if err := w.Lock(t.Context(), "accept", holder, time.Minute); err == nil {
				won <- holder
			} else {
				assert.ErrorAs(t, err, &held)
			}
		})
	}
	wg.Wait()
	assert.Len(t, won, 1)
}

func TestPartsAreRowsOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	for i := range 250 {
		require.NoError(t, w.PutPart(t.Context(), id, fmt.Sprintf("ids/0/%d", i), i))
	}
	require.NoError(t, w.PutPart(t.Context(), "0123456789abcdef", "ids/0/0", "another run's"))
	var n int
	require.NoError(t, w.GetPart(t.Context(), id, "ids/0/249", &n))
	assert.Equal(t, 249, n)
	require.NoError(t, w.DeleteParts(t.Context(), id))
	assert.ErrorIs(t, w.GetPart(t.Context(), id, "ids/0/249", &n), run.ErrNotFound)
	var s string
	assert.NoError(t, w.GetPart(t.Context(), "0123456789abcdef", "ids/0/0", &s))
	_, err := w.Get(t.Context(), id)
	assert.NoError(t, err, "the record is no part")
	assert.NoError(t, w.DeleteParts(t.Context(), id), "again")
}

func TestListHasAllRuns(t *testing.T) {
	t.Parallel()
	w := open()
	for i := range 205 {
		require.NoError(t, w.Create(t.Context(), &run.Run{ID: fmt.Sprintf("%016x", i)}))
	}
	require.NoError(t, w.Lock(t.Context(), "accept", "a", 0))
	all, err := w.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 205)
	assert.Equal(t, fmt.Sprintf("%016x", 204), all[204].ID)
}

// full is a run with something in every field.
func full() *run.Run {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	perSecond := 500.0
	cluster := facts.Cluster{InstanceID: "es-cn-dst000000001", Domain: "d", Endpoints: []string{"e"}, Port: 9200, Protocol: "http", Version: "7.10.0_with_X-Pack", VpcID: "vpc", VSwitchID: "vsw", ZoneIDs: []string{"z"}}
	host := &facts.ECSHost{InstanceID: "i-1", PrivateIP: "10.0.0.9", VpcID: "vpc", VSwitchID: "vsw", ZoneID: "z", SecurityGroups: []string{"sg-1"}}
	destination := []facts.DestinationIndex{{Name: "dest", Created: true, UUID: "u", Creating: true, Before: 1, Load: "set"}}
	r := &run.Run{ID: id, Generation: 2, AccountID: "1234567890123456", Direction: run.Down, Status: run.Failed,
		Spec: events.Spec{Name: "orders", Scenario: "es-to-es", Region: "cn-hangzhou", Zone: "cn-hangzhou-i", InstanceID: "es-cn-dst000000001",
			Target:  events.Target{InstanceID: "es-cn-src000000002", ECSInstanceID: "i-1", PrivateIP: "10.0.0.9", Port: 9200, Protocol: "https", TLS: "certificate"},
			Secrets: events.Secrets{Instance: "eslink/es1", Target: "eslink/es2-reader"},
			UseCases: []events.UseCase{
				{Kind: "watcher", Port: 8080, Protocol: "http", Watcher: &events.Webhook{Path: "/", Method: "post", Body: "b"}},
				{Kind: "ldap", Port: 389, Protocol: "ldap", LDAP: &events.Directory{Realm: "ldap1", Order: 2, UserDNTemplates: []string{"cn={0}"}, BindDN: "cn=a", BindSecret: "eslink/b",
					UserSearch: &events.Search{BaseDN: "dc=x", Filter: "(a=b)"}, GroupSearch: &events.Search{BaseDN: "dc=y"}, UnmappedGroupsAsRoles: true,
					RoleMappings: []events.RoleMapping{{Groups: []string{"cn=g"}, Roles: []string{"r"}}}, UserSecret: "eslink/u"}},
				{Kind: "active-directory", Port: 636, Protocol: "ldaps", ActiveDirectory: &events.Directory{Realm: "ad1", DomainName: "a.org", UserSecret: "eslink/u"}},
				{Kind: "dictionary", Port: 80, Protocol: "http", Plugin: &events.Plugin{Setting: "a.b", Path: "/", Analyzer: "ik_smart", Word: "w"}},
			},
			Whitelist: &events.Whitelist{Mode: "Cover", IPs: []string{"10.0.0.1"}, Group: "g"},
			Indices: []events.Index{{Source: "product_info", Dest: "dest", Existing: "refuse", Query: json.RawMessage(`{"match_all":{}}`),
				Destination: events.Destination{Settings: json.RawMessage(`{"number_of_shards":5}`), Mappings: json.RawMessage(`"source"`), Aliases: "none"}},
				{Include: events.Patterns{"logs-*"}, Exclude: events.Patterns{"logs-debug"}, Rename: &events.Rename{From: "logs-(.*)", To: "old-$1"}}},
			Reindex: events.Reindex{SocketTimeout: "30s", ConnectTimeout: "10s", Size: 1000, Conflicts: "abort", RequestsPerSecond: &perSecond, Tasks: 2},
			Approve: "manual", AcceptRisks: []string{"single-node"}, Proof: "ids"},
		Cursor:   run.Cursor{Step: "nlb", Seq: 7, Sent: 6, Since: at, WakeAt: at, Reason: "waits", Attempt: 3},
		PlanOnly: true, KeepConfig: true, DeleteDestination: true, Restore: true, Owns: true, Cancelling: "progress", KeepCopying: true, Approved: "0c5f1d7a9b3e2846",
		Plan: &run.Plan{ID: "0c5f1d7a9b3e2846", Creates: []string{"an NLB"}, Difference: []run.Change{{Key: "reindex.remote.whitelist", Before: "", After: "{endpoint}:9200"}},
			Restart: run.Restart{Needed: true, Seconds: 600}, Cost: run.Cost{Currency: "CNY", PerHour: 0.2, PerMonth: 144, Note: "without traffic"}},
		Timeline:          []run.Entry{{At: at, Step: "nlb", What: "waiting", Reason: "waits", Count: 2, First: at, By: "eslink-runs request 1"}},
		Problem:           events.NewProblem(409, "findings", "no", events.Finding{Field: "zone", Message: "m", Remedy: "r", Risk: "single-node"}),
		RequestsPerSecond: &perSecond, Tokens: map[string]int{"nlb": 1}, CreatedAt: at,
		Facts: facts.Facts{
			Preflight:         &facts.Preflight{Instance: cluster, Target: cluster, ECS: host, Zone: "z", VSwitches: []facts.VSwitch{{VSwitchID: "vsw", ZoneID: "z", CIDR: "10.0.0.0/24"}}},
			Survey:            &facts.Survey{Version: "7.10.0", Indices: []facts.SurveyedIndex{{Source: "product_info", Dest: "dest", Documents: 6, Total: 7, Bytes: 8, MaxSeqNo: 9, ShardSeqNos: []int64{9, 8}, Refresh: "30s", State: "u/9", Analyzers: []string{"ik_smart"}, Aliases: []string{"products"}}}, Chosen: []facts.Chosen{{Entry: 1, Source: "logs-1", Dest: "old-1"}}, Passed: []string{"closed index logs-2"}},
			NLB:               &facts.NLB{ID: "nlb-1", LocalAddresses: []string{"10.0.0.5"}, Asked: at},
			IPWhitelist:       &facts.IPWhitelist{Group: "eslink", Addresses: []string{"10.0.0.5"}},
			NLBBackend:        &facts.NLBBackend{ServerGroupID: "sgp-1", ListenerID: "lsn-1", Servers: []string{"10.0.0.9"}, Job: &facts.Job{ID: "job-1", Token: "t"}, Asked: at},
			CLB:               &facts.CLB{ID: "lb-1", Address: "10.0.0.6", Spec: "slb.s1.small", Asked: at},
			Firewall:          &facts.Firewall{SecurityGroupID: "sg-1", Rules: []facts.FirewallRule{{ID: "sgr-1", Port: 8080, CIDR: "100.64.0.0/10"}}},
			CLBBackend:        &facts.CLBBackend{Ports: []facts.CLBPort{{Port: 8080, GroupID: "rsp-1"}}},
			EndpointService:   &facts.EndpointService{ID: "epsrv-1", Name: "n", Asked: at},
			PrivateConnection: &facts.PrivateConnection{EndpointID: "ep-1", Domain: "d", Asked: at},
			Accept:            &facts.Accept{Domain: "d", OwnerID: "1", Asked: at},
			Configure:         &facts.Configure{Entry: "d:9200", Added: true, Keys: []string{"k"}, WroteAt: at, ChangeID: "c", Writes: 1, Unlike: at, Failing: at},
			Dictionary:        &facts.Dictionary{Analyzer: "ik_smart", Word: "w", Before: []string{"v"}},
			Destination:       &facts.DestinationFacts{Indices: destination, Earlier: destination},
			Reindex: &facts.Reindex{Parallel: 4, Rejected: []facts.RejectedDocuments{{Source: "product_info", Dest: "dest", Count: 7, Rows: 8}}, LeakedScrolls: []facts.LeakedScrolls{{Until: at, Count: 5}}, Tasks: []facts.Task{{Source: "product_info", Dest: "dest", Window: 1, From: 5, Below: 10, PerSecond: 50, NodesAtStart: "n@1", OpaqueID: "o", Attempt: 1, Intent: at, SourceState: "u/9", Retries: 1, NotBefore: at, Size: 500, ID: "n:1", StartedMS: 2,
				Result: &facts.TaskResult{Total: 1, Created: 2, Updated: 3, Deleted: 4, Noops: 5, VersionConflicts: 6, FailureCount: 7, FailureRows: 8}}}},
			Progress: &facts.Progress{Documents: 1, Total: 2, DocsPerSecond: 3, ETA: "4s", At: at, Indices: []facts.IndexProgress{{Dest: "dest", Documents: 1, Total: 2, DocsPerSecond: 3, ETA: "4s"}}},
			Digest:   &facts.Digest{Level: "ids", Walk: "w", Indices: []facts.IndexDigest{{Documents: 6, IDParts: 1, IDsDone: true, Level: "ids", Partitions: 2, Wanted: 1, Changed: true, Windows: []int64{4, 2}}}},
			Verify: &facts.Verify{Checks: []facts.Check{{Name: "link", OK: true, Detail: "d", Remedy: "r", Seconds: 0.1}}, Operated: []facts.Check{{Name: "link"}}, Probe: &facts.Probe{TaskID: "n:2", Since: at},
				Differences: []string{"d"}, Level: "ids", Next: 1, NextPart: 2,
				Indices: []facts.IndexProof{{Dest: "dest", Level: "ids", Documents: 6, Partitions: 2, Unequal: 1, Unlisted: 1, Differences: map[string]int{"missing": 1}, Other: 1, Late: 1, Parts: 1, Counted: true, Done: true}}},
			PrivateWhitelist: &facts.PrivateWhitelist{Group: "office", Added: []string{"10.0.0.1"}, Removed: []string{"10.0.0.2"}, Created: true, Deleted: true, IPs: []string{"10.0.0.3"},
				Pending: &facts.PendingWhitelist{Add: []string{"10.0.0.4"}, Remove: []string{"10.0.0.5"}, Create: true, Delete: true}},
		}}
	return r
}

// The stored form outlives releases: fields may be added, never renamed. What
// testdata/record.json holds must always be readable, and written again the
// same. If you have added a field, add it to full and to that file.
func TestTheStoredForm(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/record.json")
	require.NoError(t, err)
	w := open()
	require.NoError(t, w.Create(t.Context(), full()))
	row, err := w.driver.Get(t.Context(), record)
	require.NoError(t, err)
	assert.JSONEq(t, string(golden), string(row.Doc))

	old := open()
	require.NoError(t, old.driver.Mem.Put(t.Context(), record, run.Row{Rev: 1, Writer: "w", Doc: golden}, 0))
	r, err := old.Get(t.Context(), id)
	require.NoError(t, err)
	want, err := w.Get(t.Context(), id)
	require.NoError(t, err)
	wantJSON, _ := json.Marshal(want)
	gotJSON, _ := json.Marshal(r)
	assert.JSONEq(t, string(wantJSON), string(gotJSON))
	held, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	row, err = w.driver.Get(t.Context(), record)
	require.NoError(t, err)
	var lease struct{ Lease struct{ Until time.Time } }
	require.NoError(t, json.Unmarshal(row.Doc, &lease))
	assert.Equal(t, held.HeldUntil(), lease.Lease.Until)
}
