package esconfig

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"eslink/events"
	"eslink/shared/run"
)

const (
	// BeforeRow keeps esConfig as it was before a run's first write.
	BeforeRow = "esconfig-before"
	// oursRow keeps what a run has put into an instance.
	oursRow = "esconfig-ours"
)

// Rows are rows of a run's own.
type Rows interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Book is what a run has on record of its instance: written before each write,
// so that what a lost reply has done is known to be the run's.
type Book struct {
	Before map[string]string // nil before the first write
	Own

	rows   Rows
	runID  string
	saved  Own
	others []other
}

// other is a run that has settings of the same instance, too.
type other struct {
	needs []string
	ours  Ours
}

// Beside notes which of all runs have settings of the run's instance: what two
// of them need is taken back by the last.
func (b *Book) Beside(ctx context.Context, r *run.Run, all []*run.Run) error {
	for _, o := range all {
		if o.ID == r.ID || o.Spec.InstanceID != r.Spec.InstanceID || o.Direction == run.Down || o.Facts.Configure == nil {
			continue
		}
		book, err := Read(ctx, b.rows, o)
		if err != nil {
			return err
		}
		b.others = append(b.others, other{common(o.Spec), book.Ours})
	}
	return nil
}

// Shares reports whether it matters which other runs there are: a setting that
// others may need is to be taken back, or one that is needed is there already.
func (b *Book) Shares(config map[string]string, s events.Spec) bool {
	needs := common(s)
	return slices.ContainsFunc(commonSettings, func(key string) bool {
		set, ours := b.Settings[key]
		if slices.Contains(needs, key) {
			return !ours && config[key] != ""
		}
		return ours && config[key] == set.After
	})
}

// Own is what a run has put into an instance.
type Own struct {
	Ours
	// Keystore are secure settings; the value tells which version of which
	// secret they hold, "" while that is unknown.
	Keystore map[string]string `json:"keystore,omitempty"`
	// Unread says that nodes have yet to restart, to read a password.
	Unread bool `json:"unread,omitempty"`
	// Mappings are role mappings, by name.
	Mappings []string `json:"mappings,omitempty"`
}

func (o Own) clone() Own {
	return Own{Ours{slices.Clone(o.Entries), maps.Clone(o.Settings)}, maps.Clone(o.Keystore), o.Unread, slices.Clone(o.Mappings)}
}

// Read opens a run's book.
func Read(ctx context.Context, rows Rows, r *run.Run) (*Book, error) {
	b := &Book{rows: rows, runID: r.ID}
	err := rows.GetPart(ctx, r.ID, BeforeRow, &b.Before)
	if err == nil && b.Before == nil {
		b.Before = map[string]string{}
	}
	if err == nil || errors.Is(err, run.ErrNotFound) {
		err = rows.GetPart(ctx, r.ID, oursRow, &b.saved)
	}
	// Runs of the first release have only this on record.
	if f := r.Facts.Configure; errors.Is(err, run.ErrNotFound) && f != nil && f.Added {
		b.saved.Entries = []string{f.Entry}
	}
	b.Own = b.saved.clone()
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return nil, err
	}
	return b, nil
}

// Empty reports whether the run has put nothing into its instance.
func (b *Book) Empty() bool {
	return len(b.Entries)+len(b.Settings)+len(b.Keystore)+len(b.Mappings) == 0
}

// Save keeps what has changed since the book was read. before is written once.
func (b *Book) Save(ctx context.Context, before map[string]string) error {
	if b.Before == nil && before != nil {
		if err := b.rows.PutPart(ctx, b.runID, BeforeRow, before); err != nil {
			return err
		}
		b.Before = before
	}
	now, err := json.Marshal(b.Own)
	if err != nil {
		return err
	}
	if was, err := json.Marshal(b.saved); err == nil && bytes.Equal(now, was) {
		return nil
	}
	err = b.rows.PutPart(ctx, b.runID, oursRow, b.Own)
	if err == nil {
		b.saved = b.Own.clone()
	}
	return err
}

// Change is what a spec makes of a configuration.
type Change struct {
	Want       Want
	Next       map[string]string
	Then       Ours
	Difference []run.Change
}

// Of works out what a spec, with its endpoint's domain or Placeholder, makes of
// a configuration. What cannot be had is a problem for a person, all of it at
// once.
func (b *Book) Of(config map[string]string, s events.Spec, domain string) (Change, error) {
	ours := Ours{b.Entries, maps.Clone(b.Settings)}
	if ours.Settings == nil {
		ours.Settings = map[string]Setting{}
	}
	want, fs := Needs(s, domain, config, ours, b.Before)
	for _, o := range b.others {
		for key, set := range o.ours.Settings {
			if _, mine := ours.Settings[key]; !mine && want.Settings[key] == set.After && config[key] == set.After && slices.Contains(commonSettings, key) {
				ours.Settings[key] = set // with what it was before either
			}
		}
		for _, key := range o.needs {
			if set, mine := ours.Settings[key]; mine && want.Settings[key] == "" && config[key] == set.After {
				want.Settings[key] = set.After
			}
		}
	}
	next, then, err := Merge(config, ours, want)
	if err != nil {
		fs.Add("instanceId", err.Error(), "mend "+Whitelist+" in the console")
	}
	if len(fs) > 0 {
		return Change{}, events.NewProblem(409, "configuration", "the instance's configuration cannot be merged; nothing was written", fs...)
	}
	return Change{want, next, then, Difference(config, next)}, nil
}

// Domain is the domain of a run's endpoint, or Placeholder.
func Domain(r *run.Run) string {
	if a := r.Facts.Accept; a != nil {
		return cmp.Or(a.Domain, Placeholder)
	}
	return Placeholder
}

// Extras lists, for people, what a spec puts into the instance beside esConfig and
// is not there yet.
func (b *Book) Extras(s events.Spec) []string {
	var out []string
	for _, u := range s.UseCases {
		d := u.Directory()
		if d == nil {
			continue
		}
		if name := SecurePassword(u); d.BindDN != "" && b.Keystore[name] == "" {
			out = append(out, "secure setting "+name+" with the password of secret "+d.BindSecret)
		}
		if n := len(d.RoleMappings); n > 0 && !slices.Contains(b.Mappings, MappingName(b.runID, u, 0)) {
			out = append(out, fmt.Sprintf("%d role mappings for realm %s", n, d.Realm))
		}
	}
	return out
}

// MappingName names a role mapping of a run.
func MappingName(runID string, u events.UseCase, i int) string {
	return fmt.Sprintf("eslink-%s-%s-%d", runID, u.Kind, i)
}
