package run

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"eslink/events"
)

// ProfileTag is the tag of a new instance that names its profile.
const ProfileTag = "eslink:profile"

// Profile is what to connect a new instance to: a spec without the instance. The
// form is also that of the row.
type Profile struct {
	Name string      `json:"profile"`
	Spec events.Spec `json:"spec"`
	At   time.Time   `json:"at"` // when it was put
}

// PutProfile stores a profile in the place of one of the same name, if there is
// one. Runs that have begun keep the spec that they began with.
func (s *Store) PutProfile(ctx context.Context, p Profile) error {
	doc, err := json.Marshal(p)
	if err == nil {
		err = s.overwrite(ctx, Key{kindProfile, p.Name}, doc)
	}
	if err != nil {
		return fmt.Errorf("put profile %s: %w", p.Name, err)
	}
	return nil
}

// Profile reads a profile, or returns ErrNotFound.
func (s *Store) Profile(ctx context.Context, name string) (Profile, error) {
	row, err := s.Driver.Get(ctx, Key{kindProfile, name})
	if err != nil {
		return Profile{}, err // which names the row
	}
	return decodeProfile(row)
}

// Profiles returns all profiles in the order of their names.
func (s *Store) Profiles(ctx context.Context) ([]Profile, error) {
	var out []Profile
	for after := ""; ; {
		rows, err := s.Driver.List(ctx, kindProfile, after, 100)
		if err != nil {
			return nil, fmt.Errorf("list profiles: %w", err)
		}
		for _, row := range rows {
			p, err := decodeProfile(row.Row)
			if err != nil {
				return nil, err
			}
			out, after = append(out, p), row.ID
		}
		if len(rows) < 100 {
			return out, nil
		}
	}
}

// DeleteProfile removes a profile, or returns ErrNotFound.
func (s *Store) DeleteProfile(ctx context.Context, name string) error {
	row, err := s.Driver.Get(ctx, Key{kindProfile, name})
	if err != nil {
		return err // which names the row
	}
	if err := s.Driver.Delete(ctx, Key{kindProfile, name}, row.Rev); err != nil {
		return fmt.Errorf("delete profile %s: %w", name, err)
	}
	return nil
}

func decodeProfile(row Row) (p Profile, err error) {
	if err := json.Unmarshal(row.Doc, &p); err != nil {
		return p, fmt.Errorf("decode profile: %w", err)
	}
	return p, nil
}
