// Package azuredns is the step that has the deployments' names resolve to the private
// endpoint in the network: a private zone, its links to the networks, and its record
// *, which serves all deployments of the region. What exists is adopted; what others
// made is never changed.
//
// Creations of zones and links are long-running, too. Their states are read, and no
// operation is kept: a zone or link that failed says so itself.
package azuredns

import (
	"context"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/azure"
	"eslink/shared/azure/privatedns"
	"eslink/shared/azurelink"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Zones find, make and delete zones.
type Zones interface {
	ZonesNamed(ctx context.Context, name string) ([]privatedns.Zone, error)
	CreateZone(ctx context.Context, group, name string, tags map[string]string) (azure.Operation, error)
	DeleteZone(ctx context.Context, group, name string) (azure.Operation, error)
}

// Links bind zones to networks.
type Links interface {
	Links(ctx context.Context, group, zone string) ([]privatedns.Link, error)
	CreateLink(ctx context.Context, group, zone, name string, network azure.ID, tags map[string]string) (azure.Operation, error)
	DeleteLink(ctx context.Context, group, zone, name string) (azure.Operation, error)
}

// Records are what a zone holds.
type Records interface {
	Record(ctx context.Context, group, zone, name string) (privatedns.Record, error)
	Records(ctx context.Context, group, zone string) ([]string, error)
	PutRecord(ctx context.Context, group, zone, name, address, etag string, metadata map[string]string) error
	DeleteRecord(ctx context.Context, group, zone, name, etag string) error
}

// DNS is all of them, in one subscription.
type DNS struct {
	Zones
	Links
	Records
}

// Step keeps zone, links and record.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (DNS, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := azurelink.Opener{Secrets: kms.New(d.Aliyun), Cloud: azure.Config{Transport: d.Transport("azure")}}
	return &Step{Now: d.Now, Open: func(ctx context.Context, s events.Spec) (DNS, error) {
		a, err := o.Open(ctx, s)
		if err != nil {
			return DNS{}, err
		}
		c, err := privatedns.New(a)
		return DNS{c, c, c}, err
	}}
}

// state is what a call of the step works on.
type state struct {
	DNS
	r     *run.Run
	f     *facts.AzureDNS
	zone  privatedns.Zone
	links []privatedns.Link
	now   func() time.Time
}

// more is an outcome that is not Done: something was asked for, or is under way.
type more struct{ outcome engine.Outcome }

func wait(d time.Duration, format string, args ...any) *more {
	return &more{engine.Waitf(d, format, args...)}
}

// Up makes what is missing, one thing a call, and reads the record back.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	st := &state{DNS: c, r: r, now: s.Now}
	for _, next := range []func(context.Context) (*more, error){st.ensureZone, st.ensureLinks, st.ensureRecord} {
		m, err := next(ctx)
		if err != nil {
			return engine.Outcome{}, azurelink.Explain(err)
		}
		if m != nil {
			return m.outcome, nil
		}
	}
	return engine.Done(), nil
}

// Down takes back what the run has made: the record if it still holds the run's
// address, the links, and the zone if nothing of others is in it.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.ElasticSurvey == nil { // nothing can have been made before its zone is known
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	st := &state{DNS: c, r: r, now: s.Now}
	found, err := st.find(ctx)
	if err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	if !found {
		r.Facts.AzureDNS = nil
		return engine.Done(), nil
	}
	for _, next := range []func(context.Context) (*more, error){st.removeRecord, st.removeLinks, st.removeZone} {
		m, err := next(ctx)
		if err != nil {
			return engine.Outcome{}, err
		}
		if m != nil {
			return m.outcome, nil
		}
	}
	r.Facts.AzureDNS = nil
	return engine.Done(), nil
}

// tags mark zones and links that the run makes.
func (s *state) tags() map[string]string { return map[string]string{run.TagKey: s.r.Tag()} }
