package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A part is a row of its own under a run: an index definition, a chunk of IDs.
// One that is larger than a row may be is kept in pieces, which the part's row
// names.
const (
	partPrefix  = "part/"
	piecePrefix = "piece/"
	// pieceSize is well below what a row may hold.
	pieceSize = 1 << 20
)

// pieces is the document of a part that is kept in pieces.
type pieces struct {
	Of    string `json:"$pieces"` // their writer
	Count int    `json:"count"`
}

func partKey(runID, name string) Key { return Key{recordKey(runID).Kind, partPrefix + name} }

func pieceKey(runID, name string, p pieces, i int) Key {
	return Key{recordKey(runID).Kind, fmt.Sprintf("%s%s/%s/%06d", piecePrefix, name, p.Of, i)}
}

// fence is the invocation that a context belongs to: which run it has acquired,
// and at which revision.
type fence struct {
	runID string
	rev   int64
}

type fenceKey struct{}

// Fenced returns a context whose writes of parts are refused once a later
// invocation has written the same part: a process that was stopped and wakes after
// its lease overwrites nothing.
func Fenced(ctx context.Context, r *Run) context.Context {
	return context.WithValue(ctx, fenceKey{}, fence{r.ID, r.rev})
}

// PutPart writes a part of a run. The last invocation to have the run wins.
func (s *Store) PutPart(ctx context.Context, runID, name string, v any) error {
	doc, err := json.Marshal(v)
	if err == nil && len(doc) > pieceSize {
		doc, err = s.putPieces(ctx, runID, name, doc)
	}
	if err == nil {
		err = s.overwrite(ctx, partKey(runID, name), doc)
	}
	if err != nil {
		return fmt.Errorf("put part %s of run %s: %w", name, runID, err)
	}
	return nil
}

// putPieces writes doc in pieces, and returns what the part's row is to hold.
func (s *Store) putPieces(ctx context.Context, runID, name string, doc []byte) ([]byte, error) {
	p := pieces{Of: s.newWriter()}
	for ; len(doc) > 0; p.Count++ {
		n := min(len(doc), pieceSize)
		if err := s.Driver.Put(ctx, pieceKey(runID, name, p, p.Count), Row{Rev: 1, Writer: p.Of, Doc: doc[:n]}, 0); err != nil {
			return nil, err
		}
		doc = doc[n:]
	}
	return json.Marshal(p)
}

// overwrite writes a row whatever it is now, unless a later invocation of the same
// run wrote it. The revision that a row was written under begins its writer.
func (s *Store) overwrite(ctx context.Context, key Key, doc []byte) error {
	mine, _ := ctx.Value(fenceKey{}).(fence)
	if key.Kind != recordKey(mine.runID).Kind {
		mine.rev = 0
	}
	writer := fmt.Sprintf("%016x-%s", mine.rev, s.newWriter())
	for try := 0; ; try++ {
		row, err := s.Driver.Get(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if under, _, ok := strings.Cut(row.Writer, "-"); ok && mine.rev > 0 && under > writer[:len(under)] {
			return fmt.Errorf("a later invocation has written it: %w", ErrConflict)
		}
		err = s.Driver.Put(ctx, key, Row{Rev: row.Rev + 1, Writer: writer, Doc: doc}, row.Rev)
		if err == nil || !errors.Is(err, ErrConflict) || try == acquireTries {
			return err
		}
	}
}

// GetPart reads a part of a run into v, or returns ErrNotFound.
func (s *Store) GetPart(ctx context.Context, runID, name string, v any) error {
	doc, err := s.part(ctx, runID, name)
	if err != nil {
		return fmt.Errorf("get part %s of run %s: %w", name, runID, err)
	}
	if err := json.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("decode part %s of run %s: %w", name, runID, err)
	}
	return nil
}

func (s *Store) part(ctx context.Context, runID, name string) ([]byte, error) {
	row, err := s.Driver.Get(ctx, partKey(runID, name))
	var p pieces
	if err != nil || !bytes.HasPrefix(row.Doc, []byte(`{"$pieces":`)) || json.Unmarshal(row.Doc, &p) != nil {
		return row.Doc, err
	}
	var doc []byte
	for i := range p.Count {
		piece, err := s.Driver.Get(ctx, pieceKey(runID, name, p, i))
		if err != nil {
			return nil, err
		}
		doc = append(doc, piece.Doc...)
	}
	return doc, nil
}

// DeleteParts removes all parts of a run. The record and the lines that stay are
// not parts.
func (s *Store) DeleteParts(ctx context.Context, runID string) error {
	for _, prefix := range []string{partPrefix, piecePrefix} {
		if err := s.deleteRows(ctx, recordKey(runID).Kind, prefix); err != nil {
			return fmt.Errorf("delete parts of run %s: %w", runID, err)
		}
	}
	return nil
}

func (s *Store) deleteRows(ctx context.Context, kind, prefix string) error {
	return s.each(ctx, kind, prefix, func(row KeyedRow) error {
		if err := s.Driver.Delete(ctx, row.Key, row.Rev); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
		return nil
	})
}

// each calls f with every row of a kind whose ID begins with prefix, in order.
func (s *Store) each(ctx context.Context, kind, prefix string, f func(KeyedRow) error) error {
	for after := prefix; ; {
		rows, err := s.Driver.List(ctx, kind, after, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !strings.HasPrefix(row.ID, prefix) {
				return nil
			}
			if err := f(row); err != nil {
				return err
			}
			after = row.ID
		}
		if len(rows) < page {
			return nil
		}
	}
}

// page is how many rows a listing asks for at once.
const page = 100
