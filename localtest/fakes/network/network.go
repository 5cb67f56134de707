// Package network is the data plane of the local cloud: which connection goes where. Every decision is made from the
// control-plane fakes' state at the moment of the connection, so that a link that somebody forgot, or took away, fails
// here the way it would fail in the cloud.
//
// A function sits at a [Place] in a VPC ([Network.FromVPC]) and sees the clusters whose private domain is in that VPC.
// A cluster sits in the service VPC of its own ([Network.FromCluster]) and sees its PrivateLink endpoints, behind which
// are endpoint service, balancer, listener, server group, backend and either the other cluster's whitelist (NLB) or an
// ECS host's security groups and the service that listens there (CLB).
//
// What fails how is INFERRED from TCP and from how the products are described: an unknown name does not resolve; packets
// that a link drops (not connected, not admitted, wrong address, a TCPSSL listener) make a connect timeout; a closed
// port is refused; Elasticsearch closes connections whose first bytes it does not understand. A CLB listener passes its
// client's address on; which one that is behind PrivateLink no source says, so a host has to admit both what it may be:
// the block of the balancers' own packets, 100.64.0.0/10, and the balancer's vSwitch. Health checks come from the former.
package network

import (
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/nlb"
	"eslink/localtest/fakes/privatelink"
	"eslink/localtest/fakes/slb"
)

// A Kind is how a connection fails, to the eyes of who connects.
type Kind string

// The kinds, with what errors.Is finds in their errors.
const (
	NoSuchHost Kind = "no such host"       // a *net.DNSError with IsNotFound, by errors.As
	Timeout    Kind = "connect timeout"    // os.ErrDeadlineExceeded, after the wait
	Refused    Kind = "connection refused" // syscall.ECONNREFUSED
	Closed     Kind = "connection closed"  // io.EOF, after the connection was made
)

// Fault is a connection that fails. It is a net.Error whose text tells no more than a real one would; tests read Link.
type Fault struct {
	Kind Kind
	Link string // what is missing: "connection", "listener", "whitelist", "security group", "service" …
	Addr string // host:port
}

func (f *Fault) Error() string {
	switch host, _, _ := net.SplitHostPort(f.Addr); f.Kind {
	case NoSuchHost:
		return "dial tcp: lookup " + host + ": no such host"
	case Timeout:
		return "dial tcp " + f.Addr + ": i/o timeout"
	case Refused:
		return "dial tcp " + f.Addr + ": connect: connection refused"
	}
	return "read tcp " + f.Addr + ": EOF"
}

// Timeout and Temporary make a Fault a net.Error.
func (f *Fault) Timeout() bool { return f.Kind == Timeout }

// Temporary is deprecated, but part of net.Error.
func (f *Fault) Temporary() bool { return false }

func (f *Fault) Unwrap() error {
	switch host, _, _ := net.SplitHostPort(f.Addr); f.Kind {
	case NoSuchHost:
		return &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	case Timeout:
		return os.ErrDeadlineExceeded
	case Refused:
		return syscall.ECONNREFUSED
	}
	return io.EOF
}

// Route is a connection that succeeds.
type Route struct {
	InstanceID string     // the cluster or host that answers
	Port       int        // its own
	Source     netip.Addr // who connects, as it sees it
	TLS        bool       // the cluster speaks HTTPS
}

// Products are what the network connects.
type Products struct {
	Clusters *escluster.Fake
	Hosts    *ecs.Fake
	NLB      *nlb.Fake
	CLB      *slb.Fake
	Links    *privatelink.Fake
}

// Network connects the fakes. Make it after them; it becomes the balancers' health check.
type Network struct {
	clusters  *escluster.Fake
	hosts     *ecs.Fake
	balancers *nlb.Fake
	classic   *slb.Fake
	links     *privatelink.Fake

	mu      sync.Mutex
	servers map[seat]Service
}

// seat is a port of a cluster or host.
type seat struct {
	instanceID string
	port       int
}

// New makes the network of these products' resources.
func New(p Products) *Network {
	n := &Network{clusters: p.Clusters, hosts: p.Hosts, balancers: p.NLB, classic: p.CLB, links: p.Links, servers: map[seat]Service{}}
	balancers, links := p.NLB, p.Links
	balancers.SetAttached(links.Attached)
	p.CLB.SetAttached(links.Attached)
	p.CLB.SetProbe(func(b slb.LoadBalancer, _ slb.Listener, s slb.Server) bool {
		_, f := n.host(s, own)
		return f == nil
	})
	balancers.SetProbe(func(b nlb.LoadBalancer, _ nlb.Listener, _ nlb.ServerGroup, s nlb.Server) string {
		var local []netip.Addr
		for _, z := range b.Zones {
			local = append(local, z.Local...)
		}
		if _, f := n.backend(b, local, s); f == nil {
			return ""
		} else if f.Kind == Refused {
			return "CONNECT_FAILED"
		}
		return "CONNECT_TIMEOUT"
	})
	return n
}

// SetServer puts Elasticsearch behind an instance, to be called without sockets.
func (n *Network) SetServer(instanceID string, h http.Handler) {
	n.SetService(instanceID, escluster.Port, Service{Handler: h})
}

// SetServerAddr puts Elasticsearch behind an instance, listening on addr ("127.0.0.1:port").
func (n *Network) SetServerAddr(instanceID, addr string) {
	n.SetService(instanceID, escluster.Port, Service{Addr: addr})
}

// SetTLSServerAddr puts Elasticsearch behind an instance whose protocol is HTTPS. The other clusters verify its
// certificate against roots.
func (n *Network) SetTLSServerAddr(instanceID, addr string, roots *x509.CertPool) {
	n.SetService(instanceID, escluster.Port, Service{Addr: addr, Roots: roots})
}

// SetService puts a service on a port of a cluster or ECS host, in place of what was there. The zero Service is none.
func (n *Network) SetService(instanceID string, port int, s Service) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[seat{instanceID, port}] = s
}

func (n *Network) server(r Route) Service {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.servers[seat{r.InstanceID, r.Port}]
}

// FromVPC is the place of a function in a VPC whose connections come from an address of its vSwitch.
func (n *Network) FromVPC(vpcID string, source netip.Addr) *Place {
	return &Place{net: n, vpcID: vpcID, source: source}
}

// FromCluster is the place of an instance's nodes.
func (n *Network) FromCluster(instanceID string) *Place {
	return &Place{net: n, instanceID: instanceID}
}

// lookup resolves a name in a VPC: the private domains of the clusters in it.
func (n *Network) lookup(vpcID, host string) (found []netip.Addr) {
	for _, i := range n.clusters.Instances() {
		if i.VPCID != vpcID || i.Status == "invalid" {
			continue
		}
		for _, a := range i.Addresses {
			if host == i.Domain() || len(i.Addresses) > 1 && host == a.Domain(i.ID) {
				found = append(found, a.IP)
			}
		}
	}
	return found
}

// direct connects to a cluster's own address within its VPC.
func (n *Network) direct(vpcID string, to netip.Addr, port int, from ...netip.Addr) (Route, *Fault) {
	all := n.clusters.Instances()
	at := slices.IndexFunc(all, func(i escluster.Instance) bool {
		return i.VPCID == vpcID && i.Status != "invalid" && slices.ContainsFunc(i.Addresses, func(a escluster.Address) bool { return a.IP == to })
	})
	if at < 0 {
		for _, h := range n.hosts.Instances() {
			if h.VPCID == vpcID && h.IP == to {
				return n.host(slb.Server{ID: h.ID, Port: port}, from...)
			}
		}
	}
	switch {
	case at < 0:
		return Route{}, &Fault{Kind: Timeout, Link: "address"}
	case slices.ContainsFunc(from, func(a netip.Addr) bool { return !n.clusters.Admits(all[at].ID, a) }):
		return Route{}, &Fault{Kind: Timeout, Link: "whitelist"}
	case port != escluster.Port:
		return Route{}, &Fault{Kind: Refused, Link: "port"}
	case !n.clusters.Serving(all[at].ID):
		return Route{}, &Fault{Kind: Refused, Link: "cluster"}
	}
	return Route{InstanceID: all[at].ID, Port: port, Source: from[0], TLS: all[at].Protocol == "HTTPS"}, nil
}

// own is where a CLB's own packets come from: one address of the block stands for all.
var own = netip.MustParseAddr("100.100.64.7")

// host connects to a port of an ECS host within its VPC. Any of the addresses may be used, so all must be admitted.
func (n *Network) host(to slb.Server, from ...netip.Addr) (Route, *Fault) {
	_, _, running, ok := n.hosts.Server(to.ID)
	if !ok || !running {
		return Route{}, &Fault{Kind: Timeout, Link: "host"}
	}
	if slices.ContainsFunc(from, func(a netip.Addr) bool { return !n.hosts.Admits(to.ID, a, to.Port) }) {
		return Route{}, &Fault{Kind: Timeout, Link: "security group"}
	}
	route := Route{InstanceID: to.ID, Port: to.Port, Source: from[0]}
	s := n.server(route)
	if !s.listens() || s.Loopback {
		return Route{}, &Fault{Kind: Refused, Link: "service"}
	}
	route.TLS = s.TLS
	return route, nil
}

// backend connects a balancer to one of its servers. Any of the local addresses may be used, so all must be admitted.
func (n *Network) backend(b nlb.LoadBalancer, local []netip.Addr, s nlb.Server) (Route, *Fault) {
	ip, err := netip.ParseAddr(s.IP)
	if err != nil || len(local) == 0 {
		return Route{}, &Fault{Kind: Timeout, Link: "address"}
	}
	return n.direct(b.VPCID, ip, s.Port, local...)
}

// endpoint finds the endpoint of a cluster that answers to a name or address in its service VPC.
func (n *Network) endpoint(instanceID, host string) (privatelink.Endpoint, bool) {
	all := n.clusters.Endpoints(instanceID)
	i := slices.IndexFunc(all, func(e privatelink.Endpoint) bool {
		return e.Status == "Active" && (host == e.Domain || host == e.ZoneDomain || host == e.Address.String())
	})
	if i < 0 {
		return privatelink.Endpoint{}, false
	}
	return all[i], true
}

// through follows an endpoint's connection, link by link, to the cluster behind the balancer.
func (n *Network) through(e privatelink.Endpoint, port int) (Route, *Fault) {
	if e.ZoneStatus != "Connected" {
		return Route{}, &Fault{Kind: Timeout, Link: "connection"}
	}
	services := n.links.Services()
	i := slices.IndexFunc(services, func(s privatelink.Service) bool {
		return s.ID == e.ServiceID && (s.Status == "Active" || s.Status == "Pending") // Pending: its resources change
	})
	if i < 0 {
		return Route{}, &Fault{Kind: Timeout, Link: "service"}
	}
	r := slices.IndexFunc(services[i].Resources, func(r privatelink.Resource) bool { return r.ZoneID == e.ZoneID })
	if r < 0 {
		return Route{}, &Fault{Kind: Timeout, Link: "resource"}
	}
	if services[i].Resources[r].Type == "slb" {
		return n.classicListener(services[i].Resources[r].ID, e.ZoneID, port)
	}
	balancers := n.balancers.LoadBalancers()
	i = slices.IndexFunc(balancers, func(b nlb.LoadBalancer) bool {
		return b.ID == services[i].Resources[r].ID && (b.Status == "Active" || b.Status == "Configuring")
	})
	if i < 0 {
		return Route{}, &Fault{Kind: Timeout, Link: "balancer"}
	}
	b := balancers[i]
	z := slices.IndexFunc(b.Zones, func(z nlb.Zone) bool { return z.ZoneID == e.ZoneID })
	if z < 0 {
		return Route{}, &Fault{Kind: Timeout, Link: "balancer"}
	}
	return n.listener(b, b.Zones[z].Local, port)
}

// listener connects to a port of a balancer, which uses its local addresses of the zone.
func (n *Network) listener(b nlb.LoadBalancer, local []netip.Addr, port int) (Route, *Fault) {
	listeners, groups := n.balancers.Listeners(), n.balancers.ServerGroups()
	l := slices.IndexFunc(listeners, func(l nlb.Listener) bool {
		return l.LoadBalancerID == b.ID && l.Port == port && l.Status == "Running" && l.Protocol != "UDP"
	})
	if l < 0 {
		return Route{}, &Fault{Kind: Refused, Link: "listener"}
	}
	if listeners[l].Protocol != "TCP" {
		return Route{}, &Fault{Kind: Timeout, Link: "listener protocol"} // PrivateLink does not carry TCPSSL
	}
	g := slices.IndexFunc(groups, func(g nlb.ServerGroup) bool { return g.ID == listeners[l].ServerGroupID })
	if g < 0 || groups[g].Type != "Ip" {
		return Route{}, &Fault{Kind: Timeout, Link: "server group"}
	}
	if groups[g].PreserveClientIP {
		return Route{}, &Fault{Kind: Timeout, Link: "client address"} // replies to an address of the service VPC find no way
	}
	first := &Fault{Kind: Refused, Link: "backend"}
	for n0, s := range slices.DeleteFunc(groups[g].Servers, func(s nlb.Server) bool { return s.Status != "Available" || s.Weight == 0 }) {
		route, fault := n.backend(b, local, s)
		if fault == nil && listeners[l].ProxyProtocol {
			return Route{}, &Fault{Kind: Closed, Link: "proxy protocol"}
		}
		if fault == nil {
			return route, nil
		}
		if n0 == 0 {
			first = fault
		}
		if !groups[g].HealthCheck {
			break // nothing keeps traffic from a bad backend
		}
	}
	return Route{}, first
}

// classicListener connects to a port of a CLB in one of its zones.
func (n *Network) classicListener(id, zoneID string, port int) (Route, *Fault) {
	_, _, address, ok := n.classic.Locate(id, zoneID)
	if !ok {
		return Route{}, &Fault{Kind: Timeout, Link: "balancer"}
	}
	listeners, groups := n.classic.Listeners(), n.classic.Groups()
	l := slices.IndexFunc(listeners, func(l slb.Listener) bool {
		return l.LoadBalancerID == id && l.Port == port && l.Status == "running"
	})
	if l < 0 {
		return Route{}, &Fault{Kind: Refused, Link: "listener"}
	}
	g := slices.IndexFunc(groups, func(g slb.Group) bool { return g.ID == listeners[l].GroupID })
	if g < 0 {
		return Route{}, &Fault{Kind: Timeout, Link: "server group"}
	}
	first := &Fault{Kind: Refused, Link: "backend"}
	for n0, s := range slices.DeleteFunc(groups[g].Servers, func(s slb.Server) bool { return s.Weight == 0 }) {
		_, fault := n.host(s, own)
		if fault == nil || !listeners[l].HealthCheck { // healthy, or nothing asks whether it is
			route, fault := n.host(s, address, own)
			if fault == nil && listeners[l].ProxyProtocol {
				return Route{}, &Fault{Kind: Closed, Link: "proxy protocol"}
			}
			return route, fault
		}
		if n0 == 0 {
			first = fault
		}
	}
	return Route{}, first
}

// Route decides a connection from here. host is a name or an IPv4 address. The error is a *Fault, without its wait.
func (p *Place) Route(host string, port int) (Route, error) {
	route, fault := p.route(host, port)
	if fault != nil {
		fault.Addr = net.JoinHostPort(host, strconv.Itoa(port))
		return Route{}, fault
	}
	return route, nil
}

func (p *Place) route(host string, port int) (Route, *Fault) {
	ip, parseErr := netip.ParseAddr(host)
	if p.instanceID != "" {
		if e, ok := p.net.endpoint(p.instanceID, host); ok {
			return p.net.through(e, port)
		}
	} else if parseErr == nil {
		return p.net.direct(p.vpcID, ip, port, p.source)
	} else if found := p.net.lookup(p.vpcID, host); found != nil {
		return p.net.direct(p.vpcID, found[0], port, p.source)
	}
	if parseErr == nil {
		return Route{}, &Fault{Kind: Timeout, Link: "address"}
	}
	return Route{}, &Fault{Kind: NoSuchHost, Link: "name"}
}
