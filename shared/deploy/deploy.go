// Package deploy says of each function how it is deployed, in one table (functions.go), from which `go generate` renders
// the deployment files of Serverless Devs, the functions' mains and the local world's list of them. It also makes what
// must exist before `s deploy`, and takes it away again: one MNS queue per step and one for dead letters (queue.json),
// the Tablestore table of the run records (table.json), and one role per function with the operations that the function
// calls, each on the resources of its product (policy.json). localtest makes its world from the same by the same code.
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

//go:embed queue.json
var queueJSON []byte

//go:embed table.json
var tableJSON []byte

//go:embed policy.json
var policyJSON []byte

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

// Resources are what must exist before functions are deployed. Roles maps role names to RAM policy documents.
type Resources struct {
	Queues map[string]Queue
	Table  Table
	Roles  map[string]string
	Trust  string // who may take the roles
}

// Read returns what the functions of some sets need in a target; what all functions need, if none is named.
func Read(t Target, sets ...Set) (*Resources, error) {
	if len(sets) == 0 {
		sets = Sets()
	}
	r := &Resources{Queues: map[string]Queue{}, Roles: map[string]string{}}
	var queue struct {
		Defaults Queue
		Dead     json.RawMessage
	}
	if err := strict("queue.json", queueJSON, &queue); err != nil {
		return nil, err
	}
	if slices.Contains(sets, Common) { // all streams' dead letters go there
		q := queue.Defaults
		if err := strict("queue.json: dead", queue.Dead, &q); err != nil {
			return nil, err
		}
		r.Queues["eslink-dead"] = q
	}
	if err := strict("table.json", tableJSON, &r.Table); err != nil {
		return nil, err
	}
	var policies struct {
		Trust     json.RawMessage
		Resources map[string]string
	}
	if err := strict("policy.json", policyJSON, &policies); err != nil {
		return nil, err
	}
	r.Trust = compact(policies.Trust)
	fill := strings.NewReplacer("${region}", t.Region, "${accountId}", t.AccountID, "${tableInstance}", t.TableInstance, "${table}", t.Table)
	for _, f := range Of(sets...) {
		if f.Step() {
			r.Queues[f.Deployed()] = queue.Defaults
		}
		actions, err := f.actions()
		if err != nil {
			return nil, err
		}
		if r.Roles[f.Deployed()], err = policy(actions, policies.Resources, fill); err != nil {
			return nil, fmt.Errorf("function %s: %w", f.Name, err)
		}
	}
	return r, nil
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
func (r *Resources) Apply(ctx context.Context, c Clients, t Target, plan bool, log func(change string)) error {
	var looks []func() ([]change, error)
	for _, name := range slices.Sorted(maps.Keys(r.Queues)) {
		looks = append(looks, func() ([]change, error) { return c.queue(name, r.Queues[name]) })
	}
	looks = append(looks, func() ([]change, error) { return c.table(t.Table, r.Table) })
	for _, name := range slices.Sorted(maps.Keys(r.Roles)) {
		looks = append(looks, func() ([]change, error) { return c.role(name, r.Roles[name], r.Trust) })
	}
	return run(ctx, looks, plan, log)
}

// Remove takes away the queues, roles and policies of the set, and with records also the table of the run records:
// without them nobody knows which paid resources belong to which run.
func (r *Resources) Remove(ctx context.Context, c Clients, t Target, records, plan bool, log func(change string)) error {
	var looks []func() ([]change, error)
	for _, name := range slices.Sorted(maps.Keys(r.Roles)) {
		looks = append(looks, func() ([]change, error) { return c.dropRole(name) })
	}
	for _, name := range slices.Sorted(maps.Keys(r.Queues)) {
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
