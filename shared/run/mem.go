package run

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Mem is a Driver in memory, for tests.
type Mem struct {
	mu   sync.Mutex
	rows map[Key]Row
}

var _ Driver = (*Mem)(nil)

// Get implements Driver.
func (m *Mem) Get(_ context.Context, key Key) (Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.rows[key]
	if !ok {
		return Row{}, fmt.Errorf("get %s %s: %w", key.Kind, key.ID, ErrNotFound)
	}
	row.Doc = bytes.Clone(row.Doc)
	return row, nil
}

// Put implements Driver.
func (m *Mem) Put(_ context.Context, key Key, row Row, expect int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.rows[key]; old.Rev != expect {
		if old.Rev == row.Rev && old.Writer == row.Writer && bytes.Equal(old.Doc, row.Doc) {
			return nil // an earlier try of the same write
		}
		return ErrConflict
	}
	if m.rows == nil {
		m.rows = map[Key]Row{}
	}
	row.Doc = bytes.Clone(row.Doc)
	m.rows[key] = row
	return nil
}

// List implements Driver.
func (m *Mem) List(_ context.Context, kind, after string, limit int) ([]KeyedRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []KeyedRow
	for key, row := range m.rows {
		if key.Kind == kind && key.ID > after {
			row.Doc = bytes.Clone(row.Doc)
			out = append(out, KeyedRow{key, row})
		}
	}
	slices.SortFunc(out, func(a, b KeyedRow) int { return strings.Compare(a.ID, b.ID) })
	return out[:min(limit, len(out))], nil
}

// Delete implements Driver.
func (m *Mem) Delete(_ context.Context, key Key, expect int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.rows[key]
	if !ok {
		return nil
	}
	if row.Rev != expect {
		return ErrConflict
	}
	delete(m.rows, key)
	return nil
}
