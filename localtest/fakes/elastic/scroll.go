package elastic

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// contexts are the searches of a cluster that are held open.
type contexts struct {
	s    *cluster
	open map[string]*search // scrolls and points in time, by id
}

func newContexts(s *cluster) *contexts { return &contexts{s: s, open: map[string]*search{}} }

// count is how many are open, one for each shard of each search.
func (x *contexts) count() int {
	n := 0
	for id, sr := range x.open {
		if x.s.config.Now().After(sr.expires) {
			delete(x.open, id)
		} else {
			n += sr.shards
		}
	}
	return n
}

func (x *contexts) hold(c *call, keep string, targets []target, kind string) (*search, error) {
	d, e := parseTime(keep, kind)
	if e != nil {
		return nil, e
	}
	shards := 0
	for _, t := range targets {
		shards += len(t.ix.shards)
	}
	if longest, _ := parseTime(c.s.clusterSetting("search.max_keep_alive", "24h"), ""); d > longest && len(targets) > 0 {
		return nil, shardsFailed(targets[0], illegal("Keep alive for request (%s) is too large. It must be less than (1d). This limit can be set by changing the [search.max_keep_alive] cluster level setting.", keep))
	}
	if limit := atoi(c.s.clusterSetting("search.max_open_scroll_context", ""), 500); kind == "scroll" && x.count()+shards > limit && len(targets) > 0 {
		return nil, shardsFailed(targets[0], fail(500, "exception", "Trying to create too many scroll contexts. Must be less than or equal to: [%d]. This limit can be set by changing the [search.max_open_scroll_context] setting.", limit))
	}
	sr := &search{id: base64.URLEncoding.EncodeToString(fmt.Appendf(nil, "%s!%d!%s", kind, shards, c.s.newID(kind))), targets: targets, shards: shards, keepAlive: d, expires: c.s.config.Now().Add(d)}
	x.open[sr.id] = sr
	return sr, nil
}

func (x *contexts) openScroll(c *call, keep string, req *request, targets []target, hits []hit) (*search, error) {
	sr, err := x.hold(c, keep, targets, "scroll")
	if err != nil {
		return nil, err
	}
	sr.scroll, sr.rest, sr.total = req, hits, len(hits)
	return sr, nil
}

func (sr *search) next() []hit {
	page := sr.rest[:min(sr.scroll.size, len(sr.rest))]
	sr.rest = sr.rest[len(page):]
	return page
}

// open finds a scroll or a point in time that has not expired.
func (x *contexts) find(id string, pit bool) (*search, error) {
	x.count()
	sr, ok := x.open[id]
	if !ok || sr.pit != pit {
		return nil, noContext(id)
	}
	return sr, nil
}

// noContext is an expired or cleared scroll: one cause for each of its shards.
func noContext(id string) *Error {
	raw, err := base64.URLEncoding.DecodeString(id)
	parts := strings.Split(string(raw), "!")
	if err != nil || len(parts) != 3 {
		return illegal("Cannot parse scroll id")
	}
	e := fail(404, "search_phase_execution_exception", "all shards failed")
	var failed []object
	for n := range atoi(parts[1], 1) {
		e.cause = fail(404, "search_context_missing_exception", "No search context found for id [%d]", int(murmur3(raw)%1000)+n)
		e.roots = append(e.roots, e.cause)
		failed = append(failed, obj("shard", -1, "index", nil, "reason", e.cause.object()))
	}
	return e.with("phase", "query", "grouped", true, "failed_shards", failed)
}

func (x *contexts) scroll(c *call) (int, any, error) {
	var body struct {
		ID     string `json:"scroll_id"`
		Scroll string `json:"scroll"`
	}
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	if body.ID == "" {
		body.ID = c.q.Get("scroll_id")
	}
	if body.Scroll == "" {
		body.Scroll = c.q.Get("scroll")
	}
	if body.ID == "" {
		return 0, nil, validation([]string{"scrollId is missing"})
	}
	sr, err := x.find(body.ID, false)
	if err != nil {
		return 0, nil, err
	}
	if sr.shards == 0 && c.s.version.atLeast(7, 11) {
		return 0, nil, fail(503, "search_phase_execution_exception", "all shards failed").with("phase", "query", "grouped", true, "failed_shards", []object{}).
			because(fail(503, "illegal_state_exception", "no nodes to search on"))
	}
	if body.Scroll != "" {
		d, e := parseTime(body.Scroll, "scroll")
		if e != nil {
			return 0, nil, e
		}
		sr.keepAlive = d
	}
	sr.expires = c.s.config.Now().Add(sr.keepAlive)
	return 200, obj("_scroll_id", sr.id, "took", 1, "timed_out", false, "terminated_early", len(sr.rest) == 0 && sr.total > 0,
		"_shards", shardsReply(sr.targets), "hits", c.hits(sr.scroll, sr.next(), sr.total)), nil
}

func (x *contexts) clearScroll(c *call) (int, any, error) {
	var body struct {
		ID any `json:"scroll_id"`
	}
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	ids := append(stringList(body.ID), splitList(c.q.Get("scroll_id")+","+c.vars["scroll"])...)
	freed := 0
	x.count()
	for _, id := range ids {
		if sr, ok := x.open[id]; ok && !sr.pit || id == "_all" {
			if id == "_all" {
				freed = x.count()
				clear(x.open)
				continue
			}
			freed += sr.shards
			delete(x.open, id)
		}
	}
	status := 200
	if freed == 0 {
		status = 404
	}
	return status, obj("succeeded", true, "num_freed", freed), nil
}

func (x *contexts) openPIT(c *call) (int, any, error) {
	if !c.s.version.atLeast(7, 10) {
		return 0, nil, unsupported("point in time before 7.10")
	}
	keep := c.q.Get("keep_alive")
	if keep == "" {
		return 0, nil, validation([]string{"[keep_alive] is not specified"})
	}
	targets, err := c.targets(c.vars["index"], "indices:data/read/open_point_in_time")
	if err != nil {
		return 0, nil, err
	}
	sr, err := x.hold(c, keep, targets, "pit")
	if err != nil {
		return 0, nil, err
	}
	sr.pit = true
	return 200, obj("id", sr.id), nil
}

func (x *contexts) closePIT(c *call) (int, any, error) {
	var body struct {
		ID string `json:"id"`
	}
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	sr, ok := x.open[body.ID]
	if !ok || !sr.pit {
		return 404, obj("succeeded", true, "num_freed", 0), nil
	}
	delete(x.open, body.ID)
	return 200, obj("succeeded", true, "num_freed", sr.shards), nil
}
