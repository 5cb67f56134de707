package nlbbackend_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	product "eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/nlbbackend"
	"eslink/shared/steps/stepstest"
)

var (
	errGone = &apierr.Error{Class: apierr.NotFound, Code: "ResourceNotFound"}
	errLost = &apierr.Error{Class: apierr.Retry, Message: "no reply"}
)

// stub answers with what it holds and notes what it is asked to change.
type stub struct {
	group    product.ServerGroup
	listed   []product.ServerGroup // by name
	servers  []product.Server
	listener product.Listener
	ports    []product.Listener // listed
	hosts    []string
	hostErr  error
	sick     []product.Abnormal
	job      bool
	jobErr   error
	refuse   error // every write
	writes   []string
}

func (c *stub) write(format string, args ...any) (string, error) {
	c.writes = append(c.writes, fmt.Sprintf(format, args...))
	return "job", c.refuse
}

func (c *stub) CreateServerGroup(context.Context, product.NewServerGroup, string) (id, job string, err error) {
	job, err = c.write("create group")
	return "sgp-new", job, err
}
func (c *stub) ServerGroup(_ context.Context, id string) (product.ServerGroup, error) {
	if c.group.ID != id {
		return product.ServerGroup{}, errGone
	}
	return c.group, nil
}
func (c *stub) DeleteServerGroup(context.Context, string) (string, error) {
	return c.write("delete group")
}
func (c *stub) ServerGroupsTagged(context.Context, string, string) ([]product.ServerGroup, error) {
	return nil, nil
}
func (c *stub) ServerGroupsNamed(context.Context, string) ([]product.ServerGroup, error) {
	return c.listed, nil
}
func (c *stub) Servers(context.Context, string) ([]product.Server, error) { return c.servers, nil }
func (c *stub) AddServers(_ context.Context, _ string, servers []product.Server, _ string) (string, error) {
	return c.write("add %v", servers)
}
func (c *stub) RemoveServers(_ context.Context, _ string, servers []product.Server) (string, error) {
	return c.write("remove %d", len(servers))
}
func (c *stub) CreateListener(context.Context, string, string, int, string) (id, job string, err error) {
	job, err = c.write("create listener")
	return "lsn-new", job, err
}
func (c *stub) Listener(_ context.Context, id string) (product.Listener, error) {
	if c.listener.ID != id {
		return product.Listener{}, errGone
	}
	return c.listener, nil
}
func (c *stub) Listeners(context.Context, string) ([]product.Listener, error) {
	return c.ports, nil
}
func (c *stub) DeleteListener(context.Context, string) (string, error) {
	return c.write("delete listener")
}
func (c *stub) JobDone(context.Context, string) (bool, error) { return c.job, c.jobErr }
func (c *stub) Abnormal(context.Context, string) ([]product.Abnormal, error) {
	return c.sick, nil
}
func (c *stub) LookupHost(context.Context, string) ([]string, error) {
	return c.hosts, c.hostErr
}

// standing is a run whose backend stands, and the cloud that holds it.
func standing() (*run.Run, *stub, *nlbbackend.Step) {
	r := &run.Run{ID: "fd5dc36da1e3cf09", Generation: 1, Direction: run.Up, Spec: events.Spec{Scenario: "es-to-es"}, Facts: facts.Facts{
		Preflight:  &facts.Preflight{Target: facts.Cluster{InstanceID: "es-cn-src", Domain: "d", Port: 9200, VpcID: "vpc"}},
		NLB:        &facts.NLB{ID: "nlb-1"},
		NLBBackend: &facts.NLBBackend{ServerGroupID: "sgp-1", ListenerID: "lsn-1"}}}
	cloud := &stub{hosts: []string{"10.0.0.1", "10.0.0.2"}, group: product.ServerGroup{ID: "sgp-1", Type: "Ip", Status: product.Available, VpcID: "vpc"},
		servers:  []product.Server{{IP: "10.0.0.1", Port: 9200, Status: product.Available}, {IP: "10.0.0.2", Port: 9200, Status: product.Available}},
		listener: product.Listener{ID: "lsn-1", Port: 9200, ServerGroupID: "sgp-1", Protocol: "TCP", Status: product.Running}}
	return r, cloud, &nlbbackend.Step{Cloud: cloud, Resolver: cloud, Now: time.Now}
}

// Wrote implements stepstest.Stub.
func (c *stub) Wrote() []string { return c.writes }

// TestGuards sees what one oddity at a time makes of a backend that
// stands: nothing but what is named is written.
func TestGuards(t *testing.T) {
	t.Parallel()
	left := product.Server{IP: "10.0.0.9", Port: 9200, Status: product.Available}
	stepstest.Guards(t, standing, map[string]stepstest.Guard[*stub]{
		"nothing":                 {Done: true},
		"group in an odd state":   {Odd: func(_ *run.Run, c *stub) { c.group.Status = "Odd" }, Err: "does not know"},
		"group being changed":     {Odd: func(_ *run.Run, c *stub) { c.group.Status = product.Configuring }, Reason: "server group sgp-1 is Configuring"},
		"group elsewhere":         {Odd: func(_ *run.Run, c *stub) { c.group.VpcID = "other" }, Err: "unexpected settings"},
		"group of instances":      {Odd: func(_ *run.Run, c *stub) { c.group.Type = "Instance" }, Err: "unexpected settings"},
		"server being added":      {Odd: func(_ *run.Run, c *stub) { c.servers[1].Status = product.Adding }, Reason: "backend 10.0.0.2:9200 is Adding"},
		"a server missing":        {Odd: func(_ *run.Run, c *stub) { c.servers = c.servers[:1] }, Reason: "being added", Writes: []string{"add [{10.0.0.2 9200 }]"}},
		"listener provisioning":   {Odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Provisioning }, Reason: "listener lsn-1 is"},
		"listener being changed":  {Odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Configuring }, Reason: "listener lsn-1 is"},
		"listener starting":       {Odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Starting }, Reason: "listener lsn-1 is"},
		"listener being deleted":  {Odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Deleting }, Reason: "listener lsn-1 is"},
		"listener of TLS":         {Odd: func(_ *run.Run, c *stub) { c.listener.Protocol = "TCPSSL" }, Err: "not plain TCP"},
		"listener with a preface": {Odd: func(_ *run.Run, c *stub) { c.listener.ProxyProtocol = true }, Err: "not plain TCP"},
		"a server has left":       {Odd: func(_ *run.Run, c *stub) { c.servers = append(c.servers, left) }, Reason: "no longer belongs", Writes: []string{"remove 1"}},
		"a server has left, but the new one is not healthy": {Odd: func(_ *run.Run, c *stub) {
			c.servers, c.sick = append(c.servers, left), []product.Abnormal{{IP: "10.0.0.1", Port: 9200, Status: "Unhealthy"}}
		}, Reason: "do not answer"},
		"only who has left is not healthy": {Odd: func(_ *run.Run, c *stub) {
			c.servers, c.sick = append(c.servers, left), []product.Abnormal{{IP: left.IP, Port: 9200, Status: "Unhealthy"}}
		}, Reason: "no longer belongs", Writes: []string{"remove 1"}},
		"a change under way": {Odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.Job, c.servers = &facts.Job{ID: "job-1"}, nil
		}, Reason: "last change"},
		"a change that nobody remembers": {Odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.Job, c.jobErr = &facts.Job{ID: "job-1"}, errGone
		}, Done: true},
		"a namesake, found without an ID": {Odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.ServerGroupID, c.listed = "", []product.ServerGroup{c.group}
		}, Done: true},
		"a name that does not resolve": {Odd: func(_ *run.Run, c *stub) { c.hosts, c.hostErr = nil, errors.New("no such host") }, Err: "no such host", Class: apierr.Retry},
		"IPv6 alone":                   {Odd: func(_ *run.Run, c *stub) { c.hosts = []string{"fd00::1"} }, Err: "no IPv4", Class: apierr.Retry},
		"IPv6 too":                     {Odd: func(_ *run.Run, c *stub) { c.hosts = append(c.hosts, "fd00::1") }, Done: true},
		"a listener of another port": {Odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.ListenerID, c.ports = "", []product.Listener{{ID: "lsn-1", Port: 443}}
		}, Reason: "created", Writes: []string{"create listener"}},
		"down: no balancer, so others' listeners": {Down: true, Odd: func(r *run.Run, c *stub) {
			r.Facts.NLB.ID, r.Facts.NLBBackend.ListenerID, c.ports = "", "", []product.Listener{c.listener}
			c.group.ID = ""
		}, Done: true},
		"down: a namesake": {Down: true, Odd: func(r *run.Run, c *stub) {
			*r.Facts.NLBBackend, c.listed = facts.NLBBackend{}, []product.ServerGroup{c.group}
		}, Done: true},
		"down: a change under way": {Down: true, Odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.Job = &facts.Job{ID: "job-1"}
		}, Reason: "last change"},
		"down: listener starting":     {Down: true, Odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Starting }, Reason: "listener lsn-1 is"},
		"down: listener first":        {Down: true, Reason: "listener", Writes: []string{"delete listener"}},
		"down: listener just deleted": {Down: true, Odd: func(_ *run.Run, c *stub) { c.refuse = errGone }, Reason: "listener", Writes: []string{"delete listener"}},
		"down: then the servers":      {Down: true, Odd: func(_ *run.Run, c *stub) { c.listener.ID = "" }, Reason: "servers", Writes: []string{"remove 2"}},
		"down: then the group":        {Down: true, Odd: func(_ *run.Run, c *stub) { c.listener.ID, c.servers = "", nil }, Reason: "group", Writes: []string{"delete group"}},
		"down: group being changed":   {Down: true, Odd: func(_ *run.Run, c *stub) { c.listener.ID, c.group.Status = "", product.Configuring }, Reason: "server group sgp-1 is Configuring"},
	})
}

// A creation without a reply is remembered, so that teardown waits for lists.
func TestLostCreationsAreRemembered(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(*stub){
		"group":    func(c *stub) { c.group.ID, c.listener.ID = "", "" },
		"listener": func(c *stub) { c.listener.ID = "" },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, cloud, s := standing()
			lose(cloud)
			cloud.refuse = errLost
			_, err := s.Up(t.Context(), r)
			require.True(t, errors.Is(err, errLost))
			require.Equal(t, []string{"create " + what}, cloud.writes)
			require.NotZero(t, r.Facts.NLBBackend.Asked)
		})
	}
}
