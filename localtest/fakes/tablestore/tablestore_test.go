package tablestore_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/tablestore"
)

const theHost = "inst.cn-hangzhou.ots.aliyuncs.com"

type world struct {
	t       *testing.T
	account *cloud.Account
	store   *tablestore.Store
	*ots.TableStoreClient
}

// inBubble runs test in virtual time, with the table "t" (kind and id, both
// strings; three versions, no TTL) ready.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		account := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Seed: 1})
		w := &world{t: t, account: account, store: tablestore.New(account, "inst")}
		w.TableStoreClient = w.as(account.RootKey(), "inst")
		require.NoError(t, w.create("t", 3, -1))
		time.Sleep(30 * time.Second)
		test(t, w)
	})
}

func (w *world) as(c cloud.Credentials, instance string) *ots.TableStoreClient {
	transport := cloud.Transport(func(string) http.Handler { return w.store })
	return ots.NewClientWithConfig("https://"+theHost, instance, c.AccessKeyID, c.AccessKeySecret, c.SecurityToken, &ots.TableStoreConfig{Transport: transport})
}

func (w *world) create(name string, versions, ttl int) error {
	meta := &ots.TableMeta{TableName: name}
	meta.AddPrimaryKeyColumn("kind", ots.PrimaryKeyType_STRING)
	meta.AddPrimaryKeyColumn("id", ots.PrimaryKeyType_STRING)
	_, err := w.CreateTable(&ots.CreateTableRequest{
		TableMeta: meta, TableOption: &ots.TableOption{TimeToAlive: ttl, MaxVersion: versions}, ReservedThroughput: &ots.ReservedThroughput{},
	})
	return err
}

func pk(id string) *ots.PrimaryKey {
	key := &ots.PrimaryKey{}
	key.AddPrimaryKeyColumn("kind", "run")
	key.AddPrimaryKeyColumn("id", id)
	return key
}

func (w *world) put(id string, expect ots.RowExistenceExpectation, condition ots.ColumnFilter, columns map[string]any) error {
	c := &ots.PutRowChange{TableName: "t", PrimaryKey: pk(id)}
	for name, value := range columns {
		c.AddColumn(name, value)
	}
	c.SetCondition(expect)
	if condition != nil {
		c.SetColumnCondition(condition)
	}
	_, err := w.PutRow(&ots.PutRowRequest{PutRowChange: c})
	return err
}

func (w *world) update(id string, condition ots.ColumnFilter, change func(*ots.UpdateRowChange)) error {
	c := &ots.UpdateRowChange{TableName: "t", PrimaryKey: pk(id)}
	change(c)
	c.SetCondition(ots.RowExistenceExpectation_IGNORE)
	if condition != nil {
		c.SetColumnCondition(condition)
	}
	_, err := w.UpdateRow(&ots.UpdateRowRequest{UpdateRowChange: c})
	return err
}

// get returns each column's values, newest first; nil if there is no row.
func (w *world) get(id string, criteria ...func(*ots.SingleRowQueryCriteria)) map[string][]any {
	w.t.Helper()
	c := &ots.SingleRowQueryCriteria{TableName: "t", PrimaryKey: pk(id), MaxVersion: 10}
	for _, f := range criteria {
		f(c)
	}
	resp, err := w.GetRow(&ots.GetRowRequest{SingleRowQueryCriteria: c})
	require.NoError(w.t, err)
	if len(resp.PrimaryKey.PrimaryKeys) == 0 {
		return nil
	}
	out := map[string][]any{}
	for _, column := range resp.Columns {
		out[column.ColumnName] = append(out[column.ColumnName], column.Value)
	}
	return out
}

func refused(t *testing.T, err error, status int, code string, what ...any) {
	t.Helper()
	var e *ots.OtsError
	if assert.ErrorAs(t, err, &e, what...) {
		assert.Equal(t, code, e.Code, what...)
		assert.Equal(t, status, e.HttpStatusCode, what...)
		assert.NotEmpty(t, e.RequestId)
	}
}

func single(column string, comparator ots.ComparatorType, value any, filterIfMissing, latestOnly bool) *ots.SingleColumnCondition {
	c := ots.NewSingleColumnCondition(column, comparator, value)
	c.FilterIfMissing, c.LatestVersionOnly = filterIfMissing, latestOnly
	return c
}

const (
	ignore = ots.RowExistenceExpectation_IGNORE
	exist  = ots.RowExistenceExpectation_EXPECT_EXIST
	absent = ots.RowExistenceExpectation_EXPECT_NOT_EXIST
)

func TestRowExistence(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		refused(t, w.put("a", exist, nil, map[string]any{"x": int64(1)}), 403, "OTSConditionCheckFail")
		require.NoError(t, w.put("a", absent, nil, map[string]any{"x": int64(1)}))
		refused(t, w.put("a", absent, nil, map[string]any{"x": int64(2)}), 403, "OTSConditionCheckFail")
		require.NoError(t, w.put("a", exist, nil, map[string]any{"y": "2"}))
		assert.Equal(t, map[string][]any{"y": {"2"}}, w.get("a"), "a put replaces the row, older versions too")
		d := &ots.DeleteRowChange{TableName: "t", PrimaryKey: pk("a")}
		d.SetCondition(exist)
		_, err := w.DeleteRow(&ots.DeleteRowRequest{DeleteRowChange: d})
		require.NoError(t, err)
		assert.Nil(t, w.get("a"))
		_, err = w.DeleteRow(&ots.DeleteRowRequest{DeleteRowChange: d})
		refused(t, err, 403, "OTSConditionCheckFail")
	})
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		values := map[string]any{"i": int64(-5), "f": 1.5, "b": true, "s": "中文\x00", "raw": []byte{0, 1, 255}, "empty": ""}
		require.NoError(t, w.put("a", ignore, nil, values))
		for name, got := range w.get("a") {
			assert.Equal(t, []any{values[name]}, got)
		}
		assert.Equal(t, map[string][]any{"i": {int64(-5)}}, w.get("a", func(c *ots.SingleRowQueryCriteria) { c.ColumnsToGet = []string{"i", "none"} }))
	})
}

// The Go SDK's zero values let a condition pass where one would not expect it.
func TestColumnConditions(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.put("a", ignore, nil, map[string]any{"rev": int64(1), "s": "b"}))
		time.Sleep(time.Second)
		require.NoError(t, w.update("a", nil, func(c *ots.UpdateRowChange) { c.PutColumn("rev", int64(2)) }))
		require.Equal(t, []any{int64(2), int64(1)}, w.get("a")["rev"])
		and := func(lo ots.LogicalOperator, subs ...ots.ColumnFilter) *ots.CompositeColumnValueFilter {
			c := ots.NewCompositeColumnCondition(lo)
			for _, s := range subs {
				c.AddFilter(s)
			}
			return c
		}
		yes, no := single("s", ots.CT_EQUAL, "b", true, true), single("s", ots.CT_EQUAL, "x", true, true)
		for name, try := range map[string]struct {
			condition ots.ColumnFilter
			met       bool
		}{
			"equal":                                 {single("rev", ots.CT_EQUAL, int64(2), true, true), true},
			"not equal":                             {single("rev", ots.CT_NOT_EQUAL, int64(2), true, true), false},
			"greater":                               {single("rev", ots.CT_GREATER_THAN, int64(1), true, true), true},
			"greater or equal":                      {single("rev", ots.CT_GREATER_EQUAL, int64(3), true, true), false},
			"less":                                  {single("s", ots.CT_LESS_THAN, "c", true, true), true},
			"less or equal":                         {single("s", ots.CT_LESS_EQUAL, "a", true, true), false},
			"an old version, latest only":           {single("rev", ots.CT_EQUAL, int64(1), true, true), false},
			"an old version, any":                   {single("rev", ots.CT_EQUAL, int64(1), true, false), true},
			"a missing column, filtered if missing": {single("nope", ots.CT_EQUAL, int64(1), true, true), false},
			"a missing column, as the SDK defaults": {ots.NewSingleColumnCondition("nope", ots.CT_EQUAL, int64(1)), true},
			"and":                                   {and(ots.LO_AND, yes, no), false}, "or": {and(ots.LO_OR, no, yes), true}, "not": {and(ots.LO_NOT, no), true},
			"nested": {and(ots.LO_AND, yes, and(ots.LO_NOT, and(ots.LO_OR, no, no))), true},
		} {
			err := w.update("a", try.condition, func(c *ots.UpdateRowChange) { c.PutColumn("s", "b") })
			if try.met {
				assert.NoError(t, err, name)
			} else {
				refused(t, err, 403, "OTSConditionCheckFail", name)
			}
		}
		require.NoError(t, w.put("new", ignore, ots.NewSingleColumnCondition("rev", ots.CT_EQUAL, int64(1)), map[string]any{"x": "y"}), "no row at all, either")
		refused(t, w.put("newer", ignore, single("rev", ots.CT_EQUAL, int64(1), true, true), map[string]any{"x": "y"}), 403, "OTSConditionCheckFail")
		refused(t, w.put("newer", absent, yes, map[string]any{"x": "y"}), 400, "OTSParameterInvalid")
		refused(t, w.put("a", ignore, single("rev", ots.CT_EQUAL, "2", true, true), map[string]any{"x": "y"}), 400, "OTSParameterInvalid", "another type")
		eleven := and(ots.LO_AND)
		for range 11 {
			eleven.AddFilter(yes)
		}
		refused(t, w.put("a", ignore, eleven, map[string]any{"x": "y"}), 400, "OTSParameterInvalid", "11 conditions")
	})
}

func TestUpdateVersionsAndCounters(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range int64(5) {
			require.NoError(t, w.update("a", nil, func(c *ots.UpdateRowChange) { c.PutColumn("v", i); c.IncrementColumn("n", 10) }))
			time.Sleep(time.Second)
		}
		assert.Equal(t, map[string][]any{"v": {int64(4), int64(3), int64(2)}, "n": {int64(50), int64(40), int64(30)}}, w.get("a"), "three versions are kept")
		require.NoError(t, w.update("a", nil, func(c *ots.UpdateRowChange) { c.DeleteColumn("v") }))
		assert.Equal(t, []any{int64(50)}, w.get("a", func(c *ots.SingleRowQueryCriteria) { c.MaxVersion = 1 })["n"])
		assert.NotContains(t, w.get("a"), "v")
		refused(t, w.update("a", nil, func(c *ots.UpdateRowChange) { c.DeleteColumn("n") }), 400, "OTSUnsupportOperation", "a row without columns is a guess")
		require.NoError(t, w.update("a", nil, func(c *ots.UpdateRowChange) { c.PutColumn("s", "x") }))
		refused(t, w.update("a", nil, func(c *ots.UpdateRowChange) { c.IncrementColumn("s", 1) }), 400, "OTSParameterInvalid")
	})
}

// TTL counts from each cell's own timestamp, so that a row that is updated in
// part loses the rest.
func TestTTLTakesCells(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := w.UpdateTable(&ots.UpdateTableRequest{TableName: "t", TableOption: &ots.TableOption{TimeToAlive: 86400, MaxVersion: 1}})
		require.NoError(t, err)
		require.NoError(t, w.put("a", ignore, nil, map[string]any{"rev": int64(1), "doc": "{}"}))
		time.Sleep(20 * time.Hour)
		require.NoError(t, w.update("a", nil, func(c *ots.UpdateRowChange) { c.PutColumn("rev", int64(2)) }))
		time.Sleep(4 * time.Hour)
		assert.Equal(t, map[string][]any{"rev": {int64(2)}}, w.get("a"))
		time.Sleep(20 * time.Hour)
		assert.Nil(t, w.get("a"))
		require.NoError(t, w.put("a", absent, nil, map[string]any{"x": "y"}), "it does not exist any more")
	})
}

func TestRanges(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for _, id := range []string{"c", "a", "e", "b", "d"} {
			require.NoError(t, w.put(id, ignore, nil, map[string]any{"id": id, "even": id == "b" || id == "d"}))
		}
		lowest, highest := &ots.PrimaryKey{}, &ots.PrimaryKey{}
		for _, column := range []string{"kind", "id"} {
			lowest.AddPrimaryKeyColumnWithMinValue(column)
			highest.AddPrimaryKeyColumnWithMaxValue(column)
		}
		scan := func(from, to *ots.PrimaryKey, direction ots.Direction, limit int32, filter ots.ColumnFilter) (got []string, next string, err error) {
			resp, err := w.GetRange(&ots.GetRangeRequest{RangeRowQueryCriteria: &ots.RangeRowQueryCriteria{
				TableName: "t", StartPrimaryKey: from, EndPrimaryKey: to, Direction: direction, Limit: limit, MaxVersion: 1, Filter: filter,
			}})
			if err != nil {
				return nil, "", err
			}
			for _, r := range resp.Rows {
				got = append(got, r.PrimaryKey.PrimaryKeys[1].Value.(string))
			}
			if resp.NextStartPrimaryKey != nil {
				next = resp.NextStartPrimaryKey.PrimaryKeys[1].Value.(string)
			}
			return got, next, nil
		}
		for name, try := range map[string]struct {
			from, to  *ots.PrimaryKey
			direction ots.Direction
			limit     int32
			filter    ots.ColumnFilter
			want      []string
			next      string
		}{
			"all":                       {lowest, highest, ots.FORWARD, 0, nil, []string{"a", "b", "c", "d", "e"}, ""},
			"all backward":              {highest, lowest, ots.BACKWARD, 0, nil, []string{"e", "d", "c", "b", "a"}, ""},
			"first in, last out":        {pk("b"), pk("d"), ots.FORWARD, 0, nil, []string{"b", "c"}, ""},
			"backward, first in":        {pk("d"), pk("b"), ots.BACKWARD, 0, nil, []string{"d", "c"}, ""},
			"a page":                    {lowest, highest, ots.FORWARD, 2, nil, []string{"a", "b"}, "c"},
			"a page backward":           {highest, lowest, ots.BACKWARD, 2, nil, []string{"e", "d"}, "c"},
			"the last page":             {pk("d"), highest, ots.FORWARD, 2, nil, []string{"d", "e"}, ""},
			"filtered":                  {lowest, highest, ots.FORWARD, 0, single("even", ots.CT_EQUAL, true, true, true), []string{"b", "d"}, ""},
			"between keys that are not": {pk("aa"), pk("cc"), ots.FORWARD, 0, nil, []string{"b", "c"}, ""},
		} {
			got, next, err := scan(try.from, try.to, try.direction, try.limit, try.filter)
			require.NoError(t, err, name)
			assert.Equal(t, try.want, got, name)
			assert.Equal(t, try.next, next, name)
		}
		_, _, err := scan(highest, lowest, ots.FORWARD, 0, nil)
		refused(t, err, 400, "OTSParameterInvalid")

		big := strings.Repeat("x", 1_900_000)
		for _, id := range []string{"a", "b", "c"} {
			require.NoError(t, w.put(id, ignore, nil, map[string]any{"doc": big}))
		}
		got, next, err := scan(lowest, highest, ots.FORWARD, 0, nil)
		require.NoError(t, err)
		assert.Equal(t, []string{"a", "b"}, got, "4 MB a page")
		assert.Equal(t, "c", next)
	})
}

func TestLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.put(strings.Repeat("k", 1024), ignore, nil, map[string]any{"doc": strings.Repeat("x", 2<<20)}))
		refused(t, w.put(strings.Repeat("k", 1025), ignore, nil, map[string]any{"x": "y"}), 400, "OTSParameterInvalid")
		refused(t, w.put("a", ignore, nil, map[string]any{"doc": strings.Repeat("x", 2<<20+1)}), 400, "OTSParameterInvalid")
		refused(t, w.put("a", ignore, nil, map[string]any{"1": strings.Repeat("x", 2<<20), "2": strings.Repeat("x", 2<<20)}), 400, "OTSParameterInvalid", "over 4 MB")
		refused(t, w.put("a", ignore, nil, map[string]any{"x": "\xff"}), 400, "OTSParameterInvalid", "not UTF-8")
		short := &ots.PutRowChange{TableName: "t", PrimaryKey: &ots.PrimaryKey{}}
		short.PrimaryKey.AddPrimaryKeyColumn("kind", "run")
		short.SetCondition(ignore)
		short.AddColumn("x", "y")
		_, err := w.PutRow(&ots.PutRowRequest{PutRowChange: short})
		refused(t, err, 400, "OTSInvalidPK")
		short.PrimaryKey.AddPrimaryKeyColumn("id", int64(1))
		_, err = w.PutRow(&ots.PutRowRequest{PutRowChange: short})
		refused(t, err, 400, "OTSInvalidPK", "another type")
		old := &ots.PutRowChange{TableName: "t", PrimaryKey: pk("a")}
		old.SetCondition(ignore)
		old.AddColumnWithTimestamp("x", "y", time.Now().Add(-25*time.Hour).UnixMilli())
		_, err = w.PutRow(&ots.PutRowRequest{PutRowChange: old})
		refused(t, err, 400, "OTSParameterInvalid", "a timestamp off by more than a day")
		_, err = w.BatchWriteRow(&ots.BatchWriteRowRequest{})
		refused(t, err, 400, "OTSUnsupportOperation", "never a guess")
	})
}

func TestTables(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		refused(t, w.create("t", 1, -1), 409, "OTSObjectAlreadyExist")
		refused(t, w.create("a-b", 1, -1), 400, "OTSParameterInvalid")
		refused(t, w.create("u", 0, -1), 400, "OTSParameterInvalid")
		refused(t, w.create("u", 1, 3600), 400, "OTSParameterInvalid")
		require.NoError(t, w.create("u", 1, -1))
		_, err := w.GetRow(&ots.GetRowRequest{SingleRowQueryCriteria: &ots.SingleRowQueryCriteria{TableName: "u", PrimaryKey: pk("a"), MaxVersion: 1}})
		refused(t, err, 404, "OTSTableNotReady")
		time.Sleep(30 * time.Second)
		_, err = w.GetRow(&ots.GetRowRequest{SingleRowQueryCriteria: &ots.SingleRowQueryCriteria{TableName: "u", PrimaryKey: pk("a"), MaxVersion: 1}})
		require.NoError(t, err)
		listed, err := w.ListTable()
		require.NoError(t, err)
		assert.Equal(t, []string{"t", "u"}, listed.TableNames)
		described, err := w.DescribeTable(&ots.DescribeTableRequest{TableName: "t"})
		require.NoError(t, err)
		assert.Equal(t, 3, described.TableOption.MaxVersion)
		assert.Equal(t, -1, described.TableOption.TimeToAlive)
		require.Len(t, described.TableMeta.SchemaEntry, 2)
		assert.Equal(t, "id", *described.TableMeta.SchemaEntry[1].Name)
		_, err = w.DeleteTable(&ots.DeleteTableRequest{TableName: "u"})
		require.NoError(t, err)
		_, err = w.DescribeTable(&ots.DescribeTableRequest{TableName: "u"})
		refused(t, err, 404, "OTSObjectNotExist")
	})
}

func TestWhoMayCall(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.account.AddRole("reader", cloud.Policy{Version: "1", Statement: []cloud.Statement{{
			Effect: "Allow", Action: cloud.Strings{"ots:GetRow"}, Resource: cloud.Strings{"acs:ots:cn-hangzhou:1234567890123456:instance/inst/table/t"},
		}}}))
		reader := w.account.AssumeRole("reader", time.Now())
		w.TableStoreClient = w.as(reader, "inst")
		assert.Nil(t, w.get("a"))
		refused(t, w.put("a", ignore, nil, map[string]any{"x": "y"}), 403, "OTSNoPermissionAccess")
		for name, client := range map[string]*ots.TableStoreClient{
			"wrong secret":   w.as(cloud.Credentials{AccessKeyID: reader.AccessKeyID, AccessKeySecret: "wrong", SecurityToken: reader.SecurityToken}, "inst"),
			"unknown key":    w.as(cloud.Credentials{AccessKeyID: "nobody", AccessKeySecret: "x"}, "inst"),
			"no token":       w.as(cloud.Credentials{AccessKeyID: reader.AccessKeyID, AccessKeySecret: reader.AccessKeySecret}, "inst"),
			"other instance": w.as(w.account.RootKey(), "theirs"),
		} {
			_, err := client.ListTable()
			refused(t, err, 403, "OTSAuthFailed", name)
		}
	})
}

func TestBadRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		call := func(change func(*http.Request)) (int, string) {
			r := httptest.NewRequest(http.MethodPost, "/ListTable", bytes.NewReader(nil))
			for name, value := range map[string]string{
				"x-ots-date": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "x-ots-apiversion": "2015-12-31", "x-ots-accesskeyid": w.account.RootKey().AccessKeyID,
				"x-ots-contentmd5": "1B2M2Y8AsgTpgAmY7PhCfg==", "x-ots-instancename": "inst", "x-ots-signature": "wrong",
			} {
				r.Header.Set(name, value)
			}
			change(r)
			rec := httptest.NewRecorder()
			w.store.ServeHTTP(rec, r)
			e := &otsprotocol.Error{}
			require.NoError(t, proto.Unmarshal(rec.Body.Bytes(), protoadapt.MessageV2Of(e)))
			return rec.Code, e.GetCode() + " " + e.GetMessage()
		}
		for want, change := range map[string]func(*http.Request){
			"405 OTSMethodNotAllowed Only POST":                 func(r *http.Request) { r.Method = http.MethodGet },
			"400 OTSUnsupportOperation":                         func(r *http.Request) { r.URL.Path = "/Search" },
			"400 OTSParameterInvalid Missing header":            func(r *http.Request) { r.Header.Del("x-ots-date") },
			"400 OTSParameterInvalid Invalid date":              func(r *http.Request) { r.Header.Set("x-ots-date", "today") },
			"400 OTSParameterInvalid Unsupported API":           func(r *http.Request) { r.Header.Set("x-ots-apiversion", "2014-08-08") },
			"403 OTSAuthFailed Mismatch between system time":    func(r *http.Request) { r.Header.Set("x-ots-date", "2020-01-01T00:00:00.000Z") },
			"403 OTSAuthFailed Mismatch between MD5":            func(r *http.Request) { r.Header.Set("x-ots-contentmd5", "x") },
			"403 OTSAuthFailed Signature mismatch":              func(*http.Request) {},
			"403 OTSAuthFailed The AccessKeyID does not exist.": func(r *http.Request) { r.Header.Set("x-ots-accesskeyid", "x") },
		} {
			status, text := call(change)
			got := fmt.Sprint(status, " ", text)
			assert.True(t, strings.HasPrefix(got, want), "want %s, got %s", want, got)
		}
	})
}

func TestFaults(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.account.SetFault(func(c cloud.Call) cloud.Fault {
			return cloud.Fault{LoseReply: c.Action == "PutRow" && c.Params["TableName"] == "t"}
		})
		require.Error(t, w.put("a", ignore, nil, map[string]any{"doc": `{"legible":true}`}))
		assert.NotNil(t, w.get("a"), "the effect stays")
		var lost cloud.Exchange
		for _, x := range w.account.Exchanges() {
			if x.Action == "PutRow" {
				lost = x
			}
		}
		assert.Zero(t, lost.Status)
		assert.True(t, lost.Write)
		assert.Contains(t, lost.ReqBody, `{"legible":true}`)
		w.account.SetFault(func(cloud.Call) cloud.Fault {
			return cloud.Fault{Before: cloud.Errorf(503, "OTSServerBusy", "Server is busy.")}
		})
		refused(t, w.put("b", ignore, nil, map[string]any{"x": "y"}), 503, "OTSServerBusy")
		w.account.SetFault(nil)
		assert.Nil(t, w.get("b"))
	})
}

// The other face: the SDK as shipped, over a socket, its retries on.
func TestOverASocket(t *testing.T) {
	t.Parallel()
	now := time.Now()
	account := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Seed: 1, Now: func() time.Time { return now }})
	store := tablestore.New(account, "inst")
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	root := account.RootKey()
	w := &world{t: t, account: account, store: store, TableStoreClient: ots.NewClient(server.URL, "inst", root.AccessKeyID, root.AccessKeySecret)}
	require.NoError(t, w.create("t", 1, -1))
	now = now.Add(time.Minute)
	require.NoError(t, w.put("a", absent, nil, map[string]any{"x": "y"}))
	assert.Equal(t, map[string][]any{"x": {"y"}}, w.get("a"))
	refused(t, w.put("a", absent, nil, map[string]any{"x": "z"}), 403, "OTSConditionCheckFail")
}
