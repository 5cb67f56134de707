// Package awsacceptance is the step that waits until Zilliz Cloud has accepted the
// endpoint and it is available.
package awsacceptance

import (
	"context"
	"fmt"
	"slices"
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

// Endpoints are the interface endpoints of a region.
type Endpoints interface {
	Endpoint(ctx context.Context, id string) (ec2.Endpoint, error)
	Interfaces(ctx context.Context, ids []string) ([]ec2.Interface, error)
}

// Step waits.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Endpoints, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := awsaccount.New(kms.New(d.Aliyun), aws.Config{Transport: d.Transport("aws"), Now: d.Now})
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Endpoints, error) {
		a, err := o.Open(ctx, r)
		return ec2.New(a, r.Spec.AWS.Region), err
	}}
}

// Up waits for the state available, and records the addresses. The states on the
// way are pendingAcceptance and, once it is accepted, pending.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	id := r.Facts.AWSEndpoint.ID
	e, err := c.Endpoint(ctx, id)
	if apierr.IsNotFound(err) {
		return engine.Outcome{}, fmt.Errorf("endpoint %s is gone: start with \"again\" to create another one: %w", id, err)
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	pause := ensure.Pause(r.Cursor.Since, s.Now(), 10*time.Second, time.Minute)
	switch e.State {
	case ec2.Available:
	case ec2.PendingAcceptance:
		return engine.Waitf(pause, "endpoint %s waits until Zilliz Cloud accepts it, which takes about five minutes", id), nil
	case ec2.Pending:
		return engine.Waitf(pause, "endpoint %s is accepted and becomes available", id), nil
	case ec2.Rejected, ec2.Failed, ec2.Expired, ec2.Deleting:
		return engine.Outcome{}, fmt.Errorf("endpoint %s is %s%s: see Zilliz Cloud's console (Network > Private Endpoint) for the cause; delete the endpoint in the VPC console, then start with \"again\", which creates another one", id, e.State, because(e.Failure))
	default:
		return engine.Waitf(pause, "endpoint %s is %.30q, which eslink does not know", id, e.State), nil
	}
	interfaces, err := c.Interfaces(ctx, e.InterfaceIDs)
	if err != nil {
		return engine.Outcome{}, err
	}
	if len(interfaces) == 0 {
		return engine.Waitf(pause, "endpoint %s has no network interface yet", id), nil
	}
	f := &facts.AWSAcceptance{}
	for _, n := range interfaces {
		f.Addresses = append(f.Addresses, n.Address)
	}
	slices.Sort(f.Addresses)
	r.Facts.AWSAcceptance = f
	return engine.Done(), nil
}

func because(failure string) string {
	if failure == "" {
		return ""
	}
	return " (" + failure + ")"
}

// Down has nothing to take back: the registration is another step's.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
