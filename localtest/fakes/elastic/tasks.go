package elastic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const reindexAction = "indices:data/write/reindex"

// errStopped ends a request whose node was killed under it.
var errStopped = errors.New("the node was stopped")

// task is a running reindex. Its fields are guarded by the server's lock.
type task struct {
	s           *cluster
	x           *tasks
	node        string
	id          int64
	description string
	opaque      string
	started     time.Time
	store       bool // keep the result, for a caller that does not wait

	total, updated, created, batches   int
	conflicts, bulkRetries, pageRetrys int
	throttled                          time.Duration // finished sleeps
	until                              time.Time     // of the running sleep
	perSecond                          float64       // +Inf: unlimited; 0: not known yet
	sliceID                            int           // -1: none

	cancelled bool
	cancel    context.CancelFunc
	ctx       context.Context
	changed   chan struct{} // perSecond changed
	done      chan struct{}
	failures  []object
	status    int // the highest of the failures
	timedOut  bool
	err       *Error
}

func (t *task) name() string { return fmt.Sprintf("%s:%d", t.node, t.id) }

func (t *task) counters(inResponse bool) object {
	o := obj()
	if t.sliceID >= 0 {
		o = obj("slice_id", t.sliceID)
	}
	o = o.with("total", t.total, "updated", t.updated, "created", t.created, "deleted", 0, "batches", t.batches, "version_conflicts", t.conflicts,
		"noops", 0, "retries", obj("bulk", t.bulkRetries, "search", t.pageRetrys))
	left := max(t.until.Sub(t.s.config.Now()), 0)
	if inResponse {
		o = o.with("throttled", timeText(t.throttled))
	}
	o = o.with("throttled_millis", t.throttled.Milliseconds(), "requests_per_second", perSecondText(t.perSecond))
	if t.cancelled {
		o = o.with("canceled", "by user request")
	}
	if inResponse {
		o = o.with("throttled_until", timeText(left))
	}
	return o.with("throttled_until_millis", left.Milliseconds())
}

func perSecondText(f float64) javaFloat {
	if math.IsInf(f, 1) {
		return -1
	}
	return javaFloat(f)
}

// timeText prints as Elasticsearch's TimeValue: 0s, 419.7ms, 1.5s.
func timeText(d time.Duration) string {
	ms := float64(d.Milliseconds())
	for _, u := range []struct {
		name string
		size float64
	}{{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}} {
		if ms >= u.size {
			return strings.TrimSuffix(strconv.FormatFloat(math.Floor(ms/u.size*10)/10, 'f', 1, 64), ".0") + u.name
		}
	}
	if ms == 0 {
		return "0s"
	}
	return strconv.FormatFloat(ms, 'f', -1, 64) + "ms"
}

// result is the body of a finished run.
func (t *task) result(inTask bool) object {
	failures := t.failures
	if failures == nil {
		failures = []object{}
	}
	return obj("took", t.s.config.Now().Sub(t.started).Milliseconds(), "timed_out", t.timedOut).with(pairs(t.counters(inTask))...).with("failures", failures)
}

// describe shows the task; a stored one has no sign of a cancel, which is in its
// response only.
func (t *task) describe(detailed, running bool) object {
	o := obj("node", t.node, "id", t.id, "type", "transport", "action", reindexAction)
	if detailed {
		o = o.with("status", t.counters(false), "description", t.description)
	}
	o = o.with("start_time_in_millis", t.started.UnixMilli(), "running_time_in_nanos", t.s.config.Now().Sub(t.started).Nanoseconds(), "cancellable", true)
	if t.s.version.atLeast(7, 11) {
		o = o.with("cancelled", running && t.cancelled)
	}
	headers := obj()
	if t.opaque != "" {
		headers = obj("X-Opaque-Id", t.opaque)
	}
	return o.with("headers", headers)
}

// start registers a task; the caller holds the lock.
func (x *tasks) start(c *call, description string, perSecond float64, store bool) *task {
	s := c.s
	s.requests++
	t := &task{s: s, x: x, node: s.nodeID(0), id: s.requests, description: description, opaque: c.r.Header.Get("X-Opaque-Id"), started: s.config.Now(),
		store: store, perSecond: perSecond, sliceID: -1, changed: make(chan struct{}, 1), done: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(s.inflight)
	x.running[t.name()] = t
	s.running.Add(1)
	return t
}

// finish stores the result before it unregisters the task. A task whose node was
// killed leaves nothing.
func (t *task) finish(err *Error) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.running.Done()
	defer close(t.done)
	t.err = err
	t.cancel()
	if t.x.running[t.name()] != t || !s.up {
		return
	}
	if t.store {
		stored := obj("completed", true, "task", t.describe(true, false))
		if err != nil {
			stored = stored.with("error", err)
		} else {
			stored = stored.with("response", t.result(true))
		}
		t.x.results[t.name()] = stored
		t.x.everStored = true
	}
	delete(t.x.running, t.name())
}

// sleep throttles: a faster rate shortens it at once, a cancel ends it.
func (t *task) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	s := t.s
	s.mu.Lock()
	began, rate := s.config.Now(), t.perSecond
	t.until = began.Add(d)
	s.mu.Unlock()
	left := d
	for left > 0 {
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
			left = 0
		case <-t.ctx.Done():
			left = 0
		case <-t.changed:
			s.mu.Lock()
			left = t.until.Sub(s.config.Now())
			if t.perSecond > rate {
				left = time.Duration(float64(left) * rate / t.perSecond)
			}
			rate = t.perSecond
			t.until = s.config.Now().Add(left)
			s.mu.Unlock()
		}
		timer.Stop()
	}
	s.mu.Lock()
	t.throttled += s.config.Now().Sub(began)
	t.until = time.Time{}
	s.mu.Unlock()
}

// tasks are the reindex tasks of a cluster.
type tasks struct {
	s          *cluster
	running    map[string]*task
	results    map[string]object // the .tasks index
	everStored bool              // and whether it was ever made
}

func newTasks(s *cluster) *tasks {
	return &tasks{s: s, running: map[string]*task{}, results: map[string]object{}}
}

func parseTaskID(id string) (node string, err *Error) {
	node, number, ok := strings.Cut(id, ":")
	if _, e := strconv.ParseInt(number, 10, 64); !ok || e != nil {
		return "", illegal("malformed task id %s", id)
	}
	return node, nil
}

func (s *cluster) hasNode(id string) bool {
	for n := range s.config.Nodes {
		if s.nodeID(n) == id {
			return true
		}
	}
	return false
}

func (x *tasks) getTask(c *call) (int, any, error) {
	id := c.vars["task"]
	node, e := parseTaskID(id)
	if e != nil {
		return 0, nil, e
	}
	c.s.mu.Lock()
	t := x.running[id]
	if t != nil && !c.flag("wait_for_completion", false) {
		defer c.s.mu.Unlock()
		return 200, obj("completed", false, "task", t.describe(true, true)), nil
	}
	c.s.mu.Unlock()
	if t != nil {
		if err := c.await(t); err != nil {
			return 0, nil, err
		}
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if stored, ok := x.results[id]; ok {
		return 200, stored, nil
	}
	return 0, nil, x.noTask(id, node)
}

// await waits for a task as long as the request's timeout says.
func (c *call) await(t *task) error {
	wait := 30 * time.Second
	if v := c.q.Get("timeout"); v != "" {
		d, e := parseTime(v, "timeout")
		if e != nil {
			return e
		}
		wait = d
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-t.done:
	case <-c.r.Context().Done():
		return errStopped
	case <-timer.C:
		return fail(http.StatusInternalServerError, "timeout_exception", "Timed out waiting for completion of [org.elasticsearch.index.reindex.BulkByScrollTask@%x]", t.id)
	}
	if !c.s.isUp() {
		return errStopped
	}
	return nil
}

func (x *tasks) noTask(id, node string) *Error {
	gone := fail(http.StatusNotFound, "resource_not_found_exception", "task [%s] isn't running and hasn't stored its results", id)
	if !x.s.hasNode(node) {
		e := fail(http.StatusNotFound, "resource_not_found_exception", "task [%s] belongs to the node [%s] which isn't part of the cluster and there is no record of the task", id, node).because(gone)
		e.roots = []*Error{gone}
		return e
	}
	if !x.everStored {
		cause := noSuchIndex(".tasks")
		cause.more[0].value = "index_expression"
		gone.cause, gone.roots = cause, []*Error{cause}
	}
	return gone
}

// getResult reads the .tasks index, which holds results and nothing else here.
func (x *tasks) getResult(c *call) (int, any, error) {
	stored, ok := x.results[c.vars["id"]]
	if !ok {
		return 404, c.s.identity(".tasks", c.vars["id"]).with("found", false), nil
	}
	return 200, c.s.identity(".tasks", c.vars["id"]).with("_version", 1, "_seq_no", 0, "_primary_term", 1, "found", true, "_source", stored), nil
}

func (x *tasks) deleteResult(c *call) (int, any, error) {
	reply := c.s.identity(".tasks", c.vars["id"])
	if _, ok := x.results[c.vars["id"]]; !ok {
		return 404, reply.with("_version", 1, "result", "not_found"), nil
	}
	delete(x.results, c.vars["id"])
	return 200, reply.with("_version", 2, "result", "deleted"), nil
}

// selected are the running tasks of a list or cancel request, by id.
func (x *tasks) selected(c *call) []*task {
	var out []*task
	actions := splitList(c.q.Get("actions"))
	for _, t := range x.running {
		if len(actions) == 0 || slices.ContainsFunc(actions, func(p string) bool { return wild(p, reindexAction) }) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *task) int { return int(a.id - b.id) })
	return out
}

// grouped is the reply shape of list, cancel and rethrottle.
func (c *call) grouped(tasks []*task, detailed bool) (int, any, error) {
	switch c.q.Get("group_by") {
	case "none":
		list := []object{}
		for _, t := range tasks {
			list = append(list, t.describe(detailed, true))
		}
		return 200, obj("tasks", list), nil
	case "parents":
		byID := obj()
		for _, t := range tasks {
			byID = byID.with(t.name(), t.describe(detailed, true))
		}
		return 200, obj("tasks", byID), nil
	}
	byID := obj()
	for _, t := range tasks {
		byID = byID.with(t.name(), t.describe(detailed, true))
	}
	nodes := obj()
	if len(tasks) > 0 {
		node := c.s.nodeHead(0).with("roles", roles)
		if c.s.version.atLeast(7, 11) {
			node = node.with("attributes", obj("xpack.installed", "true"))
		}
		nodes = obj(c.s.nodeID(0), node.with("tasks", byID))
	}
	return 200, obj("nodes", nodes), nil
}

func (x *tasks) listTasks(c *call) (int, any, error) {
	return c.grouped(x.selected(c), c.flag("detailed", false))
}

// missing says that a task is not there, as a failure of its node, with HTTP 200.
func (c *call) missing(id, node, text string) (int, any, error) {
	cause := fail(404, "resource_not_found_exception", "task [%s] is %s", id, text).object()
	reason := fmt.Sprintf("Failed node [%s]", node)
	if !c.s.hasNode(node) {
		cause = fail(404, "no_such_node_exception", "No such node [%s]", node).with("node_id", node).object()
	}
	return 200, obj("node_failures", []object{obj("type", "failed_node_exception", "reason", reason, "node_id", node, "caused_by", cause)}, "nodes", obj()), nil
}

func (x *tasks) cancelTasks(c *call) (int, any, error) {
	c.s.mu.Lock()
	var list []*task
	if id, one := c.vars["task"]; one {
		node, e := parseTaskID(id)
		t := x.running[id]
		if e != nil || t == nil {
			defer c.s.mu.Unlock()
			if e != nil {
				return 0, nil, e
			}
			return c.missing(id, node, "not found")
		}
		list = []*task{t}
	} else {
		list = x.selected(c)
	}
	for _, t := range list {
		t.cancelled = true
		t.perSecond = math.Inf(1)
		t.cancel()
	}
	status, reply, err := c.grouped(list, false)
	c.s.mu.Unlock()
	if c.flag("wait_for_completion", false) {
		for _, t := range list {
			select {
			case <-t.done:
			case <-c.r.Context().Done():
				return 0, nil, errStopped
			}
		}
	}
	return status, reply, err
}

func (x *tasks) rethrottle(c *call) (int, any, error) {
	if c.q.Get("requests_per_second") == "" {
		return 0, nil, illegal("requests_per_second is a required parameter")
	}
	rate, e := perSecond(c.q)
	if e != nil {
		return 0, nil, e
	}
	id := c.vars["task"]
	node, e := parseTaskID(id)
	if e != nil {
		return 0, nil, e
	}
	t := x.running[id]
	if t == nil {
		return c.missing(id, node, "missing")
	}
	t.perSecond = rate
	select {
	case t.changed <- struct{}{}:
	default:
	}
	return c.grouped([]*task{t}, true)
}
