package reindex

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/store"
)

const reindexAction = "indices:data/write/reindex"

// task is a running reindex. Its fields are guarded by the server's lock.
type task struct {
	s           *store.Cluster
	x           *Tasks
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
	failures  []esjson.Object
	status    int // the highest of the failures
	timedOut  bool
	err       *esjson.Error
}

func (t *task) name() string { return fmt.Sprintf("%s:%d", t.node, t.id) }

func (t *task) counters(inResponse bool) esjson.Object {
	o := esjson.Obj()
	if t.sliceID >= 0 {
		o = esjson.Obj("slice_id", t.sliceID)
	}
	o = o.With("total", t.total, "updated", t.updated, "created", t.created, "deleted", 0, "batches", t.batches, "version_conflicts", t.conflicts,
		"noops", 0, "retries", esjson.Obj("bulk", t.bulkRetries, "search", t.pageRetrys))
	left := max(t.until.Sub(t.s.Config.Now()), 0)
	if inResponse {
		o = o.With("throttled", esjson.TimeText(t.throttled))
	}
	o = o.With("throttled_millis", t.throttled.Milliseconds(), "requests_per_second", perSecondText(t.perSecond))
	if t.cancelled {
		o = o.With("canceled", "by user request")
	}
	if inResponse {
		o = o.With("throttled_until", esjson.TimeText(left))
	}
	return o.With("throttled_until_millis", left.Milliseconds())
}

func perSecondText(f float64) esjson.JavaFloat {
	if math.IsInf(f, 1) {
		return -1
	}
	return esjson.JavaFloat(f)
}

// result is the body of a finished run.
func (t *task) result(inTask bool) esjson.Object {
	failures := t.failures
	if failures == nil {
		failures = []esjson.Object{}
	}
	return esjson.Obj("took", t.s.Config.Now().Sub(t.started).Milliseconds(), "timed_out", t.timedOut).With(esjson.Pairs(t.counters(inTask))...).With("failures", failures)
}

// describe shows the task; a stored one has no sign of a cancel, which is in its
// response only.
func (t *task) describe(detailed, running bool) esjson.Object {
	o := esjson.Obj("node", t.node, "id", t.id, "type", "transport", "action", reindexAction)
	if detailed {
		o = o.With("status", t.counters(false), "description", t.description)
	}
	o = o.With("start_time_in_millis", t.started.UnixMilli(), "running_time_in_nanos", t.s.Config.Now().Sub(t.started).Nanoseconds(), "cancellable", true)
	if t.s.Version.AtLeast(7, 11) {
		o = o.With("cancelled", running && t.cancelled)
	}
	headers := esjson.Obj()
	if t.opaque != "" {
		headers = esjson.Obj("X-Opaque-Id", t.opaque)
	}
	return o.With("headers", headers)
}

// start registers a task; the caller holds the lock.
func (x *Tasks) start(c *store.Call, description string, perSecond float64, store bool) *task {
	s := c.S
	s.Requests++
	t := &task{s: s, x: x, node: s.NodeID(0), id: s.Requests, description: description, opaque: c.R.Header.Get("X-Opaque-Id"), started: s.Config.Now(),
		store: store, perSecond: perSecond, sliceID: -1, changed: make(chan struct{}, 1), done: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(s.Inflight)
	x.Running[t.name()] = t
	s.Running.Add(1)
	return t
}

// finish stores the result before it unregisters the task. A task whose node was
// killed leaves nothing.
func (t *task) finish(err *esjson.Error) {
	s := t.s
	s.Mu.Lock()
	defer s.Mu.Unlock()
	defer s.Running.Done()
	defer close(t.done)
	t.err = err
	t.cancel()
	if t.x.Running[t.name()] != t || !s.Up {
		return
	}
	if t.store {
		stored := esjson.Obj("completed", true, "task", t.describe(true, false))
		if err != nil {
			stored = stored.With("error", err)
		} else {
			stored = stored.With("response", t.result(true))
		}
		t.x.results[t.name()] = stored
		t.x.everStored = true
	}
	delete(t.x.Running, t.name())
}

// sleep throttles: a faster rate shortens it at once, a cancel ends it.
func (t *task) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	s := t.s
	s.Mu.Lock()
	began, rate := s.Config.Now(), t.perSecond
	t.until = began.Add(d)
	s.Mu.Unlock()
	left := d
	for left > 0 {
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
			left = 0
		case <-t.ctx.Done():
			left = 0
		case <-t.changed:
			s.Mu.Lock()
			left = t.until.Sub(s.Config.Now())
			if t.perSecond > rate {
				left = time.Duration(float64(left) * rate / t.perSecond)
			}
			rate = t.perSecond
			t.until = s.Config.Now().Add(left)
			s.Mu.Unlock()
		}
		timer.Stop()
	}
	s.Mu.Lock()
	t.throttled += s.Config.Now().Sub(began)
	t.until = time.Time{}
	s.Mu.Unlock()
}

// Tasks are the reindex tasks of a cluster.
type Tasks struct {
	s          *store.Cluster
	Running    map[string]*task
	results    map[string]esjson.Object // the .tasks index
	everStored bool                     // and whether it was ever made
}

func NewTasks(s *store.Cluster) *Tasks {
	return &Tasks{s: s, Running: map[string]*task{}, results: map[string]esjson.Object{}}
}

func parseTaskID(id string) (node string, err *esjson.Error) {
	node, number, ok := strings.Cut(id, ":")
	if _, e := strconv.ParseInt(number, 10, 64); !ok || e != nil {
		return "", esjson.Illegal("malformed task id %s", id)
	}
	return node, nil
}

func hasNode(s *store.Cluster, id string) bool {
	for n := range s.Config.Nodes {
		if s.NodeID(n) == id {
			return true
		}
	}
	return false
}

func (x *Tasks) GetTask(c *store.Call) (int, any, error) {
	id := c.Vars["task"]
	node, e := parseTaskID(id)
	if e != nil {
		return 0, nil, e
	}
	c.S.Mu.Lock()
	t := x.Running[id]
	if t != nil && !c.Flag("wait_for_completion", false) {
		defer c.S.Mu.Unlock()
		return 200, esjson.Obj("completed", false, "task", t.describe(true, true)), nil
	}
	c.S.Mu.Unlock()
	if t != nil {
		if err := await(c, t); err != nil {
			return 0, nil, err
		}
	}
	c.S.Mu.Lock()
	defer c.S.Mu.Unlock()
	if stored, ok := x.results[id]; ok {
		return 200, stored, nil
	}
	return 0, nil, x.noTask(id, node)
}

// await waits for a task as long as the request's timeout says.
func await(c *store.Call, t *task) error {
	wait := 30 * time.Second
	if v := c.Q.Get("timeout"); v != "" {
		d, e := esjson.ParseTime(v, "timeout")
		if e != nil {
			return e
		}
		wait = d
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-t.done:
	case <-c.R.Context().Done():
		return store.ErrStopped
	case <-timer.C:
		return esjson.Fail(http.StatusInternalServerError, "timeout_exception", "Timed out waiting for completion of [org.elasticsearch.index.reindex.BulkByScrollTask@%x]", t.id)
	}
	if !c.S.IsUp() {
		return store.ErrStopped
	}
	return nil
}

func (x *Tasks) noTask(id, node string) *esjson.Error {
	gone := esjson.Fail(http.StatusNotFound, "resource_not_found_exception", "task [%s] isn't running and hasn't stored its results", id)
	if !hasNode(x.s, node) {
		e := esjson.Fail(http.StatusNotFound, "resource_not_found_exception", "task [%s] belongs to the node [%s] which isn't part of the cluster and there is no record of the task", id, node).Because(gone)
		e.Roots = []*esjson.Error{gone}
		return e
	}
	if !x.everStored {
		cause := esjson.NoSuchIndex(".tasks")
		cause.More[0].Value = "index_expression"
		gone.Cause, gone.Roots = cause, []*esjson.Error{cause}
	}
	return gone
}

// GetResult reads the .tasks index, which holds results and nothing else here.
func (x *Tasks) GetResult(c *store.Call) (int, any, error) {
	stored, ok := x.results[c.Vars["id"]]
	if !ok {
		return 404, c.S.Identity(".tasks", c.Vars["id"]).With("found", false), nil
	}
	return 200, c.S.Identity(".tasks", c.Vars["id"]).With("_version", 1, "_seq_no", 0, "_primary_term", 1, "found", true, "_source", stored), nil
}

func (x *Tasks) DeleteResult(c *store.Call) (int, any, error) {
	reply := c.S.Identity(".tasks", c.Vars["id"])
	if _, ok := x.results[c.Vars["id"]]; !ok {
		return 404, reply.With("_version", 1, "result", "not_found"), nil
	}
	delete(x.results, c.Vars["id"])
	return 200, reply.With("_version", 2, "result", "deleted"), nil
}

// selected are the running tasks of a list or cancel request, by id.
func (x *Tasks) selected(c *store.Call) []*task {
	var out []*task
	actions := esjson.SplitList(c.Q.Get("actions"))
	for _, t := range x.Running {
		if len(actions) == 0 || slices.ContainsFunc(actions, func(p string) bool { return esjson.Wild(p, reindexAction) }) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *task) int { return int(a.id - b.id) })
	return out
}

// grouped is the reply shape of list, cancel and rethrottle.
func grouped(c *store.Call, tasks []*task, detailed bool) (int, any, error) {
	switch c.Q.Get("group_by") {
	case "none":
		list := []esjson.Object{}
		for _, t := range tasks {
			list = append(list, t.describe(detailed, true))
		}
		return 200, esjson.Obj("tasks", list), nil
	case "parents":
		byID := esjson.Obj()
		for _, t := range tasks {
			byID = byID.With(t.name(), t.describe(detailed, true))
		}
		return 200, esjson.Obj("tasks", byID), nil
	}
	byID := esjson.Obj()
	for _, t := range tasks {
		byID = byID.With(t.name(), t.describe(detailed, true))
	}
	nodes := esjson.Obj()
	if len(tasks) > 0 {
		node := c.S.NodeHead(0).With("roles", store.Roles)
		if c.S.Version.AtLeast(7, 11) {
			node = node.With("attributes", esjson.Obj("xpack.installed", "true"))
		}
		nodes = esjson.Obj(c.S.NodeID(0), node.With("tasks", byID))
	}
	return 200, esjson.Obj("nodes", nodes), nil
}

func (x *Tasks) ListTasks(c *store.Call) (int, any, error) {
	return grouped(c, x.selected(c), c.Flag("detailed", false))
}

// missing says that a task is not there, as a failure of its node, with HTTP 200.
func missing(c *store.Call, id, node, text string) (int, any, error) {
	cause := esjson.Fail(404, "resource_not_found_exception", "task [%s] is %s", id, text).Object()
	reason := fmt.Sprintf("Failed node [%s]", node)
	if !hasNode(c.S, node) {
		cause = esjson.Fail(404, "no_such_node_exception", "No such node [%s]", node).With("node_id", node).Object()
	}
	return 200, esjson.Obj("node_failures", []esjson.Object{esjson.Obj("type", "failed_node_exception", "reason", reason, "node_id", node, "caused_by", cause)}, "nodes", esjson.Obj()), nil
}

func (x *Tasks) CancelTasks(c *store.Call) (int, any, error) {
	c.S.Mu.Lock()
	var list []*task
	if id, one := c.Vars["task"]; one {
		node, e := parseTaskID(id)
		t := x.Running[id]
		if e != nil || t == nil {
			defer c.S.Mu.Unlock()
			if e != nil {
				return 0, nil, e
			}
			return missing(c, id, node, "not found")
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
	status, reply, err := grouped(c, list, false)
	c.S.Mu.Unlock()
	if c.Flag("wait_for_completion", false) {
		for _, t := range list {
			select {
			case <-t.done:
			case <-c.R.Context().Done():
				return 0, nil, store.ErrStopped
			}
		}
	}
	return status, reply, err
}

func (x *Tasks) Rethrottle(c *store.Call) (int, any, error) {
	if c.Q.Get("requests_per_second") == "" {
		return 0, nil, esjson.Illegal("requests_per_second is a required parameter")
	}
	rate, e := perSecond(c.Q)
	if e != nil {
		return 0, nil, e
	}
	id := c.Vars["task"]
	node, e := parseTaskID(id)
	if e != nil {
		return 0, nil, e
	}
	t := x.Running[id]
	if t == nil {
		return missing(c, id, node, "missing")
	}
	t.perSecond = rate
	select {
	case t.changed <- struct{}{}:
	default:
	}
	return grouped(c, []*task{t}, true)
}
