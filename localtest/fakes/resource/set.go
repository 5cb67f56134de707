package resource

import (
	"iter"
	"slices"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Living is what a Set holds: a resource with states, as a Machine has them.
type Living interface{ State(now time.Time) string }

// Set are a product's resources of one kind, in the order of their creation. What is
// Gone stays in it, since a list may still show it.
type Set[T Living] []T

// Existing are those that are not Gone, with their states.
func (s Set[T]) Existing(now time.Time) iter.Seq2[T, string] {
	return func(yield func(T, string) bool) {
		for _, one := range s {
			if state := one.State(now); state != Gone && !yield(one, state) {
				return
			}
		}
	}
}

// Find is the first that exists and that is says yes to; ok is false if there is none.
func (s Set[T]) Find(now time.Time, is func(T) bool) (one T, state string, ok bool) {
	for one, state := range s.Existing(now) {
		if is(one) {
			return one, state, true
		}
	}
	return one, "", false
}

// Has tells whether one exists that is says yes to.
func (s Set[T]) Has(now time.Time, is func(T) bool) bool {
	_, _, ok := s.Find(now, is)
	return ok
}

// Remove takes away, as if by hand and long ago, what is says yes to.
func (s *Set[T]) Remove(is func(T) bool) { *s = slices.DeleteFunc(*s, is) }

// Views are what view shows of those that exist.
func Views[T Living, V any](s Set[T], now time.Time, view func(T) V) (all []V) {
	for one := range s.Existing(now) {
		all = append(all, view(one))
	}
	return all
}

// Locked are operations that hold mu while they run.
func Locked(mu *sync.Mutex, ops map[string]cloud.Op) map[string]cloud.Op {
	out := map[string]cloud.Op{}
	for name, op := range ops {
		out[name] = func(r *cloud.Request) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			return op(r)
		}
	}
	return out
}

// Is reports whether a parameter has the value, or is absent.
func Is(r *cloud.Request, name, value string) bool { return r.Get(name) == "" || r.Get(name) == value }

// Among reports whether a list parameter has the value among others, or is absent.
func Among(r *cloud.Request, name, value string) bool {
	want := Values(r, name)
	return want == nil || slices.Contains(want, value)
}
