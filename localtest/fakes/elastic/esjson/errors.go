package esjson

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
	More         Object
	Cause        *Error
	Roots        []*Error
	Column       int  // where in the body its parser stood, if one did
	Challenged   bool // carries the header that asks for a login
}

func (e *Error) Error() string { return e.Type + ": " + e.Reason }

func Fail(status int, typ, format string, args ...any) *Error {
	return &Error{Status: status, Type: typ, Reason: fmt.Sprintf(format, args...)}
}

func Illegal(format string, args ...any) *Error {
	return Fail(http.StatusBadRequest, "illegal_argument_exception", format, args...)
}

// Unsupported names what this server, unlike a real one, does not do.
func Unsupported(format string, args ...any) *Error {
	return Fail(http.StatusNotImplemented, "unsupported_by_embedded_elasticsearch", format, args...)
}

func NoSuchIndex(name string) *Error {
	e := Fail(http.StatusNotFound, "index_not_found_exception", "no such index [%s]", name)
	e.More = Obj("resource.type", "index_or_alias", "resource.id", name, "index_uuid", "_na_", "index", name)
	return e
}

func (e *Error) Because(cause *Error) *Error {
	e.Cause = cause
	return e
}

// Rooted names the root causes when they are not the error itself.
func (e *Error) Rooted(causes ...*Error) *Error {
	e.Roots = causes
	return e
}

func (e *Error) With(kv ...any) *Error {
	e.More = e.More.With(kv...)
	return e
}

func (e *Error) Head() Object {
	var reason any
	if e.Reason != "" { // an exception without a message has none
		reason = e.Reason
	}
	o := Obj("type", e.Type, "reason", reason).With(Pairs(e.More)...)
	if e.Challenged {
		o = o.With("header", Obj("WWW-Authenticate", Challenge))
	}
	return o
}

// Object is the error without root cause and status, as task results and bulk
// items carry it.
func (e *Error) Object() Object {
	o := e.Head()
	if e.Cause != nil {
		header := len(o)
		if e.Challenged { // it comes last
			header--
		}
		o = slices.Insert(o, header, Member{"caused_by", e.Cause})
	}
	return o
}

// Envelope is the error as the body of a reply.
func (e *Error) Envelope() Object {
	roots := []Object{}
	for _, r := range e.Roots {
		roots = append(roots, r.Head())
	}
	if len(roots) == 0 {
		roots = append(roots, e.Head())
	}
	return Obj("error", append(Obj("root_cause", roots), e.Object()...), "status", e.Status)
}

func Pairs(o Object) []any {
	kv := make([]any, 0, 2*len(o))
	for _, m := range o {
		kv = append(kv, m.Key, m.Value)
	}
	return kv
}
