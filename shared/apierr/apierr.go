// Package apierr says what the engine must know of a failed call: whether the
// same call may work later, whether the thing is gone, or whether a person has
// to look. Product packages classify by error code, each in one file; nobody
// decides by an error's text.
package apierr

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A Class is what an error means for what may be done next.
type Class int

const (
	// Fatal needs a person: repeating the call cannot help. It is also the
	// class of every error that nobody classified.
	Fatal Class = iota
	// Retry means that the same call, with the same token, may work later:
	// throttling, a busy resource, a 5xx, a reply that never came.
	Retry
	// NotFound means that what was asked for does not exist (any more).
	NotFound
	// Conflict means that the resource is in a state that refuses the call for
	// now. The engine waits as for Retry; a step may look at it first.
	Conflict
)

func (c Class) String() string {
	switch c {
	case Retry:
		return "retry"
	case NotFound:
		return "not found"
	case Conflict:
		return "conflict"
	}
	return "fatal"
}

// Error is a reply that refused a call, or the lack of a reply.
type Error struct {
	Class     Class
	Code      string // the service's error code, or "" when no reply came
	Message   string
	Status    int // HTTP status, 0 when no reply came
	RequestID string
	// RetryAfter is the pause that the reply asked for, 0 if none.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	s := e.Code
	if s == "" {
		s = "no reply"
	}
	if e.Status != 0 {
		s = fmt.Sprintf("%s (HTTP %d)", s, e.Status)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += " [request " + e.RequestID + "]"
	}
	return s
}

// Classified lets any error name its own class.
type Classified interface{ ErrorClass() Class }

// ErrorClass implements Classified.
func (e *Error) ErrorClass() Class { return e.Class }

// ClassOf returns the class of the first classified error in err's tree, or
// Fatal.
func ClassOf(err error) Class {
	var c Classified
	if errors.As(err, &c) {
		return c.ErrorClass()
	}
	return Fatal
}

// CodeOf returns the service's error code, or "".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// RetryAfter returns the pause that the service asked for, 0 if none.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// IsNotFound reports whether err says that the thing does not exist.
func IsNotFound(err error) bool { return err != nil && ClassOf(err) == NotFound }

// IgnoreNotFound returns nil if err says that the thing does not exist, else
// err: for deletes, which somebody else may have done already.
func IgnoreNotFound(err error) error {
	if IsNotFound(err) {
		return nil
	}
	return err
}

// ByStatus is the class of a code that no table knows: throttling and server
// errors may pass, anything else is for a person. What is not implemented today
// is not implemented after a pause either.
func ByStatus(status int) Class {
	if status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented {
		return Retry
	}
	return Fatal
}
