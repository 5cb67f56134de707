// Package copyjob starts _reindex tasks, each once, and reads what becomes of
// them. The steps reindex and progress share it: the first starts the copy, the
// second starts again what was lost on the way.
package copyjob

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// What breaks off and may pass is started again after a pause, longer each time
// (250 ms to 512 s, half an hour in all), before a person looks. While anything comes
// through, the pause stays short; but not for ever.
const (
	maxLost     = 24
	minPause    = 250 * time.Millisecond
	lostNext    = 1 // counted at most, when something comes through
	maxAttempts = 100
	// restPause is that of a destination that had too much to do.
	restPause = 15 * time.Second
)

// A task has a scroll open at the source on each shard. One that breaks off may leave
// them open until they have not been asked for longer than they are kept. A node has
// 500 for all who read it: tasks that run have a quarter of them, those that broke off
// half of them at most, and the scrolls of a copy that broke off before are kept
// shorter.
const (
	mostOpen  = 125
	mostLeft  = 250
	kept      = 5 * time.Minute // Elasticsearch's own
	keptAgain = time.Minute
)

// Clusters gives access to the instance, and the target's login.
type Clusters interface {
	Open(ctx context.Context, s clusters.Side) (*es.Client, error)
	Login(ctx context.Context, s clusters.Side) (kms.Login, error)
}

// Rows keeps rows of a run.
type Rows interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Copy is one run's copying, within one invocation.
type Copy struct {
	Clusters Clusters
	Rows     Rows
	Now      func() time.Time
	Split    Split
	run      *run.Run
	client   *es.Client
	soonest  time.Duration
	broken   []brokenWindow
	looked   time.Time // when the tasks were read
}

// Open opens the instance for r.
func Open(ctx context.Context, c Clusters, rows Rows, now func() time.Time, r *run.Run) (*Copy, error) {
	client, err := c.Open(ctx, clusters.Destination(r))
	if err != nil {
		return nil, err
	}
	return &Copy{Clusters: c, Rows: rows, Now: now, Split: usual, run: r, client: client}, nil
}

// Intend notes that the tasks that are due now are about to be started, and
// reports whether there are any. The note must be saved before Start.
func (c *Copy) Intend() bool {
	busy, now := 0, c.Now()
	if now.Before(c.room()) {
		return false
	}
	tasks := c.run.Facts.Reindex.Tasks
	for i := range tasks {
		if t := &tasks[i]; !t.Intent.IsZero() && t.Result == nil {
			busy++
		}
	}
	intended := false
	for i := range tasks {
		t := &tasks[i]
		if busy >= cmp.Or(c.run.Facts.Reindex.Parallel, Parallel) || !t.Intent.IsZero() || t.Result != nil || now.Before(t.NotBefore) || c.waitsFor(t) {
			continue
		}
		t.Attempt++
		t.OpaqueID = fmt.Sprintf("%s%d/%d", c.ours(t), t.Window, t.Attempt)
		t.Intent = now
		busy++
		intended = true
	}
	return intended
}

// ours begins the X-Opaque-Id of every task of t's index in this generation.
func (c *Copy) ours(t *facts.Task) string {
	return fmt.Sprintf("eslink/%s/%d/%d/", c.run.ID, c.run.Generation, c.position(t))
}

// Pause is how long every copy that is left waits before it is started again, and
// what for, or 0 if one is under way or due.
func (c *Copy) Pause() (pause time.Duration, why string) {
	room := c.room()
	why = "what is left starts then"
	if room.After(c.Now()) {
		why = "what is left starts when the source has closed scrolls that copies left open as they broke off"
	}
	for i := range c.run.Facts.Reindex.Tasks {
		t := &c.run.Facts.Reindex.Tasks[i]
		if t.Result != nil || c.waitsFor(t) {
			continue
		}
		left := max(t.NotBefore.Sub(c.Now()), room.Sub(c.Now()))
		if !t.Intent.IsZero() || left <= 0 {
			return 0, ""
		}
		if pause == 0 || left < pause {
			pause = left
		}
	}
	return pause, why
}

// Soonest is how long it may take until there is something to do, as far as the
// tasks that run can tell: one will be done whose place another waits for, or may
// have broken off. It is 0 if none can.
func (c *Copy) Soonest() time.Duration { return c.soonest }

// sooner lowers that.
func (c *Copy) sooner(d time.Duration) {
	if d = max(d, 1); c.soonest == 0 || d < c.soonest {
		c.soonest = d
	}
}

// crowded reports whether a task waits for the place of one that runs.
func (c *Copy) crowded() bool {
	return slices.ContainsFunc(c.run.Facts.Reindex.Tasks, func(t facts.Task) bool { return t.Result == nil && t.Intent.IsZero() })
}

// Start starts the intended tasks.
//
// Pasts of a kick-off: never sent; sent and its reply lost, or the record not
// saved. Then the task runs under our X-Opaque-Id and is adopted, or it has
// ended: its stored result could be found by an ID alone, which nobody has. If
// no task runs it is sent (again): documents are written under their own IDs, so
// a second copy of the same ones does no harm.
func (c *Copy) Start(ctx context.Context) error {
	var running []es.Task
	for i := range c.run.Facts.Reindex.Tasks {
		t := &c.run.Facts.Reindex.Tasks[i]
		if t.Intent.IsZero() || t.ID != "" {
			continue
		}
		if running == nil {
			var err error
			if running, err = c.client.Tasks(ctx); err != nil {
				return err
			}
		}
		if err := c.start(ctx, t, running); err != nil {
			return err
		}
	}
	return nil
}

func (c *Copy) start(ctx context.Context, t *facts.Task, running []es.Task) error {
	for _, found := range running {
		if found.OpaqueID == t.OpaqueID {
			t.ID, t.StartedMS = found.ID, found.StartedMS
			if t.Nodes == "" { // it has seen its own node's life, at least
				return c.note(ctx, t)
			}
			return nil
		}
	}
	for _, found := range running {
		if open(t) && strings.HasPrefix(found.OpaqueID, c.ours(t)) {
			// A kick-off that came late copies a window a second time. It must not
			// write older versions after the last window's.
			return c.client.CancelTask(ctx, found.ID, false)
		}
	}
	if err := c.note(ctx, t); err != nil {
		return err
	}
	id, err := c.kickOff(ctx, t)
	t.ID = id
	return err
}

func (c *Copy) kickOff(ctx context.Context, t *facts.Task) (string, error) {
	b, err := c.body(ctx, t)
	if err != nil {
		return "", err
	}
	return c.client.Reindex(ctx, b, t.OpaqueID, c.rate(t))
}

// body says what t copies.
func (c *Copy) body(ctx context.Context, t *facts.Task) (es.ReindexBody, error) {
	login, err := c.Clusters.Login(ctx, clusters.Source(c.run))
	if err != nil {
		return es.ReindexBody{}, err
	}
	q, err := query(c.run.Indices()[c.position(t)], t)
	if err != nil {
		return es.ReindexBody{}, err
	}
	spec := c.run.Spec.Reindex
	b := es.ReindexBody{Conflicts: spec.Conflicts, Dest: es.ReindexDest{Index: t.Dest},
		Source: es.ReindexSource{Index: t.Source, Query: q, Size: cmp.Or(t.Size, spec.Size), Remote: Remote(c.run, login)}}
	if t.Ordered {
		b.Source.Sort = "_seq_no"
	}
	if t.Lost > 0 {
		b.Scroll = keptAgain
	}
	return b, nil
}

// rate is what a task may write, in documents a second, nil if nothing is said of
// it. What is asked for is an index's: its windows share it.
func (c *Copy) rate(t *facts.Task) *float64 {
	rate := c.run.Spec.Reindex.RequestsPerSecond
	if c.run.RequestsPerSecond != nil {
		rate = c.run.RequestsPerSecond
	}
	if rate != nil && *rate > 0 && windowed(t) && !open(t) {
		share := *rate / float64(cmp.Or(c.run.Facts.Reindex.Parallel, Parallel))
		rate = &share
	}
	if t.PerSecond > 0 && (rate == nil || *rate < 0 || *rate > t.PerSecond) {
		rate = &t.PerSecond
	}
	return rate
}

// Remote is the target as the instance sees it, through the link.
func Remote(r *run.Run, login kms.Login) es.Remote {
	protocol, port := r.Spec.Source()
	return es.Remote{
		Host:     fmt.Sprintf("%s://%s:%d", protocol, r.Facts.Accept.Domain, port),
		Username: login.Username, Password: login.Password,
		SocketTimeout: r.Spec.Reindex.SocketTimeout, ConnectTimeout: r.Spec.Reindex.ConnectTimeout,
	}
}

// Count is how far the copy of an index is, in documents, and how many a second
// its tasks that run now have copied since each began.
type Count struct {
	Done, Total int64
	PerSecond   float64
}

// perSecond is what a running task copies. A throttled one begins with a page, and
// then rests until its rate is kept.
func perSecond(t es.Task) float64 {
	if t.Running <= 0 {
		return 0
	}
	speed := float64(t.Status.Processed()) / t.Running.Seconds()
	if limit := t.Status.RequestsPerSecond; limit > 0 {
		speed = min(speed, limit)
	}
	return speed
}

// Observe reads every started task once and notes what it says. It returns how
// many are unfinished, started or not, and how far each index of the spec is.
// What stops the run is often the same for all tasks, so all are read before the
// first such error is returned.
func (c *Copy) Observe(ctx context.Context) (unfinished int, counts []Count, err error) {
	counts = make([]Count, len(c.run.Indices()))
	list := c.run.Facts.Reindex.Tasks
	replies, errs := make([]es.Task, len(list)), make([]error, len(list))
	for i, t := range list {
		if t.Result == nil && t.ID != "" {
			replies[i], errs[i] = c.client.Task(ctx, t.ID)
		}
	}
	c.looked = c.Now()
	for i := range list {
		t := &list[i]
		n := &counts[c.position(t)]
		if t.Result == nil && t.ID != "" {
			got, e := c.observe(ctx, t, n, replies[i], errs[i])
			if e != nil && (ctx.Err() != nil || apierr.ClassOf(e) != apierr.Fatal) {
				c.divide()
				return 0, nil, e
			}
			if err == nil {
				err = e
			}
			n.Total += got.Total
			n.Done += got.Processed()
		}
		if res := t.Result; res != nil {
			n.Total += res.Total
			n.Done += res.Created + res.Updated + res.Deleted + res.Noops + res.VersionConflicts
		}
	}
	if e := c.secure(ctx); err == nil {
		err = e
	}
	c.divide()
	for i := range c.run.Facts.Reindex.Tasks {
		if !over(&c.run.Facts.Reindex.Tasks[i]) {
			unfinished++
		}
	}
	return unfinished, counts, err
}

func (c *Copy) observe(ctx context.Context, t *facts.Task, n *Count, got es.Task, err error) (es.TaskStatus, error) {
	switch {
	case apierr.IsNotFound(err):
		if err := c.full(ctx, t); err != nil {
			return es.TaskStatus{}, err
		}
		c.leaves(t)
		return es.TaskStatus{}, c.again(t, "the cluster knows nothing of task "+t.ID+" any more (a node restarted?)")
	case err != nil:
		return es.TaskStatus{}, err
	case got.OpaqueID != t.OpaqueID || t.StartedMS != 0 && got.StartedMS != t.StartedMS:
		// Task numbers start again with a node, so an ID can be given out twice.
		c.leaves(t)
		return es.TaskStatus{}, c.again(t, "task "+t.ID+" is somebody else's now (a node restarted)")
	case got.Error != nil:
		return es.TaskStatus{}, c.failed(ctx, t, got)
	case !got.Completed:
		t.StartedMS = got.StartedMS
		speed := perSecond(got)
		n.PerSecond += speed
		if speed > 0 && c.crowded() {
			c.sooner(time.Duration(float64(got.Status.Total-got.Status.Processed()) / speed * float64(time.Second)))
		}
		if speed == 0 || t.Lost > 0 { // the younger it is, the sooner something may become of it
			c.sooner(got.Running / 4)
		}
		// The server keeps a float.
		if want := c.rate(t); c.run.RequestsPerSecond != nil && float32(got.Status.RequestsPerSecond) != float32(*want) {
			return got.Status, c.client.Rethrottle(ctx, t.ID, *want)
		}
		return got.Status, nil
	case got.Response == nil:
		return es.TaskStatus{}, c.again(t, "task "+t.ID+" ended without a result")
	}
	return es.TaskStatus{}, c.finished(ctx, t, got)
}

// reset forgets a task that is over, so that the copy can be started again.
func reset(t *facts.Task) {
	t.ID, t.Intent, t.StartedMS, t.OpaqueID, t.Nodes = "", time.Time{}, 0, "", ""
}

// stale reports whether t was started before the run came to this step, or was
// resumed: what stopped it then may have been mended by a person since.
func (c *Copy) stale(t *facts.Task) bool { return t.Intent.Before(c.run.Cursor.Since) }

// restart has a copy started once more, at once.
func (c *Copy) restart(t *facts.Task, why string) {
	reset(t)
	c.run.Note(c.Now(), c.run.Cursor.Step, "copying again", why)
}

// again has a copy started once more, after a pause, with a note of why.
func (c *Copy) again(t *facts.Task, why string) error {
	reset(t)
	t.NotBefore = c.Now().Add(minPause << (t.Lost / 2))
	t.Lost++
	c.run.Note(c.Now(), c.run.Cursor.Step, "copying again", why)
	if lost := t.Lost; lost > maxLost || t.Attempt%maxAttempts == 0 {
		c.forget() // a person looks, and retry means to go on
		return events.NewProblem(409, "copy", fmt.Sprintf("the copy of %s into %s was lost %d times", t.Source, t.Dest, max(lost, t.Attempt)),
			events.Finding{Message: why, Remedy: "look at both clusters' health and load and at function check, then send action retry"})
	}
	return nil
}

// leaves notes that t may have left scrolls open at the source.
func (c *Copy) leaves(t *facts.Task) {
	now, plan, keep := c.Now(), c.run.Facts.Reindex, kept
	if t.Lost > 0 {
		keep = keptAgain
	}
	shards := max(1, len(c.run.Facts.Survey.Indices[c.position(t)].ShardSeqNos))
	plan.Left = slices.DeleteFunc(plan.Left, func(l facts.LeftScrolls) bool { return !l.Until.After(now) })
	plan.Left = append(plan.Left, facts.LeftScrolls{Until: now.Add(keep), Count: shards})
	slices.SortFunc(plan.Left, func(a, b facts.LeftScrolls) int { return a.Until.Compare(b.Until) })
}

// room is from when on so few scrolls are left open that a task may be started.
func (c *Copy) room() (from time.Time) {
	left := c.run.Facts.Reindex.Left
	open := 0
	for _, l := range slices.Backward(left) { // those that stay longest
		if open += l.Count; open > mostLeft {
			return l.Until
		}
	}
	return from
}

// forget forgets how often copies were lost: those that still run will break off
// for the same reason, and a person's retry is for all of them.
func (c *Copy) forget() {
	for i := range c.run.Facts.Reindex.Tasks {
		if t := &c.run.Facts.Reindex.Tasks[i]; t.Lost > 0 {
			t.Lost, t.NotBefore = 0, time.Time{}
		}
	}
}

// rests lets a destination that had too much to do rest.
func (c *Copy) rests(t *facts.Task) {
	if rested := c.Now().Add(restPause); t.NotBefore.Before(rested) {
		t.NotBefore = rested
	}
}

// passing are errors that end a task and may be gone next time: the link or the
// source was away, or the destination had too much to do.
func passing(kind string) bool {
	switch kind {
	case "connect_exception", "connection_closed_exception", "socket_exception", "socket_timeout_exception", "unknown_host_exception",
		"no_route_to_host_exception", "i_o_exception", "node_closed_exception", "search_context_missing_exception", rejected:
		return true
	}
	return false
}

// unreached are errors of a request that did not reach the source.
func unreached(kind string) bool {
	switch kind {
	case "connect_exception", "unknown_host_exception", "no_route_to_host_exception":
		return true
	}
	return false
}

// rejected is a page that is too much for the destination as it is, by its size
// or by what else goes on; tooLong one that is over Elasticsearch's own limit.
const (
	rejected = "es_rejected_execution_exception"
	tooLong  = "content_too_long_exception"
)

// is matches one type of error.
func is(kind string) func(string) bool { return func(k string) bool { return k == kind } }

func (c *Copy) failed(ctx context.Context, t *facts.Task, got es.Task) error {
	cause := got.Error
	status := cause.RemoteStatus()
	if cause.Is(is(tooLong)) {
		return c.tooLong(ctx, t, got.Status, cause)
	}
	if cause.Is(is(rejected)) {
		c.slower(t, got.Status, got.Running)
		if c.smaller(t, cause) {
			c.rests(t)
			return nil
		}
	}
	if cause.Is(passing) || status == http.StatusTooManyRequests || status >= 500 {
		if got.Status.Total > 0 || status == 0 && !cause.Is(unreached) {
			c.leaves(t)
		}
		done := got.Status.Processed()
		if done > 0 {
			t.Lost = min(t.Lost, lostNext)
		}
		if done > 0 && done == got.Status.Total {
			// It asked for one more page than there is. What was refused would have
			// ended it otherwise.
			got.Response = &es.TaskResponse{TaskStatus: got.Status}
			c.run.Note(c.Now(), c.run.Cursor.Step, "copied to the last document", cause.String())
			return c.finished(ctx, t, got)
		}
		err := c.again(t, cause.String())
		if cause.Is(is(rejected)) {
			c.rests(t)
		} else {
			c.breaks(t, got.Status)
		}
		return err
	}
	if c.stale(t) {
		c.restart(t, cause.String())
		return nil
	}
	reset(t) // retry starts a new one
	finding := events.Finding{Field: c.run.Entry(c.position(t)), Message: cause.String(), Remedy: "mend that, then send action retry"}
	if status == http.StatusUnauthorized {
		finding.Field = "secrets.target"
		finding.Message = "the source refuses the login of secret " + c.run.Spec.Secrets.Target + ", seen from " + c.run.Spec.InstanceID
		finding.Remedy = "put the right password into that secret, then send action retry"
	}
	return events.NewProblem(409, "copy", "the copy of "+t.Source+" into "+t.Dest+" broke off", finding)
}

// slower halves the rate of a copy that the destination had too much to do for.
func (c *Copy) slower(t *facts.Task, s es.TaskStatus, running time.Duration) {
	if s.Processed() > 0 && running > 0 {
		t.PerSecond = max(1, float64(s.Processed())/running.Seconds()/2)
	}
}

// refused reports whether the index refuses all writes: what says nothing of a
// document, and does not pass by itself. A full disk is a block, too.
func refused(f es.Failure) bool {
	return f.Cause != nil && (f.Status == http.StatusForbidden || f.Status == http.StatusNotFound || f.Cause.Type == "cluster_block_exception")
}

// passes reports whether a failure says nothing of a document and may pass: a
// shard of the source could not be read, or one of the destination not written.
func passes(f es.Failure) bool {
	return f.Cause == nil || f.Status == http.StatusTooManyRequests || f.Status >= 500
}

// maxUnfit is how many documents of one task are left out because they do not fit
// the destination. Where more do not, it is the mappings that do not fit.
const maxUnfit = 50

// unfit are the documents that cannot be written as they are, by ID.
func unfit(failures []es.Failure) map[string]string {
	out := map[string]string{}
	for _, f := range failures {
		if f.Cause != nil && f.ID != "" && f.Status == http.StatusBadRequest {
			out[f.ID] = f.String()
		}
	}
	return out
}

// full stops the run if a disk of the destination is full: its nodes block all
// indices then, and with them the one that keeps what tasks report.
func (c *Copy) full(ctx context.Context, t *facts.Task) error {
	def, err := c.client.Definition(ctx, t.Dest)
	if apierr.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if block, err := es.Setting(def.Settings, "blocks.read_only_allow_delete"); err != nil || block != "true" {
		return err
	}
	reset(t)
	return events.NewProblem(409, "copy", "the copy of "+t.Source+" into "+t.Dest+" was refused",
		events.Finding{Field: c.run.Entry(c.position(t)) + ".dest", Message: "disk usage exceeded flood-stage watermark, index has read-only-allow-delete block",
			Remedy: "make room on the disks of " + c.run.Spec.InstanceID + ", which lifts the block, then send action retry"})
}

// quoted bounds the failures that the record keeps word for word.
const quoted = 20

// failuresRow has a task's failures, windowRow what a window reported.
func failuresRow(i int, t *facts.Task) string {
	return fmt.Sprintf("failures/%05d/%05d/%d", i, t.Window, t.Attempt)
}
func windowRow(i int, t *facts.Task) string { return fmt.Sprintf("window/%05d/%05d", i, t.Window) }

// maxFailures bounds a row of them; a task reports those of one page.
const maxFailures = 2000

func (c *Copy) finished(ctx context.Context, t *facts.Task, got es.Task) error {
	res, i := got.Response, c.position(t)
	out := &facts.TaskResult{Total: res.Total, Created: res.Created, Updated: res.Updated, Deleted: res.Deleted, Noops: res.Noops,
		VersionConflicts: res.VersionConflicts, FailureCount: len(res.Failures), Cancelled: res.Canceled != ""}
	var lines []string
	for _, f := range res.Failures[:min(maxFailures, len(res.Failures))] {
		lines = append(lines, f.String())
	}
	left := slices.Sorted(maps.Values(t.Unfit)) // of earlier attempts
	out.FailureCount += len(left)
	out.Failures = slices.Concat(left, lines)[:min(quoted, len(left)+len(lines))]
	if len(lines) > 0 {
		if err := c.Rows.PutPart(ctx, c.run.ID, failuresRow(i, t), lines); err != nil {
			return err
		}
	}
	what := "the copy of " + t.Source + " into " + t.Dest
	switch {
	case slices.ContainsFunc(res.Failures, refused) && c.stale(t):
		c.restart(t, res.Failures[slices.IndexFunc(res.Failures, refused)].String())
		return nil
	case slices.ContainsFunc(res.Failures, refused):
		reset(t)
		return events.NewProblem(409, "copy", what+" was refused",
			events.Finding{Field: c.run.Entry(i) + ".dest", Message: res.Failures[slices.IndexFunc(res.Failures, refused)].String(),
				Remedy: "lift what refuses the write, then send action retry"})
	case slices.ContainsFunc(res.Failures, passes):
		err := c.again(t, res.Failures[slices.IndexFunc(res.Failures, passes)].String())
		if slices.ContainsFunc(res.Failures, func(f es.Failure) bool { return f.Status == http.StatusTooManyRequests }) {
			c.slower(t, res.TaskStatus, got.Running)
			c.rests(t)
		}
		return err
	case res.TimedOut:
		return c.again(t, "the source did not answer a page in time")
	case out.Cancelled:
		// Somebody wanted that; to start again at once would be to quarrel.
		id := t.ID
		reset(t)
		return events.NewProblem(409, "copy", what+" was cancelled by somebody",
			events.Finding{Field: c.run.Entry(i), Message: fmt.Sprintf("task %s was cancelled on %s after %d of %d documents", id, c.run.Spec.InstanceID, res.Processed(), res.Total),
				Remedy: "ask who did and why, then send action retry, with action throttle if it was too much"})
	}
	if more := unfit(res.Failures); len(more) > 0 && len(t.Unfit)+len(more) <= maxUnfit {
		// _reindex ends with the page that a document fails in: what comes after it
		// is copied without that one.
		if t.Unfit == nil {
			t.Unfit = map[string]string{}
		}
		maps.Copy(t.Unfit, more)
		c.restart(t, fmt.Sprintf("%s without %d documents that do not fit, such as %s", what, len(t.Unfit), lines[0]))
		return nil
	}
	for n := range c.run.Facts.Reindex.Tasks { // something comes through
		other := &c.run.Facts.Reindex.Tasks[n]
		other.Lost = min(other.Lost, lostNext)
	}
	if t.Nodes != "" { // secure sees to the rest
		t.Result = out
		return nil
	}
	return c.done(ctx, t, out)
}

// done notes that t is finished and what it wrote on disk.
func (c *Copy) done(ctx context.Context, t *facts.Task, out *facts.TaskResult) error {
	i, done := c.position(t), *t
	done.Result, done.Nodes = out, ""
	if windowed(t) {
		if err := c.Rows.PutPart(ctx, c.run.ID, windowRow(i, t), done); err != nil {
			return err
		}
	}
	*t = done
	for n := range c.run.Facts.Reindex.Tasks {
		// The last window starts when the source shows all that the others may have
		// missed.
		other := &c.run.Facts.Reindex.Tasks[n]
		if open(other) && other.Source == t.Source && other.Dest == t.Dest && other.Result == nil && other.Intent.IsZero() && !c.waitsFor(other) {
			other.NotBefore = c.looked.Add(settle(c.run.Facts.Survey.Indices[i].Refresh))
		}
	}
	return nil
}

// Cancel stops what runs, whether its reply ever came or not, and reports whether
// anything still does.
func (c *Copy) Cancel(ctx context.Context) (running bool, err error) {
	tasks, err := c.client.Tasks(ctx)
	if err != nil {
		return false, err
	}
	for _, t := range tasks {
		if !strings.HasPrefix(t.OpaqueID, fmt.Sprintf("eslink/%s/%d/", c.run.ID, c.run.Generation)) {
			continue
		}
		if err := c.client.CancelTask(ctx, t.ID, false); err != nil {
			return false, err
		}
		running = true
	}
	return running, nil
}
