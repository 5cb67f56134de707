// Package azureapproval is the step that waits until Azure shows the private
// endpoint's connection as approved, which Elastic does for a policy that names it.
package azureapproval

import (
	"context"
	"fmt"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/azure"
	"eslink/shared/azure/network"
	"eslink/shared/azurelink"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Endpoints read private endpoints.
type Endpoints interface {
	Endpoint(ctx context.Context, group, name string) (network.Endpoint, error)
}

// Step waits for the approval.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (Endpoints, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := azurelink.Opener{Secrets: kms.New(d.Aliyun), Cloud: azure.Config{Transport: d.Transport("azure")}}
	return &Step{Now: d.Now, Open: func(ctx context.Context, s events.Spec) (Endpoints, error) {
		a, err := o.Open(ctx, s)
		if err != nil {
			return nil, err
		}
		return network.New(a)
	}}
}

// Up looks at the connection.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	f := r.Facts.AzureEndpoint
	e, err := c.Endpoint(ctx, r.Spec.Azure.ResourceGroup, f.Name)
	if err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	switch e.Connection {
	case network.Approved:
		r.Facts.AzureApproval = &facts.AzureApproval{Connection: e.Connection}
		return engine.Done(), nil
	case network.Pending:
		// It takes from seconds to some minutes; nothing says how long.
		return engine.Waitf(min(max(s.Now().Sub(r.Cursor.Since)/3, 10*time.Second), time.Minute),
			"Elastic has not approved private endpoint %s yet; it does when policy %s names its resource name and ID (%s)", f.Name, r.Facts.ElasticPolicy.ID, f.GUID), nil
	case network.Rejected, network.Disconnected:
		r.Facts.AzureApproval = nil
		return engine.Outcome{}, events.NewProblem(409, "connection", "the private endpoint's connection is "+e.Connection,
			events.Finding{Field: "azure", Message: fmt.Sprintf("private endpoint %s is %s by the service's owner: %q", f.Name, e.Connection, e.Description),
				Remedy: "start the run with again: it deletes this endpoint, makes another one and names that in the policy"})
	}
	return engine.Outcome{}, fmt.Errorf("the connection of private endpoint %s is %q, which this step does not know: see in the Azure portal why, then retry", f.Name, e.Connection)
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
