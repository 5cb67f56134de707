// Package awsendpoint is the step that makes the interface endpoint to Zilliz
// Cloud's service in the VPC, and takes it away.
package awsendpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/aws"
	"eslink/shared/aws/ec2"
	"eslink/shared/awsaccount"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Endpoints are the interface endpoints of a region.
type Endpoints interface {
	CreateEndpoint(ctx context.Context, n ec2.NewEndpoint, token string) (ec2.Endpoint, error)
	Endpoint(ctx context.Context, id string) (ec2.Endpoint, error)
	ChangeSubnets(ctx context.Context, id string, add, remove []string) error
	DeleteEndpoint(ctx context.Context, id string) error
}

// Lists find endpoints whose ID is not known, and say what services offer.
type Lists interface {
	EndpointsTagged(ctx context.Context, key, value string) ([]ec2.Endpoint, error)
	Service(ctx context.Context, name, region string) (ec2.Service, error)
	Subnets(ctx context.Context, ids []string) ([]ec2.Subnet, error)
}

// Cloud is both.
type Cloud interface {
	Endpoints
	Lists
}

// Step makes and deletes the endpoint.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Cloud, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := awsaccount.New(kms.New(d.Aliyun), aws.Config{Transport: d.Transport("aws"), Now: d.Now})
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Cloud, error) {
		a, err := o.Open(ctx, r)
		return ec2.New(a, r.Spec.AWS.Region), err
	}}
}

const (
	// what is the resource in tokens and names.
	what = "aws-endpoint"
	// unseen is how often an endpoint that was just created is looked for.
	unseen = 5 * time.Second
)

// Up makes the endpoint and waits until the cloud shows it. The service's owner
// accepts it later, once it is registered there.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	e, hidden, err := s.find(ctx, c, r)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case hidden:
		return engine.Waitf(unseen, "EC2 does not show endpoint %s yet, which was just created", r.Facts.AWSEndpoint.ID), nil
	case e == nil:
		return s.create(ctx, c, r)
	}
	r.Facts.AWSEndpoint = &facts.AWSEndpoint{ID: e.ID}
	switch e.State {
	case ec2.Available:
		return s.settle(ctx, c, r, e)
	case ec2.PendingAcceptance, ec2.Pending:
		if add, remove := differ(r, e); len(add)+len(remove) > 0 {
			return engine.Waitf(s.pause(r), "endpoint %s is %s; its subnets change when it is available", e.ID, e.State), nil
		}
		return s.record(r, e)
	case ec2.Deleting:
		return engine.Waitf(s.pause(r), "endpoint %s is being deleted; a new one follows when it is gone", e.ID), nil
	case ec2.Rejected, ec2.Failed, ec2.Expired:
		return engine.Outcome{}, Terminal(e)
	}
	return engine.Waitf(s.pause(r), "endpoint %s is %.30q, which eslink does not know", e.ID, e.State), nil
}

// Terminal says what to do about an endpoint that will not become available.
func Terminal(e *ec2.Endpoint) error {
	why := map[string]string{ec2.Rejected: "Zilliz Cloud has rejected it", ec2.Expired: "nobody accepted it in time", ec2.Failed: "AWS could not create it"}[e.State]
	if e.Failure != "" {
		why += ": " + e.Failure
	}
	return fmt.Errorf("endpoint %s is %s (%s): find out why (Zilliz Cloud's console, Network > Private Endpoint), delete the endpoint in the VPC console, then retry, which creates another one", e.ID, e.State, why)
}

// create requests the endpoint. Possible prior states: never requested;
// requested, and the reply or its ID was lost, while lists do not show it yet
// (the token repeats the same endpoint); an earlier one is gone (then find has
// raised the token, or it will when it reads the ID that the repetition names).
func (s *Step) create(ctx context.Context, c Cloud, r *run.Run) (engine.Outcome, error) {
	if err := s.offered(ctx, c, r); err != nil {
		return engine.Outcome{}, err
	}
	n := ec2.NewEndpoint{VpcID: r.Spec.AWS.VPCID, ServiceName: r.Facts.ZillizSurvey.Service, SubnetIDs: r.Spec.AWS.SubnetIDs, GroupIDs: []string{r.Facts.AWSGroup.ID},
		Tags: map[string]string{run.TagKey: r.Tag(), "Name": r.Name(what)}, ServiceRegion: serviceRegion(r)}
	r.Facts.AWSEndpoint = &facts.AWSEndpoint{Asked: s.Now()}
	e, err := c.CreateEndpoint(ctx, n, r.Token(what))
	if err != nil {
		return engine.Outcome{}, explain(err, r)
	}
	r.Facts.AWSEndpoint = &facts.AWSEndpoint{ID: e.ID, Asked: s.Now()}
	return engine.Waitf(unseen, "endpoint %s is being created", e.ID), nil
}

// serviceRegion is the service's region if it is not the endpoint's, else "".
func serviceRegion(r *run.Run) string {
	if region := r.Spec.Zilliz.AWSRegion(); region != r.Spec.AWS.Region {
		return region
	}
	return ""
}

// offered compares the zones of the service with those of the subnets. Across
// regions they have no names in common.
func (s *Step) offered(ctx context.Context, c Cloud, r *run.Run) error {
	service, err := c.Service(ctx, r.Facts.ZillizSurvey.Service, serviceRegion(r))
	if err != nil {
		return explain(err, r)
	}
	if serviceRegion(r) != "" {
		return nil
	}
	subnets, err := c.Subnets(ctx, r.Spec.AWS.SubnetIDs)
	if err != nil {
		return err
	}
	var fs events.Findings
	for i, n := range subnets {
		if !slices.Contains(service.Zones, n.Zone) {
			fs.Add(fmt.Sprintf("aws.subnetIds[%d]", i), fmt.Sprintf("subnet %s is in zone %s, which the service is not in", n.ID, n.Zone), "name subnets in "+strings.Join(service.Zones, ", "))
		}
	}
	return fs.Problem(what, nil)
}

// explain adds to a refusal what to do about it.
func explain(err error, r *run.Run) error {
	service := r.Facts.ZillizSurvey.Service
	switch apierr.CodeOf(err) {
	case ec2.InvalidService:
		f := events.Finding{Field: "zilliz.region", Message: "AWS does not show endpoint service " + service + " to this account in " + r.Spec.AWS.Region}
		if serviceRegion(r) != "" {
			f.Remedy = fmt.Sprintf("ask Zilliz's support (support.zilliz.com, new ticket) to let AWS account %s reach the endpoint service of %s from region %s through a cross-region endpoint, then retry", r.Facts.AWSPreflight.AccountID, r.Spec.Zilliz.Region, r.Spec.AWS.Region)
		} else {
			f.Remedy = "if the account was put on Zilliz's whitelist just now, retry in a few minutes; else ask Zilliz's support why account " + r.Facts.AWSPreflight.AccountID + " does not see it"
		}
		return events.NewProblem(409, "service", "the endpoint service cannot be used", f)
	case ec2.Unauthorized:
		if serviceRegion(r) != "" {
			return fmt.Errorf("the role may not use a service of another region: it needs vpce:AllowMultiRegion, and no service control policy of the organization may deny that: %w", err)
		}
	case "VpcEndpointLimitExceeded":
		return fmt.Errorf("%s has as many interface endpoints as its quota allows: raise the quota \"Interface VPC endpoints per VPC\" in Service Quotas, then retry: %w", r.Spec.AWS.VPCID, err)
	case ec2.TokenMismatch:
		return fmt.Errorf("an endpoint was requested with other parameters under the same token: wait until lists show it, then retry: %w", err)
	}
	return err
}

// differ are the subnets that an endpoint lacks, and those that it is to leave.
func differ(r *run.Run, e *ec2.Endpoint) (add, remove []string) {
	add = slices.DeleteFunc(slices.Clone(r.Spec.AWS.SubnetIDs), func(id string) bool { return slices.Contains(e.SubnetIDs, id) })
	remove = slices.DeleteFunc(slices.Clone(e.SubnetIDs), func(id string) bool { return slices.Contains(r.Spec.AWS.SubnetIDs, id) })
	return add, remove
}

// settle brings the subnets of an available endpoint to what the spec says.
func (s *Step) settle(ctx context.Context, c Cloud, r *run.Run, e *ec2.Endpoint) (engine.Outcome, error) {
	add, remove := differ(r, e)
	if len(add)+len(remove) == 0 {
		return s.record(r, e)
	}
	if len(add) > 0 {
		if err := s.offered(ctx, c, r); err != nil {
			return engine.Outcome{}, err
		}
	}
	if err := c.ChangeSubnets(ctx, e.ID, add, remove); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(15*time.Second, "endpoint %s moves to other subnets", e.ID), nil
}

func (s *Step) record(r *run.Run, e *ec2.Endpoint) (engine.Outcome, error) {
	if e.VpcID != r.Spec.AWS.VPCID || e.ServiceName != r.Facts.ZillizSurvey.Service {
		return engine.Outcome{}, fmt.Errorf("endpoint %s is in %s to %s instead of in %s to %s: tear down, then start again", e.ID, e.VpcID, e.ServiceName, r.Spec.AWS.VPCID, r.Facts.ZillizSurvey.Service)
	}
	if len(e.Names) == 0 {
		return engine.Waitf(s.pause(r), "endpoint %s has no DNS name yet", e.ID), nil
	}
	r.Facts.AWSEndpoint = &facts.AWSEndpoint{ID: e.ID, Name: e.Names[0].Name, ZoneID: e.Names[0].ZoneID}
	return engine.Done(), nil
}

// Down deletes the endpoint and waits until it is gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	e, hidden, err := s.find(ctx, c, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if hidden {
		return engine.Waitf(unseen, "EC2 does not show endpoint %s yet, which was just created", r.Facts.AWSEndpoint.ID), nil
	}
	if e == nil {
		if f := r.Facts.AWSEndpoint; f != nil && f.ID == "" {
			if out, wait := ensure.AwaitList("endpoint", f.Asked, s.Now()); wait {
				return out, nil
			}
		}
		r.Facts.AWSEndpoint = nil
		return engine.Done(), nil
	}
	r.Facts.AWSEndpoint = &facts.AWSEndpoint{ID: e.ID}
	switch e.State {
	case ec2.Deleting, ec2.Pending: // the latter refuses deletion
		return engine.Waitf(s.pause(r), "endpoint %s is %s", e.ID, e.State), nil
	}
	if err := c.DeleteEndpoint(ctx, e.ID); err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, err
	}
	return engine.Waitf(20*time.Second, "endpoint %s is being deleted", e.ID), nil
}

// find returns the run's endpoint. hidden says that it is on record and too
// young to be told from one that is gone.
func (s *Step) find(ctx context.Context, c Cloud, r *run.Run) (e *ec2.Endpoint, hidden bool, err error) {
	recorded := ""
	if f := r.Facts.AWSEndpoint; f != nil && f.ID != "" {
		recorded = f.ID
		found, err := c.Endpoint(ctx, f.ID)
		if err == nil {
			return &found, false, nil
		}
		if !apierr.IsNotFound(err) {
			return nil, false, err
		}
		if ensure.Unlisted(f.Asked, s.Now()) > 0 {
			return nil, true, nil
		}
	}
	e, err = ensure.Lookup[ec2.Endpoint]{
		Kind: "endpoint", ID: func(e ec2.Endpoint) string { return e.ID }, Get: c.Endpoint, Recorded: recorded,
		Gone:      func() { r.NextToken(what); r.Facts.AWSEndpoint = nil },
		Owned:     func(ctx context.Context) ([]ec2.Endpoint, error) { return c.EndpointsTagged(ctx, run.TagKey, r.Tag()) },
		Direction: r.Direction, Leaving: func(e ec2.Endpoint) bool { return e.State == ec2.Deleting }, Remedy: "delete those that no record points at",
	}.Find(ctx)
	return e, false, err
}

// pause grows with the time that the step has taken.
func (s *Step) pause(r *run.Run) time.Duration {
	return ensure.Pause(r.Cursor.Since, s.Now(), 10*time.Second, 45*time.Second)
}
