// Package tablestore keeps rows in one Tablestore table, and so makes a
// run.Driver of it.
//
// The table has two string primary key columns, kind and id, and the columns
// rev, writer and doc, which are always written together: TTL and versions
// count per cell. It is made with MaxVersions 1 and TTL -1, since a record that
// expired would forget who owns a billed load balancer.
//
// A client is made for every call, because the SDK (v4.1.3) knows neither
// contexts nor changing credentials; it costs microseconds. The SDK's retries
// are off: it would spend five seconds of an invocation on them, and the engine
// waits for less money. The one repetition here is there to learn what became
// of a write.
package tablestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"eslink/shared/aliyun"
	"eslink/shared/apierr"
	"eslink/shared/run"
)

const (
	columnKind   = "kind"
	columnID     = "id"
	columnRev    = "rev"
	columnWriter = "writer"
	columnDoc    = "doc"

	// callTimeout bounds one exchange; a step makes a handful of them.
	callTimeout = 10 * time.Second
	// maxPage is the most rows that GetRange returns at once.
	maxPage = 5000
)

// Driver is a run.Driver over a table. It is safe for concurrent use.
type Driver struct {
	config          aliyun.Config
	instance, table string
}

var _ run.Driver = (*Driver)(nil)

// New returns a driver for a table of an instance, which is called at
// c.Endpoint("tablestore"). Calls need an invocation's credentials in their
// context.
func New(c aliyun.Config, instance, table string) *Driver {
	return &Driver{config: c, instance: instance, table: table}
}

// Get implements run.Driver. Tablestore reads are strongly consistent.
func (d *Driver) Get(ctx context.Context, key run.Key) (run.Row, error) {
	resp, err := call(ctx, d, "GetRow", func(c *ots.TableStoreClient) (*ots.GetRowResponse, error) {
		return c.GetRow(&ots.GetRowRequest{SingleRowQueryCriteria: &ots.SingleRowQueryCriteria{
			TableName: d.table, PrimaryKey: primaryKey(key), MaxVersion: 1,
		}})
	})
	if err != nil {
		return run.Row{}, fmt.Errorf("get %s %s: %w", key.Kind, key.ID, err)
	}
	if len(resp.PrimaryKey.PrimaryKeys) == 0 {
		return run.Row{}, run.ErrNotFound
	}
	return decode(key, resp.Columns)
}

// Put implements run.Driver. A write whose fate is unknown is tried once more;
// if the condition fails then, the row itself says whether it is ours: revision,
// writer and document must be. (The document too: the holder of a lease may try
// to save something else after a save that it thinks has failed.)
func (d *Driver) Put(ctx context.Context, key run.Key, row run.Row, expect int64) error {
	change := &ots.PutRowChange{TableName: d.table, PrimaryKey: primaryKey(key)}
	change.AddColumn(columnRev, row.Rev)
	change.AddColumn(columnWriter, row.Writer)
	change.AddColumn(columnDoc, row.Doc)
	if expect == 0 {
		change.SetCondition(ots.RowExistenceExpectation_EXPECT_NOT_EXIST)
	} else {
		change.SetCondition(ots.RowExistenceExpectation_EXPECT_EXIST)
		change.SetColumnCondition(revisionIs(expect))
	}
	err := d.write(ctx, "PutRow", func(c *ots.TableStoreClient) error {
		_, err := c.PutRow(&ots.PutRowRequest{PutRowChange: change})
		return err
	})
	if errors.Is(err, run.ErrConflict) {
		stored, getErr := d.Get(ctx, key)
		switch {
		case errors.Is(getErr, run.ErrNotFound):
		case getErr != nil:
			return getErr
		case stored.Rev == row.Rev && stored.Writer == row.Writer && bytes.Equal(stored.Doc, row.Doc):
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("put %s %s: %w", key.Kind, key.ID, err)
	}
	return nil
}

// Delete implements run.Driver.
func (d *Driver) Delete(ctx context.Context, key run.Key, expect int64) error {
	change := &ots.DeleteRowChange{TableName: d.table, PrimaryKey: primaryKey(key)}
	change.SetCondition(ots.RowExistenceExpectation_EXPECT_EXIST)
	change.SetColumnCondition(revisionIs(expect))
	err := d.write(ctx, "DeleteRow", func(c *ots.TableStoreClient) error {
		_, err := c.DeleteRow(&ots.DeleteRowRequest{DeleteRowChange: change})
		return err
	})
	if errors.Is(err, run.ErrConflict) {
		if _, getErr := d.Get(ctx, key); errors.Is(getErr, run.ErrNotFound) {
			return nil
		} else if getErr != nil {
			return getErr
		}
	}
	if err != nil {
		return fmt.Errorf("delete %s %s: %w", key.Kind, key.ID, err)
	}
	return nil
}

// List implements run.Driver. The service may end a page early, so it asks
// until there is no more.
func (d *Driver) List(ctx context.Context, kind, after string, limit int) ([]run.KeyedRow, error) {
	start, end := &ots.PrimaryKey{}, &ots.PrimaryKey{}
	start.AddPrimaryKeyColumn(columnKind, kind)
	if after == "" {
		start.AddPrimaryKeyColumnWithMinValue(columnID)
	} else {
		start.AddPrimaryKeyColumn(columnID, after)
	}
	end.AddPrimaryKeyColumn(columnKind, kind)
	end.AddPrimaryKeyColumnWithMaxValue(columnID)

	var out []run.KeyedRow
	for start != nil && len(out) < limit {
		page, err := call(ctx, d, "GetRange", func(c *ots.TableStoreClient) (*ots.GetRangeResponse, error) {
			return c.GetRange(&ots.GetRangeRequest{RangeRowQueryCriteria: &ots.RangeRowQueryCriteria{
				TableName: d.table, StartPrimaryKey: start, EndPrimaryKey: end, Direction: ots.FORWARD, MaxVersion: 1,
				Limit: int32(min(limit-len(out)+1, maxPage)), // one more: the first may be after itself
			}})
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind, err)
		}
		for _, found := range page.Rows {
			key := run.Key{Kind: kind, ID: idOf(found.PrimaryKey)}
			if key.ID == after || len(out) == limit {
				continue
			}
			row, err := decode(key, found.Columns)
			if err != nil {
				return nil, err
			}
			out = append(out, run.KeyedRow{Key: key, Row: row})
		}
		start = page.NextStartPrimaryKey
	}
	return out, nil
}

func primaryKey(key run.Key) *ots.PrimaryKey {
	pk := &ots.PrimaryKey{}
	pk.AddPrimaryKeyColumn(columnKind, key.Kind)
	pk.AddPrimaryKeyColumn(columnID, key.ID)
	return pk
}

func idOf(pk *ots.PrimaryKey) string {
	for _, c := range pk.PrimaryKeys {
		if id, ok := c.Value.(string); ok && c.ColumnName == columnID {
			return id
		}
	}
	return ""
}

// revisionIs is the column condition of a compare-and-swap. The SDK's zero
// values would let a row pass that has no rev, or whose older version matches.
func revisionIs(rev int64) *ots.SingleColumnCondition {
	c := ots.NewSingleColumnCondition(columnRev, ots.CT_EQUAL, rev)
	c.FilterIfMissing, c.LatestVersionOnly = true, true
	return c
}

func decode(key run.Key, columns []*ots.AttributeColumn) (run.Row, error) {
	var row run.Row
	var rev, writer, doc bool
	for _, c := range columns {
		switch c.ColumnName {
		case columnRev:
			row.Rev, rev = c.Value.(int64)
		case columnWriter:
			row.Writer, writer = c.Value.(string)
		case columnDoc:
			row.Doc, doc = c.Value.([]byte)
		}
	}
	if !rev || !writer || !doc {
		return run.Row{}, fmt.Errorf("row %s %s is not one of eslink's: it lacks rev, writer or doc", key.Kind, key.ID)
	}
	return row, nil
}

// write makes a conditional write, and makes it again if it cannot know whether
// it took effect. It returns run.ErrConflict if the condition fails.
func (d *Driver) write(ctx context.Context, operation string, f func(*ots.TableStoreClient) error) error {
	once := func() error {
		_, err := call(ctx, d, operation, func(c *ots.TableStoreClient) (struct{}, error) { return struct{}{}, f(c) })
		if apierr.CodeOf(err) == "OTSConditionCheckFail" {
			return run.ErrConflict
		}
		return err
	}
	err := once()
	if unknown(err) && ctx.Err() == nil {
		err = once()
	}
	return err
}

// unknown reports whether a failed write may have taken effect all the same.
func unknown(err error) bool {
	var e *apierr.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Status == 0 || e.Code == ots.STORAGE_TIMEOUT || e.Code == ots.INTERNAL_SERVER_ERROR || e.Code == ots.SERVER_UNAVAILABLE
}

// call makes one request with the credentials of the invocation behind ctx.
func call[R any](ctx context.Context, d *Driver, operation string, f func(*ots.TableStoreClient) (R, error)) (R, error) {
	var none R
	if err := ctx.Err(); err != nil {
		return none, err
	}
	cred, err := aliyun.CredentialsFrom(ctx)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	scheme, host := d.config.Endpoint("tablestore")
	client := ots.NewClientWithConfig(scheme+"://"+host, d.instance, cred.AccessKeyID, cred.AccessKeySecret, cred.SecurityToken,
		&ots.TableStoreConfig{Transport: bound{ctx, d.config.Transport}})
	out, err := f(client)
	if err != nil {
		return none, aliyun.Wrap("tablestore", operation, classify(err))
	}
	return out, nil
}

// bound carries requests within a context, which the SDK does not know.
type bound struct {
	ctx  context.Context
	next http.RoundTripper
}

func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(r.WithContext(b.ctx))
}
