package search

import (
	"encoding/base64"
	"fmt"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/store"
)

// Contexts are the searches of a cluster that are held open.
type Contexts struct {
	s    *store.Cluster
	Open map[string]*search // scrolls and points in time, by id
}

func NewContexts(s *store.Cluster) *Contexts { return &Contexts{s: s, Open: map[string]*search{}} }

// Count is how many are open, one for each shard of each search.
func (x *Contexts) Count() int {
	n := 0
	for id, sr := range x.Open {
		if x.s.Config.Now().After(sr.expires) {
			delete(x.Open, id)
		} else {
			n += sr.shards
		}
	}
	return n
}

func (x *Contexts) hold(c *store.Call, keep string, targets []target, kind string) (*search, error) {
	d, e := esjson.ParseTime(keep, kind)
	if e != nil {
		return nil, e
	}
	shards := 0
	for _, t := range targets {
		shards += len(t.ix.Shards)
	}
	if longest, _ := esjson.ParseTime(c.S.ClusterSetting("search.max_keep_alive", "24h"), ""); d > longest && len(targets) > 0 {
		return nil, shardsFailed(targets[0], esjson.Illegal("Keep alive for request (%s) is too large. It must be less than (1d). This limit can be set by changing the [search.max_keep_alive] cluster level setting.", keep))
	}
	if limit := esjson.Atoi(c.S.ClusterSetting("search.max_open_scroll_context", ""), 500); kind == "scroll" && x.Count()+shards > limit && len(targets) > 0 {
		return nil, shardsFailed(targets[0], esjson.Fail(500, "exception", "Trying to create too many scroll contexts. Must be less than or equal to: [%d]. This limit can be set by changing the [search.max_open_scroll_context] setting.", limit))
	}
	sr := &search{id: base64.URLEncoding.EncodeToString(fmt.Appendf(nil, "%s!%d!%s", kind, shards, c.S.NewID(kind))), targets: targets, shards: shards, keepAlive: d, expires: c.S.Config.Now().Add(d)}
	x.Open[sr.id] = sr
	return sr, nil
}

func (x *Contexts) openScroll(c *store.Call, keep string, req *Request, targets []target, hits []Hit) (*search, error) {
	sr, err := x.hold(c, keep, targets, "scroll")
	if err != nil {
		return nil, err
	}
	sr.scroll, sr.rest, sr.total = req, hits, len(hits)
	return sr, nil
}

func (sr *search) next() []Hit {
	page := sr.rest[:min(sr.scroll.size, len(sr.rest))]
	sr.rest = sr.rest[len(page):]
	return page
}

// open finds a scroll or a point in time that has not expired.
func (x *Contexts) find(id string, pit bool) (*search, error) {
	x.Count()
	sr, ok := x.Open[id]
	if !ok || sr.pit != pit {
		return nil, noContext(id)
	}
	return sr, nil
}

// noContext is an expired or cleared scroll: one cause for each of its shards.
func noContext(id string) *esjson.Error {
	raw, err := base64.URLEncoding.DecodeString(id)
	parts := strings.Split(string(raw), "!")
	if err != nil || len(parts) != 3 {
		return esjson.Illegal("Cannot parse scroll id")
	}
	e := esjson.Fail(404, "search_phase_execution_exception", "all shards failed")
	var failed []esjson.Object
	for n := range esjson.Atoi(parts[1], 1) {
		e.Cause = esjson.Fail(404, "search_context_missing_exception", "No search context found for id [%d]", int(index.Murmur3(raw)%1000)+n)
		e.Roots = append(e.Roots, e.Cause)
		failed = append(failed, esjson.Obj("shard", -1, "index", nil, "reason", e.Cause.Object()))
	}
	return e.With("phase", "query", "grouped", true, "failed_shards", failed)
}

func (x *Contexts) Scroll(c *store.Call) (int, any, error) {
	var body struct {
		ID     string `json:"scroll_id"`
		Scroll string `json:"scroll"`
	}
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	if body.ID == "" {
		body.ID = c.Q.Get("scroll_id")
	}
	if body.Scroll == "" {
		body.Scroll = c.Q.Get("scroll")
	}
	if body.ID == "" {
		return 0, nil, esjson.Validation([]string{"scrollId is missing"})
	}
	sr, err := x.find(body.ID, false)
	if err != nil {
		return 0, nil, err
	}
	if sr.shards == 0 && c.S.Version.AtLeast(7, 11) {
		return 0, nil, esjson.Fail(503, "search_phase_execution_exception", "all shards failed").With("phase", "query", "grouped", true, "failed_shards", []esjson.Object{}).
			Because(esjson.Fail(503, "illegal_state_exception", "no nodes to search on"))
	}
	if body.Scroll != "" {
		d, e := esjson.ParseTime(body.Scroll, "scroll")
		if e != nil {
			return 0, nil, e
		}
		sr.keepAlive = d
	}
	sr.expires = c.S.Config.Now().Add(sr.keepAlive)
	return 200, esjson.Obj("_scroll_id", sr.id, "took", 1, "timed_out", false, "terminated_early", len(sr.rest) == 0 && sr.total > 0,
		"_shards", shardsReply(sr.targets), "hits", hitsReply(c, sr.scroll, sr.next(), sr.total)), nil
}

func (x *Contexts) ClearScroll(c *store.Call) (int, any, error) {
	var body struct {
		ID any `json:"scroll_id"`
	}
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	ids := append(esjson.StringList(body.ID), esjson.SplitList(c.Q.Get("scroll_id")+","+c.Vars["scroll"])...)
	freed := 0
	x.Count()
	for _, id := range ids {
		if sr, ok := x.Open[id]; ok && !sr.pit || id == "_all" {
			if id == "_all" {
				freed = x.Count()
				clear(x.Open)
				continue
			}
			freed += sr.shards
			delete(x.Open, id)
		}
	}
	status := 200
	if freed == 0 {
		status = 404
	}
	return status, esjson.Obj("succeeded", true, "num_freed", freed), nil
}

func (x *Contexts) OpenPIT(c *store.Call) (int, any, error) {
	if !c.S.Version.AtLeast(7, 10) {
		return 0, nil, esjson.Unsupported("point in time before 7.10")
	}
	keep := c.Q.Get("keep_alive")
	if keep == "" {
		return 0, nil, esjson.Validation([]string{"[keep_alive] is not specified"})
	}
	targets, err := Targets(c, c.Vars["index"], "indices:data/read/open_point_in_time")
	if err != nil {
		return 0, nil, err
	}
	sr, err := x.hold(c, keep, targets, "pit")
	if err != nil {
		return 0, nil, err
	}
	sr.pit = true
	return 200, esjson.Obj("id", sr.id), nil
}

func (x *Contexts) ClosePIT(c *store.Call) (int, any, error) {
	var body struct {
		ID string `json:"id"`
	}
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	sr, ok := x.Open[body.ID]
	if !ok || !sr.pit {
		return 404, esjson.Obj("succeeded", true, "num_freed", 0), nil
	}
	delete(x.Open, body.ID)
	return 200, esjson.Obj("succeeded", true, "num_freed", sr.shards), nil
}
