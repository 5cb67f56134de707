package tablestore

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"eslink/localtest/fakes/cloud"
)

func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	case bool:
		return 1
	}
	return 8
}

// consumed charges a unit for every begun 4 KB, at least one.
func consumed(read, write int) *otsprotocol.ConsumedCapacity {
	units := func(bytes int) *int32 {
		if bytes < 0 {
			return proto.Int32(0)
		}
		return proto.Int32(int32(max(1, (bytes+4095)/4096)))
	}
	return &otsprotocol.ConsumedCapacity{CapacityUnit: &otsprotocol.CapacityUnit{Read: units(read), Write: units(write)}}
}

// change is a decoded write.
type change struct {
	table *table
	key   []any
	row   row
	old   map[string][]version // nil: no such row
	now   time.Time
	bytes int
}

// prepare decodes a write, checks it against schema and limits, and lets its
// condition decide.
func (s *Store) prepare(name string, raw []byte, condition *otsprotocol.Condition) (*change, *cloud.Error) {
	t, err := s.table(name, true)
	if err != nil {
		return nil, err
	}
	c := &change{table: t, now: s.account.Now(), bytes: len(raw)}
	var decodeErr error
	if c.row, decodeErr = decode(raw); decodeErr != nil {
		return nil, invalid("Invalid row: %v.", decodeErr)
	}
	if c.key, err = t.keyOf(c.row.key, false); err != nil {
		return nil, err
	}
	if len(c.row.cells) > maxColumns {
		return nil, invalid("The number of attribute columns exceeds the limit, limit count: %d, column count: %d.", maxColumns, len(c.row.cells))
	}
	if len(raw) > maxWriteBytes {
		return nil, invalid("The total data size of single row exceeds the limit: %d.", maxWriteBytes)
	}
	for _, cell := range c.row.cells {
		if cell.name == "" || len(cell.name) > 255 {
			return nil, invalid("Invalid column name: '%s'.", cell.name)
		}
		if n := sizeOf(cell.value); n > maxCellBytes {
			return nil, invalid("The length of attribute column: '%s' exceeded the MaxLength:%d with CurrentLength:%d.", cell.name, maxCellBytes, n)
		}
		if cell.at != nil && cell.op != opDeleteOne {
			deviation := t.options.GetDeviationCellVersionInSec() * 1000
			if off := *cell.at - c.now.UnixMilli(); off >= deviation || off < -deviation {
				return nil, invalid("The timestamp of column %s deviates too much from the server's time.", cell.name)
			}
		}
	}
	c.old = t.row(c.key, c.now)
	filter, err := filterOf(condition.GetColumnCondition())
	if err != nil {
		return nil, err
	}
	expect, met := condition.GetRowExistence(), true
	if filter != nil {
		if expect == otsprotocol.RowExistenceExpectation_EXPECT_NOT_EXIST {
			return nil, invalid("A column condition cannot be used with EXPECT_NOT_EXIST.")
		}
		seen := 0
		if met, err = passes(filter, c.old, &seen); err != nil {
			return nil, err
		}
	}
	if !met || expect == otsprotocol.RowExistenceExpectation_EXPECT_EXIST && c.old == nil ||
		expect == otsprotocol.RowExistenceExpectation_EXPECT_NOT_EXIST && c.old != nil {
		return nil, fail(http.StatusForbidden, "OTSConditionCheckFail", "Condition check failed.")
	}
	return c, nil
}

// put adds a version of a column, newest first; the same timestamp replaces.
func (c *change) put(columns map[string][]version, cell cell, value any) {
	at := c.now.UnixMilli()
	if cell.at != nil {
		at = *cell.at
	}
	versions := slices.DeleteFunc(slices.Clone(columns[cell.name]), func(v version) bool { return v.at == at })
	versions = append(versions, version{at, value})
	slices.SortStableFunc(versions, func(a, b version) int { return int(b.at - a.at) })
	columns[cell.name] = versions[:min(len(versions), int(c.table.options.GetMaxVersions()))]
}

func plain(content *otsprotocol.ReturnContent, transaction *string) *cloud.Error {
	if content.GetReturnType() != otsprotocol.ReturnType_RT_NONE {
		return unsupported("return_content")
	}
	if transaction != nil {
		return unsupported("transaction_id")
	}
	return nil
}

func (s *Store) putRow(r *otsprotocol.PutRowRequest) (protoadapt.MessageV1, *cloud.Error) {
	if err := plain(r.ReturnContent, r.TransactionId); err != nil {
		return nil, err
	}
	c, err := s.prepare(r.GetTableName(), r.GetRow(), r.GetCondition())
	if err != nil {
		return nil, err
	}
	columns := map[string][]version{}
	for _, cell := range c.row.cells {
		if cell.op != 0 || cell.value == nil {
			return nil, invalid("PutRow cannot delete or increment column %s.", cell.name)
		}
		c.put(columns, cell, cell.value)
	}
	if len(columns) == 0 {
		return nil, unsupported("PutRow without attribute columns")
	}
	c.table.set(c.key, columns)
	return &otsprotocol.PutRowResponse{Consumed: consumed(-1, c.bytes)}, nil
}

func (s *Store) updateRow(r *otsprotocol.UpdateRowRequest) (protoadapt.MessageV1, *cloud.Error) {
	if err := plain(r.ReturnContent, r.TransactionId); err != nil {
		return nil, err
	}
	c, err := s.prepare(r.GetTableName(), r.GetRowChange(), r.GetCondition())
	if err != nil {
		return nil, err
	}
	if len(c.row.cells) == 0 {
		return nil, invalid("No attribute column specified.")
	}
	columns := map[string][]version{}
	maps.Copy(columns, c.old)
	for _, cell := range c.row.cells {
		switch cell.op {
		case 0:
			if cell.value == nil {
				return nil, invalid("Column %s has no value.", cell.name)
			}
			c.put(columns, cell, cell.value)
		case opDeleteAll:
			delete(columns, cell.name)
		case opDeleteOne:
			if cell.at == nil {
				return nil, invalid("The timestamp of the version to delete of column %s is missing.", cell.name)
			}
			rest := slices.DeleteFunc(slices.Clone(columns[cell.name]), func(v version) bool { return v.at == *cell.at })
			if columns[cell.name] = rest; len(rest) == 0 {
				delete(columns, cell.name)
			}
		case opIncrement:
			by, ok := cell.value.(int64)
			var old int64
			if versions := columns[cell.name]; len(versions) > 0 && ok {
				old, ok = versions[0].value.(int64)
			}
			if !ok {
				return nil, invalid("Column %s cannot be incremented.", cell.name)
			}
			c.put(columns, cell, old+by)
		default:
			return nil, invalid("Unknown operation %d on column %s.", cell.op, cell.name)
		}
	}
	if len(columns) == 0 {
		return nil, unsupported("UpdateRow that leaves no column")
	}
	c.table.set(c.key, columns)
	return &otsprotocol.UpdateRowResponse{Consumed: consumed(-1, c.bytes)}, nil
}

func (s *Store) deleteRow(r *otsprotocol.DeleteRowRequest) (protoadapt.MessageV1, *cloud.Error) {
	if err := plain(r.ReturnContent, r.TransactionId); err != nil {
		return nil, err
	}
	c, err := s.prepare(r.GetTableName(), r.GetPrimaryKey(), r.GetCondition())
	if err != nil {
		return nil, err
	}
	if !c.row.deleted {
		return nil, invalid("The row to delete has no delete marker.")
	}
	c.table.set(c.key, nil)
	return &otsprotocol.DeleteRowResponse{Consumed: consumed(-1, c.bytes)}, nil
}

// query is what GetRow and GetRange have in common.
type query struct {
	versions int
	columns  []string
	filter   *otsprotocol.Filter
}

type readRequest interface {
	GetColumnsToGet() []string
	GetTimeRange() *otsprotocol.TimeRange
	GetMaxVersions() int32
	GetFilter() []byte
	GetStartColumn() string
	GetEndColumn() string
	GetToken() []byte
	GetTransactionId() string
}

func queryOf(r readRequest) (query, *cloud.Error) {
	q := query{versions: int(r.GetMaxVersions()), columns: r.GetColumnsToGet()}
	if r.GetTimeRange() != nil || r.GetStartColumn() != "" || r.GetEndColumn() != "" || r.GetToken() != nil || r.GetTransactionId() != "" {
		return q, unsupported("time_range, column range, token or transaction_id")
	}
	if q.versions < 1 {
		return q, invalid("No version condition is specified while querying row.")
	}
	var err *cloud.Error
	q.filter, err = filterOf(r.GetFilter())
	return q, err
}

// show returns the row as the query wants it; false if it is filtered out or
// nothing of it is left.
func (q query) show(t *table, key []any, columns map[string][]version) (row, bool, *cloud.Error) {
	if q.filter != nil {
		seen := 0
		if ok, err := passes(q.filter, columns, &seen); err != nil || !ok {
			return row{}, false, err
		}
	}
	out := row{}
	for i, v := range key {
		out.key = append(out.key, cell{name: t.meta.GetPrimaryKey()[i].GetName(), value: v})
	}
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		if len(q.columns) > 0 && !slices.Contains(q.columns, name) {
			continue
		}
		for _, v := range columns[name][:min(q.versions, len(columns[name]))] {
			out.cells = append(out.cells, cell{name: name, value: v.value, at: &v.at})
		}
	}
	return out, len(out.cells) > 0, nil
}

func (s *Store) getRow(r *otsprotocol.GetRowRequest) (protoadapt.MessageV1, *cloud.Error) {
	t, err := s.table(r.GetTableName(), true)
	if err != nil {
		return nil, err
	}
	q, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	wanted, decodeErr := decode(r.GetPrimaryKey())
	if decodeErr != nil {
		return nil, invalid("Invalid primary key: %v.", decodeErr)
	}
	key, err := t.keyOf(wanted.key, false)
	if err != nil {
		return nil, err
	}
	out := &otsprotocol.GetRowResponse{Consumed: consumed(0, -1), Row: []byte{}}
	if columns := t.row(key, s.account.Now()); columns != nil {
		found, ok, err := q.show(t, key, columns)
		if err != nil {
			return nil, err
		}
		if ok {
			out.Row = encode(found)
			out.Consumed = consumed(len(out.Row), -1)
		}
	}
	return out, nil
}

func (s *Store) getRange(r *otsprotocol.GetRangeRequest) (protoadapt.MessageV1, *cloud.Error) {
	t, err := s.table(r.GetTableName(), true)
	if err != nil {
		return nil, err
	}
	q, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	var ends [2][]any
	for i, raw := range [][]byte{r.GetInclusiveStartPrimaryKey(), r.GetExclusiveEndPrimaryKey()} {
		end, decodeErr := decode(raw)
		if decodeErr != nil {
			return nil, invalid("Invalid primary key: %v.", decodeErr)
		}
		if ends[i], err = t.keyOf(end.key, true); err != nil {
			return nil, err
		}
	}
	from, to := ends[0], ends[1]
	rows, forward := slices.Clone(t.rows), r.GetDirection() == otsprotocol.Direction_FORWARD
	sign := 1
	if !forward {
		sign = -1
		slices.Reverse(rows)
	}
	limit := maxReplyRows
	switch {
	case sign*compareKeys(from, to) > 0:
		return nil, invalid("Begin key must less than end key in %s.", r.GetDirection())
	case r.Limit != nil && r.GetLimit() < 1:
		return nil, invalid("The limit must be greater than 0.")
	case r.Limit != nil:
		limit = min(limit, int(r.GetLimit()))
	}
	out := &otsprotocol.GetRangeResponse{}
	var found []row
	size, now := 0, s.account.Now()
	for _, at := range rows {
		if sign*compareKeys(at.key, from) < 0 || sign*compareKeys(at.key, to) >= 0 {
			continue
		}
		columns := t.alive(at, now)
		shown, ok, err := q.show(t, at.key, columns)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		n := len(encode(shown))
		if len(found) == limit || len(found) > 0 && size+n > maxReplyBytes {
			out.NextStartPrimaryKey = encode(row{key: shown.key})
			break
		}
		found, size = append(found, shown), size+n
	}
	out.Rows, out.Consumed = encode(found...), consumed(size, -1)
	return out, nil
}
