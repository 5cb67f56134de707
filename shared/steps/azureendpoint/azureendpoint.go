// Package azureendpoint is the step that makes the private endpoint in the user's
// network, connected by hand to the alias of Elastic's service, and records what the
// other side and the DNS zone need of it: its GUID and its address.
package azureendpoint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/azure"
	"eslink/shared/azure/network"
	"eslink/shared/azurelink"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Endpoints make and delete private endpoints.
type Endpoints interface {
	Endpoint(ctx context.Context, group, name string) (network.Endpoint, error)
	CreateEndpoint(ctx context.Context, n network.NewEndpoint) (azure.Operation, error)
	PollCreate(ctx context.Context, op azure.Operation) (ended bool, err error)
	DeleteEndpoint(ctx context.Context, group, name string) (azure.Operation, error)
	Interface(ctx context.Context, id azure.ID) (network.Interface, error)
}

// Rows keep the operation that is under way, apart from the facts: its token holds
// signed addresses.
type Rows interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Step makes and deletes the endpoint.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (Endpoints, error)
	Rows Rows
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := azurelink.Opener{Secrets: kms.New(d.Aliyun), Cloud: azure.Config{Transport: d.Transport("azure")}}
	return &Step{Rows: d.Runs, Now: d.Now, Open: func(ctx context.Context, s events.Spec) (Endpoints, error) {
		a, err := o.Open(ctx, s)
		if err != nil {
			return nil, err
		}
		return network.New(a)
	}}
}

// row is where the operation is kept.
const row = "operation/azure-endpoint"

// name is that of the run's endpoint of a generation.
func name(r *run.Run, generation int) string {
	return "eslink-" + r.ID + "-g" + strconv.Itoa(generation)
}

// Up makes the endpoint and waits until it is provisioned. Its connection is for the
// other side to approve, but for one that can never be: that is made again.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	f := r.Facts.AzureEndpoint
	if f == nil {
		f = &facts.AzureEndpoint{Generation: 1}
		f.Name = name(r, 1)
		r.Facts.AzureEndpoint = f
	}
	e, err := c.Endpoint(ctx, r.Spec.Azure.ResourceGroup, f.Name)
	if apierr.IsNotFound(err) {
		return s.missing(ctx, c, r, f)
	}
	if err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	if e.Tags[run.TagKey] != r.Tag() {
		return engine.Outcome{}, fmt.Errorf("private endpoint %s exists and does not bear this run's tag: delete it if nobody needs it, then retry", f.Name)
	}
	f.ID = string(e.ID)
	switch e.State {
	case network.Succeeded:
	case network.Creating, network.Updating:
		return s.underway(ctx, c, r, f)
	case network.Deleting:
		return engine.Waitf(15*time.Second, "private endpoint %s is being deleted; another one follows when it is gone", f.Name), nil
	case network.Failed:
		return s.replace(ctx, c, r, f, "Azure could not provision it")
	default:
		return engine.Outcome{}, fmt.Errorf("private endpoint %s is %s, which this step does not know: see in the Azure portal why, then retry", f.Name, e.State)
	}
	switch {
	case e.Service != r.Facts.ElasticSurvey.Alias:
		return engine.Outcome{}, fmt.Errorf("private endpoint %s leads to another service, %s: tear the run down, then start again", f.Name, e.Service)
	case e.Connection == network.Rejected || e.Connection == network.Disconnected:
		return s.replace(ctx, c, r, f, "its connection is "+e.Connection+", which is final")
	case e.GUID == "" || len(e.Interfaces) == 0:
		return engine.Waitf(10*time.Second, "private endpoint %s is provisioned and does not show its resource ID and interface yet", f.Name), nil
	}
	i, err := c.Interface(ctx, e.Interfaces[0])
	if err != nil {
		return engine.Outcome{}, err
	}
	f.GUID, f.Address = e.GUID, i.PrivateIP
	return engine.Done(), nil
}

// missing creates the endpoint, or begins the next generation when the recorded one
// is gone: its name is blocked for a while. Possible prior states of the create: never
// asked for; asked for, and the reply or the save was lost (then Up has found it by
// its name); asked for, and failed without a trace.
func (s *Step) missing(ctx context.Context, c Endpoints, r *run.Run, f *facts.AzureEndpoint) (engine.Outcome, error) {
	if f.ID != "" {
		return s.next(r, f, "private endpoint "+f.Name+" is gone"), nil
	}
	op, err := c.CreateEndpoint(ctx, network.NewEndpoint{
		Group: r.Spec.Azure.ResourceGroup, Name: f.Name, Location: r.Spec.Azure.Location, Subnet: azure.ID(r.Facts.AzurePreflight.SubnetID),
		Service: r.Facts.ElasticSurvey.Alias, Message: "eslink run " + r.ID, Tags: map[string]string{run.TagKey: r.Tag()},
	})
	if apierr.CodeOf(err) == azure.NameBlocked {
		return s.next(r, f, "the name "+f.Name+" is still blocked"), nil
	}
	if err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	if err := s.Rows.PutPart(ctx, r.ID, row, string(op)); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(30*time.Second, "private endpoint %s is being created, which takes up to some minutes", f.Name), nil
}

// next begins another generation: the name is saved before anything is made of it.
func (s *Step) next(r *run.Run, f *facts.AzureEndpoint, why string) engine.Outcome {
	g := f.Generation + 1
	r.Facts.AzureEndpoint = &facts.AzureEndpoint{Generation: g, Name: name(r, g)}
	return engine.Waitf(time.Second, "%s; %s follows", why, name(r, g))
}

// replace deletes an endpoint that is good for nothing.
func (s *Step) replace(ctx context.Context, c Endpoints, r *run.Run, f *facts.AzureEndpoint, why string) (engine.Outcome, error) {
	if _, err := c.DeleteEndpoint(ctx, r.Spec.Azure.ResourceGroup, f.Name); err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, err
	}
	return engine.Waitf(20*time.Second, "private endpoint %s is being deleted (%s); another one follows", f.Name, why), nil
}

// underway asks once how the creation is, by the operation's token where there is
// one: an error of it says more than the endpoint's state.
func (s *Step) underway(ctx context.Context, c Endpoints, r *run.Run, f *facts.AzureEndpoint) (engine.Outcome, error) {
	var op string
	err := s.Rows.GetPart(ctx, r.ID, row, &op)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return engine.Outcome{}, err
	}
	if op != "" {
		if ended, err := c.PollCreate(ctx, azure.Operation(op)); err != nil {
			return engine.Outcome{}, err
		} else if ended {
			if err := s.Rows.PutPart(ctx, r.ID, row, ""); err != nil {
				return engine.Outcome{}, err
			}
			return engine.Wait(time.Second, "private endpoint "+f.Name+" is provisioned"), nil
		}
	}
	return engine.Waitf(15*time.Second, "private endpoint %s is being created, which takes up to some minutes", f.Name), nil
}

// Down deletes the endpoint and waits until it is gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	f := r.Facts.AzureEndpoint
	if f == nil { // a crash may have lost what was asked for
		f = &facts.AzureEndpoint{Generation: 1, Name: name(r, 1)}
	}
	e, err := c.Endpoint(ctx, r.Spec.Azure.ResourceGroup, f.Name)
	if apierr.IsNotFound(err) {
		r.Facts.AzureEndpoint = nil
		return engine.Done(), nil
	}
	if err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	if e.Tags[run.TagKey] != r.Tag() {
		r.Note(s.Now(), r.Cursor.Step, "kept", "private endpoint "+f.Name+" does not bear this run's tag")
		r.Facts.AzureEndpoint = nil
		return engine.Done(), nil
	}
	r.Facts.AzureEndpoint = f
	if e.State == network.Deleting {
		return engine.Waitf(15*time.Second, "private endpoint %s is being deleted", f.Name), nil
	}
	if _, err := c.DeleteEndpoint(ctx, r.Spec.Azure.ResourceGroup, f.Name); err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	return engine.Waitf(20*time.Second, "private endpoint %s is being deleted", f.Name), nil
}
