package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"eslink/events"
	"eslink/shared/facts"
)

// Errors of a Driver, and of the Store above it.
var (
	ErrNotFound = errors.New("no such record")
	ErrConflict = errors.New("the record has been changed by somebody else")
)

// A Key names a row: Kind says what it is, ID which one.
type Key struct{ Kind, ID string }

// A Row is what a Driver keeps. Rev is 1 after the first write and rises by one
// with each; Writer says who wrote it, so that a lost reply can be understood.
type Row struct {
	Rev    int64
	Writer string
	Doc    []byte
}

// KeyedRow is a row with its key, from a listing.
type KeyedRow struct {
	Key
	Row
}

// A Driver stores rows and can compare and swap.
type Driver interface {
	// Get returns the row, or ErrNotFound. It sees every write that succeeded.
	// Errors of all methods name the row.
	Get(ctx context.Context, key Key) (Row, error)
	// Put writes row if the stored revision is expect; 0 means that there must
	// be none. It returns ErrConflict otherwise. A failed condition is read
	// back: our own revision, writer and document mean that an earlier try
	// succeeded.
	Put(ctx context.Context, key Key, row Row, expect int64) error
	// List returns up to limit rows of a kind whose ID is greater than after,
	// in order.
	List(ctx context.Context, kind, after string, limit int) ([]KeyedRow, error)
	// Delete removes the row if its revision is expect, else ErrConflict; a row
	// that is gone is no error.
	Delete(ctx context.Context, key Key, expect int64) error
}

const (
	kindProfile = "profile"
	// auditPrefix begins the lines of a run's timeline that stay.
	auditPrefix = "audit/"
)

// MaxRecord is how many bytes a record may have, encoded: what can grow beyond
// that is kept in parts. stopRoom is left for the reason of a run that is stopped
// because of it; together they stay below the 2 MB that Tablestore takes a cell.
const (
	MaxRecord = 1_800_000
	stopRoom  = 100_000
)

// A TooLargeError says that a record has more bytes than MaxRecord. Nothing was
// written.
type TooLargeError struct{ Bytes int }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the record has %d bytes, and may have %d", e.Bytes, MaxRecord)
}

type lease struct {
	Writer string    `json:"writer,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// stored is the form of a record at rest. Fields may be added, never renamed or
// given another meaning: runs outlive releases.
type stored struct {
	ID                string          `json:"id"`
	Generation        int             `json:"generation"`
	AccountID         string          `json:"accountId"`
	Spec              events.Spec     `json:"spec"`
	Direction         Direction       `json:"direction"`
	Status            Status          `json:"status"`
	Cursor            Cursor          `json:"cursor"`
	PlanOnly          bool            `json:"planOnly,omitempty"`
	KeepConfig        bool            `json:"keepConfig,omitempty"`
	DeleteDestination bool            `json:"deleteDestination,omitempty"`
	Plan              *Plan           `json:"plan,omitempty"`
	Approved          string          `json:"approved,omitempty"`
	Facts             facts.Facts     `json:"facts"`
	Timeline          []Entry         `json:"timeline"`
	Problem           *events.Problem `json:"problem,omitempty"`
	RequestsPerSecond *float64        `json:"requestsPerSecond,omitempty"`
	Tokens            map[string]int  `json:"tokens,omitempty"`
	CreatedAt         time.Time       `json:"createdAt"`
	Restore           bool            `json:"restore,omitempty"`
	KeepAssociation   bool            `json:"keepAssociation,omitempty"`
	Owns              bool            `json:"owns,omitempty"`
	Cancelling        string          `json:"cancelling,omitempty"`
	KeepCopying       bool            `json:"keepCopying,omitempty"`
	Told              int64           `json:"told,omitempty"`
	Lease             lease           `json:"lease,omitzero"`
}

// Store keeps runs. Every write is a compare-and-swap on the revision read.
type Store struct {
	Driver Driver
	Now    func() time.Time
	// Rand gives writer IDs; nil means crypto/rand.
	Rand io.Reader
	// LeaseFor is how long an invocation has a run to itself. It must outlive
	// the function's timeout; 0 means DefaultLease.
	LeaseFor time.Duration
	// Wake is called with the run whose turn it is when a lock is given up; nil
	// means that it finds out by itself.
	Wake func(ctx context.Context, runID string)
}

// DefaultLease outlives the 240 s timeout of the step functions.
const DefaultLease = 300 * time.Second

// Create stores a new run, or returns ErrConflict if it exists.
func (s *Store) Create(ctx context.Context, r *Run) error {
	r.writer, r.rev = s.newWriter(), 0
	return s.put(ctx, r)
}

// Get reads a run without taking it, or returns ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (*Run, error) {
	row, err := s.Driver.Get(ctx, recordKey(id))
	if err != nil {
		return nil, err // which names the row
	}
	r, err := decode(row)
	if err != nil {
		return nil, &BrokenError{id, err}
	}
	return r, nil
}

// Reread reads a run again as it was last saved, with the lease that r has on it:
// for whoever could not save r.
func (s *Store) Reread(ctx context.Context, r *Run) (*Run, error) {
	last, err := s.Get(ctx, r.ID)
	if err == nil && (last.rev != r.rev || last.writer != r.writer) {
		return nil, fmt.Errorf("read run %s again: %w", r.ID, ErrConflict)
	}
	return last, err
}

// acquireTries bounds the races that Acquire runs again. A loser of a race
// reads the winner's lease the next time round.
const acquireTries = 5

// Acquire reads a run and takes its lease, or returns a *HeldError that says
// when the holder's lease ends.
func (s *Store) Acquire(ctx context.Context, id string) (*Run, error) {
	writer := s.newWriter()
	for try := 0; ; try++ {
		r, err := s.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if now := s.Now(); now.Before(r.lease.Until) {
			return nil, &HeldError{What: "run " + id, Holder: "another invocation", Until: r.lease.Until}
		}
		r.writer = writer
		r.lease = lease{writer, s.Now().Add(s.leaseFor())}
		err = s.put(ctx, r)
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, ErrConflict) || try == acquireTries {
			return nil, err
		}
	}
}

// Save writes r back and keeps the lease.
func (s *Store) Save(ctx context.Context, r *Run) error { return s.put(ctx, r) }

// SaveAndRelease writes r back and gives up the lease in the same write.
func (s *Store) SaveAndRelease(ctx context.Context, r *Run) error {
	r.lease = lease{}
	return s.put(ctx, r)
}

func (s *Store) put(ctx context.Context, r *Run) error {
	doc, err := json.Marshal(stored{r.ID, r.Generation, r.AccountID, r.Spec, r.Direction, r.Status, r.Cursor, r.PlanOnly, r.KeepConfig,
		r.DeleteDestination, r.Plan, r.Approved, r.Facts, r.Timeline, r.Problem, r.RequestsPerSecond, r.Tokens, r.CreatedAt, r.Restore, r.KeepAssociation, r.Owns, r.Cancelling, r.KeepCopying, r.Told, r.lease})
	if err != nil {
		return fmt.Errorf("encode run %s: %w", r.ID, err)
	}
	limit := MaxRecord
	if r.Status == Failed {
		limit += stopRoom
	}
	if len(doc) > limit {
		return fmt.Errorf("save run %s: %w", r.ID, &TooLargeError{len(doc)})
	}
	if r.saved == "" || r.saved == Removed && r.Status != Removed {
		if err := s.enter(ctx, r); err != nil {
			return err
		}
	}
	if err := s.putAudit(ctx, r); err != nil {
		return fmt.Errorf("save run %s: %w", r.ID, err)
	}
	if err := s.Driver.Put(ctx, recordKey(r.ID), Row{Rev: r.rev + 1, Writer: r.writer, Doc: doc}, r.rev); err != nil {
		return fmt.Errorf("save run %s: %w", r.ID, err)
	}
	left := r.Status == Removed && r.saved != Removed
	r.rev++
	r.audit, r.saved = nil, r.Status
	if left {
		s.leave(ctx, r.ID)
	}
	return nil
}

// putAudit writes the lines of a run that stay, before the record that they
// belong to: what was approved is never without who did it. A line that is there
// already is of an earlier try of the same save.
func (s *Store) putAudit(ctx context.Context, r *Run) error {
	for i, e := range r.audit {
		doc, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode audit line: %w", err)
		}
		key := Key{recordKey(r.ID).Kind, fmt.Sprintf("%s%012d-%d-%s", auditPrefix, r.rev+1, i, e.What)}
		if err := s.Driver.Put(ctx, key, Row{Rev: 1, Writer: r.writer, Doc: doc}, 0); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// Audit returns the lines of a run's timeline that stay, in order.
func (s *Store) Audit(ctx context.Context, runID string) ([]Entry, error) {
	var out []Entry
	err := s.each(ctx, recordKey(runID).Kind, auditPrefix, func(row KeyedRow) error {
		var e Entry
		if err := json.Unmarshal(row.Doc, &e); err != nil {
			return fmt.Errorf("decode %s: %w", row.ID, err)
		}
		out = append(out, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("audit of run %s: %w", runID, err)
	}
	return out, nil
}

func decode(row Row) (*Run, error) {
	var d stored
	if err := json.Unmarshal(row.Doc, &d); err != nil {
		return nil, fmt.Errorf("decode run: %w", err)
	}
	return &Run{ID: d.ID, Generation: d.Generation, AccountID: d.AccountID, Spec: d.Spec, Direction: d.Direction, Status: d.Status,
		Cursor: d.Cursor, PlanOnly: d.PlanOnly, KeepConfig: d.KeepConfig, DeleteDestination: d.DeleteDestination, Plan: d.Plan,
		Approved: d.Approved, Facts: d.Facts, Timeline: d.Timeline, Problem: d.Problem, RequestsPerSecond: d.RequestsPerSecond, Tokens: d.Tokens, CreatedAt: d.CreatedAt, Restore: d.Restore, KeepAssociation: d.KeepAssociation, Owns: d.Owns, Told: d.Told, Cancelling: d.Cancelling, KeepCopying: d.KeepCopying,
		rev: row.Rev, lease: d.Lease, writer: row.Writer, saved: d.Status}, nil
}

func (s *Store) leaseFor() time.Duration {
	if s.LeaseFor > 0 {
		return s.LeaseFor
	}
	return DefaultLease
}

func (s *Store) newWriter() string {
	var b [8]byte
	source := s.Rand
	if source == nil {
		source = rand.Reader
	}
	if _, err := io.ReadFull(source, b[:]); err != nil {
		panic(fmt.Errorf("no randomness: %w", err))
	}
	return hex.EncodeToString(b[:])
}
