// Package secrets reads what a secret holds, for whichever cloud it is: a
// reader finds the value by its name, a parser makes a key or a login of it.
package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"eslink/events"
	"eslink/shared/apierr"
)

// A Reader reads secrets; *kms.Client is one.
type Reader interface {
	// Value returns what the secret called name holds, and a version that changes
	// whenever that does. Its errors are classified by package apierr and never
	// show the value.
	Value(ctx context.Context, name string) (value, version string, err error)
}

// Name is a secret's name, and the field of the spec that gives it.
type Name struct{ Name, Field string }

// Read reads a secret and makes a T of it. An error of parse says what form is
// wanted and must not show the value. A secret that cannot be used is a
// *events.Problem that names the field; errors that may pass are returned as
// they are.
func Read[T any](ctx context.Context, from Reader, n Name, parse func(value string) (T, error)) (T, error) {
	var none T
	value, _, err := from.Value(ctx, n.Name)
	if err != nil {
		// A call that time ran out on says nothing of the secret.
		if ctx.Err() != nil || apierr.ClassOf(err) == apierr.Retry {
			return none, err
		}
		return none, unusable(n, err.Error(), "create the secret in KMS, in the region of this deployment, or correct its name")
	}
	out, err := parse(value)
	if err != nil {
		return none, unusable(n, fmt.Sprintf("secret %s: %s", n.Name, err), "put a value of that form into "+n.Name)
	}
	return out, nil
}

func unusable(n Name, message, remedy string) error {
	return events.NewProblem(409, "secret", "a secret cannot be used", events.Finding{Field: n.Field, Message: message, Remedy: remedy})
}

// JSON parses a value that is one JSON document of the form of T, in which form
// names the fields, such as {"apiKey"}.
func JSON[T any](form string) func(string) (T, error) {
	return func(value string) (T, error) {
		var out T
		if json.Unmarshal([]byte(value), &out) != nil { // whose error shows the value
			return out, errors.New("it does not hold " + form)
		}
		return out, nil
	}
}
