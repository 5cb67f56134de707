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
func standing() (*run.Run, *stub) {
	r := &run.Run{ID: "fd5dc36da1e3cf09", Generation: 1, Direction: run.Up, Spec: events.Spec{Scenario: "es-to-es"}, Facts: facts.Facts{
		Preflight:  &facts.Preflight{Target: facts.Cluster{InstanceID: "es-cn-src", Domain: "d", Port: 9200, VpcID: "vpc"}},
		NLB:        &facts.NLB{ID: "nlb-1"},
		NLBBackend: &facts.NLBBackend{ServerGroupID: "sgp-1", ListenerID: "lsn-1"}}}
	return r, &stub{hosts: []string{"10.0.0.1", "10.0.0.2"}, group: product.ServerGroup{ID: "sgp-1", Type: "Ip", Status: product.Available, VpcID: "vpc"},
		servers:  []product.Server{{IP: "10.0.0.1", Port: 9200, Status: product.Available}, {IP: "10.0.0.2", Port: 9200, Status: product.Available}},
		listener: product.Listener{ID: "lsn-1", Port: 9200, ServerGroupID: "sgp-1", Protocol: "TCP", Status: product.Running}}
}

// TestOneGuardEach sees what one oddity at a time makes of a backend that
// stands: nothing but what is named is written.
func TestOneGuardEach(t *testing.T) {
	t.Parallel()
	left := product.Server{IP: "10.0.0.9", Port: 9200, Status: product.Available}
	for name, c := range map[string]struct {
		odd    func(*run.Run, *stub)
		down   bool
		reason string // of a wait
		err    string
		class  apierr.Class
		writes []string
		done   bool
	}{
		"nothing":                 {odd: func(*run.Run, *stub) {}, done: true},
		"group in an odd state":   {odd: func(_ *run.Run, c *stub) { c.group.Status = "Odd" }, err: "does not know"},
		"group being changed":     {odd: func(_ *run.Run, c *stub) { c.group.Status = product.Configuring }, reason: "server group sgp-1 is Configuring"},
		"group elsewhere":         {odd: func(_ *run.Run, c *stub) { c.group.VpcID = "other" }, err: "unexpected settings"},
		"group of instances":      {odd: func(_ *run.Run, c *stub) { c.group.Type = "Instance" }, err: "unexpected settings"},
		"server being added":      {odd: func(_ *run.Run, c *stub) { c.servers[1].Status = product.Adding }, reason: "backend 10.0.0.2:9200 is Adding"},
		"a server missing":        {odd: func(_ *run.Run, c *stub) { c.servers = c.servers[:1] }, reason: "being added", writes: []string{"add [{10.0.0.2 9200 }]"}},
		"listener provisioning":   {odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Provisioning }, reason: "listener lsn-1 is"},
		"listener being changed":  {odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Configuring }, reason: "listener lsn-1 is"},
		"listener starting":       {odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Starting }, reason: "listener lsn-1 is"},
		"listener being deleted":  {odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Deleting }, reason: "listener lsn-1 is"},
		"listener of TLS":         {odd: func(_ *run.Run, c *stub) { c.listener.Protocol = "TCPSSL" }, err: "not plain TCP"},
		"listener with a preface": {odd: func(_ *run.Run, c *stub) { c.listener.ProxyProtocol = true }, err: "not plain TCP"},
		"a server has left":       {odd: func(_ *run.Run, c *stub) { c.servers = append(c.servers, left) }, reason: "no longer belongs", writes: []string{"remove 1"}},
		"a server has left, but the new one is not healthy": {odd: func(_ *run.Run, c *stub) {
			c.servers, c.sick = append(c.servers, left), []product.Abnormal{{IP: "10.0.0.1", Port: 9200, Status: "Unhealthy"}}
		}, reason: "do not answer"},
		"only who has left is not healthy": {odd: func(_ *run.Run, c *stub) {
			c.servers, c.sick = append(c.servers, left), []product.Abnormal{{IP: left.IP, Port: 9200, Status: "Unhealthy"}}
		}, reason: "no longer belongs", writes: []string{"remove 1"}},
		"a change under way": {odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.Job, c.servers = &facts.Job{ID: "job-1"}, nil
		}, reason: "last change"},
		"a change that nobody remembers": {odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.Job, c.jobErr = &facts.Job{ID: "job-1"}, errGone
		}, done: true},
		"a namesake, found without an ID": {odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.ServerGroupID, c.listed = "", []product.ServerGroup{c.group}
		}, done: true},
		"a name that does not resolve": {odd: func(_ *run.Run, c *stub) { c.hosts, c.hostErr = nil, errors.New("no such host") }, err: "no such host", class: apierr.Retry},
		"IPv6 alone":                   {odd: func(_ *run.Run, c *stub) { c.hosts = []string{"fd00::1"} }, err: "no IPv4", class: apierr.Retry},
		"IPv6 too":                     {odd: func(_ *run.Run, c *stub) { c.hosts = append(c.hosts, "fd00::1") }, done: true},
		"a listener of another port": {odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.ListenerID, c.ports = "", []product.Listener{{ID: "lsn-1", Port: 443}}
		}, reason: "created", writes: []string{"create listener"}},
		"down: no balancer, so others' listeners": {down: true, odd: func(r *run.Run, c *stub) {
			r.Facts.NLB.ID, r.Facts.NLBBackend.ListenerID, c.ports = "", "", []product.Listener{c.listener}
			c.group.ID = ""
		}, done: true},
		"down: a namesake": {down: true, odd: func(r *run.Run, c *stub) {
			*r.Facts.NLBBackend, c.listed = facts.NLBBackend{}, []product.ServerGroup{c.group}
		}, done: true},
		"down: a change under way": {down: true, odd: func(r *run.Run, c *stub) {
			r.Facts.NLBBackend.Job = &facts.Job{ID: "job-1"}
		}, reason: "last change"},
		"down: listener starting":     {down: true, odd: func(_ *run.Run, c *stub) { c.listener.Status = product.Starting }, reason: "listener lsn-1 is"},
		"down: listener first":        {down: true, odd: func(*run.Run, *stub) {}, reason: "listener", writes: []string{"delete listener"}},
		"down: listener just deleted": {down: true, odd: func(_ *run.Run, c *stub) { c.refuse = errGone }, reason: "listener", writes: []string{"delete listener"}},
		"down: then the servers":      {down: true, odd: func(_ *run.Run, c *stub) { c.listener.ID = "" }, reason: "servers", writes: []string{"remove 2"}},
		"down: then the group":        {down: true, odd: func(_ *run.Run, c *stub) { c.listener.ID, c.servers = "", nil }, reason: "group", writes: []string{"delete group"}},
		"down: group being changed":   {down: true, odd: func(_ *run.Run, c *stub) { c.listener.ID, c.group.Status = "", product.Configuring }, reason: "server group sgp-1 is Configuring"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, cloud := standing()
			c.odd(r, cloud)
			s := &nlbbackend.Step{Cloud: cloud, Resolver: cloud, Now: time.Now}
			walk := s.Up
			if c.down {
				walk, r.Direction = s.Down, run.Down
			}
			out, err := walk(t.Context(), r)
			require.Equal(t, c.writes, cloud.writes)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.Equal(t, c.class, apierr.ClassOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.done, out.IsDone(), out.Reason())
			require.Contains(t, out.Reason(), c.reason)
		})
	}
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
			r, cloud := standing()
			lose(cloud)
			cloud.refuse = errLost
			s := &nlbbackend.Step{Cloud: cloud, Resolver: cloud, Now: time.Now}
			_, err := s.Up(t.Context(), r)
			require.True(t, errors.Is(err, errLost))
			require.Equal(t, []string{"create " + what}, cloud.writes)
			require.NotZero(t, r.Facts.NLBBackend.Asked)
		})
	}
}
