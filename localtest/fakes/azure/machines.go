package azure

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/inside"
)

// Machine is a virtual machine.
type Machine struct {
	ID, Location string
	OS           string // Linux or Windows
	Network      *Network
	Stopped      bool
	// AgentSilent is a guest agent that reports nothing: scripts wait and time out.
	AgentSilent bool
	// Slow scripts run into their timeout.
	Slow bool
	// Crashes makes scripts fail without output.
	Crashes bool
	// Missing are tools that it lacks.
	Missing []string

	nic      string
	commands map[string]*command
	runs     int
}

// command is a managed run command.
type command struct {
	name           string
	started, ended time.Time
	state          string
	exit           int
	output         string
}

// AddMachine adds a Linux machine in a network's first subnet.
func (c *Cloud) AddMachine(n *Network, group, name string) *Machine {
	base := n.ID[:strings.Index(n.ID, "/resourceGroups/")] + "/resourceGroups/" + group + "/providers/"
	m := &Machine{ID: base + "Microsoft.Compute/virtualMachines/" + name, Location: n.Location, OS: "Linux", Network: n,
		nic: base + "Microsoft.Network/networkInterfaces/" + name + "-nic", commands: map[string]*command{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machines[strings.ToLower(m.ID)] = m
	c.interfaces[strings.ToLower(m.nic)] = &nic{id: m.nic, subnet: n.ID + "/subnets/" + n.Subnets[0].Name, address: address(n.Subnets[0].Prefix, 100), machine: m.ID}
	return m
}

// Commands counts the run commands that machines have, and Runs the scripts that they
// have run.
func (c *Cloud) Commands() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.machines {
		n += len(m.commands)
	}
	return n
}

// Runs counts the scripts that machines have run.
func (c *Cloud) Runs() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.machines {
		n += m.runs
	}
	return n
}

func (c *Cloud) machine(r *request, name string) (*Machine, *cloud.Error) {
	id := r.id("Microsoft.Compute", "virtualMachines", name)
	if m, ok := c.machines[strings.ToLower(id)]; ok {
		return m, nil
	}
	return nil, notFound(id)
}

func (c *Cloud) machineRoutes() {
	const commands = "virtualMachines/{machine}/runCommands"
	c.route("Microsoft.Compute", "virtualMachines", map[string]handler{"GET": func(r *request) (reply, *cloud.Error) {
		m, refusal := c.machine(r, r.PathValue("name"))
		if refusal != nil {
			return reply{}, refusal
		}
		power, agent := "PowerState/running", "Ready"
		if m.Stopped {
			power, agent = "PowerState/deallocated", "Not Ready"
		}
		if m.AgentSilent {
			agent = "Not Ready"
		}
		return reply{status: 200, body: map[string]any{"id": m.ID, "location": m.Location, "properties": map[string]any{
			"storageProfile": map[string]any{"osDisk": map[string]any{"osType": m.OS}},
			"networkProfile": map[string]any{"networkInterfaces": []any{map[string]any{"id": m.nic}}},
			"instanceView": map[string]any{
				"statuses": []any{map[string]any{"code": "ProvisioningState/succeeded"}, map[string]any{"code": power}},
				"vmAgent":  map[string]any{"vmAgentVersion": "2.9.1.1", "statuses": []any{map[string]any{"code": "ProvisioningState/succeeded", "displayStatus": agent}}}},
		}}}, nil
	}})
	c.route("Microsoft.Compute", commands, map[string]handler{
		"GET": func(r *request) (reply, *cloud.Error) {
			m, refusal := c.machine(r, r.PathValue("machine"))
			if refusal != nil {
				return reply{}, refusal
			}
			k, ok := m.commands[r.PathValue("name")]
			if !ok {
				return reply{}, notFound(m.ID + "/runCommands/" + r.PathValue("name"))
			}
			return reply{status: 200, body: c.showCommand(m, k, r.URL.Query().Get("$expand") == "instanceView")}, nil
		},
		"PUT": c.putCommand,
		"DELETE": func(r *request) (reply, *cloud.Error) {
			m, refusal := c.machine(r, r.PathValue("machine"))
			if refusal != nil {
				return reply{}, refusal
			}
			delete(m.commands, r.PathValue("name"))
			return reply{status: 200}, nil
		},
	})
}

func (c *Cloud) showCommand(m *Machine, k *command, expand bool) map[string]any {
	properties := map[string]any{"provisioningState": "Succeeded"}
	if expand {
		view := map[string]any{"executionState": "Pending", "exitCode": 0}
		switch now := c.account.Now(); {
		case now.Before(k.started):
		case now.Before(k.ended):
			view["executionState"] = "Running"
		default:
			view = map[string]any{"executionState": k.state, "exitCode": k.exit, "output": last(k.output, 4096), "error": ""}
		}
		properties["instanceView"] = view
	}
	return map[string]any{"id": m.ID + "/runCommands/" + k.name, "name": k.name, "location": m.Location, "properties": properties}
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

func (c *Cloud) putCommand(r *request) (reply, *cloud.Error) {
	m, refusal := c.machine(r, r.PathValue("machine"))
	if refusal != nil {
		return reply{}, refusal
	}
	var in struct {
		Location   string
		Properties struct {
			AsyncExecution      bool
			TimeoutInSeconds    int
			ProtectedParameters []struct{ Name, Value string }
			Source              struct{ Script string }
		}
	}
	if refusal := r.decode(&in); refusal != nil {
		return reply{}, refusal
	}
	switch {
	case in.Properties.Source.Script == "":
		return reply{}, cloud.Errorf(400, "InvalidParameter", "The run command has no script.")
	case m.Stopped:
		return reply{}, cloud.Errorf(409, "OperationNotAllowed", "Cannot modify extensions in the VM when the VM is not running.")
	case len(m.commands) >= 25:
		return reply{}, cloud.Errorf(409, "OperationNotAllowed", "The VM has the maximum number of run commands.")
	}
	now := c.account.Now()
	start := c.account.Between(5*time.Second, 20*time.Second)
	k := &command{name: r.PathValue("name"), started: now.Add(start), state: "Succeeded"}
	k.ended = k.started.Add(c.account.Between(2*time.Second, 10*time.Second))
	m.commands[k.name] = k
	env := map[string]string{}
	for _, p := range in.Properties.ProtectedParameters {
		c.account.Hide(p.Value)
		env[p.Name] = p.Value
	}
	limit := time.Duration(in.Properties.TimeoutInSeconds) * time.Second
	switch {
	case m.AgentSilent, m.Slow:
		k.state, k.exit, k.ended = "TimedOut", -1, k.started.Add(limit)
		if m.AgentSilent {
			k.started = k.ended
		}
	case m.Crashes:
		k.state, k.exit = "Failed", 137
	default:
		m.runs++
		// The script sees the network as of now; the lock is given up for it, since
		// it may ask whoever is behind an endpoint.
		view := c.view(m)
		c.mu.Unlock()
		k.output, k.exit = c.runner.Run(context.WithoutCancel(r.Context()), inside.Machine{Missing: m.Missing}, view, in.Properties.Source.Script, env)
		c.mu.Lock()
		if k.exit != 0 {
			k.state = "Failed"
		}
	}
	return reply{status: 201, body: c.showCommand(m, k, false), header: c.begin(r, "Microsoft.Compute", start, nil)}, nil
}

// view is what a machine sees of its network.
func (c *Cloud) view(m *Machine) inside.Network { return &view{c, m.Network} }

type view struct {
	cloud   *Cloud
	network *Network
}

// Resolve implements inside.Network: a name resolves by a zone that is linked to the
// network, if that has a record for it, a wildcard for several labels too (RFC 4592).
func (v *view) Resolve(host string) []netip.Addr {
	c := v.cloud
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.account.Now()
	if len(v.network.DNSServers) > 0 {
		return nil // they forward nothing
	}
	for _, z := range c.zones {
		name, ok := strings.CutSuffix(host, "."+z.Name)
		if !ok || c.past(z.gone) || !z.linked(v.network, now) {
			continue
		}
		r := z.Records[name]
		if r == nil && !z.closer(name) {
			r = z.Records["*"]
		}
		if r == nil {
			return nil
		}
		var out []netip.Addr
		for _, a := range r.Addresses {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	return nil
}

func (z *Zone) linked(n *Network, now time.Time) bool {
	for _, l := range z.Links {
		if strings.EqualFold(l.Network, n.ID) && !now.Before(l.ready) && (l.gone.IsZero() || now.Before(l.gone)) {
			return true
		}
	}
	return false
}

// closer reports whether the zone has a name between name and its apex, for which the
// wildcard at the apex does not stand.
func (z *Zone) closer(name string) bool {
	for i := strings.Index(name, "."); i >= 0; i = strings.Index(name, ".") {
		name = name[i+1:]
		if z.Records[name] != nil {
			return true
		}
	}
	return false
}

// Connect implements inside.Network: only an approved connection carries packets.
func (v *view) Connect(addr netip.Addr, host string, port int) inside.Answer {
	c := v.cloud
	c.mu.Lock()
	now := c.account.Now()
	var e *Endpoint
	for _, k := range c.endpoints {
		if k.Address == addr && k.state(now) == "Succeeded" && strings.HasPrefix(strings.ToLower(k.Subnet), strings.ToLower(v.network.ID)+"/") {
			e = k
		}
	}
	if e == nil || e.connected(now) != "Approved" {
		c.mu.Unlock()
		return inside.Answer{Reach: inside.NoRoute}
	}
	_, s := c.subnet(e.Subnet)
	if s.Blocked != "" {
		c.mu.Unlock()
		return inside.Answer{Reach: s.Blocked}
	}
	service, guid := e.Service, e.GUID
	c.mu.Unlock()
	var h http.Handler
	if c.partner != nil {
		h = c.partner.Ingress(service, guid, port)
	}
	if h == nil {
		return inside.Answer{Reach: inside.Refused}
	}
	answer := inside.Answer{Handler: h}
	if p, ok := c.partner.(interface{ Certified(alias, host string) bool }); ok && !p.Certified(service, host) {
		answer.TLS = inside.WrongName
	}
	return answer
}

// Machine is the machine of a name, to be changed by tests.
func (c *Cloud) Machine(name string) *Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, m := range c.machines {
		if strings.HasSuffix(id, "/"+name) {
			return m
		}
	}
	return nil
}
