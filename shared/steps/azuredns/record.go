package azuredns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/azure/privatedns"
)

const (
	// wildcard covers names of several labels too (RFC 4592), so both an alias and a
	// cluster's ID.
	wildcard = "*"
	// owner is the record's metadata that names its run: records have no tags.
	owner = "eslinkRun"
)

// ensureRecord has the record * hold the endpoint's address, and nothing else.
// Possible prior states: there is none; the run's, right or stale (the endpoint was
// made again); somebody else's, which is adopted when it is right and never changed.
func (s *state) ensureRecord(ctx context.Context) (*more, error) {
	want := s.r.Facts.AzureEndpoint.Address
	have, err := s.Record(ctx, s.f.Group, s.f.Zone, wildcard)
	if err != nil && !apierr.IsNotFound(err) {
		return nil, err
	}
	ours := have.Metadata[owner] == s.r.ID
	switch {
	case apierr.IsNotFound(err):
		have = privatedns.Record{}
	case len(have.Addresses) == 1 && have.Addresses[0] == want:
		s.f.Address, s.f.RecordCreated = want, ours
		return nil, nil
	case !ours:
		return nil, events.NewProblem(409, "foreign-record", "the zone's record * belongs to somebody else",
			events.Finding{Field: "azure.dnsResourceGroup", Message: fmt.Sprintf("record * of zone %s in %s holds %s, and the private endpoint has %s", s.f.Zone, s.f.Group, strings.Join(have.Addresses, ", "), want),
				Remedy: "see which private endpoint that is; if nobody needs the record, delete it, then retry"})
	}
	if err := s.PutRecord(ctx, s.f.Group, s.f.Zone, wildcard, want, have.ETag, map[string]string{owner: s.r.ID}); err != nil {
		return nil, err
	}
	return wait(time.Second, "record * of zone %s now holds %s; it is read back", s.f.Zone, want), nil
}

// removeRecord deletes the record if the run wrote it and nobody has changed it.
func (s *state) removeRecord(ctx context.Context) (*more, error) {
	have, err := s.Record(ctx, s.f.Group, s.f.Zone, wildcard)
	if apierr.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	address := ""
	if e := s.r.Facts.AzureEndpoint; e != nil {
		address = e.Address
	}
	if have.Metadata[owner] != s.r.ID {
		return nil, nil
	}
	if len(have.Addresses) != 1 || address != "" && have.Addresses[0] != address && have.Addresses[0] != s.f.Address {
		s.r.Note(s.now(), s.r.Cursor.Step, "kept", fmt.Sprintf("record * of zone %s holds %s, which this run did not write", s.f.Zone, strings.Join(have.Addresses, ", ")))
		return nil, nil
	}
	if err := s.DeleteRecord(ctx, s.f.Group, s.f.Zone, wildcard, have.ETag); err != nil && !apierr.IsNotFound(err) {
		return nil, err
	}
	return wait(time.Second, "record * of zone %s is deleted; it is read back", s.f.Zone), nil
}
