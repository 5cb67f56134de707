package azurelink

import (
	"context"
	"fmt"

	"eslink/events"
	"eslink/shared/azure"
	"eslink/shared/secrets"
	"eslink/shared/vantage"
)

// Opener opens the subscription that a spec names, with the service principal that
// its secret holds.
type Opener struct {
	Secrets secrets.Reader
	Cloud   azure.Config
}

// Open reads the secret and opens the subscription. Machines are those that a script
// is to run on: the secret has to name them too.
func (o Opener) Open(ctx context.Context, s events.Spec, machines ...string) (*azure.Account, error) {
	cred, err := secrets.Read(ctx, o.Secrets, secrets.Name{Name: s.Secrets.Azure, Field: "secrets.azure"}, azure.ParseCredentials)
	if err != nil {
		return nil, err
	}
	if err := vantage.MayUse(s.Secrets.Azure, cred.For, append([]string{s.Azure.SubscriptionID}, machines...)...); err != nil {
		return nil, events.NewProblem(409, "secret", "a secret may not be used for this",
			events.Finding{Field: "secrets.azure", Message: err.Error(), Remedy: "the secret's owner decides where it is used"})
	}
	return azure.Open(o.Cloud, cred, s.Azure.SubscriptionID)
}

// Explain turns a refused login into a problem that names the secret. Other errors
// pass.
func Explain(err error) error {
	if remedy, refused := azure.IsLogin(err); refused {
		return events.NewProblem(409, "login", "Microsoft Entra refuses the login",
			events.Finding{Field: "secrets.azure", Message: err.Error(), Remedy: remedy})
	}
	return err
}

// Login is a login at a deployment, as a secret holds it.
type Login struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	For      []string `json:"for"`
}

// Auth reads the login of a deployment, for a probe on the spec's machine. The
// secret has to name both.
func (o Opener) Auth(ctx context.Context, s events.Spec, deploymentID string) (string, error) {
	login, err := secrets.Read(ctx, o.Secrets, secrets.Name{Name: s.Secrets.Target, Field: "secrets.target"}, secrets.JSON[Login](`{"username", "password", "for"}`))
	if err != nil {
		return "", err
	}
	problem := func(err error) error {
		return events.NewProblem(409, "secret", "a secret may not be used for this",
			events.Finding{Field: "secrets.target", Message: err.Error(), Remedy: "the secret's owner decides where the login may be sent, and from which machine"})
	}
	if err := vantage.MayUse(s.Secrets.Target, login.For, deploymentID, s.VMName()); err != nil {
		return "", problem(err)
	}
	auth, err := vantage.Basic(login.Username, login.Password)
	if err != nil {
		return "", problem(fmt.Errorf("secret %s: %w", s.Secrets.Target, err))
	}
	return auth, nil
}
