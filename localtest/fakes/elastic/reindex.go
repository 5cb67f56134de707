package elastic

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

func (x *tasks) reindex(c *call) (int, any, error) {
	req, e := c.reindexRequest()
	if e != nil {
		return 0, nil, e
	}
	s := c.s
	wait := c.flag("wait_for_completion", true)
	s.mu.Lock()
	if !s.up {
		s.mu.Unlock()
		return 0, nil, errStopped
	}
	t := x.start(c, req.describe(s.version), req.perSecond, !wait)
	t.sliceID = req.sliceID
	whitelist := splitList(s.settings["reindex.remote.whitelist"])
	s.mu.Unlock()
	go func() { t.finish(c.run(t, req, whitelist)) }()
	if !wait {
		return 200, obj("task", t.name()), nil
	}
	select {
	case <-t.done:
	case <-c.r.Context().Done():
		return 0, nil, errStopped // the task goes on
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.up:
		return 0, nil, errStopped
	case t.err != nil:
		return 0, nil, t.err
	}
	return max(t.status, 200), t.result(false), nil
}

// page is one reply of a source.
type page struct {
	total    int
	hits     []pageHit
	failures []object
	status   int // of the failures
	timedOut bool
}

type pageHit struct {
	index, id, routing string
	version            int64
	source             json.RawMessage
}

// pages is where the documents come from.
type pages interface {
	first(t *task) (page, *Error)
	// next extends the keep-alive by the sleep that comes after it. more is
	// false when there is nothing to ask for.
	next(t *task, sleep time.Duration) (p page, more bool, err *Error)
	close()
}

// run is the task: whatever fails here an asynchronous caller reads from the
// task, its own missing right included.
func (c *call) run(t *task, req *reindexRequest, whitelist []string) *Error {
	if e := c.permit(reindexAction); e != nil {
		return e
	}
	var from pages
	if req.remote != nil {
		if e := req.remote.whitelisted(whitelist); e != nil {
			return e
		}
		from = newRemotePages(c.s, req)
	} else {
		from = &localPages{c: c, req: req}
	}
	err := c.copy(t, req, from)
	if err == nil && req.refresh && !t.cancelled {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		if ix, ok := c.s.indices[req.dest]; ok {
			if err = c.permit("indices:admin/refresh", req.dest); err == nil {
				ix.refresh()
			}
		}
	}
	return err
}

func (t *task) over() bool {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.cancelled || !t.s.up
}

// copy moves page after page: the next one is asked for when the last is
// written, and then the throttle sleeps.
func (c *call) copy(t *task, req *reindexRequest, from pages) *Error {
	p, err := from.first(t)
	defer from.close()
	for n := 0; ; n++ {
		if err != nil {
			return err
		}
		if t.over() {
			return nil
		}
		c.s.mu.Lock()
		t.total = p.total
		if req.maxDocs >= 0 {
			t.total = min(t.total, req.maxDocs)
		}
		c.s.mu.Unlock()
		if p.timedOut || len(p.failures) > 0 {
			t.timedOut, t.failures, t.status = p.timedOut, p.failures, p.status
			if p.timedOut {
				t.status = 408
			}
			return nil
		}
		if len(p.hits) == 0 && n > 0 {
			return nil
		}
		hits := p.hits
		if req.maxDocs >= 0 {
			hits = hits[:min(len(hits), req.maxDocs-t.created-t.updated-t.conflicts)]
		}
		if len(hits) > 0 {
			if stop, err := c.batch(t, req, hits); stop || err != nil {
				return err
			}
		}
		if req.maxDocs >= 0 && t.created+t.updated+t.conflicts >= req.maxDocs {
			return nil
		}
		sleep := t.pause(len(hits))
		var more bool
		if p, more, err = from.next(t, sleep); !more {
			return nil
		}
		if err == nil {
			t.sleep(sleep)
		}
	}
}

func (t *task) pause(docs int) time.Duration {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if math.IsInf(t.perSecond, 1) || docs == 0 {
		return 0
	}
	return time.Duration(min(float64(docs)/t.perSecond*float64(time.Second), float64(time.Hour)))
}

// backoff are the waits between attempts at a rejected page or bulk item.
func backoff() []time.Duration {
	var out []time.Duration
	for i := range 11 {
		out = append(out, 500*time.Millisecond+10*time.Millisecond*time.Duration(math.Exp(0.8*float64(i))-1))
	}
	return out
}

// batch writes one page; rejected items are tried again, the others decide at
// once whether the run ends.
func (c *call) batch(t *task, req *reindexRequest, hits []pageHit) (stop bool, err *Error) {
	size := int64(0)
	for _, h := range hits {
		if h.source == nil {
			return true, illegal("[%s][_doc][%s] didn't store _source", h.index, h.id)
		}
		size += int64(len(h.source))
	}
	if e := c.s.pressure(size); e != nil {
		return true, e
	}
	c.s.mu.Lock()
	t.batches++
	c.s.mu.Unlock()
	waits := backoff()
	for {
		rejected, failures, status := c.writeHits(t, req, hits, len(waits) == 0)
		if len(failures) > 0 {
			t.failures, t.status = failures, status
			return true, nil
		}
		if len(rejected) == 0 {
			return t.over(), nil
		}
		c.s.mu.Lock()
		t.bulkRetries++
		c.s.mu.Unlock()
		if !t.pauseFor(waits[0]) {
			return true, nil
		}
		hits, waits = rejected, waits[1:]
	}
}

// pauseFor waits, unless the task is cancelled meanwhile.
func (t *task) pauseFor(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

func (c *call) writeHits(t *task, req *reindexRequest, hits []pageHit, last bool) (rejected []pageHit, failures []object, status int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, h := range hits {
		w := write{action: req.opType, index: req.dest, id: h.id, routing: h.routing, source: h.source, versionType: req.versionType, version: h.version, ifSeq: -1, copies: req.copies}
		switch {
		case req.routing == "discard":
			w.routing = ""
		case strings.HasPrefix(req.routing, "="):
			w.routing = req.routing[1:]
		}
		reply, err := object(nil), error(illegal("pipeline with id [%s] does not exist", req.pipeline))
		if req.pipeline == "" {
			reply, _, err = c.apply(w)
		}
		if err == nil {
			if reply.get("result") == "created" {
				t.created++
			} else {
				t.updated++
			}
			continue
		}
		var e *Error
		errors.As(err, &e)
		if e.Status == 429 && !last {
			rejected = append(rejected, h)
			continue
		}
		if e.Status == 409 {
			if t.conflicts++; req.proceed {
				continue
			}
		}
		status = max(status, e.Status)
		item := obj("index", req.dest)
		if !c.s.version.atLeast(8, 0) {
			item = item.with("type", "_doc")
		}
		failures = append(failures, item.with("id", h.id, "cause", e, "status", e.Status))
	}
	return rejected, failures, status
}

func (o object) get(key string) any {
	for _, m := range o {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// localPages reads a snapshot of this cluster's own indices.
type localPages struct {
	c    *call
	req  *reindexRequest
	rest []hit
	all  int
}

func (l *localPages) first(*task) (page, *Error) {
	l.c.s.mu.Lock()
	defer l.c.s.mu.Unlock()
	err := l.snapshot()
	var e *Error
	if errors.As(err, &e) {
		return page{}, e
	}
	return l.cut()
}

func (l *localPages) snapshot() error {
	for _, n := range l.req.indices {
		if n == l.req.dest {
			return validation([]string{fmt.Sprintf("reindex cannot write into an index its reading from [%s]", n)})
		}
		if e := l.c.permit("indices:data/read/search", n); e != nil && !strings.Contains(n, "*") {
			return e
		}
	}
	targets, err := l.c.targets(strings.Join(l.req.indices, ","), "indices:data/read/search")
	if err != nil {
		return err
	}
	r := &request{query: query{raw: l.req.query}}
	for _, s := range l.req.sort {
		name, dir, _ := strings.Cut(s, ":")
		r.sort = append(r.sort, sortBy{field: name, desc: dir == "desc"})
	}
	hits, err := r.run(targets)
	if err != nil {
		return err
	}
	if len(r.sort) > 0 {
		hits, err = r.order(hits)
	}
	l.rest, l.all = hits, len(hits)
	return err
}

func (l *localPages) cut() (page, *Error) {
	p := page{total: l.all}
	var show sourceFilter
	if len(l.req.source) > 0 {
		var v any
		if err := decode(l.req.source, &v); err != nil {
			return p, illegal("%s", err)
		}
		show, _ = parseSource(v)
	}
	n := min(l.req.size, len(l.rest))
	for _, h := range l.rest[:n] {
		raw, _ := show.of(h.d).(json.RawMessage)
		p.hits = append(p.hits, pageHit{h.d.ix.name, h.d.id, h.d.routing, h.d.version, raw})
	}
	l.rest = l.rest[n:]
	return p, nil
}

func (l *localPages) next(*task, time.Duration) (page, bool, *Error) {
	p, err := l.cut()
	return p, true, err
}

func (l *localPages) close() {}
