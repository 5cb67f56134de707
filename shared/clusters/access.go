// Package clusters opens a cluster's data plane with the login that a secret
// holds, and says whose login or network it is when that fails.
package clusters

import (
	"context"
	"errors"
	"fmt"

	"eslink/events"
	"eslink/shared/aliyun"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Side is one of the two clusters, as the spec names it.
type Side struct {
	Cluster facts.Cluster
	Secret  string // the secret's name
	Field   string // where the spec names it
}

// Destination is the cluster that runs _reindex: the spec calls it instanceId.
func Destination(r *run.Run) Side {
	return Side{r.Facts.Preflight.Instance, r.Spec.Secrets.Instance, "secrets.instance"}
}

// Source is what is copied from: the spec calls it target.
func Source(r *run.Run) Side {
	return Side{r.Facts.Preflight.Target, r.Spec.Secrets.Target, "secrets.target"}
}

// Opener opens clusters.
type Opener struct{ Cloud aliyun.Config }

// Login returns what the side's secret holds, or a problem that names the field.
func (o Opener) Login(ctx context.Context, s Side) (kms.Login, error) {
	login, err := kms.New(o.Cloud).Login(ctx, s.Secret)
	// A call that time ran out on says nothing of the secret.
	if err != nil && ctx.Err() == nil && apierr.ClassOf(err) != apierr.Retry {
		return login, events.NewProblem(409, "secret", "a secret cannot be used",
			events.Finding{Field: s.Field, Message: err.Error(), Remedy: `keep {"username": …, "password": …} in KMS under ` + s.Secret})
	}
	return login, err
}

// Open returns a client of the side's cluster.
func (o Opener) Open(ctx context.Context, s Side) (*es.Client, error) {
	login, err := o.Login(ctx, s)
	if err != nil {
		return nil, err
	}
	return es.New(o.Cloud.DataPlane, s.Cluster.URL(), login.Username, login.Password)
}

// Explain turns a refused login into a problem that names the secret, and adds
// to an exchange without a reply what to look at. Other errors pass.
func Explain(err error, s Side) error {
	var e *apierr.Error
	switch {
	case es.IsUnauthorized(err):
		return events.NewProblem(409, "login", "a cluster refuses the login",
			events.Finding{Field: s.Field, Message: fmt.Sprintf("%s refuses the user and password of secret %s", s.Cluster.InstanceID, s.Secret),
				Remedy: "put the right password into that secret; no restart is needed"})
	case errors.As(err, &e) && e.Code == es.Unreachable:
		return fmt.Errorf("%s does not answer (does its private whitelist admit this function's vSwitch?): %w", s.Cluster.InstanceID, err)
	}
	return err
}
