// Package deploy makes what must exist before `s deploy`, and takes it away again: one MNS queue per step and one for
// dead letters (queues.json), the Tablestore table of the run records (table.json), and one role per function with the
// operations that function calls, each on the resources of its product (roles.json). localtest makes its world from the
// same files by the same code.
//
// Not made here: the Tablestore instance and the log project with its store, which belong to the account's owner.
package deploy

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed queues.json
var queuesJSON []byte

//go:embed table.json
var tableJSON []byte

//go:embed roles.json
var rolesJSON []byte

// Target is where a deployment lives. Its names are those of the vars in s.yaml.
type Target struct{ Region, AccountID, TableInstance, Table string }

// Queue is an MNS queue's attributes, with the API's names, in seconds and bytes.
type Queue struct {
	VisibilityTimeout, MessageRetentionPeriod, MaximumMessageSize, DelaySeconds, PollingWaitSeconds int32
}

// Table is a Tablestore table; its primary key columns are strings. TimeToLive is in seconds, -1 keeps rows for ever.
type Table struct {
	PrimaryKey              []struct{ Name, Type string }
	MaxVersions, TimeToLive int
}

// Set is what a deployment consists of. Roles maps role names to RAM policy documents.
type Set struct {
	Queues map[string]Queue
	Table  Table
	Roles  map[string]string
	Trust  string // who may take the roles
}

// Read returns the files' contents for a target.
func Read(t Target) (*Set, error) {
	s := &Set{Queues: map[string]Queue{}, Roles: map[string]string{}}
	var queues struct {
		Defaults Queue
		Queues   map[string]json.RawMessage
	}
	if err := strict("queues.json", queuesJSON, &queues); err != nil {
		return nil, err
	}
	for name, own := range queues.Queues {
		q := queues.Defaults
		if err := strict("queues.json: "+name, own, &q); err != nil {
			return nil, err
		}
		s.Queues[name] = q
	}
	if err := strict("table.json", tableJSON, &s.Table); err != nil {
		return nil, err
	}
	var roles struct {
		Trust     json.RawMessage
		Resources map[string]string
		Roles     map[string][]string
	}
	if err := strict("roles.json", rolesJSON, &roles); err != nil {
		return nil, err
	}
	s.Trust = compact(roles.Trust)
	fill := strings.NewReplacer("${region}", t.Region, "${accountId}", t.AccountID, "${tableInstance}", t.TableInstance, "${table}", t.Table)
	for name, actions := range roles.Roles {
		document, err := policy(actions, roles.Resources, fill)
		if err != nil {
			return nil, fmt.Errorf("roles.json: %s: %w", name, err)
		}
		s.Roles[name] = document
	}
	return s, nil
}

type statement struct {
	Effect   string
	Action   []string
	Resource string
}

// policy writes a RAM policy document: one statement per product, in alphabetical order.
func policy(actions []string, resources map[string]string, fill *strings.Replacer) (string, error) {
	products := map[string][]string{}
	for _, a := range actions {
		product, operation, ok := strings.Cut(a, ":")
		if !ok || resources[product] == "" || operation == "" || strings.ContainsAny(operation, "*?") {
			return "", fmt.Errorf("action %q: want <product>:<Operation> of a product with a resource, no wildcard", a)
		}
		products[product] = append(products[product], a)
	}
	document := struct {
		Version   string
		Statement []statement
	}{Version: "1", Statement: []statement{}}
	for _, product := range slices.Sorted(maps.Keys(products)) {
		document.Statement = append(document.Statement, statement{"Allow", products[product], fill.Replace(resources[product])})
	}
	text, err := json.Marshal(document)
	return string(text), err
}

func strict(what string, data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func compact(text []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, text) != nil {
		return string(text)
	}
	return out.String()
}

// change is one step from what is to what should be.
type change struct {
	what string
	do   func() error
}

// Apply makes what is missing and corrects what differs; log hears of each change, before it is made. Nothing is written
// where nothing differs. plan only tells.
func (s *Set) Apply(ctx context.Context, c Clients, t Target, plan bool, log func(change string)) error {
	var looks []func() ([]change, error)
	for _, name := range slices.Sorted(maps.Keys(s.Queues)) {
		looks = append(looks, func() ([]change, error) { return c.queue(name, s.Queues[name]) })
	}
	looks = append(looks, func() ([]change, error) { return c.table(t.Table, s.Table) })
	for _, name := range slices.Sorted(maps.Keys(s.Roles)) {
		looks = append(looks, func() ([]change, error) { return c.role(name, s.Roles[name], s.Trust) })
	}
	return run(ctx, looks, plan, log)
}

// Remove takes away the queues, roles and policies of the set, and with records also the table of the run records:
// without them nobody knows which paid resources belong to which run.
func (s *Set) Remove(ctx context.Context, c Clients, t Target, records, plan bool, log func(change string)) error {
	var looks []func() ([]change, error)
	for _, name := range slices.Sorted(maps.Keys(s.Roles)) {
		looks = append(looks, func() ([]change, error) { return c.dropRole(name) })
	}
	for _, name := range slices.Sorted(maps.Keys(s.Queues)) {
		looks = append(looks, func() ([]change, error) { return c.dropQueue(name) })
	}
	if records {
		looks = append(looks, func() ([]change, error) { return c.dropTable(t.Table) })
	}
	return run(ctx, looks, plan, log)
}

// run goes on after an error, so that one refusal does not hide the next.
func run(ctx context.Context, looks []func() ([]change, error), plan bool, log func(string)) error {
	var errs []error
	for _, look := range looks {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		changes, err := look()
		for _, ch := range changes {
			if err != nil {
				break
			}
			log(ch.what)
			if plan {
				continue
			}
			if err = ch.do(); err != nil {
				err = fmt.Errorf("%s: %w", ch.what, err)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
