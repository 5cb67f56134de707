package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
)

// Text is the body of a reply that is not JSON.
type Text string

// Table is what _cat prints: columns, and whether a column is aligned to the right.
type Table struct {
	Columns []string
	right   []string
	Rows    []map[string]string
}

// Show prints the table as the parameters h, v, s and format ask.
func (c *Call) Show(t Table) (int, any, error) {
	if c.Q.Has("help") {
		return 0, nil, esjson.Unsupported("the parameter [help] of _cat")
	}
	columns := t.Columns
	if h := c.Q.Get("h"); h != "" {
		columns = nil
		for _, pattern := range esjson.SplitList(h) {
			for _, name := range t.Columns {
				if esjson.Wild(pattern, name) {
					columns = append(columns, name)
				}
			}
		}
	}
	if e := t.sort(c.Q.Get("s")); e != nil {
		return 0, nil, e
	}
	switch format := c.Q.Get("format"); format {
	case "json":
		rows := []esjson.Object{}
		for _, row := range t.Rows {
			one := esjson.Obj()
			for _, name := range columns {
				one = one.With(name, row[name])
			}
			rows = append(rows, one)
		}
		return 200, rows, nil
	case "", "text":
	default:
		return 0, nil, esjson.Unsupported("the format [%s] of _cat", format)
	}
	rows := t.Rows
	if c.Q.Has("v") && c.Q.Get("v") != "false" {
		head := map[string]string{}
		for _, name := range columns {
			head[name] = name
		}
		rows = append([]map[string]string{head}, rows...)
	}
	var out strings.Builder
	for _, row := range rows {
		for i, name := range columns {
			width := 0
			for _, r := range rows {
				width = max(width, len(r[name]))
			}
			if slices.Contains(t.right, name) {
				width = -width
			}
			if i > 0 {
				out.WriteByte(' ')
			}
			fmt.Fprintf(&out, "%*s", -width, row[name])
		}
		out.WriteByte('\n')
	}
	return 200, Text(out.String()), nil
}

// sort orders the rows by columns, "index,docs.count:desc".
func (t Table) sort(by string) *esjson.Error {
	for _, item := range slices.Backward(esjson.SplitList(by)) {
		name, dir, _ := strings.Cut(item, ":")
		if !slices.Contains(t.Columns, name) {
			return esjson.Fail(500, "unsupported_operation_exception", "Unable to sort by unknown sort key `%s`", name)
		}
		slices.SortStableFunc(t.Rows, func(a, b map[string]string) int {
			x, errX := strconv.ParseFloat(a[name], 64)
			y, errY := strconv.ParseFloat(b[name], 64)
			order := strings.Compare(a[name], b[name])
			if errX == nil && errY == nil {
				order = int(max(-1, min(1, x-y)))
			}
			if dir == "desc" {
				return -order
			}
			return order
		})
	}
	return nil
}

func (c *Call) CatIndices() (int, any, error) {
	list, err := c.Named("indices:monitor/settings/get")
	if err != nil {
		return 0, nil, err
	}
	t := Table{Columns: []string{"health", "status", "index", "uuid", "pri", "rep", "docs.count", "docs.deleted", "store.size", "pri.store.size"},
		right: []string{"pri", "rep", "docs.count", "docs.deleted", "store.size", "pri.store.size"}}
	for _, ix := range list {
		ix.CatchUp()
		docs, size := 0, 0
		for _, sh := range ix.Shards {
			for _, d := range sh.Counted {
				docs, size = docs+1, size+len(d.Source)
			}
		}
		_, active := ix.CopiesOf()
		t.Rows = append(t.Rows, map[string]string{
			"health": c.S.health([]*index.Index{ix}).status, "status": "open", "index": ix.Name, "uuid": ix.UUID, "pri": strconv.Itoa(len(ix.Shards)),
			"rep": ix.Settings["index.number_of_replicas"], "docs.count": strconv.Itoa(docs), "docs.deleted": "0",
			"store.size": bytesText(size*active, c.Q.Get("bytes")), "pri.store.size": bytesText(size, c.Q.Get("bytes")),
		})
	}
	return c.Show(t)
}

// bytesText prints a size as Elasticsearch's ByteSizeValue: 227b, 1.2kb.
func bytesText(n int, unit string) string {
	if unit == "b" {
		return strconv.Itoa(n)
	}
	f, units := float64(n), []string{"b", "kb", "mb", "gb"}
	i := 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return strings.TrimSuffix(strconv.FormatFloat(float64(int(f*10))/10, 'f', 1, 64), ".0") + units[i]
}

func Clock(now time.Time) map[string]string {
	return map[string]string{"epoch": strconv.FormatInt(now.Unix(), 10), "timestamp": now.UTC().Format("15:04:05")}
}

func (c *Call) CatHealth() (int, any, error) {
	var list []*index.Index
	for _, ix := range c.S.Indices {
		list = append(list, ix)
	}
	h := c.S.health(list)
	row := Clock(c.S.Config.Now())
	nodes := strconv.Itoa(c.S.Config.Nodes)
	for k, v := range map[string]string{"cluster": c.S.Config.Name, "status": h.status, "node.total": nodes, "node.data": nodes,
		"shards": strconv.Itoa(h.active), "pri": strconv.Itoa(h.primaries), "relo": "0", "init": "0", "unassign": strconv.Itoa(h.unassigned),
		"pending_tasks": "0", "max_task_wait_time": "-", "active_shards_percent": strconv.FormatFloat(h.percent(), 'f', 1, 64) + "%"} {
		row[k] = v
	}
	columns := []string{"epoch", "timestamp", "cluster", "status", "node.total", "node.data", "shards", "pri", "relo", "init", "unassign", "pending_tasks", "max_task_wait_time", "active_shards_percent"}
	if v := c.Q.Get("ts"); v == "false" {
		columns = columns[2:]
	}
	return c.Show(Table{Columns: columns, right: columns[len(columns)-10:], Rows: []map[string]string{row}})
}

func (c *Call) CatAliases() (int, any, error) {
	list, err := c.Named("indices:admin/aliases/get")
	if err != nil {
		return 0, nil, err
	}
	t := Table{Columns: []string{"alias", "index", "filter", "routing.index", "routing.search", "is_write_index"}}
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	for _, ix := range list {
		for name, a := range ix.Aliases {
			row := map[string]string{"alias": name, "index": ix.Name, "filter": "-", "routing.index": or(a.IndexRouting), "routing.search": or(a.SearchRouting), "is_write_index": "-"}
			if len(a.Filter) > 0 {
				row["filter"] = "*"
			}
			if a.WriteIndex != nil {
				row["is_write_index"] = strconv.FormatBool(*a.WriteIndex)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	if e := t.sort("alias,index"); e != nil {
		return 0, nil, e
	}
	return c.Show(t)
}

func (c *Call) CatNodes() (int, any, error) {
	t := Table{Columns: []string{"ip", "heap.percent", "ram.percent", "cpu", "load_1m", "load_5m", "load_15m", "node.role", "master", "name"},
		right: []string{"heap.percent", "ram.percent", "cpu", "load_1m", "load_5m", "load_15m"}}
	for n := range c.S.Config.Nodes {
		master := "-"
		if n == 0 {
			master = "*"
		}
		t.Rows = append(t.Rows, map[string]string{"ip": "127.0.0.1", "heap.percent": "50", "ram.percent": "50", "cpu": "0", "load_1m": "0.00", "load_5m": "0.00",
			"load_15m": "0.00", "node.role": "dimr", "master": master, "name": c.S.NodeName(n)})
	}
	return c.Show(t)
}
