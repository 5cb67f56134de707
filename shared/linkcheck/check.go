// Package linkcheck answers "does the link work?" with four checks: link, network,
// login, operation. The first reads what the cloud says of it. The other three
// are read from one operation that the instance itself runs, of the use case: a
// throttled _reindex of one document into an index of its own, a webhook that
// Watcher sends, a login at a directory, a word for an analyzer. A probe from
// anywhere else proves nothing, since the endpoint's name resolves only in the
// instance's network. Step verify and function check share it. It creates and
// deletes nothing but eslink-check-<id>.
package linkcheck

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Link is what is checked: a port of an endpoint, for one use case.
type Link struct {
	ID         string // names the check's index; a run's ID, or a digest of the endpoint
	InstanceID string
	EndpointID string
	ServiceID  string
	Domain     string
	// UseCase is what the port is for, with its protocol and its part; a realm of
	// a link that eslink did not make has no name.
	events.UseCase
	// The balancer: an NLB by its listeners, or a CLB.
	ListenerIDs []string
	CLB         string
	// RemoteIndex and Query are what a copy reads.
	RemoteIndex string
	Query       json.RawMessage
	// Before is what an analyzer made of the dictionary's word before there was a
	// link; nil if nobody saw it.
	Before []string
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
	Classic interface {
		Listener(ctx context.Context, loadBalancerID string, port int) (slb.Listener, error)
		Health(ctx context.Context, loadBalancerID string, port int) ([]slb.Health, error)
	}
}

// NewCloud returns what the check named link reads.
func NewCloud(c aliyun.Config) Cloud {
	return Cloud{Endpoints: escluster.New(c), Connections: privatelink.New(c), Listeners: nlb.New(c), Classic: slb.New(c)}
}

// Link reads what the cloud says: the endpoint is connected as both sides see
// it, the listener runs, its backends are healthy.
func (c Cloud) Link(ctx context.Context, l Link) (facts.Check, error) {
	endpoints, err := c.Endpoints.ListEndpoints(ctx, l.InstanceID)
	if err != nil {
		return facts.Check{}, err
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
		return bad("recreate the private connection: action start with again of its run does", "instance %s has no endpoint %s", l.InstanceID, l.EndpointID)
	}
	connections, err := c.Connections.Connections(ctx, l.ServiceID)
	if err != nil && !apierr.IsNotFound(err) {
		return facts.Check{}, err
	}
	connected := false
	for _, k := range connections {
		connected = connected || k.EndpointID == l.EndpointID && k.Status == privatelink.ConnectionConnected
	}
	if !connected {
		return bad("look at the endpoint service's connections", "service %s does not have endpoint %s connected", l.ServiceID, l.EndpointID)
	}
	if l.CLB != "" {
		return c.classic(ctx, l)
	}
	return c.network(ctx, l)
}

func bad(remedy, format string, args ...any) (facts.Check, error) {
	return facts.Check{Name: "link", Detail: fmt.Sprintf(format, args...), Remedy: remedy}, nil
}

const stands = "endpoint connected, listener running, backends healthy"

// network looks at the listeners of an NLB.
func (c Cloud) network(ctx context.Context, l Link) (facts.Check, error) {
	for _, id := range l.ListenerIDs {
		listener, err := c.Listeners.Listener(ctx, id)
		if apierr.IsNotFound(err) {
			return bad("recreate the listener: action start with again of its run does", "listener %s does not exist", id)
		}
		if err != nil {
			return facts.Check{}, err
		}
		if listener.Status != "Running" {
			return bad("start the listener", "listener %s is %s", id, listener.Status)
		}
		abnormal, err := c.Listeners.Abnormal(ctx, id)
		if apierr.IsNotFound(err) {
			return bad("recreate the backends: action start with again of its run does", "the server group of listener %s does not exist", id)
		}
		if err != nil {
			return facts.Check{}, err
		}
		if len(abnormal) > 0 {
			a := abnormal[0]
			return bad("look whether the target's private whitelist admits the balancer, and whether its addresses have changed",
				"%d backends of listener %s are not healthy; %s:%d is %s (%s)", len(abnormal), id, a.IP, a.Port, a.Status, a.Reason.Code)
		}
	}
	return facts.Check{Name: "link", OK: true, Detail: stands}, nil
}

// classic looks at the listener of a CLB. A listener is stopped when it is made.
func (c Cloud) classic(ctx context.Context, l Link) (facts.Check, error) {
	const anew = "recreate it: action start with again of its run does"
	listener, err := c.Classic.Listener(ctx, l.CLB, l.Port)
	switch {
	case apierr.IsNotFound(err):
		return bad(anew, "clb %s has no listener on port %d", l.CLB, l.Port)
	case err != nil:
		return facts.Check{}, err
	case listener.Status != slb.Running:
		return bad("start the listener: a run's action start with again does", "the listener of clb %s on port %d is %s", l.CLB, l.Port, listener.Status)
	}
	servers, err := c.Classic.Health(ctx, l.CLB, l.Port)
	switch {
	case err != nil && !apierr.IsNotFound(err):
		return facts.Check{}, err
	case len(servers) == 0:
		return bad(anew, "the listener of clb %s on port %d has no server behind it", l.CLB, l.Port)
	}
	for _, x := range servers {
		if x.Status != slb.Normal {
			return bad(fmt.Sprintf("look on %s whether the service runs and listens on 0.0.0.0 rather than 127.0.0.1, and whether the security group and the host's own firewall (iptables) admit 100.64.0.0/10 to port %d", x.ID, x.Port),
				"%s:%d behind clb %s is %s: the balancer's health check finds nobody there", x.ID, x.Port, l.CLB, x.Status)
		}
	}
	return facts.Check{Name: "link", OK: true, Detail: stands}, nil
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
// Possible prior states: the index is left over from a check that died: it is ours if its _meta
// says so, and is used again. The kick-off's reply was lost: the task still
// sleeps, is found by its X-Opaque-Id and read. Otherwise it is sent again: one
// document more in an index of our own.
func (p Prober) Start(ctx context.Context, l Link) (facts.Probe, error) {
	mappings := json.RawMessage(fmt.Sprintf(`{"dynamic":false,"_meta":{%q:%q}}`, meta, l.ID))
	settings := json.RawMessage(`{"number_of_shards":1,"number_of_replicas":0}`)
	if err := p.Client.Create(ctx, l.Index(), es.Definition{Settings: settings, Mappings: mappings}); err != nil && !es.Exists(err) {
		return facts.Probe{}, err
	} else if err != nil {
		if err := p.ours(ctx, l); err != nil {
			return facts.Probe{}, err
		}
	}
	if t, ok, err := p.Client.FindTask(ctx, l.opaqueID()); err != nil {
		return facts.Probe{}, err
	} else if ok {
		return facts.Probe{TaskID: t.ID, Since: p.Now()}, nil
	}
	rate := slow
	id, err := p.Client.Reindex(ctx, es.ReindexBody{
		Source: es.ReindexSource{Index: l.RemoteIndex, Query: l.Query, Size: 1, Remote: es.Remote{
			Host: fmt.Sprintf("%s://%s:%d", l.Protocol, l.Domain, l.Port), Username: p.Remote.Username, Password: p.Remote.Password,
			SocketTimeout: "20s", ConnectTimeout: "10s"}},
		Dest: es.ReindexDest{Index: l.Index()},
	}, l.opaqueID(), &rate)
	return facts.Probe{TaskID: id, Since: p.Now()}, err
}

// Read looks at the operation. Until it has something to say, ready is false.
// The source's count is what it found under the query; -1 if it could not.
func (p Prober) Read(ctx context.Context, l Link, probe facts.Probe) (checks []facts.Check, count int64, ready bool, err error) {
	t, err := p.Client.Task(ctx, probe.TaskID)
	if apierr.IsNotFound(err) || err == nil && t.OpaqueID != l.opaqueID() {
		return Failed(&es.Cause{Type: "task_lost", Reason: "the instance lost the operation (a node restarted?)"}, l), -1, true, nil
	}
	if err != nil {
		return nil, -1, false, err
	}
	elapsed := p.Now().Sub(probe.Since).Seconds()
	var total int64
	switch {
	case t.Error != nil:
		checks = Failed(t.Error, l)
		total = -1
	case t.Completed && t.Response != nil && len(t.Response.Failures) > 0:
		f := t.Response.Failures[0]
		cause := f.Cause
		if cause == nil {
			cause = f.Reason
		}
		checks, total = Failed(cause, l), -1
	case t.Completed && t.Response != nil:
		total = t.Response.Total
	case t.Status.Processed() == 0:
		return nil, -1, false, nil // the first page is on its way
	default:
		total = t.Status.Total
		// Once it has stopped, it does not write to the index that is deleted next.
		if err := p.Client.CancelTask(ctx, t.ID, true); err != nil {
			return nil, -1, false, err
		}
	}
	if checks == nil {
		checks = passed(l, "the source accepts the login", fmt.Sprintf("%s reads %s through the link: %d documents", l.InstanceID, l.RemoteIndex, total))
	}
	for i := range checks {
		checks[i].Seconds = elapsed
	}
	return checks, total, true, nil
}

// passed are the three checks of an operation that went well.
func passed(l Link, login, operation string) []facts.Check {
	return []facts.Check{
		{Name: "network", OK: true, Detail: fmt.Sprintf("%s resolves and port %d answers, seen from %s", l.Domain, l.Port, l.InstanceID)},
		{Name: "login", OK: true, Detail: login},
		{Name: "operation", OK: true, Detail: operation},
	}
}

// Of passed's checks, by place.
const (
	network = iota
	login
	operation
)

// stopped are the three checks of an operation that got no further than one of
// them.
func stopped(at int, detail, remedy string) []facts.Check {
	checks := []facts.Check{
		{Name: "network", OK: true, Detail: "the source answered"},
		{Name: "login", OK: true, Detail: "the source accepts the login"},
		{Name: "operation"},
	}
	checks[at] = facts.Check{Name: checks[at].Name, Detail: detail, Remedy: remedy}
	for i := at + 1; i < len(checks); i++ {
		checks[i] = facts.Check{Name: checks[i].Name, Detail: "not reached", Remedy: "fix check `" + checks[at].Name + "` first"}
	}
	return checks
}

// unasked are the three checks of an operation that the instance refused before
// it called anybody.
func unasked(detail, remedy string) []facts.Check {
	checks := stopped(operation, detail, remedy)
	for i := range checks[:operation] {
		checks[i] = facts.Check{Name: checks[i].Name, Detail: "not reached", Remedy: "fix check `operation` first"}
	}
	return checks
}

// Failed says which of the three checks an error of _reindex means, and what to
// do.
func Failed(cause *es.Cause, l Link) []facts.Check {
	stop := func(at int, remedy string) []facts.Check { return stopped(at, cause.String(), remedy) }
	switch status := cause.RemoteStatus(); {
	case cause.Type == "illegal_argument_exception" && status == 0:
		return unasked(cause.String(), fmt.Sprintf("add %s:%d to reindex.remote.whitelist of %s (step configure does), and wait for its restart", l.Domain, l.Port, l.InstanceID))
	case status == 401:
		return stop(login, "put the right password into the target's secret")
	case status == 403:
		return stop(operation, "grant the target's user cluster privilege monitor and read on the index")
	case status == 404:
		return stop(operation, "the index does not exist at the source: check its spelling")
	case status != 0:
		return stop(operation, "look at the target's health")
	}
	if remedy := unreached(cause, l); remedy != "" {
		return stop(network, remedy)
	}
	return stop(operation, "look at the instance's log")
}

// unreached says what to do about an error of the network between the instance
// and the service, or "" if it is none.
func unreached(cause *es.Cause, l Link) string {
	t := cause.Type
	switch {
	case t == "unknown_host_exception":
		return "the endpoint does not exist in the instance's network: see check link; use the domain without its zone segment"
	case strings.Contains(cause.String(), "PKIX path"):
		return "the nodes trust public CAs alone, and nobody can put another on them: give the service a certificate of a public CA, or use it without TLS, which stays inside PrivateLink"
	case strings.HasPrefix(t, "s_s_l"):
		return "use a protocol without TLS if the service does not speak it, https if it does; a certificate that does not name the endpoint needs target.tls: certificate"
	case !networkTypes[t]:
		return ""
	case l.CLB != "":
		return "see check link; the service must listen on 0.0.0.0 rather than 127.0.0.1, and the security group and the host's own firewall admit 100.64.0.0/10"
	}
	return "see check link; look whether the target's private whitelist admits the balancer's addresses"
}

var networkTypes = map[string]bool{"connect_exception": true, "connection_closed_exception": true, "socket_timeout_exception": true, "no_route_to_host_exception": true, "i_o_exception": true,
	// Watcher's client, which is another one.
	"http_host_connect_exception": true, "connect_timeout_exception": true, "no_http_response_exception": true, "socket_exception": true}

// Cancel stops an operation that nobody will read, if it is still ours: task
// numbers are given out again after a restart.
func (p Prober) Cancel(ctx context.Context, l Link, probe facts.Probe) error {
	t, err := p.Client.Task(ctx, probe.TaskID)
	if apierr.IsNotFound(err) || err == nil && t.OpaqueID != l.opaqueID() {
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

// OfRun are the links that a run made, one for each use case.
func OfRun(r *run.Run) []Link {
	link := r.Facts.Link()
	base := Link{ID: r.ID, InstanceID: r.Spec.InstanceID, EndpointID: link.Endpoint, ServiceID: link.Service, Domain: link.Host, ListenerIDs: link.Balancer.Listeners}
	if link.Balancer.Kind == facts.KindCLB {
		base.CLB = link.Balancer.ID
	}
	useCases := r.Spec.UseCases
	if len(useCases) == 0 {
		protocol, port := r.Spec.Source()
		useCases = []events.UseCase{{Kind: events.ReindexUseCase, Protocol: protocol, Port: port}}
	}
	var links []Link
	for _, u := range useCases {
		l := base
		l.UseCase = u
		if list := r.Indices(); u.Kind == events.ReindexUseCase && len(list) > 0 {
			l.RemoteIndex, l.Query = list[0].Source, list[0].Query
		}
		if d := r.Facts.Dictionary; d != nil && u.Plugin != nil && d.Analyzer == u.Plugin.Analyzer && d.Word == u.Plugin.Word {
			l.Before = d.Before
		}
		links = append(links, l)
	}
	return links
}

// Named tells whose the checks are, where a run has several use cases.
func Named(checks []facts.Check, l Link, of int) []facts.Check {
	if of > 1 {
		for i := range checks {
			checks[i].Name += " (" + l.Kind + ")"
		}
	}
	return checks
}

// OK reports whether all checks passed.
func OK(checks []facts.Check) bool {
	for _, c := range checks {
		if !c.OK {
			return false
		}
	}
	return len(checks) > 0
}
