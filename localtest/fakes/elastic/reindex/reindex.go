package reindex

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/search"
	"eslink/localtest/fakes/elastic/store"
)

func (x *Tasks) Reindex(c *store.Call) (int, any, error) {
	req, e := readRequest(c)
	if e != nil {
		return 0, nil, e
	}
	s := c.S
	wait := c.Flag("wait_for_completion", true)
	s.Mu.Lock()
	if !s.Up {
		s.Mu.Unlock()
		return 0, nil, store.ErrStopped
	}
	t := x.start(c, req.describe(s.Version), req.perSecond, !wait)
	t.sliceID = req.sliceID
	whitelist := esjson.SplitList(s.Settings["reindex.remote.whitelist"])
	s.Mu.Unlock()
	go func() { t.finish(run(c, t, req, whitelist)) }()
	if !wait {
		return 200, esjson.Obj("task", t.name()), nil
	}
	select {
	case <-t.done:
	case <-c.R.Context().Done():
		return 0, nil, store.ErrStopped // the task goes on
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	switch {
	case !s.Up:
		return 0, nil, store.ErrStopped
	case t.err != nil:
		return 0, nil, t.err
	}
	return max(t.status, 200), t.result(false), nil
}

// page is one reply of a source.
type page struct {
	total    int
	hits     []pageHit
	failures []esjson.Object
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
	first(t *task) (page, *esjson.Error)
	// next extends the keep-alive by the sleep that comes after it. more is
	// false when there is nothing to ask for.
	next(t *task, sleep time.Duration) (p page, more bool, err *esjson.Error)
	close()
}

// run is the task: whatever fails here an asynchronous caller reads from the
// task, its own missing right included.
func run(c *store.Call, t *task, req *reindexRequest, whitelist []string) *esjson.Error {
	if e := c.Permit(reindexAction); e != nil {
		return e
	}
	var from pages
	if req.remote != nil {
		if e := req.remote.whitelisted(whitelist); e != nil {
			return e
		}
		from = newRemotePages(c.S, req)
	} else {
		from = &localPages{c: c, req: req}
	}
	err := copy(c, t, req, from)
	if err == nil && req.refresh && !t.cancelled {
		c.S.Mu.Lock()
		defer c.S.Mu.Unlock()
		if ix, ok := c.S.Indices[req.dest]; ok {
			if err = c.Permit("indices:admin/refresh", req.dest); err == nil {
				ix.Refresh()
			}
		}
	}
	return err
}

func (t *task) over() bool {
	t.s.Mu.Lock()
	defer t.s.Mu.Unlock()
	return t.cancelled || !t.s.Up
}

// copy moves page after page: the next one is asked for when the last is
// written, and then the throttle sleeps.
func copy(c *store.Call, t *task, req *reindexRequest, from pages) *esjson.Error {
	p, err := from.first(t)
	defer from.close()
	for n := 0; ; n++ {
		if err != nil {
			return err
		}
		if t.over() {
			return nil
		}
		c.S.Mu.Lock()
		t.total = p.total
		if req.maxDocs >= 0 {
			t.total = min(t.total, req.maxDocs)
		}
		c.S.Mu.Unlock()
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
			if stop, err := batch(c, t, req, hits); stop || err != nil {
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
	t.s.Mu.Lock()
	defer t.s.Mu.Unlock()
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
func batch(c *store.Call, t *task, req *reindexRequest, hits []pageHit) (stop bool, err *esjson.Error) {
	size := int64(0)
	for _, h := range hits {
		if h.source == nil {
			return true, esjson.Illegal("[%s][_doc][%s] didn't store _source", h.index, h.id)
		}
		size += int64(len(h.source))
	}
	if e := c.S.Pressure(size); e != nil {
		return true, e
	}
	c.S.Mu.Lock()
	t.batches++
	c.S.Mu.Unlock()
	waits := backoff()
	for {
		rejected, failures, status := writeHits(c, t, req, hits, len(waits) == 0)
		if len(failures) > 0 {
			t.failures, t.status = failures, status
			return true, nil
		}
		if len(rejected) == 0 {
			return t.over(), nil
		}
		c.S.Mu.Lock()
		t.bulkRetries++
		c.S.Mu.Unlock()
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

func writeHits(c *store.Call, t *task, req *reindexRequest, hits []pageHit, last bool) (rejected []pageHit, failures []esjson.Object, status int) {
	c.S.Mu.Lock()
	defer c.S.Mu.Unlock()
	for _, h := range hits {
		w := index.Write{Action: req.opType, Index: req.dest, ID: h.id, Routing: h.routing, Source: h.source, VersionType: req.versionType, Version: h.version, IfSeq: -1, Copies: req.copies}
		switch {
		case req.routing == "discard":
			w.Routing = ""
		case strings.HasPrefix(req.routing, "="):
			w.Routing = req.routing[1:]
		}
		reply, err := esjson.Object(nil), error(esjson.Illegal("pipeline with id [%s] does not exist", req.pipeline))
		if req.pipeline == "" {
			reply, _, err = c.Apply(w)
		}
		if err == nil {
			if reply.Get("result") == "created" {
				t.created++
			} else {
				t.updated++
			}
			continue
		}
		var e *esjson.Error
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
		item := esjson.Obj("index", req.dest)
		if !c.S.Version.AtLeast(8, 0) {
			item = item.With("type", "_doc")
		}
		failures = append(failures, item.With("id", h.id, "cause", e, "status", e.Status))
	}
	return rejected, failures, status
}

// localPages reads a snapshot of this cluster's own indices.
type localPages struct {
	c    *store.Call
	req  *reindexRequest
	rest []search.Hit
	all  int
}

func (l *localPages) first(*task) (page, *esjson.Error) {
	l.c.S.Mu.Lock()
	defer l.c.S.Mu.Unlock()
	err := l.snapshot()
	var e *esjson.Error
	if errors.As(err, &e) {
		return page{}, e
	}
	return l.cut()
}

func (l *localPages) snapshot() error {
	for _, n := range l.req.indices {
		if n == l.req.dest {
			return esjson.Validation([]string{fmt.Sprintf("reindex cannot write into an index its reading from [%s]", n)})
		}
		if e := l.c.Permit("indices:data/read/search", n); e != nil && !strings.Contains(n, "*") {
			return e
		}
	}
	targets, err := search.Targets(l.c, strings.Join(l.req.indices, ","), "indices:data/read/search")
	if err != nil {
		return err
	}
	r := &search.Request{Query: index.Query{Raw: l.req.query}}
	for _, s := range l.req.sort {
		name, dir, _ := strings.Cut(s, ":")
		r.Sort = append(r.Sort, search.SortBy{Field: name, Desc: dir == "desc"})
	}
	hits, err := r.Run(targets)
	if err != nil {
		return err
	}
	if len(r.Sort) > 0 {
		hits, err = r.Order(hits)
	}
	l.rest, l.all = hits, len(hits)
	return err
}

func (l *localPages) cut() (page, *esjson.Error) {
	p := page{total: l.all}
	var show index.SourceFilter
	if len(l.req.source) > 0 {
		var v any
		if err := esjson.Decode(l.req.source, &v); err != nil {
			return p, esjson.Illegal("%s", err)
		}
		show, _ = index.ParseSource(v)
	}
	n := min(l.req.size, len(l.rest))
	for _, h := range l.rest[:n] {
		raw, _ := show.Of(h.D).(json.RawMessage)
		p.hits = append(p.hits, pageHit{h.D.Ix.Name, h.D.ID, h.D.Routing, h.D.Version, raw})
	}
	l.rest = l.rest[n:]
	return p, nil
}

func (l *localPages) next(*task, time.Duration) (page, bool, *esjson.Error) {
	p, err := l.cut()
	return p, true, err
}

func (l *localPages) close() {}
