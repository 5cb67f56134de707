// Package awsaccount opens the AWS account of a run with the key that its secret
// holds.
package awsaccount

import (
	"context"

	"eslink/shared/aws"
	"eslink/shared/aws/sts"
	"eslink/shared/run"
	"eslink/shared/secrets"
)

// Opener opens accounts, and keeps the credentials of assumed roles while the
// function's process lives.
type Opener struct {
	secrets  secrets.Reader
	sessions *sts.Sessions
}

// New returns an opener.
func New(from secrets.Reader, c aws.Config) *Opener { return &Opener{from, sts.New(c)} }

// Field is where a spec names the secret.
const Field = "secrets.aws"

// Open returns the run's account, by the role if the secret names one.
func (o *Opener) Open(ctx context.Context, r *run.Run) (aws.Account, error) {
	key, err := o.Key(ctx, r)
	if err != nil {
		return aws.Account{}, err
	}
	return o.sessions.Open(ctx, key)
}

// Key returns what the secret holds.
func (o *Opener) Key(ctx context.Context, r *run.Run) (aws.Key, error) {
	return secrets.Read(ctx, o.secrets, secrets.Name{Name: r.Spec.Secrets.AWS, Field: Field}, aws.ParseKey)
}

// Mark is the comment of a hosted zone and the description of a rule by which they
// are the run's: neither takes a tag.
func Mark(r *run.Run) string { return "eslink run " + r.ID }
