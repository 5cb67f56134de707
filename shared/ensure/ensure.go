// Package ensure has the patterns of every create, so that a step may die at
// any line and be called again:
//
//   - Lookup finds what the run created before: by the ID on record, by tag, by
//     name. Several hits are for a person.
//   - AwaitList waits, after a create whose reply was lost, until lists would
//     show what it made.
//   - Intent does the same for creates that take no idempotency token.
//   - Await waits for a change that the cloud carries out as a job.
//
// A step looks (Lookup), creates with a token of the run if nothing is there,
// and records the ID. The token is raised by Lookup.Gone alone, once the
// resource on record is seen gone.
package ensure

import (
	"context"
	"fmt"
	"strings"

	"eslink/shared/apierr"
	"eslink/shared/run"
)

// Lookup says how to find a resource that a run may have created.
type Lookup[T any] struct {
	// Kind is what a person calls the resource: "load balancer".
	Kind string
	// ID returns a resource's ID.
	ID func(T) string
	// Get reads a resource by its ID, without lag. An error of class NotFound
	// means that there is none.
	Get func(ctx context.Context, id string) (T, error)

	// Recorded is the ID on record, or empty.
	Recorded string
	// Gone is called once when the resource on record is gone, whoever deleted
	// it: it takes the ID off the record and raises the token of the create. It
	// may be nil.
	Gone func()

	// Owned lists what is the run's for certain: what bears its tag, or stands in
	// a resource of its own. Named lists what only has the name that the run would
	// give; on the way down it is not asked, since a name proves no ownership.
	// Named is asked if Owned leads to nothing. Lists may trail a write, so every
	// hit is read again by its ID. Either may be nil.
	Owned, Named func(ctx context.Context) ([]T, error)
	Direction    run.Direction
	// Leaving reports whether a resource is being deleted: next to one that
	// stays it does not count. It may be nil.
	Leaving func(T) bool

	// Remedy tells which of several hits to delete: "delete those that serve no
	// endpoint service".
	Remedy string
}

// Find returns the run's resource, or nil if there is none. Several hits are an
// *AmbiguousError.
func (l Lookup[T]) Find(ctx context.Context) (*T, error) {
	if l.Recorded != "" {
		found, err := l.Get(ctx, l.Recorded)
		if err == nil {
			return &found, nil
		}
		if !apierr.IsNotFound(err) {
			return nil, fmt.Errorf("read %s %s: %w", l.Kind, l.Recorded, err)
		}
		if l.Gone != nil {
			l.Gone()
		}
	}
	found, err := l.read(ctx, l.Owned)
	if found != nil || err != nil || l.Direction == run.Down {
		return found, err
	}
	return l.read(ctx, l.Named)
}

// read reads each hit of a list by its ID and picks the run's resource.
func (l Lookup[T]) read(ctx context.Context, list func(context.Context) ([]T, error)) (*T, error) {
	if list == nil {
		return nil, nil
	}
	hits, err := list(ctx)
	if err != nil {
		return nil, fmt.Errorf("list %ss of the run: %w", l.Kind, err)
	}
	var stay, leave []T
	for _, hit := range hits {
		found, err := l.Get(ctx, l.ID(hit))
		switch {
		case apierr.IsNotFound(err): // the list still shows what is gone
		case err != nil:
			return nil, fmt.Errorf("read %s %s: %w", l.Kind, l.ID(hit), err)
		case l.Leaving != nil && l.Leaving(found):
			leave = append(leave, found)
		default:
			stay = append(stay, found)
		}
	}
	if len(stay) == 0 && len(leave) > 0 {
		return &leave[0], nil
	}
	return One(l.Kind, stay, l.ID, l.Remedy)
}

// One returns the only one of hits, nil if there is none, or an
// *AmbiguousError. It serves products whose resources cannot be read by ID.
func One[T any](kind string, hits []T, id func(T) string, remedy string) (*T, error) {
	switch len(hits) {
	case 0:
		return nil, nil
	case 1:
		return &hits[0], nil
	}
	e := &AmbiguousError{Kind: kind, Remedy: remedy}
	for _, h := range hits {
		e.IDs = append(e.IDs, id(h))
	}
	return nil, e
}

// AmbiguousError says that several resources could be the run's one: its class
// is Fatal, a person has to choose.
type AmbiguousError struct {
	Kind   string
	IDs    []string
	Remedy string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%ss %s all belong to this run, which needs one: %s, then retry", e.Kind, strings.Join(e.IDs, ", "), e.Remedy)
}

// ByTag makes an Owned list of one that takes a tag's key and value: what bears
// the run's tag.
func ByTag[T any](r *run.Run, list func(ctx context.Context, key, value string) ([]T, error)) func(context.Context) ([]T, error) {
	return func(ctx context.Context) ([]T, error) { return list(ctx, run.TagKey, r.Tag()) }
}

// ByName makes a Named list of one that takes a name: what has the name that the
// run gives to resource what.
func ByName[T any](r *run.Run, what string, list func(ctx context.Context, name string) ([]T, error)) func(context.Context) ([]T, error) {
	return func(ctx context.Context) ([]T, error) { return list(ctx, r.Name(what)) }
}
