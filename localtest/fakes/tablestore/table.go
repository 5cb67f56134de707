package tablestore

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"eslink/localtest/fakes/cloud"
)

// Limits of "General limits".
const (
	maxTables       = 64
	maxKeyColumns   = 4
	maxKeyBytes     = 1 << 10
	maxCellBytes    = 2 << 20
	maxColumns      = 1024
	maxWriteBytes   = 4 << 20
	maxReplyBytes   = 4 << 20
	maxReplyRows    = 5000
	defaultDeviance = 86400 // seconds
)

type table struct {
	meta    *otsprotocol.TableMeta
	options *otsprotocol.TableOptions
	units   *otsprotocol.CapacityUnit
	created time.Time
	ready   time.Time // until then its partitions load
	rows    []*stored // by key
}

// stored is a row at rest: versions of each column, newest first.
type stored struct {
	key     []any
	columns map[string][]version
}

type version struct {
	at    int64 // milliseconds
	value any
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

func checkOptions(o *otsprotocol.TableOptions) *cloud.Error {
	switch {
	case o.TimeToLive != nil && o.GetTimeToLive() != -1 && o.GetTimeToLive() < 86400:
		return invalid("TimeToLive must be -1 or at least 86400 seconds.")
	case o.MaxVersions != nil && o.GetMaxVersions() < 1:
		return invalid("MaxVersions must be greater than 0.")
	case o.DeviationCellVersionInSec != nil && o.GetDeviationCellVersionInSec() < 1:
		return invalid("DeviationCellVersionInSec must be greater than 0.")
	case o.BloomFilterType != nil || o.BlockSize != nil:
		return unsupported("table option")
	}
	return nil
}

func (s *Store) createTable(r *otsprotocol.CreateTableRequest) (protoadapt.MessageV1, *cloud.Error) {
	m, units := r.GetTableMeta(), r.GetReservedThroughput().GetCapacityUnit()
	name, keys := m.GetTableName(), m.GetPrimaryKey()
	switch {
	case !tableName.MatchString(name):
		return nil, invalid("Invalid table name: '%s'.", name)
	case len(keys) < 1 || len(keys) > maxKeyColumns:
		return nil, invalid("The number of primary key columns must be in range: [1, %d].", maxKeyColumns)
	case len(m.GetDefinedColumn())+len(m.GetIndexMeta())+len(r.GetIndexMetas())+len(r.GetPartitions()) > 0 || r.GetStreamSpec().GetEnableStream():
		return nil, unsupported("CreateTable with indexes, partitions or a stream")
	case units.GetRead() < 0 || units.GetWrite() < 0:
		return nil, invalid("Reserved throughput must not be negative.")
	case s.tables[name] != nil:
		return nil, fail(http.StatusConflict, "OTSObjectAlreadyExist", "Requested table already exists.")
	case len(s.tables) == maxTables:
		return nil, fail(http.StatusForbidden, "OTSQuotaExhausted", "Number of tables exceeded the quota.")
	}
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.GetName()] || k.GetName() == "" {
			return nil, invalid("Invalid primary key column: '%s'.", k.GetName())
		}
		if k.Option != nil {
			return nil, unsupported("primary key option")
		}
		seen[k.GetName()] = true
	}
	o := r.GetTableOptions()
	if err := checkOptions(o); err != nil {
		return nil, err
	}
	if o == nil || o.TimeToLive == nil || o.MaxVersions == nil {
		return nil, invalid("TimeToLive and MaxVersions are required.")
	}
	if o.DeviationCellVersionInSec == nil {
		o.DeviationCellVersionInSec = proto.Int64(defaultDeviance)
	}
	now := s.account.Now()
	s.tables[name] = &table{meta: m, options: o, units: units, created: now, ready: now.Add(s.account.Between(2*time.Second, 30*time.Second))}
	return &otsprotocol.CreateTableResponse{}, nil
}

// table finds a table; usable means that its data is asked for.
func (s *Store) table(name string, usable bool) (*table, *cloud.Error) {
	t := s.tables[name]
	if t == nil {
		return nil, fail(http.StatusNotFound, "OTSObjectNotExist", "Requested table does not exist.")
	}
	if usable && s.account.Now().Before(t.ready) {
		return nil, fail(http.StatusNotFound, "OTSTableNotReady", "The table is not ready.")
	}
	return t, nil
}

func (t *table) throughput() *otsprotocol.ReservedThroughputDetails {
	return &otsprotocol.ReservedThroughputDetails{
		CapacityUnit:     &otsprotocol.CapacityUnit{Read: proto.Int32(t.units.GetRead()), Write: proto.Int32(t.units.GetWrite())},
		LastIncreaseTime: proto.Int64(t.created.Unix()),
	}
}

func noStream() *otsprotocol.StreamDetails {
	return &otsprotocol.StreamDetails{EnableStream: proto.Bool(false)}
}

func (s *Store) describeTable(r *otsprotocol.DescribeTableRequest) (protoadapt.MessageV1, *cloud.Error) {
	t, err := s.table(r.GetTableName(), false)
	if err != nil {
		return nil, err
	}
	status := otsprotocol.TableStatus_ACTIVE
	if s.account.Now().Before(t.ready) {
		status = otsprotocol.TableStatus_LOADING
	}
	return &otsprotocol.DescribeTableResponse{
		TableMeta: t.meta, TableOptions: t.options, ReservedThroughputDetails: t.throughput(), TableStatus: &status, StreamDetails: noStream(),
	}, nil
}

func (s *Store) listTable(*otsprotocol.ListTableRequest) (protoadapt.MessageV1, *cloud.Error) {
	return &otsprotocol.ListTableResponse{TableNames: slices.Sorted(maps.Keys(s.tables))}, nil
}

func (s *Store) updateTable(r *otsprotocol.UpdateTableRequest) (protoadapt.MessageV1, *cloud.Error) {
	t, err := s.table(r.GetTableName(), true)
	if err != nil {
		return nil, err
	}
	o := r.GetTableOptions()
	if err := checkOptions(o); err != nil {
		return nil, err
	}
	if r.GetStreamSpec().GetEnableStream() {
		return nil, unsupported("UpdateTable with a stream")
	}
	if u := r.GetReservedThroughput().GetCapacityUnit(); u != nil {
		t.units = u
	}
	if o != nil && o.TimeToLive != nil {
		t.options.TimeToLive = o.TimeToLive
	}
	if o != nil && o.MaxVersions != nil {
		t.options.MaxVersions = o.MaxVersions
	}
	if o != nil && o.DeviationCellVersionInSec != nil {
		t.options.DeviationCellVersionInSec = o.DeviationCellVersionInSec
	}
	return &otsprotocol.UpdateTableResponse{ReservedThroughputDetails: t.throughput(), TableOptions: t.options, StreamDetails: noStream()}, nil
}

func (s *Store) deleteTable(r *otsprotocol.DeleteTableRequest) (protoadapt.MessageV1, *cloud.Error) {
	if _, err := s.table(r.GetTableName(), false); err != nil {
		return nil, err
	}
	delete(s.tables, r.GetTableName())
	return &otsprotocol.DeleteTableResponse{}, nil
}

// keyOf checks a primary key against the schema; ranges may hold infinities.
func (t *table) keyOf(cells []cell, forRange bool) ([]any, *cloud.Error) {
	schema := t.meta.GetPrimaryKey()
	if len(cells) != len(schema) {
		return nil, fail(http.StatusBadRequest, "OTSInvalidPK", "Validate PK size fail. Input: %d, Meta: %d.", len(cells), len(schema))
	}
	var key []any
	for i, c := range cells {
		if c.name != schema[i].GetName() {
			return nil, fail(http.StatusBadRequest, "OTSInvalidPK", "Validate PK name fail. Input: %s, Meta: %s.", c.name, schema[i].GetName())
		}
		size, right := 0, false
		switch v := c.value.(type) {
		case int64:
			right = schema[i].GetType() == otsprotocol.PrimaryKeyType_INTEGER
		case string:
			size, right = len(v), schema[i].GetType() == otsprotocol.PrimaryKeyType_STRING
		case []byte:
			size, right = len(v), schema[i].GetType() == otsprotocol.PrimaryKeyType_BINARY
		case infinity:
			right = forRange
		}
		if !right {
			return nil, fail(http.StatusBadRequest, "OTSInvalidPK", "Validate PK type fail. Input: %T, Meta: %s.", c.value, schema[i].GetType())
		}
		if size > maxKeyBytes {
			return nil, invalid("The length of primary key column: '%s' exceeded the MaxLength:%d with CurrentLength:%d.", c.name, maxKeyBytes, size)
		}
		key = append(key, c.value)
	}
	return key, nil
}

// find returns where key is, or would be.
func (t *table) find(key []any) (int, bool) {
	return sort.Find(len(t.rows), func(i int) int { return compareKeys(key, t.rows[i].key) })
}

// alive drops cells that outlived the table's TTL, which runs from each cell's
// own timestamp, and versions beyond MaxVersions.
func (t *table) alive(r *stored, now time.Time) map[string][]version {
	out := map[string][]version{}
	for name, versions := range r.columns {
		for _, v := range versions {
			expired := t.options.GetTimeToLive() >= 0 && v.at+int64(t.options.GetTimeToLive())*1000 <= now.UnixMilli()
			if !expired && len(out[name]) < int(t.options.GetMaxVersions()) {
				out[name] = append(out[name], v)
			}
		}
	}
	return out
}

// row returns the living columns at key, nil if there is no such row.
func (t *table) row(key []any, now time.Time) map[string][]version {
	if i, ok := t.find(key); ok {
		if columns := t.alive(t.rows[i], now); len(columns) > 0 {
			return columns
		}
	}
	return nil
}

// set replaces a row; no columns means no row.
func (t *table) set(key []any, columns map[string][]version) {
	i, ok := t.find(key)
	switch {
	case len(columns) == 0 && ok:
		t.rows = slices.Delete(t.rows, i, i+1)
	case len(columns) == 0:
	case ok:
		t.rows[i].columns = columns
	default:
		t.rows = slices.Insert(t.rows, i, &stored{key, columns})
	}
}
