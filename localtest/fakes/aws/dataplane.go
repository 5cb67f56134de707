package aws

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Answer is what a service does with a connection that reaches it.
type Answer int

// The answers.
const (
	Refuses   Answer = iota // nothing listens
	Silent                  // it takes the connection and says nothing
	Untrusted               // its certificate is not for the name, or not of a known CA
	Serves
)

// Seen is what an instance sees of a host's port.
type Seen struct {
	Addresses []netip.Addr // what the name resolves to
	Reached   bool         // a packet comes there and back
	Answer    Answer       // what it meets there
	// Handler is who answers.
	Handler http.Handler
}

// Look is what an instance sees. handler is who answers at a host once the
// connection is there.
func (f *Fake) Look(instanceID, host string, port int, handler func(host string) http.Handler) Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, i := f.world.Now(), f.instances[instanceID]
	seen := Seen{Addresses: f.resolve(i.VPC, host, now)}
	if len(seen.Addresses) == 0 {
		return seen
	}
	e, n := f.at(i.VPC, seen.Addresses[0])
	if e == nil || e.state(now) != "available" && e.state(now) != "pending" || !f.admits(i, e, n, port) {
		return seen
	}
	if e.state(now) == "pending" && !slices.ContainsFunc(e.history, func(c change) bool { return c.state == "available" && !now.Before(c.at) }) {
		return seen // it was never available
	}
	seen.Reached = true
	seen.Answer = f.services[e.service].Port(e.id, host, port)
	if seen.Answer == Serves {
		seen.Handler = handler(host)
	}
	return seen
}

// resolve answers a name in a VPC: by the private zone with the longest suffix,
// else by the names of endpoints, which the world knows.
func (f *Fake) resolve(vpc, host string, now time.Time) []netip.Addr {
	v := f.vpcs[vpc]
	var best *zone
	if v.DNSSupport && v.DNSHostnames {
		for _, z := range f.zones {
			if z.private && slices.Contains(z.vpcs, vpc) && !now.Before(z.active[vpc]) && (host == z.name || strings.HasSuffix(host, "."+z.name)) && (best == nil || len(z.name) > len(best.name)) {
				best = z
			}
		}
	}
	if best == nil {
		return f.endpointName(host, now)
	}
	for _, r := range best.records { // a zone that lacks the name hides the public one
		if r.name != host || r.kind != "A" || now.Before(r.from) {
			continue
		}
		if r.target != "" {
			return f.endpointName(r.target, now)
		}
		var out []netip.Addr
		for _, v := range r.values {
			out = append(out, netip.MustParseAddr(v))
		}
		return out
	}
	return nil
}

// endpointName resolves a name of an endpoint: the regional one to all of its
// interfaces.
func (f *Fake) endpointName(name string, now time.Time) []netip.Addr {
	var out []netip.Addr
	for _, e := range f.endpoints {
		for k, n := range e.names {
			if n.name != name || !now.Before(e.interfacesGone(now)) {
				continue
			}
			for _, i := range e.interfaces {
				if k == 0 || strings.Contains(name, f.subnets[i.subnet].Zone) {
					out = append(out, i.address)
				}
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// at finds the endpoint whose interface in a VPC has an address.
func (f *Fake) at(vpc string, a netip.Addr) (*endpoint, networkInterface) {
	for _, e := range f.endpoints {
		for _, n := range e.interfaces {
			if e.vpc == vpc && n.address == a {
				return e, n
			}
		}
	}
	return nil, networkInterface{}
}

const (
	firstEphemeral = 32768 // Linux: net.ipv4.ip_local_port_range
	lastEphemeral  = 60999
)

// admits reports whether groups and ACLs let a connection through, and its
// replies back.
func (f *Fake) admits(i *Instance, e *endpoint, n networkInterface, port int) bool {
	out, in := false, false
	for _, id := range i.Groups {
		out = out || f.groups[id] != nil && slices.ContainsFunc(f.groups[id].egress, func(r Rule) bool { return r.admits(port, n.address, e.groups) })
	}
	for _, id := range e.groups {
		in = in || f.groups[id] != nil && slices.ContainsFunc(f.groups[id].ingress, func(r Rule) bool { return r.admits(port, i.Address, i.Groups) })
	}
	if !out || !in {
		return false
	}
	if i.Subnet == n.subnet { // ACLs stand between subnets
		return true
	}
	here, there := f.aclOf(f.subnets[i.Subnet]), f.aclOf(f.subnets[n.subnet])
	return here.admits(true, n.address, port, port) && there.admits(false, i.Address, port, port) &&
		there.admits(true, i.Address, firstEphemeral, lastEphemeral) && here.admits(false, n.address, firstEphemeral, lastEphemeral)
}

func (r Rule) admits(port int, other netip.Addr, groups []string) bool {
	if r.Protocol != "-1" && (r.Protocol != "tcp" || port < r.From || port > r.To) {
		return false
	}
	if r.Group != "" {
		return slices.Contains(groups, r.Group)
	}
	return r.CIDR.Contains(other)
}

// admits reports whether an ACL lets all ports of a range through.
func (a *ACL) admits(egress bool, other netip.Addr, from, to int) bool {
	entries := slices.SortedFunc(slices.Values(a.Entries), func(x, y Entry) int { return x.Number - y.Number })
	for _, e := range entries {
		if e.Egress != egress || !e.CIDR.Contains(other) || e.Protocol != "-1" && e.Protocol != "6" {
			continue
		}
		if e.Protocol == "-1" || e.From <= from && to <= e.To {
			return e.Allow
		}
		if e.From <= to && from <= e.To && !e.Allow {
			return false // some of them are denied
		}
	}
	return false
}
