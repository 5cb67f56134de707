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
	// oursRow keeps what a run has added to a cluster.
	oursRow = "esconfig-ours"
)

// Rows are rows of a run's own.
type Rows interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Journal is what a run has on record of its cluster's configuration. It is saved
// before each write, so that after a lost reply it is known what the run owns.
type Journal struct {
	Before map[string]string // nil before the first write
	Owned

	rows   Rows
	runID  string
	saved  Owned
	others []other
}

// other is a run that has settings of the same instance, too.
type other struct {
	needs []string
	ours  Ours
}

// LoadOtherRuns notes which of all runs have settings of the run's cluster: what
// two of them need is removed by the last.
func (j *Journal) LoadOtherRuns(ctx context.Context, r *run.Run, all []*run.Run) error {
	for _, o := range all {
		if o.ID == r.ID || o.Spec.InstanceID != r.Spec.InstanceID || o.Direction == run.Down || o.Facts.Configure == nil {
			continue
		}
		journal, err := Read(ctx, j.rows, o)
		if err != nil {
			return err
		}
		j.others = append(j.others, other{common(o.Spec), journal.Ours})
	}
	return nil
}

// SharedWithOthers reports whether it matters which other runs there are: a
// setting that others may need is to be removed, or one that is needed is there
// already.
func (j *Journal) SharedWithOthers(config map[string]string, s events.Spec) bool {
	needs := common(s)
	return slices.ContainsFunc(commonSettings, func(key string) bool {
		set, ours := j.Settings[key]
		if slices.Contains(needs, key) {
			return !ours && config[key] != ""
		}
		return ours && config[key] == set.After
	})
}

// Owned is what a run has added to a cluster.
type Owned struct {
	Ours
	// Keystore are secure settings; the value tells which version of which
	// secret they hold, "" while that is unknown.
	Keystore map[string]string `json:"keystore,omitempty"`
	// Unread says that nodes have yet to restart, to read a password.
	Unread bool `json:"unread,omitempty"`
	// Mappings are role mappings, by name.
	Mappings []string `json:"mappings,omitempty"`
}

func (o Owned) clone() Owned {
	return Owned{Ours{slices.Clone(o.Entries), maps.Clone(o.Settings)}, maps.Clone(o.Keystore), o.Unread, slices.Clone(o.Mappings)}
}

// Read reads a run's journal.
func Read(ctx context.Context, rows Rows, r *run.Run) (*Journal, error) {
	j := &Journal{rows: rows, runID: r.ID}
	err := rows.GetPart(ctx, r.ID, BeforeRow, &j.Before)
	if err == nil && j.Before == nil {
		j.Before = map[string]string{}
	}
	if err == nil || errors.Is(err, run.ErrNotFound) {
		err = rows.GetPart(ctx, r.ID, oursRow, &j.saved)
	}
	// Runs of the first release have only this on record.
	if f := r.Facts.Configure; errors.Is(err, run.ErrNotFound) && f != nil && f.Added {
		j.saved.Entries = []string{f.Entry}
	}
	j.Owned = j.saved.clone()
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return nil, err
	}
	return j, nil
}

// Empty reports whether the run has added nothing to its cluster.
func (j *Journal) Empty() bool {
	return len(j.Entries)+len(j.Settings)+len(j.Keystore)+len(j.Mappings) == 0
}

// Save stores what has changed since the journal was read. before is written once.
func (j *Journal) Save(ctx context.Context, before map[string]string) error {
	if j.Before == nil && before != nil {
		if err := j.rows.PutPart(ctx, j.runID, BeforeRow, before); err != nil {
			return err
		}
		j.Before = before
	}
	now, err := json.Marshal(j.Owned)
	if err != nil {
		return err
	}
	if was, err := json.Marshal(j.saved); err == nil && bytes.Equal(now, was) {
		return nil
	}
	err = j.rows.PutPart(ctx, j.runID, oursRow, j.Owned)
	if err == nil {
		j.saved = j.Owned.clone()
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

// Of computes what a spec, with its endpoint's domain or Placeholder, makes of a
// configuration. What is impossible is a problem for a person, all of it at once.
func (j *Journal) Of(config map[string]string, s events.Spec, domain string) (Change, error) {
	ours := Ours{j.Entries, maps.Clone(j.Settings)}
	if ours.Settings == nil {
		ours.Settings = map[string]Setting{}
	}
	want, fs := Needs(s, domain, config, ours, j.Before)
	for _, o := range j.others {
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
		fs.Add("instanceId", err.Error(), "correct "+Whitelist+" in the console")
	}
	if len(fs) > 0 {
		return Change{}, events.NewProblem(409, "configuration", "the cluster's configuration cannot be merged; nothing was written", fs...)
	}
	return Change{want, next, then, Difference(config, next)}, nil
}

// Domain is the domain of a run's endpoint, or Placeholder.
func Domain(r *run.Run) string {
	return cmp.Or(r.Facts.Link().Host, Placeholder)
}

// Extras lists, for people, what a spec adds to the cluster beside esConfig and is
// not there yet.
func (j *Journal) Extras(s events.Spec) []string {
	var out []string
	for _, u := range s.UseCases {
		d := u.Directory()
		if d == nil {
			continue
		}
		if name := SecurePassword(u); d.BindDN != "" && j.Keystore[name] == "" {
			out = append(out, "secure setting "+name+" with the password of secret "+d.BindSecret)
		}
		if n := len(d.RoleMappings); n > 0 && !slices.Contains(j.Mappings, MappingName(j.runID, u, 0)) {
			out = append(out, fmt.Sprintf("%d role mappings for realm %s", n, d.Realm))
		}
	}
	return out
}

// MappingName names a role mapping of a run.
func MappingName(runID string, u events.UseCase, i int) string {
	return fmt.Sprintf("eslink-%s-%s-%d", runID, u.Kind, i)
}
