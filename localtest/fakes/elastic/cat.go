package elastic

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// text is the body of a reply that is not JSON.
type text string

// table is what _cat prints: columns, and whether a column is aligned to the right.
type table struct {
	columns []string
	right   []string
	rows    []map[string]string
}

// show prints the table as the parameters h, v, s and format ask.
func (c *call) show(t table) (int, any, error) {
	if c.q.Has("help") {
		return 0, nil, unsupported("the parameter [help] of _cat")
	}
	columns := t.columns
	if h := c.q.Get("h"); h != "" {
		columns = nil
		for _, pattern := range splitList(h) {
			for _, name := range t.columns {
				if wild(pattern, name) {
					columns = append(columns, name)
				}
			}
		}
	}
	if e := t.sort(c.q.Get("s")); e != nil {
		return 0, nil, e
	}
	switch format := c.q.Get("format"); format {
	case "json":
		rows := []object{}
		for _, row := range t.rows {
			one := obj()
			for _, name := range columns {
				one = one.with(name, row[name])
			}
			rows = append(rows, one)
		}
		return 200, rows, nil
	case "", "text":
	default:
		return 0, nil, unsupported("the format [%s] of _cat", format)
	}
	rows := t.rows
	if c.q.Has("v") && c.q.Get("v") != "false" {
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
	return 200, text(out.String()), nil
}

// sort orders the rows by columns, "index,docs.count:desc".
func (t table) sort(by string) *Error {
	for _, item := range slices.Backward(splitList(by)) {
		name, dir, _ := strings.Cut(item, ":")
		if !slices.Contains(t.columns, name) {
			return fail(500, "unsupported_operation_exception", "Unable to sort by unknown sort key `%s`", name)
		}
		slices.SortStableFunc(t.rows, func(a, b map[string]string) int {
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

func (c *call) catIndices() (int, any, error) {
	list, err := c.named("indices:monitor/settings/get")
	if err != nil {
		return 0, nil, err
	}
	t := table{columns: []string{"health", "status", "index", "uuid", "pri", "rep", "docs.count", "docs.deleted", "store.size", "pri.store.size"},
		right: []string{"pri", "rep", "docs.count", "docs.deleted", "store.size", "pri.store.size"}}
	for _, ix := range list {
		ix.catchUp()
		docs, size := 0, 0
		for _, sh := range ix.shards {
			for _, d := range sh.counted {
				docs, size = docs+1, size+len(d.source)
			}
		}
		_, active := ix.copiesOf()
		t.rows = append(t.rows, map[string]string{
			"health": c.s.health([]*index{ix}).status, "status": "open", "index": ix.name, "uuid": ix.uuid, "pri": strconv.Itoa(len(ix.shards)),
			"rep": ix.settings["index.number_of_replicas"], "docs.count": strconv.Itoa(docs), "docs.deleted": "0",
			"store.size": bytesText(size*active, c.q.Get("bytes")), "pri.store.size": bytesText(size, c.q.Get("bytes")),
		})
	}
	return c.show(t)
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

func clock(now time.Time) map[string]string {
	return map[string]string{"epoch": strconv.FormatInt(now.Unix(), 10), "timestamp": now.UTC().Format("15:04:05")}
}

func (c *call) catHealth() (int, any, error) {
	var list []*index
	for _, ix := range c.s.indices {
		list = append(list, ix)
	}
	h := c.s.health(list)
	row := clock(c.s.config.Now())
	nodes := strconv.Itoa(c.s.config.Nodes)
	for k, v := range map[string]string{"cluster": c.s.config.Name, "status": h.status, "node.total": nodes, "node.data": nodes,
		"shards": strconv.Itoa(h.active), "pri": strconv.Itoa(h.primaries), "relo": "0", "init": "0", "unassign": strconv.Itoa(h.unassigned),
		"pending_tasks": "0", "max_task_wait_time": "-", "active_shards_percent": strconv.FormatFloat(h.percent(), 'f', 1, 64) + "%"} {
		row[k] = v
	}
	columns := []string{"epoch", "timestamp", "cluster", "status", "node.total", "node.data", "shards", "pri", "relo", "init", "unassign", "pending_tasks", "max_task_wait_time", "active_shards_percent"}
	if v := c.q.Get("ts"); v == "false" {
		columns = columns[2:]
	}
	return c.show(table{columns: columns, right: columns[len(columns)-10:], rows: []map[string]string{row}})
}

func (c *call) catCount() (int, any, error) {
	targets, err := c.targets(c.vars["index"], "indices:data/read/search")
	if err != nil {
		return 0, nil, err
	}
	hits, err := matches(targets, query{})
	if err != nil {
		return 0, nil, err
	}
	row := clock(c.s.config.Now())
	row["count"] = strconv.Itoa(len(hits))
	return c.show(table{columns: []string{"epoch", "timestamp", "count"}, rows: []map[string]string{row}})
}

func (c *call) catAliases() (int, any, error) {
	list, err := c.named("indices:admin/aliases/get")
	if err != nil {
		return 0, nil, err
	}
	t := table{columns: []string{"alias", "index", "filter", "routing.index", "routing.search", "is_write_index"}}
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	for _, ix := range list {
		for name, a := range ix.aliases {
			row := map[string]string{"alias": name, "index": ix.name, "filter": "-", "routing.index": or(a.indexRouting), "routing.search": or(a.searchRouting), "is_write_index": "-"}
			if len(a.filter) > 0 {
				row["filter"] = "*"
			}
			if a.writeIndex != nil {
				row["is_write_index"] = strconv.FormatBool(*a.writeIndex)
			}
			t.rows = append(t.rows, row)
		}
	}
	if e := t.sort("alias,index"); e != nil {
		return 0, nil, e
	}
	return c.show(t)
}

func (c *call) catNodes() (int, any, error) {
	t := table{columns: []string{"ip", "heap.percent", "ram.percent", "cpu", "load_1m", "load_5m", "load_15m", "node.role", "master", "name"},
		right: []string{"heap.percent", "ram.percent", "cpu", "load_1m", "load_5m", "load_15m"}}
	for n := range c.s.config.Nodes {
		master := "-"
		if n == 0 {
			master = "*"
		}
		t.rows = append(t.rows, map[string]string{"ip": "127.0.0.1", "heap.percent": "50", "ram.percent": "50", "cpu": "0", "load_1m": "0.00", "load_5m": "0.00",
			"load_15m": "0.00", "node.role": "dimr", "master": master, "name": c.s.nodeName(n)})
	}
	return c.show(t)
}
