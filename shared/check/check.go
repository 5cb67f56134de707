// Package check answers "does the link work?" with four checks: link, network,
// login, operation. The first reads what the cloud says of it. The other three
// are read from one operation that the instance itself runs, a throttled
// _reindex of one document into an index of its own: a probe from anywhere else
// proves nothing, since the endpoint's name resolves only in the instance's
// network. Step verify and function check share it. It creates and deletes
// nothing but eslink-check-<id>.
package check

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/run"
)

// Link is what is checked.
type Link struct {
	ID          string // names the check's index; a run's ID, or a digest of the endpoint
	InstanceID  string
	EndpointID  string
	ServiceID   string
	ListenerIDs []string
	Domain      string
	Port        int
	Protocol    string
	RemoteIndex string
	Query       json.RawMessage
}

// Index is the check's own index.
func (l Link) Index() string { return "eslink-check-" + l.ID }

// opaqueID marks the check's task as ours.
func (l Link) opaqueID() string { return "eslink/check/" + l.ID }

// Cloud is what the check named link reads.
type Cloud struct {
	Endpoints interface {
		ListEndpoints(ctx context.Context, id string) ([]escluster.Endpoint, error)
	}
	Connections interface {
		Connections(ctx context.Context, serviceID string) ([]privatelink.Connection, error)
	}
	Listeners interface {
		Listener(ctx context.Context, id string) (nlb.Listener, error)
		Abnormal(ctx context.Context, listenerID string) ([]nlb.Abnormal, error)
	}
}

// Link reads what the cloud says: the endpoint is connected as both sides see
// it, the listener runs, its backends are healthy.
func (c Cloud) Link(ctx context.Context, l Link) (run.Check, error) {
	bad := func(remedy, format string, args ...any) (run.Check, error) {
		return run.Check{Name: "link", Detail: fmt.Sprintf(format, args...), Remedy: remedy}, nil
	}
	endpoints, err := c.Endpoints.ListEndpoints(ctx, l.InstanceID)
	if err != nil {
		return run.Check{}, err
	}
	seen := false
	for _, e := range endpoints {
		if e.ID != l.EndpointID {
			continue
		}
		seen = true
		if e.Connection != "Connected" {
			return bad("allow the connection: a run's action start with again does", "endpoint %s is %s, connection %s", e.ID, e.Status, e.Connection)
		}
	}
	if !seen {
		return bad("make the private connection anew: a run's action start with again does", "instance %s has no endpoint %s", l.InstanceID, l.EndpointID)
	}
	connections, err := c.Connections.Connections(ctx, l.ServiceID)
	if err != nil && !apierr.IsNotFound(err) {
		return run.Check{}, err
	}
	connected := false
	for _, k := range connections {
		connected = connected || k.EndpointID == l.EndpointID && k.Status == privatelink.ConnectionConnected
	}
	if !connected {
		return bad("look at the endpoint service's connections", "service %s does not have endpoint %s connected", l.ServiceID, l.EndpointID)
	}
	for _, id := range l.ListenerIDs {
		listener, err := c.Listeners.Listener(ctx, id)
		if apierr.IsNotFound(err) {
			return bad("make the listener anew: a run's action start with again does", "listener %s does not exist", id)
		}
		if err != nil {
			return run.Check{}, err
		}
		if listener.Status != "Running" {
			return bad("start the listener", "listener %s is %s", id, listener.Status)
		}
		abnormal, err := c.Listeners.Abnormal(ctx, id)
		if apierr.IsNotFound(err) {
			return bad("make the backends anew: a run's action start with again does", "the server group of listener %s does not exist", id)
		}
		if err != nil {
			return run.Check{}, err
		}
		if len(abnormal) > 0 {
			a := abnormal[0]
			return bad("look whether the target's private whitelist admits the balancer, and whether its addresses have changed",
				"%d backends of listener %s are not healthy; %s:%d is %s (%s)", len(abnormal), id, a.IP, a.Port, a.Status, a.Reason.Code)
		}
	}
	return run.Check{Name: "link", OK: true, Detail: "endpoint connected, listener running, backends healthy"}, nil
}

// Prober runs the operation on the instance.
type Prober struct {
	Client *es.Client // of the instance
	Remote kms.Login  // at the target
	Now    func() time.Time
}

// slow keeps the probe asleep after its first page, so that it can be read and
// cancelled: _reindex sleeps a page's documents over the rate.
const slow = 0.01

// meta marks the check's index as ours.
const meta = "eslink_check"

// Start makes the check's index and kicks the operation off.
//
// Pasts: the index is left over from a check that died: it is ours if its _meta
// says so, and is used again. The kick-off's reply was lost: the task still
// sleeps, is found by its X-Opaque-Id and read. Otherwise it is sent again: one
// document more in an index of our own.
func (p Prober) Start(ctx context.Context, l Link) (run.Probe, error) {
	mappings := json.RawMessage(fmt.Sprintf(`{"dynamic":false,"_meta":{%q:%q}}`, meta, l.ID))
	settings := json.RawMessage(`{"number_of_shards":1,"number_of_replicas":0}`)
	if err := p.Client.Create(ctx, l.Index(), settings, mappings); err != nil && !es.Exists(err) {
		return run.Probe{}, err
	} else if err != nil {
		if err := p.ours(ctx, l); err != nil {
			return run.Probe{}, err
		}
	}
	if t, ok, err := p.Client.FindTask(ctx, l.opaqueID()); err != nil {
		return run.Probe{}, err
	} else if ok {
		return run.Probe{TaskID: t.ID, Since: p.Now()}, nil
	}
	rate := slow
	id, err := p.Client.Reindex(ctx, es.ReindexBody{
		Source: es.ReindexSource{Index: l.RemoteIndex, Query: l.Query, Size: 1, Remote: es.Remote{
			Host: fmt.Sprintf("%s://%s:%d", l.Protocol, l.Domain, l.Port), Username: p.Remote.Username, Password: p.Remote.Password,
			SocketTimeout: "20s", ConnectTimeout: "10s"}},
		Dest: es.ReindexDest{Index: l.Index()},
	}, l.opaqueID(), &rate)
	return run.Probe{TaskID: id, Since: p.Now()}, err
}

// Read looks at the operation. Until it has something to say, ready is false.
// The source's count is what it found under the query; -1 if it could not.
func (p Prober) Read(ctx context.Context, l Link, probe run.Probe) (checks []run.Check, count int64, ready bool, err error) {
	t, err := p.Client.Task(ctx, probe.TaskID)
	if apierr.IsNotFound(err) || err == nil && t.OpaqueID != l.opaqueID() {
		return failed(&es.Cause{Type: "task_lost", Reason: "the instance lost the operation (a node restarted?)"}, l), -1, true, nil
	}
	if err != nil {
		return nil, -1, false, err
	}
	elapsed := p.Now().Sub(probe.Since).Seconds()
	var total int64
	switch {
	case t.Error != nil:
		checks = failed(t.Error, l)
		total = -1
	case t.Completed && t.Response != nil && len(t.Response.Failures) > 0:
		f := t.Response.Failures[0]
		cause := f.Cause
		if cause == nil {
			cause = f.Reason
		}
		checks, total = failed(cause, l), -1
	case t.Completed && t.Response != nil:
		total = t.Response.Total
	case t.Status.Created == 0:
		return nil, -1, false, nil // the first page is on its way
	default:
		total = t.Status.Total
		// Once it has stopped, it does not write to the index that is deleted next.
		if err := p.Client.CancelTask(ctx, t.ID, true); err != nil {
			return nil, -1, false, err
		}
	}
	if checks == nil {
		checks = []run.Check{
			{Name: "network", OK: true, Detail: l.Domain + " resolves and port " + fmt.Sprint(l.Port) + " answers, seen from " + l.InstanceID},
			{Name: "login", OK: true, Detail: "the target accepts the login"},
			{Name: "operation", OK: true, Detail: fmt.Sprintf("%s reads %s through the link: %d documents", l.InstanceID, l.RemoteIndex, total)},
		}
	}
	for i := range checks {
		checks[i].Seconds = elapsed
	}
	return checks, total, true, nil
}

// failed says which of the three checks an error means, and what to do.
func failed(cause *es.Cause, l Link) []run.Check {
	checks := []run.Check{
		{Name: "network", OK: true, Detail: "the target answered"},
		{Name: "login", OK: true, Detail: "the target accepts the login"},
		{Name: "operation", OK: true, Detail: "not reached"},
	}
	fail := func(i int, remedy string) []run.Check {
		checks[i].OK, checks[i].Detail, checks[i].Remedy = false, cause.String(), remedy
		for j := i + 1; j < len(checks); j++ {
			checks[j].OK, checks[j].Detail, checks[j].Remedy = false, "not reached", "mend "+checks[i].Name+" first"
		}
		return checks
	}
	status := cause.RemoteStatus()
	switch {
	case cause.Type == "illegal_argument_exception" && status == 0:
		// The instance refused before it called anybody.
		for i := range checks[:2] {
			checks[i].OK, checks[i].Detail, checks[i].Remedy = false, "not reached", "mend operation first"
		}
		return fail(2, "add "+fmt.Sprintf("%s:%d", l.Domain, l.Port)+" to reindex.remote.whitelist of "+l.InstanceID+" (step configure does), and wait for its restart")
	case status == 401:
		return fail(1, "put the right password into the target's secret")
	case status == 403:
		return fail(2, "grant the target's user cluster privilege monitor and read on the index")
	case status == 404:
		return fail(2, "the index does not exist at the target: mind its spelling")
	case status != 0:
		return fail(2, "look at the target's health")
	case cause.Type == "unknown_host_exception":
		return fail(0, "the endpoint does not exist in the instance's network: see check link; use the domain without its zone segment")
	case strings.HasPrefix(cause.Type, "s_s_l"):
		return fail(0, "use http if the target does not speak TLS, https if it does; a certificate that does not name the endpoint needs target.tls: certificate")
	case networkTypes[cause.Type]:
		return fail(0, "see check link; look whether the target's private whitelist admits the balancer's addresses")
	}
	return fail(2, "look at the instance's log")
}

var networkTypes = map[string]bool{"connect_exception": true, "connection_closed_exception": true, "socket_timeout_exception": true, "no_route_to_host_exception": true, "i_o_exception": true}

// Cancel stops an operation that nobody will read, if it is still ours: task
// numbers are given out again after a restart.
func (p Prober) Cancel(ctx context.Context, l Link, probe run.Probe) error {
	t, err := p.Client.Task(ctx, probe.TaskID)
	if apierr.IsNotFound(err) || err == nil && (t.Completed || t.OpaqueID != l.opaqueID()) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.Client.CancelTask(ctx, t.ID, true)
}

// Finish deletes the check's index, and only if it is ours.
func (p Prober) Finish(ctx context.Context, l Link) error {
	err := p.ours(ctx, l)
	if apierr.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.Client.Delete(ctx, l.Index())
}

func (p Prober) ours(ctx context.Context, l Link) error {
	def, err := p.Client.Definition(ctx, l.Index())
	if err != nil {
		return err
	}
	m, err := def.IndexMeta()
	if err != nil {
		return err
	}
	if m[meta] != l.ID {
		return fmt.Errorf("index %s on %s is not eslink's: rename it", l.Index(), l.InstanceID)
	}
	return nil
}

// OfRun is the link that a run made.
func OfRun(r *run.Run) Link {
	f := r.Facts
	ix := r.Spec.Indices[0]
	return Link{ID: r.ID, InstanceID: r.Spec.InstanceID, EndpointID: f.PrivateConnection.EndpointID, ServiceID: f.EndpointService.ID,
		ListenerIDs: []string{f.NLBBackend.ListenerID}, Domain: f.Accept.Domain, Port: r.Spec.Target.Port, Protocol: r.Spec.Target.Protocol,
		RemoteIndex: ix.Source, Query: ix.Query}
}

// OK reports whether all checks passed.
func OK(checks []run.Check) bool {
	for _, c := range checks {
		if !c.OK {
			return false
		}
	}
	return len(checks) > 0
}
