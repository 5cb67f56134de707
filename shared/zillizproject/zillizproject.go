// Package zillizproject opens the Zilliz Cloud project of a run with the key that
// its secret holds, and says whose key it is when that is refused.
package zillizproject

import (
	"context"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/run"
	"eslink/shared/secrets"
	"eslink/shared/zilliz"
)

// Opener opens projects.
type Opener struct {
	Secrets secrets.Reader
	Config  zilliz.Config
}

// Field is where a spec names the secret.
const Field = "secrets.zilliz"

// Open returns a client of the run's project.
func (o Opener) Open(ctx context.Context, r *run.Run) (*zilliz.Client, error) {
	key, err := secrets.Read(ctx, o.Secrets, secrets.Name{Name: r.Spec.Secrets.Zilliz, Field: Field}, zilliz.ParseKey)
	if err != nil {
		return nil, err
	}
	host, ok := zilliz.Host(r.Spec.Zilliz.API)
	if !ok { // the schema lists what there is
		return nil, events.NewProblem(400, "invalid-request", "there is no such API", events.Finding{Field: "zilliz.api", Message: r.Spec.Zilliz.API + " is unknown", Remedy: "say global or cn"})
	}
	return zilliz.New(o.Config, host, key), nil
}

// Explain turns a refused key into a problem that names the secret. Other errors
// pass.
func Explain(err error, r *run.Run) error {
	switch apierr.CodeOf(err) {
	case zilliz.Unauthenticated, zilliz.IllegalKey:
		return events.NewProblem(409, "login", "Zilliz Cloud refuses the key",
			events.Finding{Field: Field, Message: "the key in secret " + r.Spec.Secrets.Zilliz + " is not valid: " + err.Error(), Remedy: "put a valid API key with the right to manage private endpoints of project " + r.Spec.Zilliz.ProjectID + " into that secret, then retry"})
	}
	return err
}
