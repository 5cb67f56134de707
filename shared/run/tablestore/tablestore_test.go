package tablestore_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	faketablestore "eslink/localtest/fakes/tablestore"
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
	"eslink/shared/run"
	"eslink/shared/run/runtest"
	"eslink/shared/run/tablestore"
)

const host = "eslink.cn-hangzhou.vpc.tablestore.aliyuncs.com"

type world struct {
	account *cloud.Account
	config  aliyun.Config
	driver  *tablestore.Driver
	ctx     context.Context
	root    *ots.TableStoreClient
}

// open makes an instance with the table as it is deployed, and a driver that
// calls it with a role that may do no more than it has to.
func open(t *testing.T) *world {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	account := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Now: func() time.Time { return now }, Seed: 1})
	require.NoError(t, account.AddRole("store", cloud.Policy{Version: "1", Statement: []cloud.Statement{{
		Effect: "Allow", Action: cloud.Strings{"ots:GetRow", "ots:PutRow", "ots:DeleteRow", "ots:GetRange"},
		Resource: cloud.Strings{"acs:ots:cn-hangzhou:1234567890123456:instance/eslink/table/runs"},
	}}}))
	store := faketablestore.New(account, "eslink")
	w := &world{account: account, config: aliyun.Config{
		Endpoint: func(string) (string, string) { return "https", host },
		Transport: cloud.Transport(func(h string) http.Handler {
			if h == host {
				return store
			}
			return nil
		}),
	}}
	w.driver = tablestore.New(w.config, "eslink", "runs")
	w.ctx = as(t.Context(), account.AssumeRole("store", now))

	root := account.RootKey()
	client := ots.NewClientWithConfig("https://"+host, "eslink", root.AccessKeyID, root.AccessKeySecret, "", &ots.TableStoreConfig{Transport: w.config.Transport})
	meta := &ots.TableMeta{TableName: "runs"}
	meta.AddPrimaryKeyColumn("kind", ots.PrimaryKeyType_STRING)
	meta.AddPrimaryKeyColumn("id", ots.PrimaryKeyType_STRING)
	_, err := client.CreateTable(&ots.CreateTableRequest{TableMeta: meta, TableOption: &ots.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &ots.ReservedThroughput{}})
	require.NoError(t, err)
	w.root = client
	now = now.Add(time.Minute) // it is ready then
	return w
}

func as(ctx context.Context, c cloud.Credentials) context.Context {
	fc := &fccontext.FcContext{AccountId: "1234567890123456"}
	fc.Credentials.AccessKeyId, fc.Credentials.AccessKeySecret, fc.Credentials.SecurityToken = c.AccessKeyID, c.AccessKeySecret, c.SecurityToken
	return fccontext.NewContext(ctx, fc)
}

func TestDriver(t *testing.T) {
	t.Parallel()
	runtest.Driver(t, func(t *testing.T) (func() context.Context, run.Driver) {
		w := open(t)
		t.Cleanup(func() { assert.Empty(t, w.account.Refusals()) })
		key := w.account.AssumeRole("store", w.account.Now())
		return func() context.Context { return as(t.Context(), key) }, w.driver
	})
}

var (
	theKey  = run.Key{Kind: "run", ID: "r1"}
	refusal = &cloud.Error{Status: http.StatusServiceUnavailable, Code: "OTSServerBusy", Message: "Server is busy."}
)

// on makes fault happen to the n-th call of an action.
func (w *world) on(action string, n int, fault cloud.Fault) {
	var mu sync.Mutex
	seen := 0
	w.account.SetFault(func(c cloud.Call) cloud.Fault {
		mu.Lock()
		defer mu.Unlock()
		if c.Action == action {
			if seen++; seen == n {
				return fault
			}
		}
		return cloud.Fault{}
	})
}

func (w *world) count(action string) (n int) {
	for _, x := range w.account.Exchanges() {
		if x.Action == action {
			n++
		}
	}
	return n
}

func TestLostReplyAfterTheWriteIsSuccess(t *testing.T) {
	t.Parallel()
	for name, expect := range map[string]int64{"create": 0, "update": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			if expect > 0 {
				require.NoError(t, w.driver.Put(w.ctx, theKey, run.Row{Rev: expect, Writer: "w0", Doc: []byte("{}")}, expect-1))
			}
			w.on("PutRow", 1, cloud.Fault{LoseReply: true})
			require.NoError(t, w.driver.Put(w.ctx, theKey, run.Row{Rev: expect + 1, Writer: "w1", Doc: []byte("{}")}, expect))
			got, err := w.driver.Get(w.ctx, theKey)
			require.NoError(t, err)
			assert.Equal(t, expect+1, got.Rev)
		})
	}
}

func TestLostReplyAndSomebodyElseWroteIsAConflict(t *testing.T) {
	t.Parallel()
	w := open(t)
	theirs := run.Row{Rev: 1, Writer: "they", Doc: []byte("{}")}
	require.NoError(t, w.driver.Put(w.ctx, theKey, theirs, 0))
	w.on("PutRow", 1, cloud.Fault{LoseReply: true})
	require.ErrorIs(t, w.driver.Put(w.ctx, theKey, run.Row{Rev: 1, Writer: "we", Doc: []byte("{}")}, 0), run.ErrConflict)
	got, err := w.driver.Get(w.ctx, theKey)
	require.NoError(t, err)
	assert.Equal(t, theirs, got)
}

func TestLostReplyOfADeleteIsSuccess(t *testing.T) {
	t.Parallel()
	w := open(t)
	require.NoError(t, w.driver.Put(w.ctx, theKey, run.Row{Rev: 1, Writer: "w", Doc: []byte("{}")}, 0))
	w.on("DeleteRow", 1, cloud.Fault{LoseReply: true})
	require.NoError(t, w.driver.Delete(w.ctx, theKey, 1))
}

func TestNoReplyAtAllIsForTheEngineToRetry(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{LoseReply: true} })
	err := w.driver.Put(w.ctx, theKey, run.Row{Rev: 1, Writer: "w", Doc: []byte("{}")}, 0)
	require.Error(t, err)
	assert.NotErrorIs(t, err, run.ErrConflict)
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err))
	assert.NotContains(t, err.Error(), "OTSConditionCheckFail")

	w.account.SetFault(nil)
	require.NoError(t, w.driver.Put(w.ctx, theKey, run.Row{Rev: 1, Writer: "w", Doc: []byte("{}")}, 0), "the same save again")
}

func TestBusyIsRetriedByTheEngineAlone(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{Before: refusal} })
	_, err := w.driver.Get(w.ctx, theKey)
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err))
	assert.Equal(t, "OTSServerBusy", apierr.CodeOf(err))
	assert.Equal(t, 1, w.count("GetRow"), "the SDK must not retry")
	assert.Equal(t, apierr.Retry, apierr.ClassOf(w.driver.Put(w.ctx, theKey, run.Row{Rev: 1, Writer: "w", Doc: []byte("{}")}, 0)))
	assert.Equal(t, 1, w.count("PutRow"), "a refusal leaves no doubt")
}

func TestTimeoutOfTheServiceLeavesDoubt(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.on("PutRow", 1, cloud.Fault{Before: &cloud.Error{Status: 503, Code: "OTSTimeout", Message: "Operation timeout."}})
	require.NoError(t, w.driver.Put(w.ctx, theKey, run.Row{Rev: 1, Writer: "w", Doc: []byte("{}")}, 0))
}

func TestWhatTheServiceRefusesIsForAPerson(t *testing.T) {
	t.Parallel()
	w := open(t)
	good := run.Row{Rev: 1, Writer: "w", Doc: []byte("{}")}
	for name, try := range map[string]struct {
		ctx    context.Context
		driver *tablestore.Driver
		row    run.Row
		key    run.Key
		code   string
	}{
		"no such table":    {w.ctx, tablestore.New(w.config, "eslink", "other"), good, theKey, "OTSNoPermissionAccess"},
		"another instance": {w.ctx, tablestore.New(w.config, "theirs", "runs"), good, theKey, "OTSAuthFailed"},
		"unknown key":      {as(t.Context(), cloud.Credentials{AccessKeyID: "STS.x", AccessKeySecret: "x", SecurityToken: "x"}), w.driver, good, theKey, "OTSAuthFailed"},
		"document too big": {w.ctx, w.driver, run.Row{Rev: 1, Writer: "w", Doc: []byte(strings.Repeat("x", 2<<20+1))}, theKey, "OTSParameterInvalid"},
		"id too long":      {w.ctx, w.driver, good, run.Key{Kind: "run", ID: strings.Repeat("x", 1025)}, "OTSParameterInvalid"},
	} {
		err := try.driver.Put(try.ctx, try.key, try.row, 0)
		assert.Equal(t, try.code, apierr.CodeOf(err), name)
		assert.Equal(t, apierr.Fatal, apierr.ClassOf(err), name)
	}
	_, err := w.driver.Get(t.Context(), theKey)
	assert.ErrorContains(t, err, "credentials")
}

func TestAMissingTableIsNotAMissingRow(t *testing.T) {
	t.Parallel()
	w := open(t)
	_, err := tablestore.New(w.config, "eslink", "other").Get(as(t.Context(), w.account.RootKey()), theKey)
	assert.NotErrorIs(t, err, run.ErrNotFound)
	assert.Equal(t, "OTSObjectNotExist", apierr.CodeOf(err))
}

// The SDK's zero condition would take a row without a rev for the right one.
func TestARowThatIsNotOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := open(t)
	foreign := &ots.PutRowChange{TableName: "runs", PrimaryKey: &ots.PrimaryKey{}}
	foreign.PrimaryKey.AddPrimaryKeyColumn("kind", theKey.Kind)
	foreign.PrimaryKey.AddPrimaryKeyColumn("id", theKey.ID)
	foreign.AddColumn("note", "made by hand")
	foreign.SetCondition(ots.RowExistenceExpectation_IGNORE)
	_, err := w.root.PutRow(&ots.PutRowRequest{PutRowChange: foreign})
	require.NoError(t, err)
	for _, expect := range []int64{0, 7} {
		assert.ErrorContains(t, w.driver.Put(w.ctx, theKey, run.Row{Rev: expect + 1, Writer: "w", Doc: []byte("{}")}, expect), "not one of eslink's")
	}
	assert.ErrorContains(t, w.driver.Delete(w.ctx, theKey, 7), "not one of eslink's")
	_, err = w.driver.Get(w.ctx, theKey)
	assert.ErrorContains(t, err, "not one of eslink's")
}

func TestACancelledInvocationDoesNotCall(t *testing.T) {
	t.Parallel()
	w := open(t)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	require.ErrorIs(t, w.driver.Put(ctx, theKey, run.Row{Rev: 1, Writer: "w", Doc: []byte("{}")}, 0), context.Canceled)
	assert.Zero(t, w.count("PutRow"))
}
