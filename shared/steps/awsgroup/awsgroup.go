// Package awsgroup is the step that makes the endpoint's security group, without
// ingress rules: the port is known only with the clusters' private addresses.
package awsgroup

import (
	"context"
	"fmt"
	"time"

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

// Groups are the security groups of a region.
type Groups interface {
	CreateGroup(ctx context.Context, vpcID, name, description string, tags map[string]string) (string, error)
	Group(ctx context.Context, id string) (ec2.Group, error)
	GroupsTagged(ctx context.Context, key, value string) ([]ec2.Group, error)
	DeleteGroup(ctx context.Context, id string) error
}

// Step makes and deletes the group.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Groups, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := awsaccount.New(kms.New(d.Aliyun), aws.Config{Transport: d.Transport("aws"), Now: d.Now})
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Groups, error) {
		a, err := o.Open(ctx, r)
		return ec2.New(a, r.Spec.AWS.Region), err
	}}
}

const (
	// what is the resource in names.
	what = "endpoint"
	// unseen is how often a group that was just created is looked for.
	unseen = 5 * time.Second
)

// Up makes the group.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	g, hidden, err := s.find(ctx, c, r)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case hidden:
		return engine.Waitf(unseen, "EC2 does not show security group %s yet, which was just created", r.Facts.AWSGroup.ID), nil
	case g == nil:
		return s.create(ctx, c, r)
	case g.VpcID != r.Spec.AWS.VPCID:
		return engine.Outcome{}, fmt.Errorf("security group %s bears this run's tag and is in %s instead of %s: delete it, then retry", g.ID, g.VpcID, r.Spec.AWS.VPCID)
	}
	r.Facts.AWSGroup = &facts.AWSGroup{ID: g.ID}
	return engine.Done(), nil
}

// create requests the group. There is no token, but a VPC takes a name once.
// Possible prior states: never requested; requested, and the reply or its ID was
// lost, while lists do not show it yet (then the name is taken, and the list
// will).
func (s *Step) create(ctx context.Context, c Groups, r *run.Run) (engine.Outcome, error) {
	if r.Facts.AWSGroup == nil {
		r.Facts.AWSGroup = &facts.AWSGroup{Asked: s.Now()}
	}
	name := r.Name(what)
	id, err := c.CreateGroup(ctx, r.Spec.AWS.VPCID, name, "eslink: private endpoint of run "+r.ID, map[string]string{run.TagKey: r.Tag(), "Name": name})
	if apierr.CodeOf(err) == ec2.GroupDuplicate {
		if ensure.Unlisted(r.Facts.AWSGroup.Asked, s.Now()) == 0 {
			return engine.Outcome{}, fmt.Errorf("a security group named %s that is not this run's is in %s already: delete or rename it, then retry: %w", name, r.Spec.AWS.VPCID, err)
		}
		return engine.Waitf(2*unseen, "security group %s exists, and lists do not show it yet", name), nil
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.AWSGroup = &facts.AWSGroup{ID: id, Asked: s.Now()}
	return engine.Waitf(unseen, "security group %s is being created", id), nil
}

// Down deletes the group, which no interface and no rule may use any more.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	g, hidden, err := s.find(ctx, c, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if hidden {
		return engine.Waitf(unseen, "EC2 does not show security group %s yet, which was just created", r.Facts.AWSGroup.ID), nil
	}
	if g == nil {
		if f := r.Facts.AWSGroup; f != nil && f.ID == "" {
			if out, wait := ensure.AwaitList("security group", f.Asked, s.Now()); wait {
				return out, nil
			}
		}
		r.Facts.AWSGroup = nil
		return engine.Done(), nil
	}
	r.Facts.AWSGroup = &facts.AWSGroup{ID: g.ID}
	err = c.DeleteGroup(ctx, g.ID)
	if apierr.ClassOf(err) == apierr.Conflict && err != nil {
		return engine.Waitf(ensure.Pause(r.Cursor.Since, s.Now(), 15*time.Second, time.Minute), "security group %s is still in use: interfaces of a deleted endpoint stay for some minutes", g.ID), nil
	}
	if err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, err
	}
	r.Facts.AWSGroup = nil
	return engine.Done(), nil
}

// find returns the run's group. hidden says that it is on record and too young
// to be told from one that is gone.
func (s *Step) find(ctx context.Context, c Groups, r *run.Run) (g *ec2.Group, hidden bool, err error) {
	recorded := ""
	if f := r.Facts.AWSGroup; f != nil && f.ID != "" {
		recorded = f.ID
		found, err := c.Group(ctx, f.ID)
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
	g, err = ensure.Lookup[ec2.Group]{
		Kind: "security group", ID: func(g ec2.Group) string { return g.ID }, Get: c.Group, Recorded: recorded,
		Gone:      func() { r.Facts.AWSGroup = nil },
		Owned:     func(ctx context.Context) ([]ec2.Group, error) { return c.GroupsTagged(ctx, run.TagKey, r.Tag()) },
		Direction: r.Direction, Remedy: "delete those that no endpoint uses",
	}.Find(ctx)
	return g, false, err
}
