package elastic

import (
	"fmt"
	"net/http"
	"slices"
)

// Error is Elasticsearch's error object with its HTTP status: type, reason and
// further members, a cause, and root causes when those are not the error itself.
type Error struct {
	Status       int
	Type, Reason string
	more         object
	cause        *Error
	roots        []*Error
	column       int  // where in the body its parser stood, if one did
	challenged   bool // carries the header that asks for a login
}

func (e *Error) Error() string { return e.Type + ": " + e.Reason }

func fail(status int, typ, format string, args ...any) *Error {
	return &Error{Status: status, Type: typ, Reason: fmt.Sprintf(format, args...)}
}

func illegal(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "illegal_argument_exception", format, args...)
}

// unsupported names what this server, unlike a real one, does not do.
func unsupported(format string, args ...any) *Error {
	return fail(http.StatusNotImplemented, "unsupported_by_embedded_elasticsearch", format, args...)
}

func noSuchIndex(name string) *Error {
	e := fail(http.StatusNotFound, "index_not_found_exception", "no such index [%s]", name)
	e.more = obj("resource.type", "index_or_alias", "resource.id", name, "index_uuid", "_na_", "index", name)
	return e
}

func (e *Error) because(cause *Error) *Error {
	e.cause = cause
	return e
}

// rooted names the root causes when they are not the error itself.
func (e *Error) rooted(causes ...*Error) *Error {
	e.roots = causes
	return e
}

func (e *Error) with(kv ...any) *Error {
	e.more = e.more.with(kv...)
	return e
}

func (e *Error) head() object {
	var reason any
	if e.Reason != "" { // an exception without a message has none
		reason = e.Reason
	}
	o := obj("type", e.Type, "reason", reason).with(pairs(e.more)...)
	if e.challenged {
		o = o.with("header", obj("WWW-Authenticate", challenge))
	}
	return o
}

// object is the error without root cause and status, as task results and bulk
// items carry it.
func (e *Error) object() object {
	o := e.head()
	if e.cause != nil {
		header := len(o)
		if e.challenged { // it comes last
			header--
		}
		o = slices.Insert(o, header, member{"caused_by", e.cause})
	}
	return o
}

// envelope is the error as the body of a reply.
func (e *Error) envelope() object {
	roots := []object{}
	for _, r := range e.roots {
		roots = append(roots, r.head())
	}
	if len(roots) == 0 {
		roots = append(roots, e.head())
	}
	return obj("error", append(obj("root_cause", roots), e.object()...), "status", e.Status)
}

func pairs(o object) []any {
	kv := make([]any, 0, 2*len(o))
	for _, m := range o {
		kv = append(kv, m.key, m.value)
	}
	return kv
}
