// Package zillizregister is the step that registers the endpoint at Zilliz Cloud,
// which makes the service accept it, and takes that back.
package zillizregister

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/zilliz"
	"eslink/shared/zillizproject"
)

// Project is where endpoints are registered.
type Project interface {
	Endpoints(ctx context.Context, projectID string) ([]zilliz.Endpoint, error)
	Register(ctx context.Context, projectID, region, endpointID string) error
	Deregister(ctx context.Context, projectID, region, endpointID string) error
}

// Step registers.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Project, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := zillizproject.Opener{Secrets: kms.New(d.Aliyun), Config: zilliz.Config{Transport: d.Transport("zilliz")}}
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Project, error) { return o.Open(ctx, r) }}
}

// glance is how often a list is read that trails a write.
const glance = 20 * time.Second

// Up registers the endpoint, and waits until the list shows it.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	id := r.Facts.AWSEndpoint.ID
	f := r.Facts.ZillizRegister
	if f == nil || f.EndpointID != id { // an earlier endpoint is gone
		f = &facts.ZillizRegister{EndpointID: id}
		r.Facts.ZillizRegister = f
	}
	found, err := find(ctx, c, r, id)
	switch {
	case err != nil:
		return engine.Outcome{}, zillizproject.Explain(err, r)
	case found != nil && found.Refused():
		return engine.Outcome{}, fmt.Errorf("endpoint %s is %.30q at Zilliz Cloud: see the console (Network > Private Endpoint) for the cause; delete the entry there, then retry", id, found.Status)
	case found != nil:
		f.Status, f.Refused, f.Sent = word(found.Status), "", false
		return engine.Done(), nil
	case f.Sent && ensure.Unlisted(f.Asked, s.Now()) > 0:
		return engine.Waitf(glance, "endpoint %s is registered, and Zilliz Cloud's list does not show it yet", id), nil
	case f.Refused != "":
		why := f.Refused
		f.Refused, f.Sent = "", false
		return engine.Outcome{}, fmt.Errorf("endpoint %s is not registered by Zilliz Cloud: %s: private endpoints need a project with Dedicated clusters, and a key with the right to manage them", id, why)
	}
	if s.Now().Sub(f.Asked) > glance { // on record before it is done, so that teardown knows
		f.Asked, f.Sent, f.Status = s.Now(), false, ""
		return engine.Soon(time.Second, fmt.Sprintf("endpoint %s is about to be registered", id)), nil
	}
	return s.register(ctx, c, r, f)
}

// register asks for the registration, which takes no token. Possible prior
// states: never asked; asked, and the reply or its record was lost, while the
// list does not show it yet: what a repetition is answered with is not
// documented, so that a refusal is only noted, and the list decides.
func (s *Step) register(ctx context.Context, c Project, r *run.Run, f *facts.ZillizRegister) (engine.Outcome, error) {
	err := c.Register(ctx, r.Spec.Zilliz.ProjectID, r.Spec.Zilliz.Region, f.EndpointID)
	switch explained := zillizproject.Explain(err, r); {
	case err != nil && explained != err:
		return engine.Outcome{}, explained
	case err != nil && apierr.ClassOf(err) == apierr.Fatal && ctx.Err() == nil:
		f.Sent, f.Refused = true, err.Error()
		return engine.Waitf(glance, "Zilliz Cloud refuses to register endpoint %s, which it may have done before: its list decides", f.EndpointID), nil
	case err != nil:
		return engine.Outcome{}, err
	}
	f.Sent = true
	return engine.Waitf(glance, "endpoint %s is registered, and Zilliz Cloud's list does not show it yet", f.EndpointID), nil
}

// Down takes the registration back, and waits until the list has lost it.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.ZillizRegister
	if f == nil {
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	found, err := find(ctx, c, r, f.EndpointID)
	if err != nil {
		return engine.Outcome{}, zillizproject.Explain(err, r)
	}
	if found == nil {
		if d := ensure.Unlisted(f.Asked, s.Now()); d > 0 && f.Status == "" {
			return engine.Waitf(d, "endpoint %s was registered just now: Zilliz Cloud's list may not show it yet", f.EndpointID), nil
		}
		r.Facts.ZillizRegister = nil
		return engine.Done(), nil
	}
	f.Status = word(found.Status) // it was listed, so that an empty list means gone
	// A refusal may mean that it is gone and the list trails: the list decides.
	if err := c.Deregister(ctx, r.Spec.Zilliz.ProjectID, r.Spec.Zilliz.Region, f.EndpointID); err != nil {
		explained := zillizproject.Explain(err, r)
		if explained != err || apierr.ClassOf(err) != apierr.Fatal || f.Refused != "" && ensure.Unlisted(f.Asked, s.Now()) == 0 {
			return engine.Outcome{}, explained
		}
		if f.Refused == "" { // the list may trail by so long from now on
			f.Refused, f.Asked = err.Error(), s.Now()
		}
	}
	return engine.Waitf(glance, "endpoint %s is being taken off Zilliz Cloud", f.EndpointID), nil
}

func find(ctx context.Context, c Project, r *run.Run, id string) (*zilliz.Endpoint, error) {
	all, err := c.Endpoints(ctx, r.Spec.Zilliz.ProjectID)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.ID == id && e.Region == r.Spec.Zilliz.Region {
			return &e, nil
		}
	}
	return nil, nil
}

// word is a status from outside, cut.
func word(s string) string {
	if s == "" {
		return "listed"
	}
	return s[:min(len(s), 30)]
}
