// Package clusters opens a cluster's data plane with the login that a secret
// holds, and says whose login or network it is when that fails.
package clusters

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	// Address is where the login is sent, with its scheme, if that is not a cluster
	// that its ID names. The secret must list it.
	Address string
}

// recipient is what the secret must list: the address, or the cluster's ID.
func (s Side) recipient() string { return cmp.Or(s.Address, s.Cluster.InstanceID) }

// Destination is the cluster that runs _reindex: the spec calls it instanceId.
func Destination(r *run.Run) Side {
	return Side{Cluster: r.Facts.Preflight.Instance, Secret: r.Spec.Secrets.Instance, Field: "secrets.instance"}
}

// Source is what is copied from: the spec calls it target.
func Source(r *run.Run) Side {
	s := Side{Cluster: r.Facts.Preflight.Target, Secret: r.Spec.Secrets.Target, Field: "secrets.target"}
	if r.Spec.Target.InstanceID == "" { // a server on a host
		s.Address = s.Cluster.URL()
	}
	return s
}

// Users are the logins at the instance that belong to the run's directories, by
// use case.
func Users(r *run.Run) map[string]Side {
	users := map[string]Side{}
	for i, u := range r.Spec.UseCases {
		if d := u.Directory(); d != nil {
			users[u.Kind] = Side{Cluster: r.Facts.Preflight.Instance, Secret: d.UserSecret, Field: fmt.Sprintf("useCases[%d].%s.userSecret", i, u.Part())}
		}
	}
	return users
}

// Binds are the logins by which the instance's realms search the directories on
// the run's host, by the use case's position in the spec.
func Binds(spec events.Spec, p *facts.Preflight) map[int]Side {
	sides := map[int]Side{}
	for i, u := range spec.UseCases {
		if d := u.Directory(); d != nil && d.BindDN != "" {
			sides[i] = Side{Cluster: p.Instance, Secret: d.BindSecret, Field: fmt.Sprintf("useCases[%d].%s.bindSecret", i, u.Part()),
				Address: fmt.Sprintf("%s://%s:%d", u.Protocol, p.ECS.PrivateIP, u.Port)}
		}
	}
	return sides
}

// AnyInstance in a secret's list stands for every Elasticsearch instance of the
// account in the deployment's region: the clusters that a profile connects have
// no ID before they are created.
const AnyInstance = "es-*"

func (s Side) admitted(recipients []string) bool {
	return slices.Contains(recipients, s.recipient()) || s.Address == "" && slices.Contains(recipients, AnyInstance)
}

// Opener opens clusters.
type Opener struct{ Cloud aliyun.Config }

// Login returns what the side's secret holds, or a problem that names the field.
// A secret that does not list the side among its recipients is such a problem:
// the consent to send a password somewhere is the secret's owner's, not the
// caller's.
func (o Opener) Login(ctx context.Context, s Side) (kms.Login, error) {
	login, err := kms.New(o.Cloud).Login(ctx, s.Secret)
	switch {
	case err == nil && s.admitted(login.For):
		return login, nil
	case err == nil:
		return kms.Login{}, events.NewProblem(409, "secret-recipient", "a secret may not be sent there", refused(s, login.For))
	case ctx.Err() == nil && apierr.ClassOf(err) != apierr.Retry: // a call that time ran out on says nothing of the secret
		return kms.Login{}, events.NewProblem(409, "secret", "a secret cannot be used",
			events.Finding{Field: s.Field, Message: err.Error(), Remedy: fmt.Sprintf(`keep {"username": …, "password": …, "for": [%q]} in KMS under %s`, s.recipient(), s.Secret)})
	}
	return kms.Login{}, err
}

// refused says what a secret's list lacks, and the list with it.
func refused(s Side, recipients []string) events.Finding {
	message := fmt.Sprintf("secret %s names no recipients, and %s would get its password", s.Secret, s.recipient())
	if len(recipients) > 0 {
		message = fmt.Sprintf("secret %s is for %s, not for %s", s.Secret, strings.Join(recipients, ", "), s.recipient())
	}
	list, _ := json.Marshal(append(slices.Clone(recipients), s.recipient())) // strings encode
	return events.Finding{Field: s.Field, Message: message, Remedy: fmt.Sprintf(`put "for": %s into secret %s if that is meant, or name another secret`, list, s.Secret)}
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
	case errors.As(err, &e) && e.Status == 403 && e.Code == "security_exception":
		return events.NewProblem(409, "forbidden", "a cluster forbids what the run needs",
			events.Finding{Field: s.Field, Message: fmt.Sprintf("%s does not let the user of secret %s do that: %s", s.Cluster.InstanceID, s.Secret, e.Message),
				Remedy: "grant the privilege to one of the user's roles, then send retry"})
	case errors.As(err, &e) && e.Code == "cluster_block_exception" && apierr.ClassOf(err) != apierr.Retry:
		return events.NewProblem(409, "blocked", "a block of the cluster or of an index forbids what the run needs",
			events.Finding{Field: s.Field, Message: s.Cluster.InstanceID + " says: " + e.Message, Remedy: "lift the block, then send retry"})
	case errors.As(err, &e) && e.Code == es.Unreachable:
		return fmt.Errorf("%s does not answer (does its private whitelist admit this function's vSwitch?): %w", s.Cluster.InstanceID, err)
	}
	return err
}
