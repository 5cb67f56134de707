package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// The rows of a run have one partition key of their own, so that runs spread over
// the table. They are found by two indices: all that there ever were, for lists,
// and those that are not removed, for whoever looks at each of them often. An
// entry is written before the record that it leads to, and one that leads nowhere
// is passed over.
const (
	indexAll   = "runs/"
	indexAlive = "alive/"
	shards     = "0123456789abcdef"
)

func recordKey(id string) Key { return Key{"run/" + id, "record"} }

// indexed is an entry of the index of what is not removed.
type indexed struct {
	InstanceID string `json:"instanceId,omitempty"`
}

func indexKey(index, id string) Key {
	shard := "-"
	if id != "" && strings.Contains(shards, id[:1]) {
		shard = id[:1]
	}
	return Key{index + shard, id}
}

// enter writes the entries that lead to a run.
func (s *Store) enter(ctx context.Context, r *Run) error {
	doc, err := json.Marshal(indexed{r.Spec.InstanceID})
	if err != nil {
		return err
	}
	for _, index := range []string{indexAll, indexAlive} {
		if err := s.Driver.Put(ctx, indexKey(index, r.ID), Row{Rev: 1, Writer: r.writer, Doc: doc}, 0); err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("index run %s: %w", r.ID, err)
		}
	}
	return nil
}

// leave takes a removed run out of the index of what is alive. If that fails, the
// entry stays, and costs whoever goes through them a read.
func (s *Store) leave(ctx context.Context, id string) {
	_ = s.Driver.Delete(ctx, indexKey(indexAlive, id), 1)
}

// A BrokenError says that a run's record cannot be decoded.
type BrokenError struct {
	ID  string
	Err error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the record of run %s is broken: %v", e.ID, e.Err)
}
func (e *BrokenError) Unwrap() error { return e.Err }

// Alive goes through all runs that are not removed, in the order of their IDs, one
// record at a time. A record that is broken comes as a *BrokenError without a run,
// and the others follow it; any other error ends it.
func (s *Store) Alive(ctx context.Context) iter.Seq2[*Run, error] {
	return s.runs(ctx, indexAlive, "", func(indexed) bool { return true })
}

// AliveOn is Alive for the runs of one instance.
func (s *Store) AliveOn(ctx context.Context, instanceID string) iter.Seq2[*Run, error] {
	return s.runs(ctx, indexAlive, "", func(x indexed) bool { return x.InstanceID == instanceID })
}

// All goes likewise through all runs, removed ones too, whose ID is greater than
// after.
func (s *Store) All(ctx context.Context, after string) iter.Seq2[*Run, error] {
	return s.runs(ctx, indexAll, after, func(indexed) bool { return true })
}

func (s *Store) runs(ctx context.Context, index, after string, want func(indexed) bool) iter.Seq2[*Run, error] {
	return func(yield func(*Run, error) bool) {
		for _, shard := range []byte("-" + shards) {
			from := after
			for {
				rows, err := s.Driver.List(ctx, index+string(shard), from, page)
				if err != nil {
					yield(nil, fmt.Errorf("list runs: %w", err))
					return
				}
				for _, row := range rows {
					from = row.ID
					var x indexed
					if json.Unmarshal(row.Doc, &x) == nil && !want(x) {
						continue
					}
					r, err := s.Get(ctx, row.ID)
					var broken *BrokenError
					switch {
					case errors.Is(err, ErrNotFound), err == nil && r.Status == Removed && index == indexAlive:
						continue // its creation has died; it could not leave
					case err != nil && !errors.As(err, &broken):
						yield(nil, err)
						return
					case !yield(r, err):
						return
					}
				}
				if len(rows) < page {
					break
				}
			}
		}
	}
}

// List returns all runs in the order of their IDs. Broken records are left out
// and named in the error: they must not hide the others.
func (s *Store) List(ctx context.Context) ([]*Run, error) {
	var out []*Run
	var errs []error
	for r, err := range s.All(ctx, "") {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Run) int { return strings.Compare(a.ID, b.ID) })
	return out, errors.Join(errs...)
}
