// Package awsdns is the step that has the clusters' private names resolve to the
// endpoint: a private hosted zone a name, with an alias at its apex.
package awsdns

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/aws"
	"eslink/shared/aws/route53"
	"eslink/shared/awsaccount"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Zones are hosted zones.
type Zones interface {
	CreateZone(ctx context.Context, name, comment, reference string, vpc route53.VPC) (zoneID, changeID string, err error)
	Zone(ctx context.Context, id string) (route53.Zone, error)
	ZonesOf(ctx context.Context, vpc route53.VPC) (map[string]string, error)
	ZonesNamed(ctx context.Context, name string) ([]route53.Zone, error)
	Associate(ctx context.Context, zoneID string, vpc route53.VPC) (changeID string, err error)
	Disassociate(ctx context.Context, zoneID string, vpc route53.VPC) (changeID string, err error)
	DeleteZone(ctx context.Context, id string) (changeID string, err error)
}

// Records are what a zone holds.
type Records interface {
	Alias(ctx context.Context, zoneID, name string) (route53.Alias, error)
	PutAlias(ctx context.Context, zoneID string, a route53.Alias) (changeID string, err error)
	DeleteAlias(ctx context.Context, zoneID string, a route53.Alias) (changeID string, err error)
	InSync(ctx context.Context, changeID string) (bool, error)
}

// Cloud is both.
type Cloud interface {
	Zones
	Records
}

// Step makes and deletes zones.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Cloud, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := awsaccount.New(kms.New(d.Aliyun), aws.Config{Transport: d.Transport("aws"), Now: d.Now})
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Cloud, error) {
		a, err := o.Open(ctx, r)
		return route53.New(a), err
	}}
}

const (
	// syncing is how often a change is looked at: it takes about a minute.
	syncing = 15 * time.Second
	// ownRecords are NS and SOA, which each zone has.
	ownRecords = 2
)

// what names a zone's token.
func what(host string) string { return "aws-dns/" + host }

// Up brings one zone after the other to what the spec says, a change a call.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.Facts.AWSDNS == nil {
		r.Facts.AWSDNS = &facts.AWSDNS{}
	}
	hosts := []string{}
	for _, k := range r.Facts.ZillizAddress.Clusters {
		hosts = append(hosts, k.Host)
		out, done, err := s.zone(ctx, c, r, entry(r, k.Host))
		if err != nil || !done {
			return out, err
		}
	}
	for _, z := range r.Facts.AWSDNS.Zones { // of clusters that a later spec no longer names
		if slices.Contains(hosts, z.Host) {
			continue
		}
		out, done, err := s.remove(ctx, c, r, entry(r, z.Host))
		if err != nil || !done {
			return out, err
		}
	}
	return engine.Done(), nil
}

// entry is the record's part of a host's zone.
func entry(r *run.Run, host string) *facts.HostedZone {
	all := &r.Facts.AWSDNS.Zones
	i := slices.IndexFunc(*all, func(z facts.HostedZone) bool { return z.Host == host })
	if i < 0 {
		*all = append(*all, facts.HostedZone{Host: host})
		i = len(*all) - 1
	}
	return &(*all)[i]
}

func vpcOf(r *run.Run) route53.VPC {
	return route53.VPC{ID: r.Spec.AWS.VPCID, Region: r.Spec.AWS.Region}
}

// zone makes a host's zone, its record and its associations.
func (s *Step) zone(ctx context.Context, c Cloud, r *run.Run, f *facts.HostedZone) (out engine.Outcome, done bool, err error) {
	waits, err := s.syncing(ctx, c, f)
	if err != nil {
		return out, false, err
	}
	if waits {
		return engine.Waitf(syncing, "Route 53 tells its servers of a change to zone %s, which takes about a minute", f.Host), false, nil
	}
	z, err := s.find(ctx, c, r, f)
	if err != nil {
		return out, false, err
	}
	if z == nil {
		out, err := s.create(ctx, c, r, f)
		return out, false, err
	}
	f.ID, f.Asked = z.ID, time.Time{}
	want := route53.Alias{Name: f.Host, Target: r.Facts.AWSEndpoint.Name, ZoneID: r.Facts.AWSEndpoint.ZoneID}
	have, err := c.Alias(ctx, z.ID, f.Host)
	if err != nil && !apierr.IsNotFound(err) {
		return out, false, err
	}
	if err != nil || have != want {
		// An alias, never a CNAME: the name is the zone's apex. A record that points
		// elsewhere, at an earlier endpoint say, is replaced: the zone is the run's.
		if f.Change, err = c.PutAlias(ctx, z.ID, want); err != nil {
			return out, false, err
		}
		return engine.Waitf(syncing, "record %s points at endpoint %s, and Route 53 tells its servers", f.Host, r.Facts.AWSEndpoint.ID), false, nil
	}
	return s.associations(ctx, c, r, f, z)
}

// syncing reports whether the change on record is still under way.
func (s *Step) syncing(ctx context.Context, c Records, f *facts.HostedZone) (bool, error) {
	if f.Change == "" {
		return false, nil
	}
	ok, err := c.InSync(ctx, f.Change)
	if err != nil && !apierr.IsNotFound(err) {
		return false, err
	}
	if err == nil && !ok {
		return true, nil
	}
	f.Change = ""
	return false, nil
}

// associations brings the zone's VPCs to the spec's.
func (s *Step) associations(ctx context.Context, c Zones, r *run.Run, f *facts.HostedZone, z *route53.Zone) (out engine.Outcome, done bool, err error) {
	want := []route53.VPC{vpcOf(r)}
	for _, v := range r.Spec.AWS.MoreVPCs {
		want = append(want, route53.VPC{ID: v.ID, Region: v.Region})
	}
	for _, v := range want {
		if !slices.Contains(z.VPCs, v) {
			f.Change, err = c.Associate(ctx, z.ID, v)
			if apierr.CodeOf(err) == route53.Conflicting {
				return out, false, fmt.Errorf("%s has another hosted zone named %s: delete that one, or leave the VPC out of moreVpcs, then retry: %w", v.ID, f.Host, err)
			}
			if err != nil {
				return out, false, err
			}
			return engine.Waitf(syncing, "%s gets the name %s", v.ID, f.Host), false, nil
		}
	}
	for _, v := range z.VPCs {
		if !slices.Contains(want, v) {
			if f.Change, err = c.Disassociate(ctx, z.ID, v); err != nil {
				return out, false, err
			}
			return engine.Waitf(syncing, "%s no longer gets the name %s", v.ID, f.Host), false, nil
		}
	}
	return out, true, nil
}

// create requests the zone. Possible prior states: never requested; requested,
// and the reply or its ID was lost (then the reference is used, and the zone is
// listed by name); an earlier one was deleted outside this run (the reference is
// used, and no list shows it: after a while it counts as gone, and the token is
// raised).
func (s *Step) create(ctx context.Context, c Zones, r *run.Run, f *facts.HostedZone) (engine.Outcome, error) {
	id, change, err := c.CreateZone(ctx, f.Host, awsaccount.Mark(r), "eslink-"+r.Token(what(f.Host)), vpcOf(r))
	switch apierr.CodeOf(err) {
	case route53.ReferenceUsed:
		if f.Asked.IsZero() {
			f.Asked = s.Now()
		}
		if ensure.Unlisted(f.Asked, s.Now()) == 0 {
			r.NextToken(what(f.Host))
			f.Asked = time.Time{}
		}
		return engine.Waitf(syncing, "zone %s was requested before: waits until lists show it, or it counts as gone", f.Host), nil
	case route53.Conflicting:
		return engine.Outcome{}, fmt.Errorf("%s has a hosted zone named %s already: delete it, or take it off the VPC, if nobody needs it, then retry: %w", r.Spec.AWS.VPCID, f.Host, err)
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	f.ID, f.Change = id, change
	return engine.Waitf(syncing, "zone %s is created, and Route 53 tells its servers", f.Host), nil
}

// find returns the run's zone of a host. One of that name which is not the run's
// is never touched: on the VPC it stops the run, elsewhere (a public one, say) it
// does not matter.
func (s *Step) find(ctx context.Context, c Zones, r *run.Run, f *facts.HostedZone) (*route53.Zone, error) {
	if f.ID != "" {
		z, err := c.Zone(ctx, f.ID)
		if err == nil {
			return &z, nil
		}
		if !apierr.IsNotFound(err) {
			return nil, err
		}
		r.NextToken(what(f.Host)) // it is gone, and its reference stays used
		f.ID, f.Asked = "", time.Time{}
	}
	named, err := c.ZonesNamed(ctx, f.Host)
	if err != nil {
		return nil, err
	}
	named = slices.DeleteFunc(named, func(z route53.Zone) bool { return !z.Private || z.Comment != awsaccount.Mark(r) })
	found, err := ensure.One("hosted zone", named, func(z route53.Zone) string { return z.ID }, "delete those that no VPC uses")
	if err != nil {
		return nil, err
	}
	if found != nil {
		z, err := c.Zone(ctx, found.ID) // which tells the VPCs, too
		if err != nil {
			return nil, err
		}
		return &z, nil
	}
	if r.Direction == run.Down {
		return nil, nil
	}
	have, err := c.ZonesOf(ctx, vpcOf(r))
	if err != nil {
		return nil, err
	}
	if id := have[f.Host]; id != "" {
		return nil, fmt.Errorf("hosted zone %s of name %s is on %s already, and is not this run's: delete it, or take it off the VPC, if nobody needs it, then retry", id, f.Host, r.Spec.AWS.VPCID)
	}
	return nil, nil
}

// remove deletes a host's record, waits until Route 53's servers know, and
// deletes the zone: before that it counts as not empty.
func (s *Step) remove(ctx context.Context, c Cloud, r *run.Run, f *facts.HostedZone) (out engine.Outcome, done bool, err error) {
	waits, err := s.syncing(ctx, c, f)
	if err != nil {
		return out, false, err
	}
	if waits {
		return engine.Waitf(syncing, "Route 53 tells its servers of a change to zone %s, which takes about a minute", f.Host), false, nil
	}
	z, err := s.find(ctx, c, r, f)
	if err != nil {
		return out, false, err
	}
	if z == nil || z.Comment != awsaccount.Mark(r) {
		r.Facts.AWSDNS.Zones = slices.DeleteFunc(slices.Clone(r.Facts.AWSDNS.Zones), func(x facts.HostedZone) bool { return x.Host == f.Host })
		return out, true, nil
	}
	f.ID = z.ID
	have, err := c.Alias(ctx, z.ID, f.Host)
	if err != nil && !apierr.IsNotFound(err) {
		return out, false, err
	}
	if err == nil && have.Target != "" {
		if f.Change, err = c.DeleteAlias(ctx, z.ID, have); err != nil {
			return out, false, err
		}
		return engine.Waitf(syncing, "record %s is deleted, and Route 53 tells its servers", f.Host), false, nil
	}
	if z.Records > ownRecords {
		return out, false, fmt.Errorf("hosted zone %s (%s) has %d records that are not this run's: delete them, or the zone, in the Route 53 console, then retry", z.ID, f.Host, z.Records-ownRecords)
	}
	if _, err := c.DeleteZone(ctx, z.ID); err != nil && !apierr.IsNotFound(err) {
		if apierr.ClassOf(err) == apierr.Conflict { // HostedZoneNotEmpty: the record's deletion is under way
			return engine.Waitf(syncing, "zone %s still counts as not empty", f.Host), false, nil
		}
		return out, false, err
	}
	return engine.Waitf(time.Second, "zone %s is deleted", f.Host), false, nil
}

// Down deletes the run's zones, one after the other.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.Facts.AWSDNS == nil {
		r.Facts.AWSDNS = &facts.AWSDNS{}
	}
	if r.Facts.ZillizAddress != nil { // a crash may have lost what was recorded of them
		for _, k := range r.Facts.ZillizAddress.Clusters {
			entry(r, k.Host)
		}
	}
	for _, z := range slices.Clone(r.Facts.AWSDNS.Zones) {
		out, done, err := s.remove(ctx, c, r, entry(r, z.Host))
		if err != nil || !done {
			return out, err
		}
	}
	r.Facts.AWSDNS = nil
	return engine.Done(), nil
}
