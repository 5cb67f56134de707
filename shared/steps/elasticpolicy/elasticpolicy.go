// Package elasticpolicy is the step that has a private connection policy name the
// private endpoint, by which Elastic approves its connection. The API calls policies
// rulesets. A policy may be found and hold rules of others: those, its name, its
// description and whether it applies by default are carried over.
package elasticpolicy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/elasticcloud"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/secrets"
)

// Policies make, change and delete policies.
type Policies interface {
	Rulesets(ctx context.Context, region string) ([]elasticcloud.Ruleset, error)
	Ruleset(ctx context.Context, id string) (elasticcloud.Ruleset, error)
	CreateRuleset(ctx context.Context, r elasticcloud.Ruleset) (string, error)
	UpdateRuleset(ctx context.Context, r elasticcloud.Ruleset) error
	DeleteRuleset(ctx context.Context, id string) error
}

// Step keeps the policy.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (Policies, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Now: d.Now, Open: func(ctx context.Context, s events.Spec) (Policies, error) {
		key, err := secrets.Read(ctx, kms.New(d.Aliyun), secrets.Name{Name: s.Secrets.Elastic, Field: "secrets.elastic"}, elasticcloud.ParseKey)
		return elasticcloud.New(elasticcloud.Config{Transport: d.Transport("elasticcloud")}, key), err
	}}
}

const (
	// visibleWithin is how long the API may refuse to show a policy that the list has.
	visibleWithin = 5 * time.Minute
	// settles is how long a change takes to be seen.
	settles = 10 * time.Second
)

// mark is the description of the run's rules, by which they are known even when the
// reply to their creation was lost.
func mark(r *run.Run) string { return "eslink run " + r.ID }

// Up has exactly one policy name the endpoint, and reads it back.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	found, err := s.find(ctx, c, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if found == nil {
		return s.create(ctx, c, r)
	}
	s.note(r, *found)
	if want := s.want(r, *found); want != nil {
		if err := c.UpdateRuleset(ctx, *want); err != nil {
			return s.notSeen(r, err)
		}
		return engine.Waitf(settles, "policy %s is changed; it is read back", found.ID), nil
	}
	// The list has it. By its ID the API may not show it yet.
	_, err = c.Ruleset(ctx, found.ID)
	if elasticcloud.IsHidden(err) {
		return s.hidden(r, *found, err)
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.ElasticPolicy.HiddenSince = 0
	return engine.Done(), nil
}

// hidden waits a while for a policy that the list has and that cannot be read.
func (s *Step) hidden(r *run.Run, found elasticcloud.Ruleset, err error) (engine.Outcome, error) {
	f := r.Facts.ElasticPolicy
	if f.HiddenSince == 0 {
		f.HiddenSince = s.Now().Unix()
	}
	if s.Now().Sub(time.Unix(f.HiddenSince, 0)) > visibleWithin {
		f.HiddenSince = 0
		return engine.Outcome{}, events.NewProblem(409, "elastic-key-lacks-rights", "the Elastic Cloud API key lacks rights",
			events.Finding{Field: "secrets.elastic", Message: fmt.Sprintf("the list shows policy %s, and reading it is still refused after %s: %s", found.ID, visibleWithin, err), Remedy: "give the key the right to read and write network security policies, then retry"})
	}
	return engine.Waitf(settles, "policy %s is made and not visible by its ID yet", found.ID), nil
}

// notSeen waits while Elastic does not see the private endpoint; other errors pass,
// with what may be behind a refusal.
func (s *Step) notSeen(r *run.Run, err error) (engine.Outcome, error) {
	f := r.Facts.AzureEndpoint
	if apierr.CodeOf(err) == elasticcloud.NotSeen {
		return engine.Waitf(20*time.Second, "Elastic does not see private endpoint %s yet", f.Name), nil
	}
	var e *apierr.Error
	if errors.As(err, &e) && e.Status/100 == 4 && e.Status != 429 && !elasticcloud.IsHidden(err) {
		return engine.Outcome{}, events.NewProblem(409, "policy-refused", "Elastic refuses the policy",
			events.Finding{Field: "elastic.policy", Message: err.Error(), Remedy: fmt.Sprintf("see what the code says; if private endpoint %s (%s) is claimed by another organization, that one has to give up the claim", f.Name, f.GUID)})
	}
	return engine.Outcome{}, err
}

// find returns the policy that counts: the recorded one, else the one that names the
// endpoint or has a rule of this run, else the one that the spec names.
func (s *Step) find(ctx context.Context, c Policies, r *run.Run) (*elasticcloud.Ruleset, error) {
	list, err := c.Rulesets(ctx, r.Spec.Elastic.Region)
	if err != nil {
		return nil, lacksRights(err)
	}
	list = slices.DeleteFunc(list, func(p elasticcloud.Ruleset) bool { return p.Type != elasticcloud.AzureEndpoint })
	pick := func(is func(elasticcloud.Ruleset) bool) (*elasticcloud.Ruleset, error) {
		var hits []elasticcloud.Ruleset
		var ids []string
		for _, p := range list {
			if is(p) {
				hits, ids = append(hits, p), append(ids, p.ID)
			}
		}
		if len(hits) > 1 {
			return nil, fmt.Errorf("policies %s could all be this run's: delete those that nobody needs, or name another one in elastic.policy, then retry", strings.Join(ids, ", "))
		}
		if len(hits) == 1 {
			return &hits[0], nil
		}
		return nil, nil
	}
	criteria := []func(elasticcloud.Ruleset) bool{
		func(p elasticcloud.Ruleset) bool {
			return r.Facts.ElasticPolicy != nil && p.ID == r.Facts.ElasticPolicy.ID
		},
		func(p elasticcloud.Ruleset) bool {
			return slices.ContainsFunc(p.Rules, func(k elasticcloud.Rule) bool { return k.Description == mark(r) })
		},
	}
	if r.Direction != run.Down {
		criteria = append(criteria,
			func(p elasticcloud.Ruleset) bool {
				e := r.Facts.AzureEndpoint
				return p.Holds(e.Name, e.GUID)
			},
			func(p elasticcloud.Ruleset) bool {
				return r.Spec.Elastic.Policy != nil && p.Name == r.Spec.Elastic.Policy.Name
			})
	}
	for _, is := range criteria {
		if found, err := pick(is); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

func lacksRights(err error) error {
	var e *apierr.Error
	if errors.As(err, &e) && e.Status == 403 {
		return events.NewProblem(409, "elastic-key-lacks-rights", "the Elastic Cloud API key lacks rights",
			events.Finding{Field: "secrets.elastic", Message: err.Error(), Remedy: "give the key the right to read and write network security policies, then retry"})
	}
	return err
}

// create makes the policy. There is no token and names need not differ. Possible prior
// states: never asked for; asked for, and the reply or the save was lost (then find has
// it, since the list does not lag and the rule bears the run's mark).
func (s *Step) create(ctx context.Context, c Policies, r *run.Run) (engine.Outcome, error) {
	e := r.Facts.AzureEndpoint
	p := elasticcloud.Ruleset{Name: "eslink-" + r.ID, Description: mark(r), Region: r.Spec.Elastic.Region, Type: elasticcloud.AzureEndpoint,
		IncludeByDefault: r.Spec.Elastic.ApplyByDefault, Rules: []elasticcloud.Rule{elasticcloud.AzureRule(e.Name, e.GUID, mark(r))}}
	if n := r.Spec.Elastic.Policy; n != nil {
		p.Name, p.Description = n.Name, n.Description
	}
	id, err := c.CreateRuleset(ctx, p)
	if err != nil {
		return s.notSeen(r, err)
	}
	r.Facts.ElasticPolicy = &facts.ElasticPolicy{ID: id, Name: p.Name, Created: true}
	return engine.Waitf(settles, "policy %s is made; it is read back", id), nil
}

// want is the policy as it should be, or nil if it is.
func (s *Step) want(r *run.Run, have elasticcloud.Ruleset) *elasticcloud.Ruleset {
	e := r.Facts.AzureEndpoint
	want, changed := have, false
	want.Rules = slices.DeleteFunc(slices.Clone(have.Rules), func(k elasticcloud.Rule) bool {
		stale := k.Description == mark(r) && (k.EndpointName != e.Name || k.EndpointGUID != e.GUID)
		changed = changed || stale
		return stale
	})
	if !want.Holds(e.Name, e.GUID) {
		want.Rules, changed = append(want.Rules, elasticcloud.AzureRule(e.Name, e.GUID, mark(r))), true
	}
	if all(r, have) { // somebody else's name, description and default stay
		name, description := "eslink-"+r.ID, mark(r)
		if n := r.Spec.Elastic.Policy; n != nil {
			name, description = n.Name, n.Description
		}
		if have.Name != name || have.Description != description || have.IncludeByDefault != r.Spec.Elastic.ApplyByDefault {
			want.Name, want.Description, want.IncludeByDefault, changed = name, description, r.Spec.Elastic.ApplyByDefault, true
		}
	}
	if !changed {
		return nil
	}
	return &want
}

// all reports whether all of a policy's rules are the run's.
func all(r *run.Run, p elasticcloud.Ruleset) bool {
	return !slices.ContainsFunc(p.Rules, func(k elasticcloud.Rule) bool { return k.Description != mark(r) })
}

func (s *Step) note(r *run.Run, p elasticcloud.Ruleset) {
	f := r.Facts.ElasticPolicy
	if f == nil {
		f = &facts.ElasticPolicy{}
		r.Facts.ElasticPolicy = f
	}
	f.ID, f.Name, f.Created, f.Deployments, f.Total = p.ID, p.Name, all(r, p) && len(p.Rules) > 0, p.Deployments, p.Total
}

// Down removes the run's rule, and the policy with it if nothing of others is in it
// and nothing is associated.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.KeepAssociation {
		return s.keep(r, "policy and associations stay, as asked: the deployments go on refusing public traffic, also when the private endpoint is gone"), nil
	}
	found, err := s.find(ctx, c, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if found == nil || !slices.ContainsFunc(found.Rules, func(k elasticcloud.Rule) bool { return k.Description == mark(r) }) {
		r.Facts.ElasticPolicy = nil
		return engine.Done(), nil
	}
	s.note(r, *found)
	if !all(r, *found) {
		without := *found
		without.Rules = slices.DeleteFunc(slices.Clone(found.Rules), func(k elasticcloud.Rule) bool { return k.Description == mark(r) })
		if err := c.UpdateRuleset(ctx, without); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(settles, "the run's rule is taken out of policy %s, which others use", found.ID), nil
	}
	if found.Total > len(found.Deployments) || len(found.Deployments) > 0 {
		return s.keep(r, fmt.Sprintf("policy %s is not deleted: %d associations that this run did not make, %d of them with deployments that the key may not see, would be cut off", found.ID, found.Total, found.Total-len(found.Deployments))), nil
	}
	if err := c.DeleteRuleset(ctx, found.ID); err != nil && !elasticcloud.IsHidden(err) {
		return engine.Outcome{}, err
	}
	return engine.Waitf(settles, "policy %s is being deleted", found.ID), nil
}

// keep leaves the policy and says why.
func (s *Step) keep(r *run.Run, why string) engine.Outcome {
	r.Note(s.Now(), r.Cursor.Step, "kept", why)
	r.Facts.ElasticPolicy = nil
	return engine.Done()
}
