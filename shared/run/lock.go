package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// HeldError says that another invocation has the run, or another run the lock.
type HeldError struct {
	What   string
	Holder string
	Until  time.Time
	// Place is where who asked stands in the lock's queue, from 1; 0 if there is
	// none.
	Place int
}

func (e *HeldError) Error() string {
	out := fmt.Sprintf("%s is held by %s", e.What, e.Holder)
	if !e.Until.IsZero() {
		out += " until " + e.Until.UTC().Format(time.RFC3339)
	}
	if e.Place > 0 {
		out += fmt.Sprintf("; place %d in the queue", e.Place)
	}
	return out
}

// TurnFor is how long a lock that is free waits for the first in its queue, which
// was woken, before the next may take it.
const TurnFor = 2 * DefaultLease

// lock is wider than a run: accepts are serial per account, a cluster's
// configuration is written by one run at a time, a target belongs to one run.
type lock struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is unlocked
	// Queue are those that wait for it, first come first. Freed is since when it
	// has been the turn of the first.
	Queue []string  `json:"queue,omitempty"`
	Freed time.Time `json:"freed,omitzero"`
}

func lockKey(name string) Key { return Key{"lock/" + name, "lock"} }

// held reports whether somebody has the lock.
func (l lock) held(now time.Time) bool {
	return l.Holder != "" && (l.Until.IsZero() || now.Before(l.Until))
}

// turn drops from the queue of a free lock those that did not take their turn.
func (l *lock) turn(now time.Time) {
	if l.Holder != "" { // it ended without being given up
		l.Holder, l.Freed = "", l.Until
	}
	for len(l.Queue) > 0 && !now.Before(l.Freed.Add(TurnFor)) {
		l.Queue, l.Freed = l.Queue[1:], l.Freed.Add(TurnFor)
	}
}

// Lock takes or renews a lock for a holder (a run ID), for a time or, if d is
// 0, until Unlock. If somebody else has it, it returns a *HeldError; who asked for
// a time then stands in the lock's queue, and is to ask again when it is woken or
// the holder's time is up.
func (s *Store) Lock(ctx context.Context, name, holder string, d time.Duration) error {
	writer := s.newWriter()
	for try := 0; ; try++ {
		row, l, err := s.readLock(ctx, name)
		if err != nil {
			return err
		}
		now := s.Now()
		if l.Holder == holder && l.Until.IsZero() && row.Rev > 0 {
			return nil // held for good: a time would shorten it
		}
		refused := l.take(name, holder, d, now)
		if refused != nil && refused.Place == 0 {
			return refused
		}
		err = s.writeLock(ctx, name, writer, row.Rev, l)
		if errors.Is(err, ErrConflict) && try < acquireTries {
			continue
		}
		if err == nil && refused != nil {
			return refused
		}
		return err
	}
}

// take gives the lock to holder, or a place in its queue and the reason.
func (l *lock) take(name, holder string, d time.Duration, now time.Time) *HeldError {
	e := &HeldError{What: name, Holder: l.Holder, Until: l.Until}
	if l.Holder == holder || !l.held(now) {
		if l.Holder != holder {
			l.turn(now)
		}
		if len(l.Queue) == 0 || l.Queue[0] == holder || l.Holder == holder {
			l.Queue = slices.DeleteFunc(l.Queue, func(id string) bool { return id == holder })
			l.Holder, l.Until, l.Freed = holder, time.Time{}, time.Time{}
			if d > 0 {
				l.Until = now.Add(d)
			}
			return nil
		}
		e.Holder, e.Until = l.Queue[0]+", whose turn it is,", l.Freed.Add(TurnFor)
	}
	if d == 0 {
		return e // who wants it for good does not wait for it
	}
	if !slices.Contains(l.Queue, holder) {
		l.Queue = append(l.Queue, holder)
	}
	e.Place = slices.Index(l.Queue, holder) + 1
	return e
}

// Holder tells who has a lock, or "".
func (s *Store) Holder(ctx context.Context, name string) (string, error) {
	_, l, err := s.readLock(ctx, name)
	if err != nil || !l.held(s.Now()) {
		return "", err
	}
	return l.Holder, nil
}

// Unlock gives a lock up if holder has it, and its place in the queue if not, and
// wakes the next in the queue.
func (s *Store) Unlock(ctx context.Context, name, holder string) error {
	writer := s.newWriter()
	for try := 0; ; try++ {
		row, l, err := s.readLock(ctx, name)
		waits := slices.Contains(l.Queue, holder)
		if err != nil || l.Holder != holder && !waits {
			return err
		}
		l.Queue = slices.DeleteFunc(l.Queue, func(id string) bool { return id == holder })
		freed := l.Holder == holder
		if freed {
			l.Holder, l.Until, l.Freed = "", time.Time{}, s.Now()
		}
		err = s.writeLock(ctx, name, writer, row.Rev, l)
		if errors.Is(err, ErrConflict) && try < acquireTries {
			continue
		}
		if err == nil && freed && len(l.Queue) > 0 && s.Wake != nil {
			s.Wake(ctx, l.Queue[0])
		}
		return err
	}
}

func (s *Store) readLock(ctx context.Context, name string) (Row, lock, error) {
	var l lock
	row, err := s.Driver.Get(ctx, lockKey(name))
	if errors.Is(err, ErrNotFound) {
		return Row{}, l, nil
	}
	if err != nil {
		return row, l, fmt.Errorf("read lock %s: %w", name, err)
	}
	if err := json.Unmarshal(row.Doc, &l); err != nil {
		return row, l, fmt.Errorf("decode lock %s: %w", name, err)
	}
	return row, l, nil
}

func (s *Store) writeLock(ctx context.Context, name, writer string, expect int64, l lock) error {
	doc, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode lock %s: %w", name, err)
	}
	if err := s.Driver.Put(ctx, lockKey(name), Row{Rev: expect + 1, Writer: writer, Doc: doc}, expect); err != nil {
		return fmt.Errorf("write lock %s: %w", name, err)
	}
	return nil
}
