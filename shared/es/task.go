package es

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// raw is a request that esapi cannot express: its requests_per_second is an
// integer, the server's is not.
type raw struct {
	method, path, query, opaqueID string
	body                          any // nil: none, which is not an empty one to those that take none
}

func (r raw) Do(ctx context.Context, t esapi.Transport) (*esapi.Response, error) {
	var reader io.Reader
	if r.body != nil {
		var err error
		if reader, err = body(r.body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.path+"?"+r.query, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.opaqueID != "" {
		req.Header.Set("X-Opaque-Id", r.opaqueID)
	}
	res, err := t.Perform(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{StatusCode: res.StatusCode, Header: res.Header, Body: res.Body}, nil
}

// Reindex kicks off a copy and returns its task's ID. A lost reply leaves a task
// behind that FindTask finds by opaqueID; the call itself is never repeated.
// perSecond, in documents, may be nil.
func (c *Client) Reindex(ctx context.Context, b ReindexBody, opaqueID string, perSecond *float64) (string, error) {
	query := "wait_for_completion=false"
	if perSecond != nil {
		query += "&requests_per_second=" + formatRate(*perSecond)
	}
	if b.Scroll > 0 {
		query += fmt.Sprintf("&scroll=%ds", int(b.Scroll.Seconds()))
	}
	var out struct{ Task string }
	err := c.do(ctx, "start reindex into "+b.Dest.Index, raw{http.MethodPost, "/_reindex", query, opaqueID, b}, &out)
	return out.Task, err
}

// nothing is the name of no pipeline, no index and no field.
const nothing = "eslink-there-is-nothing-of-this-name"

// ReindexIDs returns the IDs of the documents in the first page of a copy, and
// copies nothing: they are to go through a pipeline that does not exist, so every one
// is refused, and a _reindex ends with the page that has a failure. The documents
// come without what they say. (Measured on 7.10.2 and 7.17.29. That they may be
// written to an alias alone, require_alias, would be plainer, but _reindex from
// another cluster takes that and does not mind.)
func (c *Client) ReindexIDs(ctx context.Context, b ReindexBody, opaqueID string) ([]string, error) {
	b.Dest = ReindexDest{Index: nothing, OpType: "create", Pipeline: nothing}
	b.Source.Fields, b.MaxDocs, b.Conflicts = []string{nothing}, b.Source.Size, ""
	what := "name documents of " + b.Source.Index
	res, err := raw{http.MethodPost, "/_reindex", "scroll=1m", opaqueID, b}.Do(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", what, c.base.Host, unreachable(ctx, err))
	}
	defer res.Body.Close()
	body, err := read(res, maxReply)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", what, c.base.Host, err)
	}
	// Its status is that of the failures.
	var out struct {
		TaskResponse
		Total *int64          `json:"total"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &out) != nil || out.Total == nil || out.Error != nil {
		return nil, fmt.Errorf("%s on %s: %w", what, c.base.Host, replyError(res.StatusCode, body))
	}
	ids := make([]string, len(out.Failures))
	for i, f := range out.Failures {
		if f.ID == "" || f.Cause == nil {
			return nil, fmt.Errorf("%s on %s: %s", what, c.base.Host, f)
		}
		ids[i] = f.ID
	}
	return ids, nil
}

// Rethrottle changes the rate of a running copy; -1 means no limit.
func (c *Client) Rethrottle(ctx context.Context, taskID string, perSecond float64) error {
	return c.do(ctx, "throttle task "+taskID,
		raw{http.MethodPost, "/_reindex/" + taskID + "/_rethrottle", "requests_per_second=" + formatRate(perSecond), "", nil}, nil)
}

// Task is a _reindex task, running or finished.
type Task struct {
	ID        string
	Completed bool
	StartedMS int64
	OpaqueID  string
	Into      string        // the index that it writes, of tasks that Tasks lists
	Running   time.Duration // for how long, by the cluster's clock
	Status    TaskStatus    // while it runs
	Response  *TaskResponse
	Error     *Cause
}

// TaskStatus counts what a task has done so far.
type TaskStatus struct {
	Total             int64   `json:"total"`
	Created           int64   `json:"created"`
	Updated           int64   `json:"updated"`
	Deleted           int64   `json:"deleted"`
	Noops             int64   `json:"noops"`
	VersionConflicts  int64   `json:"version_conflicts"`
	RequestsPerSecond float64 `json:"requests_per_second"`
}

// Processed is how many documents the task is through with.
func (s TaskStatus) Processed() int64 {
	return s.Created + s.Updated + s.Deleted + s.Noops + s.VersionConflicts
}

// TaskResponse is what a finished task reports.
type TaskResponse struct {
	TaskStatus
	TimedOut bool      `json:"timed_out"`
	Canceled string    `json:"canceled"`
	Failures []Failure `json:"failures"`
}

// Failure is a document that could not be written (Cause), or a shard that
// could not be read (Reason).
type Failure struct {
	Index  string `json:"index"`
	ID     string `json:"id"`
	Shard  *int   `json:"shard"`
	Status int    `json:"status"`
	Cause  *Cause `json:"cause"`
	Reason *Cause `json:"reason"`
}

// String names the failure without the document's content: Elasticsearch puts a
// preview of the field's value behind the reason.
func (f Failure) String() string {
	cause, what := f.Cause, "document "+f.ID
	if cause == nil {
		cause, what = f.Reason, "a source shard"
	}
	if cause == nil {
		return fmt.Sprintf("%s in %s: status %d", what, f.Index, f.Status)
	}
	reason, _, _ := strings.Cut(cause.Reason, " Preview of field's value")
	return fmt.Sprintf("%s in %s: %s: %s", what, f.Index, cause.Type, strings.TrimSuffix(reason, "."))
}

type taskInfo struct {
	Node      string `json:"node"`
	ID        int64  `json:"id"`
	StartedMS int64  `json:"start_time_in_millis"`
	RunningNS int64  `json:"running_time_in_nanos"`
	// Description is as "reindex from [host=… query={…}][src] to [dst][_doc]"; 8.x
	// has no type.
	Description string            `json:"description"`
	Status      TaskStatus        `json:"status"`
	Headers     map[string]string `json:"headers"`
}

func (t taskInfo) task() Task {
	return Task{ID: fmt.Sprintf("%s:%d", t.Node, t.ID), StartedMS: t.StartedMS, OpaqueID: t.Headers["X-Opaque-Id"],
		Running: time.Duration(t.RunningNS), Status: t.Status, Into: t.into()}
}

// into is the index that a task writes, "" if it does not say.
func (t taskInfo) into() string {
	at := strings.LastIndex(t.Description, "] to [")
	if at < 0 {
		return ""
	}
	index, _, _ := strings.Cut(t.Description[at+len("] to ["):], "]")
	return index
}

// Task returns a task, or an error of class NotFound if the cluster knows
// nothing of it: then its outcome is unknown, not good.
func (c *Client) Task(ctx context.Context, id string) (Task, error) {
	var out struct {
		Completed bool
		Task      taskInfo
		Response  *TaskResponse
		Error     *Cause
	}
	if err := c.do(ctx, "read task "+id, esapi.TasksGetRequest{TaskID: id}, &out); err != nil {
		return Task{}, err
	}
	t := out.Task.task()
	t.Completed, t.Response, t.Error = out.Completed, out.Response, out.Error
	return t, nil
}

// Tasks lists the _reindex tasks that run.
func (c *Client) Tasks(ctx context.Context) ([]Task, error) {
	detailed := true
	var out struct{ Tasks []taskInfo }
	req := esapi.TasksListRequest{Actions: []string{"*reindex"}, Detailed: &detailed, GroupBy: "none"}
	if err := c.do(ctx, "list tasks", req, &out); err != nil {
		return nil, err
	}
	tasks := make([]Task, len(out.Tasks))
	for i, info := range out.Tasks {
		tasks[i] = info.task()
	}
	return tasks, nil
}

// FindTask returns the running _reindex that was started with opaqueID, if any.
func (c *Client) FindTask(ctx context.Context, opaqueID string) (Task, bool, error) {
	tasks, err := c.Tasks(ctx)
	for _, t := range tasks {
		if t.OpaqueID == opaqueID {
			return t, true, err
		}
	}
	return Task{}, false, err
}

// CancelTask asks a task to stop after its current page, and waits until it has
// if asked to. A task that is not there any more is no error. A number may be
// given out twice: look whose it is first.
func (c *Client) CancelTask(ctx context.Context, id string, wait bool) error {
	return c.do(ctx, "cancel task "+id, esapi.TasksCancelRequest{TaskID: id, WaitForCompletion: &wait}, nil)
}

// IndexMeta returns the _meta object of an index's mappings.
func (d Definition) IndexMeta() (map[string]string, error) {
	var m struct {
		Meta map[string]string `json:"_meta"`
	}
	if err := json.Unmarshal(d.Mappings, &m); err != nil {
		return nil, fmt.Errorf("decode mappings: %w", err)
	}
	return m.Meta, nil
}

// RemoteStatus is the HTTP status that a remote cluster answered a _reindex
// with, or 0. The task's error has it in the text of its cause alone, as
// "status line [HTTP/1.1 401 Unauthorized]".
func (c *Cause) RemoteStatus() int {
	for ; c != nil; c = c.CausedBy {
		if c.Type != "response_exception" {
			continue
		}
		if m := statusLine.FindStringSubmatch(c.Reason); m != nil {
			status, _ := strconv.Atoi(m[1]) // three digits
			return status
		}
	}
	return 0
}

// Remote is what a remote cluster said of a _reindex that it refused, or nil:
// the task's error holds that reply as text, "body={…}".
func (c *Cause) Remote() *Cause {
	text, ok := strings.CutPrefix(c.Reason, "body=")
	if !ok || c.Type != "status_exception" {
		return nil
	}
	var reply struct{ Error *Cause }
	if json.Unmarshal([]byte(text), &reply) != nil {
		return nil
	}
	return reply.Error
}

// Is reports whether the cause, or what led to it, is of a type that match
// accepts; at the remote cluster, too.
func (c *Cause) Is(match func(string) bool) bool {
	return c != nil && (match(c.Type) || c.CausedBy.Is(match) || c.Remote().Is(match))
}

var statusLine = regexp.MustCompile(`status line \[HTTP/[0-9.]+ ([0-9]{3})`)
