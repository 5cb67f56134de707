// Package elasticsurvey is the step that reads what Elastic Cloud says of the
// deployments, of the policies associated with them, and whether the key may read
// all that later steps rely on. It writes nothing.
package elasticsurvey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

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

// Cloud is what the step reads.
type Cloud interface {
	Deployment(ctx context.Context, id string) (elasticcloud.Deployment, error)
	Rulesets(ctx context.Context, region string) ([]elasticcloud.Ruleset, error)
	RulesetsOf(ctx context.Context, deploymentID string) ([]string, error)
	Claims(ctx context.Context, region string) ([]elasticcloud.Claim, error)
}

// Step surveys the deployments.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (Cloud, error)
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Open: func(ctx context.Context, s events.Spec) (Cloud, error) {
		key, err := secrets.Read(ctx, kms.New(d.Aliyun), secrets.Name{Name: s.Secrets.Elastic, Field: "secrets.elastic"}, elasticcloud.ParseKey)
		return elasticcloud.New(elasticcloud.Config{Transport: d.Transport("elasticcloud")}, key), err
	}}
}

// Up reads and judges.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	service, err := serviceOf(r.Spec.Elastic)
	if err != nil {
		return engine.Outcome{}, events.NewProblem(409, "region", "the deployments' region cannot be connected", events.Finding{Field: "elastic.region", Message: err.Error(), Remedy: "see the table in Elastic's documentation on Azure Private Link"})
	}
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	policies, err := s.rights(ctx, c, r.Spec.Elastic.Region)
	if err != nil {
		return engine.Outcome{}, err
	}
	var fs events.Findings
	f := &facts.ElasticSurvey{Alias: service.Alias, Zone: service.Zone}
	for i, id := range r.Spec.Elastic.DeploymentIDs {
		d, err := s.deployment(ctx, c, r, service, policies, id, fmt.Sprintf("elastic.deploymentIds[%d]", i), &fs)
		if err != nil {
			return engine.Outcome{}, err
		}
		f.Deployments = append(f.Deployments, d)
	}
	if err := fs.Problem("elastic-survey", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.ElasticSurvey = f
	return engine.Done(), nil
}

func serviceOf(e *events.Elastic) (elasticcloud.Service, error) {
	if e.Service != nil {
		return elasticcloud.Service{Alias: e.Service.Alias, Zone: e.Service.Zone}, nil
	}
	return elasticcloud.ServiceOf(e.Region)
}

// rights lists all that later steps decide by: a list that is refused means that the
// key lacks a right, while a refusal of one policy may only mean "not yet".
func (s *Step) rights(ctx context.Context, c Cloud, region string) ([]elasticcloud.Ruleset, error) {
	list, err := c.Rulesets(ctx, region)
	if err == nil {
		_, err = c.Claims(ctx, region)
	}
	var e *apierr.Error
	switch {
	case elasticcloud.IsUnauthorized(err):
		return nil, events.NewProblem(409, "login", "Elastic Cloud does not know the API key",
			events.Finding{Field: "secrets.elastic", Message: err.Error(), Remedy: "put a valid organization API key into that secret"})
	case errors.As(err, &e) && e.Status == 403:
		return nil, keyLacksRights(err)
	}
	return list, err
}

func keyLacksRights(err error) error {
	return events.NewProblem(409, "elastic-key-lacks-rights", "the Elastic Cloud API key lacks rights",
		events.Finding{Field: "secrets.elastic", Message: err.Error(), Remedy: "use a key that may read and write network security policies and read the deployments: the role Organization owner, or Admin of these deployments"})
}

// deployment judges one deployment.
func (s *Step) deployment(ctx context.Context, c Cloud, r *run.Run, service elasticcloud.Service, policies []elasticcloud.Ruleset, id, field string, fs *events.Findings) (facts.Deployment, error) {
	out := facts.Deployment{ID: id, URLs: []facts.ProductURL{}}
	d, err := c.Deployment(ctx, id)
	if elasticcloud.IsHidden(err) {
		fs.Add(field, "there is no such hosted deployment, or the key may not see it", "correct the ID, or give the key a role for this deployment; serverless projects are not connected this way")
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Name = d.Name
	switch {
	case d.Region != r.Spec.Elastic.Region:
		fs.Add(field, "deployment "+d.Name+" is in "+d.Region, "say region "+d.Region+"; a policy serves one region, so deployments of several regions are several runs")
		return out, nil
	case d.Status != "started":
		fs.Add(field, "deployment "+d.Name+" is "+d.Status, "see in the Elastic Cloud console why it is not started")
	}
	for _, p := range d.Products {
		host, err := service.Private(p.Host)
		if err != nil {
			fs.Add(field, err.Error(), "set elastic.service to the zone of this region")
			continue
		}
		port := p.Port
		if port == 0 {
			port = 443
		}
		out.URLs = append(out.URLs, facts.ProductURL{Product: p.Kind, URL: "https://" + host + ":" + strconv.Itoa(port)})
		if p.Kind == "elasticsearch" {
			out.Host = host
			// Hosted deployments listen on both.
			out.Ports = slices.Compact([]int{port, 443, 9243})
			if port == 9243 {
				out.Ports = []int{9243, 443}
			}
		}
	}
	if out.Host == "" {
		fs.Add(field, "deployment "+d.Name+" shows no address of Elasticsearch", "see in the Elastic Cloud console whether it has one")
	}
	return out, s.associated(ctx, c, r, policies, &out)
}

// associated notes whom an association would lock out, and whether the policies that
// are there let the private endpoint in.
func (s *Step) associated(ctx context.Context, c Cloud, r *run.Run, policies []elasticcloud.Ruleset, d *facts.Deployment) error {
	ids, err := c.RulesetsOf(ctx, d.ID)
	if err != nil {
		var e *apierr.Error
		if errors.As(err, &e) && e.Status == 403 {
			return keyLacksRights(err)
		}
		return err
	}
	ours := ""
	if p := r.Facts.ElasticPolicy; p != nil {
		ours = p.ID
	}
	for _, id := range ids {
		if id == ours {
			continue
		}
		d.Policies = append(d.Policies, id)
		for _, p := range policies {
			if p.ID == id {
				d.PolicyNames = append(d.PolicyNames, p.Name+" ("+p.Type+")")
			}
		}
	}
	return nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
