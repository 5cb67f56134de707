// Package elasticaccess is the step that has the policy filter the deployments'
// traffic, and claims the private endpoint, as the spec asks. A first association
// turns public traffic away and a last one lets it in again: neither is done that a
// person has not wanted.
package elasticaccess

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/deps"
	"eslink/shared/elasticcloud"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/secrets"
)

// Associations are which policies filter which deployments. The list decides: the API
// may refuse a call that has had its effect (terraform-provider-ec, issue 526).
type Associations interface {
	RulesetsOf(ctx context.Context, deploymentID string) ([]string, error)
	Associate(ctx context.Context, rulesetID, deploymentID string) error
	Disassociate(ctx context.Context, rulesetID, deploymentID string) error
}

// Claims are the organization's private endpoints.
type Claims interface {
	Claims(ctx context.Context, region string) ([]elasticcloud.Claim, error)
	Claim(ctx context.Context, k elasticcloud.Claim) error
	Unclaim(ctx context.Context, k elasticcloud.Claim) error
}

// Step associates and claims.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (Associations, Claims, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Now: d.Now, Open: func(ctx context.Context, s events.Spec) (Associations, Claims, error) {
		key, err := secrets.Read(ctx, kms.New(d.Aliyun), secrets.Name{Name: s.Secrets.Elastic, Field: "secrets.elastic"}, elasticcloud.ParseKey)
		c := elasticcloud.New(elasticcloud.Config{Transport: d.Transport("elasticcloud")}, key)
		return c, c, err
	}}
}

const settles = 5 * time.Second

// Up associates and claims what is missing, and takes back what the spec names no
// more, one thing a call.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	a, k, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	f := r.Facts.ElasticAccess
	if f == nil {
		f = &facts.ElasticAccess{}
		r.Facts.ElasticAccess = f
	}
	if r.Spec.Elastic.Associate {
		for _, id := range r.Spec.Elastic.DeploymentIDs {
			if out, err := s.associate(ctx, a, r, f, id); out != nil || err != nil {
				return outcome(out), err
			}
		}
	}
	for _, id := range f.Associated {
		if r.Spec.Elastic.Associate && slices.Contains(r.Spec.Elastic.DeploymentIDs, id) {
			continue
		}
		if out, err := s.disassociate(ctx, a, r, f, id); out != nil || err != nil {
			return outcome(out), err
		}
	}
	if out, err := s.claims(ctx, k, r, f, r.Spec.Elastic.Claim); out != nil || err != nil {
		return outcome(out), err
	}
	return engine.Done(), nil
}

func outcome(o *engine.Outcome) engine.Outcome {
	if o == nil {
		return engine.Outcome{}
	}
	return *o
}

func waits(format string, args ...any) *engine.Outcome {
	o := engine.Waitf(settles, format, args...)
	return &o
}

// consented reports whether a person has seen who is locked out or let in.
func consented(r *run.Run) bool { return r.Plan != nil && r.Approved == r.Plan.ID }

// associate has the policy filter a deployment. Possible prior states: it does, by
// this run or by somebody else (who then keeps it: only what this run did is taken
// back); it was asked for, and the reply was lost.
func (s *Step) associate(ctx context.Context, a Associations, r *run.Run, f *facts.ElasticAccess, id string) (*engine.Outcome, error) {
	policy := r.Facts.ElasticPolicy.ID
	ids, err := a.RulesetsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	if slices.Contains(ids, policy) {
		return nil, nil
	}
	if len(ids) == 0 && !r.Spec.Accepts(events.RiskPublicBlocked) && !consented(r) {
		return nil, events.NewProblem(409, "lock-out", "nobody has approved that a deployment refuses public traffic",
			events.Finding{Field: "acceptRisks", Risk: events.RiskPublicBlocked, Message: "no policy is associated with deployment " + id + ", so that this one would turn away everybody who uses it over the internet",
				Remedy: fmt.Sprintf("name %q in acceptRisks, or start with approve: manual and approve the plan", events.RiskPublicBlocked)})
	}
	if !slices.Contains(f.Associated, id) { // saved before the call: a lost reply leaves no doubt whose it is
		f.Associated = append(f.Associated, id)
		return waits("policy %s is about to be associated with deployment %s", policy, id), nil
	}
	if err := a.Associate(ctx, policy, id); err != nil && !elasticcloud.IsHidden(err) {
		return nil, err
	}
	return waits("policy %s is associated with deployment %s; the list is read back", policy, id), nil
}

// disassociate ends an association of the run's. One that is the last lets the
// internet in again: a person has to want it.
func (s *Step) disassociate(ctx context.Context, a Associations, r *run.Run, f *facts.ElasticAccess, id string) (*engine.Outcome, error) {
	policy := r.Facts.ElasticPolicy.ID
	ids, err := a.RulesetsOf(ctx, id)
	if err != nil && !elasticcloud.IsHidden(err) {
		return nil, err
	}
	if !slices.Contains(ids, policy) {
		f.Associated = slices.DeleteFunc(f.Associated, func(d string) bool { return d == id })
		return waits("policy %s is not associated with deployment %s any more", policy, id), nil
	}
	if len(ids) == 1 {
		line := "deployment " + id + " takes traffic from the internet again: policy " + policy + " is the last one that filters it"
		if r.Direction == run.Up && !consented(r) || r.Direction == run.Down && !(consented(r) && slices.Contains(r.Plan.Access, line)) {
			p := &run.Plan{Difference: []run.Change{}, Access: []string{line}}
			p.Seal()
			asks := engine.Ask(p)
			return &asks, nil
		}
	}
	if err := a.Disassociate(ctx, policy, id); err != nil && !elasticcloud.IsHidden(err) {
		return nil, err
	}
	return waits("policy %s is being disassociated from deployment %s", policy, id), nil
}

// claims claims the endpoint, or gives up a claim of the run's: also that of an
// endpoint that another one has replaced.
func (s *Step) claims(ctx context.Context, k Claims, r *run.Run, f *facts.ElasticAccess, want bool) (*engine.Outcome, error) {
	e, c := r.Facts.AzureEndpoint, f.Claimed
	if want && (c == nil || c.GUID == e.GUID) {
		return s.claim(ctx, k, r, f)
	}
	if c == nil {
		return nil, nil
	}
	old := elasticcloud.Claim{Region: r.Spec.Elastic.Region, EndpointName: c.Name, EndpointGUID: c.GUID}
	list, err := k.Claims(ctx, old.Region)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(list, old) {
		f.Claimed = nil
		return waits("private endpoint %s is not claimed any more", c.Name), nil
	}
	if err := k.Unclaim(ctx, old); err != nil {
		return nil, err
	}
	return waits("the claim of private endpoint %s is given up; the list is read back", c.Name), nil
}

// claim claims the endpoint. Possible prior states: it is claimed, by this run or by
// somebody else of the organization (who then keeps it); it was asked for, and the
// reply was lost.
func (s *Step) claim(ctx context.Context, k Claims, r *run.Run, f *facts.ElasticAccess) (*engine.Outcome, error) {
	e := r.Facts.AzureEndpoint
	ours := elasticcloud.Claim{Region: r.Spec.Elastic.Region, EndpointName: e.Name, EndpointGUID: e.GUID}
	list, err := k.Claims(ctx, ours.Region)
	if err != nil || slices.Contains(list, ours) {
		return nil, err
	}
	if f.Claimed == nil { // saved before the call: a lost reply leaves no doubt whose it is
		f.Claimed = &facts.ClaimedEndpoint{Name: e.Name, GUID: e.GUID}
		return waits("private endpoint %s is about to be claimed", e.Name), nil
	}
	if err := k.Claim(ctx, ours); err != nil {
		return nil, err
	}
	return waits("private endpoint %s is claimed; the list is read back", e.Name), nil
}

// Down takes back what this run has associated and claimed.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.ElasticAccess
	if f == nil || r.Facts.ElasticPolicy == nil {
		r.Facts.ElasticAccess = nil
		return engine.Done(), nil
	}
	a, k, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.KeepAssociation && len(f.Associated) > 0 {
		r.Note(s.Now(), r.Cursor.Step, "kept", fmt.Sprintf("policy %s stays associated with %d deployments, as asked", r.Facts.ElasticPolicy.ID, len(f.Associated)))
		f.Associated = nil
	}
	for _, id := range f.Associated {
		if out, err := s.disassociate(ctx, a, r, f, id); out != nil || err != nil {
			return outcome(out), err
		}
	}
	if out, err := s.claims(ctx, k, r, f, false); out != nil || err != nil {
		return outcome(out), err
	}
	r.Facts.ElasticAccess = nil
	return engine.Done(), nil
}
