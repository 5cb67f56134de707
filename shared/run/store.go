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

// HeldError says that another invocation has the run, or another run the lock.
type HeldError struct {
	What   string
	Holder string
	Until  time.Time
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is held by %s until %s", e.What, e.Holder, e.Until.UTC().Format(time.RFC3339))
}

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
	kindRun     = "run"
	kindLock    = "lock"
	kindPart    = "part/"  // + run ID: rows of their own under a run
	kindAudit   = "audit/" // + run ID: lines of the timeline that stay
	kindProfile = "profile"
)

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
	row, err := s.Driver.Get(ctx, Key{kindRun, id})
	if err != nil {
		return nil, err // which names the row
	}
	return decode(row)
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

// List returns all runs in the order of their IDs. Records that do not decode
// are left out and named in the error: they must not hide the others.
func (s *Store) List(ctx context.Context) ([]*Run, error) {
	var out []*Run
	var errs []error
	for after := ""; ; {
		rows, err := s.Driver.List(ctx, kindRun, after, 100)
		if err != nil {
			return nil, fmt.Errorf("list runs: %w", err)
		}
		for _, row := range rows {
			after = row.ID
			if r, err := decode(row.Row); err != nil {
				errs = append(errs, fmt.Errorf("run %s: %w", row.ID, err))
			} else {
				out = append(out, r)
			}
		}
		if len(rows) < 100 {
			return out, errors.Join(errs...)
		}
	}
}

func (s *Store) put(ctx context.Context, r *Run) error {
	doc, err := json.Marshal(stored{r.ID, r.Generation, r.AccountID, r.Spec, r.Direction, r.Status, r.Cursor, r.PlanOnly, r.KeepConfig,
		r.DeleteDestination, r.Plan, r.Approved, r.Facts, r.Timeline, r.Problem, r.RequestsPerSecond, r.Tokens, r.CreatedAt, r.Restore, r.KeepAssociation, r.Owns, r.lease})
	if err != nil {
		return fmt.Errorf("encode run %s: %w", r.ID, err)
	}
	if err := s.putAudit(ctx, r); err != nil {
		return fmt.Errorf("save run %s: %w", r.ID, err)
	}
	if err := s.Driver.Put(ctx, Key{kindRun, r.ID}, Row{Rev: r.rev + 1, Writer: r.writer, Doc: doc}, r.rev); err != nil {
		return fmt.Errorf("save run %s: %w", r.ID, err)
	}
	r.rev++
	r.audit = nil
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
		key := Key{kindAudit + r.ID, fmt.Sprintf("%012d-%d-%s", r.rev+1, i, e.What)}
		if err := s.Driver.Put(ctx, key, Row{Rev: 1, Writer: r.writer, Doc: doc}, 0); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// Audit returns the lines of a run's timeline that stay, in order.
func (s *Store) Audit(ctx context.Context, runID string) ([]Entry, error) {
	var out []Entry
	for after := ""; ; {
		rows, err := s.Driver.List(ctx, kindAudit+runID, after, 100)
		if err != nil {
			return nil, fmt.Errorf("audit of run %s: %w", runID, err)
		}
		for _, row := range rows {
			var e Entry
			if err := json.Unmarshal(row.Doc, &e); err != nil {
				return nil, fmt.Errorf("audit of run %s: decode %s: %w", runID, row.ID, err)
			}
			out, after = append(out, e), row.ID
		}
		if len(rows) < 100 {
			return out, nil
		}
	}
}

func decode(row Row) (*Run, error) {
	var d stored
	if err := json.Unmarshal(row.Doc, &d); err != nil {
		return nil, fmt.Errorf("decode run: %w", err)
	}
	return &Run{ID: d.ID, Generation: d.Generation, AccountID: d.AccountID, Spec: d.Spec, Direction: d.Direction, Status: d.Status,
		Cursor: d.Cursor, PlanOnly: d.PlanOnly, KeepConfig: d.KeepConfig, DeleteDestination: d.DeleteDestination, Plan: d.Plan,
		Approved: d.Approved, Facts: d.Facts, Timeline: d.Timeline, Problem: d.Problem, RequestsPerSecond: d.RequestsPerSecond, Tokens: d.Tokens, CreatedAt: d.CreatedAt, Restore: d.Restore, KeepAssociation: d.KeepAssociation, Owns: d.Owns,
		rev: row.Rev, lease: d.Lease, writer: row.Writer}, nil
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

// PutPart writes a row of its own under a run: an index definition, a chunk of
// IDs. The last writer wins; only the holder of the run's lease writes them.
func (s *Store) PutPart(ctx context.Context, runID, name string, v any) error {
	if err := s.overwrite(ctx, Key{kindPart + runID, name}, v); err != nil {
		return fmt.Errorf("put part %s of run %s: %w", name, runID, err)
	}
	return nil
}

// overwrite writes a row whatever it is now.
func (s *Store) overwrite(ctx context.Context, key Key, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	writer := s.newWriter()
	for try := 0; ; try++ {
		row, err := s.Driver.Get(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		err = s.Driver.Put(ctx, key, Row{Rev: row.Rev + 1, Writer: writer, Doc: doc}, row.Rev)
		if err == nil || !errors.Is(err, ErrConflict) || try == acquireTries {
			return err
		}
	}
}

// GetPart reads such a row into v, or returns ErrNotFound.
func (s *Store) GetPart(ctx context.Context, runID, name string, v any) error {
	row, err := s.Driver.Get(ctx, Key{kindPart + runID, name})
	if err != nil {
		return fmt.Errorf("get part %s of run %s: %w", name, runID, err)
	}
	if err := json.Unmarshal(row.Doc, v); err != nil {
		return fmt.Errorf("decode part %s of run %s: %w", name, runID, err)
	}
	return nil
}

// DeleteParts removes all such rows of a run.
func (s *Store) DeleteParts(ctx context.Context, runID string) error {
	for {
		rows, err := s.Driver.List(ctx, kindPart+runID, "", 100)
		if err != nil {
			return fmt.Errorf("delete parts of run %s: %w", runID, err)
		}
		for _, row := range rows {
			if err := s.Driver.Delete(ctx, row.Key, row.Rev); err != nil && !errors.Is(err, ErrConflict) {
				return fmt.Errorf("delete part %s of run %s: %w", row.ID, runID, err)
			}
		}
		if len(rows) < 100 {
			return nil
		}
	}
}

// lock is wider than a run: accepts are serial per account, a cluster's
// configuration is written by one run at a time, a target belongs to one run.
type lock struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is unlocked
}

// Lock takes or renews a lock for a holder (a run ID), for a time or, if d is
// 0, until Unlock. It returns a *HeldError if somebody else has it.
func (s *Store) Lock(ctx context.Context, name, holder string, d time.Duration) error {
	key, writer := Key{kindLock, name}, s.newWriter()
	for try := 0; ; try++ {
		row, held, err := s.readLock(ctx, key)
		if err != nil {
			return err
		}
		now := s.Now()
		if held.Holder != "" && held.Holder != holder && (held.Until.IsZero() || now.Before(held.Until)) {
			return &HeldError{What: name, Holder: held.Holder, Until: held.Until}
		}
		if row.Rev > 0 && held.Holder == holder && held.Until.IsZero() {
			return nil // held for good: a time would shorten it
		}
		next := lock{Holder: holder}
		if d > 0 {
			next.Until = now.Add(d)
		}
		err = s.writeLock(ctx, key, writer, row.Rev, next)
		if err == nil || !errors.Is(err, ErrConflict) || try == acquireTries {
			return err
		}
	}
}

// Holder tells who has a lock, or "".
func (s *Store) Holder(ctx context.Context, name string) (string, error) {
	_, held, err := s.readLock(ctx, Key{kindLock, name})
	if err != nil || !held.Until.IsZero() && !s.Now().Before(held.Until) {
		return "", err
	}
	return held.Holder, nil
}

// Unlock gives a lock up if holder has it.
func (s *Store) Unlock(ctx context.Context, name, holder string) error {
	key, writer := Key{kindLock, name}, s.newWriter()
	row, held, err := s.readLock(ctx, key)
	if err != nil || held.Holder != holder {
		return err
	}
	err = s.writeLock(ctx, key, writer, row.Rev, lock{})
	if errors.Is(err, ErrConflict) {
		return nil // whoever changed it found it free or renewed it knowingly
	}
	return err
}

func (s *Store) readLock(ctx context.Context, key Key) (Row, lock, error) {
	var held lock
	row, err := s.Driver.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return Row{}, held, nil
	}
	if err != nil {
		return row, held, fmt.Errorf("read lock %s: %w", key.ID, err)
	}
	if err := json.Unmarshal(row.Doc, &held); err != nil {
		return row, held, fmt.Errorf("decode lock %s: %w", key.ID, err)
	}
	return row, held, nil
}

func (s *Store) writeLock(ctx context.Context, key Key, writer string, expect int64, l lock) error {
	doc, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode lock %s: %w", key.ID, err)
	}
	if err := s.Driver.Put(ctx, key, Row{Rev: expect + 1, Writer: writer, Doc: doc}, expect); err != nil {
		return fmt.Errorf("write lock %s: %w", key.ID, err)
	}
	return nil
}
