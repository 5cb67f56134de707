// Package deploy says of each function how it is deployed, in one table (functions.go), from which `go generate` renders
// the deployment files of Serverless Devs, the functions' mains and the local world's list of them. It also makes what
// must exist before `s deploy`, and takes it away again: one MNS queue per step and one for dead letters (queue.json),
// the Tablestore table of the run records (table.json), and one role per function with the operations that the function
// calls, each on the resources of its product (policy.json). localtest makes its world from the same by the same code.
//
// The Tablestore instance and the log project are made only when asked for, and never removed.
package deploy

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	mns "github.com/aliyun/aliyun-mns-go-sdk"
	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

//go:embed queue.json
var queueJSON []byte

//go:embed table.json
var tableJSON []byte

//go:embed policy.json
var policyJSON []byte

// Target is where a deployment lives. Its names are those of the vars in s.yaml.
type Target struct {
	Region, AccountID, TableInstance, Table, LogProject string
	// CreateTableInstance and CreateLogProject say that these, whose names are unique beyond the account, are made if they
	// are missing. Remove leaves them.
	CreateTableInstance, CreateLogProject bool
	// Streams is how many event streams the account may have in the region; 0 stands for 50, the quota of every account.
	Streams int
}

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

	functions []Function
}

// Read returns what the functions of some sets need in a target; what all functions need, if none is named.
func Read(t Target, sets ...Set) (*Resources, error) {
	if len(sets) == 0 {
		sets = Sets()
	}
	r := &Resources{Queues: map[string]Queue{}, Roles: map[string]string{}, functions: Of(sets...)}
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
	fill := strings.NewReplacer("${region}", t.Region, "${accountId}", t.AccountID, "${tableInstance}", t.TableInstance, "${table}", t.Table, "${logProject}", t.LogProject)
	for _, f := range r.functions {
		if f.Queued() {
			r.Queues[f.Deployed()] = queue.Defaults
		}
		actions, err := f.actions()
		if err != nil {
			return nil, err
		}
		if r.Roles[f.Deployed()], err = policy(actions, f.platform(), policies.Resources, fill); err != nil {
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

// policy writes a RAM policy document: one statement per product, in alphabetical order, and one of what the platform
// does in the role's name, on anything.
func policy(actions, platform []string, resources map[string]string, fill *strings.Replacer) (string, error) {
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
	if len(platform) > 0 {
		document.Statement = append(document.Statement, statement{"Allow", platform, "*"})
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

type look func() ([]change, error)

// Apply makes what is missing and corrects what differs; log hears of each change, before it is made. It looks at
// everything first, and makes nothing while anything is wrong or missing, which it says all at once. Nothing is written
// where nothing differs. plan only tells.
func (r *Resources) Apply(ctx context.Context, c Clients, t Target, plan bool, log func(change string)) error {
	if err := c.identity(ctx, t.AccountID); err != nil {
		return err
	}
	var newInstance bool
	looks := []look{
		func() ([]change, error) { return nil, c.streams(ctx, r.functions, cmp.Or(t.Streams, 50)) },
		func() ([]change, error) { return c.logs(ctx, t.LogProject, t.CreateLogProject) },
		func() ([]change, error) {
			todo, err := c.instance(ctx, t.TableInstance, t.CreateTableInstance)
			newInstance = err != nil || len(todo) > 0
			return todo, err
		},
		func() ([]change, error) {
			if newInstance { // it answers nobody yet
				return []change{c.newTable(t.Table, r.Table)}, nil
			}
			return c.table(t.Table, r.Table)
		},
	}
	for _, l := range linkedRoles {
		looks = append(looks, func() ([]change, error) { return c.linkedRole(ctx, l.service, l.role) })
	}
	for _, name := range slices.Sorted(maps.Keys(r.Queues)) {
		looks = append(looks, func() ([]change, error) { return c.queue(name, r.Queues[name]) })
	}
	for _, name := range slices.Sorted(maps.Keys(r.Roles)) {
		looks = append(looks, func() ([]change, error) { return c.role(name, r.Roles[name], r.Trust) })
	}
	return run(ctx, looks, plan, log)
}

// Remove takes away the queues, roles and policies of the set, and with records also the table of the run records:
// without them nobody knows which paid resources belong to which run.
func (r *Resources) Remove(ctx context.Context, c Clients, t Target, records, plan bool, log func(change string)) error {
	if err := c.identity(ctx, t.AccountID); err != nil {
		return err
	}
	var looks []look
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

// run looks at everything, then makes the changes. It goes on after an error of its kind, so that one refusal does not
// hide the next, but changes nothing after a look that failed.
func run(ctx context.Context, looks []look, plan bool, log func(string)) error {
	var todo []change
	var errs []error
	for _, look := range looks {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		changes, err := look()
		todo, errs = append(todo, changes...), append(errs, err)
	}
	if err := summary(errs); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	errs = nil
	for _, ch := range todo {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		log(ch.what)
		if plan {
			continue
		}
		if err := ch.do(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ch.what, err))
		}
	}
	return summary(errs)
}

// denied is a call that the key may not make.
type denied struct {
	action string
	error
}

// Unwrap returns what the cloud said.
func (d *denied) Unwrap() error { return d.error }

// may tells a call that the key has no right to from other failures.
func may(action string, err error) error {
	var l *logError
	var o *ots.OtsError
	switch c := code(err); {
	case c == "NoPermission", c == "Forbidden.RAM", c == "Forbidden", mns.ERR_MNS_ACCESS_DENIED.IsEqual(err),
		errors.As(err, &l) && l.Code == "Unauthorized", errors.As(err, &o) && o.Code == "OTSNoPermissionAccess":
		return &denied{action, err}
	}
	var e *sdkerrors.ServerError
	if errors.As(err, &e) {
		return &refusal{e}
	}
	return err
}

// refusal is the V1 SDK's error in one line.
type refusal struct{ *sdkerrors.ServerError }

// Error implements error.
func (r *refusal) Error() string {
	return fmt.Sprintf("%s: %s (request %s)", r.ErrorCode(), r.Message(), r.RequestId())
}

// Unwrap returns the SDK's error.
func (r *refusal) Unwrap() error { return r.ServerError }

// summary joins errors, and says of those that lack a right which ones, in one line.
func summary(errs []error) error {
	var rest []error
	rights := map[string]bool{}
	for _, err := range errs {
		var d *denied
		if errors.As(err, &d) {
			rights[d.action] = true
		} else {
			rest = append(rest, err)
		}
	}
	if len(rights) > 0 {
		rest = append(rest, fmt.Errorf("the key has no right to %s: attach the policy in shared/deploy/deployer.json to its user", strings.Join(slices.Sorted(maps.Keys(rights)), ", ")))
	}
	return errors.Join(rest...)
}
