package copyjob

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"eslink/shared/es"
	"eslink/shared/facts"
)

// action is what is done about a copy whose task has ended.
type action int

const (
	complete    action = iota // it has copied all: nothing
	retry                     // start it again after a pause, longer each time, and in pieces if some came through
	lookAndRun                // stop if a disk of the destination is full, else retry
	slower                    // start it again at half the rate, after the destination has rested
	smaller                   // start it again with pages of half the size
	isolate                   // find the document that is larger than a page may be
	exclude                   // start it again without the documents that were rejected
	stop                      // a person has to fix the cause
	stopOrRerun               // the same, but start it once more first if that may have happened already
)

// An outcome is a way in which a task ends, and what is done then.
type outcome struct {
	name string
	// reason tells what an ending says of this, or "" if it is another outcome.
	reason func(ending) string
	do     action
}

// outcomes are all of them: the first whose reason applies counts.
var outcomes = []outcome{
	{"the destination does not know it", ending.isUnknown, lookAndRun},
	{"its ID is another task's", ending.isForeign, retry},
	{"a page is longer than 100 MB", errorOf(hasType(tooLong)), isolate},
	{"a page is no JSON that _reindex can read", ending.isUnparsable, isolate},
	{"the destination rejects a page", errorOf(hasType(rejected)), smaller},
	{"it broke off behind the last document", ending.isTransientAfterLast, complete},
	{"the link, the source or a node was away", ending.isTransient, retry},
	{"any other error", ending.error, stopOrRerun},
	{"no result", ending.hasNoResult, retry},
	{"the destination index refuses all writes", failureOf(refusesWrites), stopOrRerun},
	{"a shard was overloaded", failureOf(overloaded), slower},
	{"a shard could not be read or written", failureOf(transientFailure), retry},
	{"the source did not answer a page in time", ending.isTimedOut, retry},
	{"somebody cancelled it", ending.isCancelled, stop},
	{"documents do not fit the destination", failureOf(rejectsDocument), exclude},
	{"all is copied", func(ending) string { return "-" }, complete},
}

// An ending is what is known of a task that is not running any more.
type ending struct {
	task    facts.Task
	got     es.Task
	unknown bool // the destination knows nothing of it
}

// outcome is the ending's, and why.
func (e ending) outcome() (outcome, string) {
	for _, o := range outcomes {
		if why := o.reason(e); why != "" {
			return o, why
		}
	}
	panic("the last outcome applies always")
}

func (e ending) isUnknown() string {
	if !e.unknown {
		return ""
	}
	return "the destination does not know task " + e.task.ID + " any more (a node restarted?)"
}

// foreign reports whether the ID was given to another task: numbers start again
// with a node.
func (e ending) foreign() bool {
	return e.got.OpaqueID != e.task.OpaqueID || e.task.StartedMS != 0 && e.got.StartedMS != e.task.StartedMS
}

func (e ending) isForeign() string {
	if !e.foreign() {
		return ""
	}
	return "the ID " + e.task.ID + " is another task's now (a node restarted)"
}

func (e ending) error() string {
	if e.got.Error == nil {
		return ""
	}
	return e.got.Error.String()
}

// errorOf matches an error by a type in it.
func errorOf(match func(string) bool) func(ending) string {
	return func(e ending) string {
		if !e.got.Error.Is(match) {
			return ""
		}
		return e.error()
	}
}

// isUnparsable matches a page in which what a document says, which the source returns as
// it was given, is not what _reindex takes: a byte order mark, say. A reply that is not
// a page at all has no status of one. (Measured on 7.17.29.)
func (e ending) isUnparsable() string {
	if e.got.Error == nil || !strings.HasPrefix(e.got.Error.Reason, "Error parsing the response") || !e.got.Error.Is(hasType("json_parse_exception")) {
		return ""
	}
	return e.error()
}

// isTransient matches errors that end a task and may be gone next time: the link or
// the source was away, or the destination was overloaded.
func (e ending) isTransient() string {
	if e.got.Error == nil {
		return ""
	}
	status := e.got.Error.RemoteStatus()
	if !e.got.Error.Is(transientType) && status != http.StatusTooManyRequests && status < 500 {
		return ""
	}
	return e.error()
}

// isTransientAfterLast matches one that asked for one more page than there is. What
// was rejected would have ended it otherwise.
func (e ending) isTransientAfterLast() string {
	if s := e.got.Status; s.Processed() == 0 || s.Processed() != s.Total {
		return ""
	}
	return e.isTransient()
}

func (e ending) hasNoResult() string {
	if e.got.Response != nil {
		return ""
	}
	return "task " + e.task.ID + " ended without a result"
}

// failureOf matches a failure of a result.
func failureOf(match func(es.Failure) bool) func(ending) string {
	return func(e ending) string {
		i := slices.IndexFunc(e.got.Response.Failures, match)
		if i < 0 {
			return ""
		}
		return e.got.Response.Failures[i].String()
	}
}

func (e ending) isTimedOut() string {
	if !e.got.Response.TimedOut {
		return ""
	}
	return "the source did not answer a page in time"
}

func (e ending) isCancelled() string {
	res := e.got.Response
	if res.Canceled == "" {
		return ""
	}
	return fmt.Sprintf("task %s was cancelled after %d of %d documents", e.task.ID, res.Processed(), res.Total)
}

// leaksScrolls reports whether the source may not know yet that the task has ended:
// then it keeps what the task has read from.
func (e ending) leaksScrolls() bool {
	err := e.got.Error
	switch {
	case e.unknown || e.foreign():
		return true
	case err == nil:
		return false
	case err.Is(hasType(tooLong)) || e.isUnparsable() != "": // the first page names the scroll
		return e.got.Status.Total == 0
	case e.isTransient() != "":
		return e.got.Status.Total > 0 || err.RemoteStatus() == 0 && !err.Is(didNotReachSource)
	}
	return false
}

// rejected is a page that is too much for the destination as it is, by its size
// or by what else goes on; tooLong one that is over Elasticsearch's own limit.
const (
	rejected = "es_rejected_execution_exception"
	tooLong  = "content_too_long_exception"
)

// hasType matches one type of error.
func hasType(kind string) func(string) bool { return func(k string) bool { return k == kind } }

func transientType(kind string) bool {
	switch kind {
	case "connect_exception", "connection_closed_exception", "socket_exception", "socket_timeout_exception", "unknown_host_exception",
		"no_route_to_host_exception", "i_o_exception", "node_closed_exception", "search_context_missing_exception", rejected:
		return true
	}
	return false
}

// didNotReachSource matches errors of a request that did not reach the source.
func didNotReachSource(kind string) bool {
	switch kind {
	case "connect_exception", "unknown_host_exception", "no_route_to_host_exception":
		return true
	}
	return false
}

// refusesWrites reports whether the index refuses all writes: what says nothing of
// a document, and does not pass by itself. A full disk is a block, too.
func refusesWrites(f es.Failure) bool {
	return f.Cause != nil && (f.Status == http.StatusForbidden || f.Status == http.StatusNotFound || f.Cause.Type == "cluster_block_exception")
}

func overloaded(f es.Failure) bool { return f.Status == http.StatusTooManyRequests }

// transientFailure reports whether a failure says nothing of a document and may
// pass: a shard of the source could not be read, or one of the destination not
// written.
func transientFailure(f es.Failure) bool {
	return f.Cause == nil || f.Status >= 500
}

// rejectsDocument reports whether a document cannot be written as it is, or not over
// one of a higher version.
func rejectsDocument(f es.Failure) bool {
	return f.Cause != nil && f.ID != "" && (f.Status == http.StatusBadRequest || f.Status == http.StatusConflict)
}
