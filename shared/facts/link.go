package facts

import "slices"

// Kinds of balancers, as PrivateLink names the resources of a service.
const (
	KindNLB = "nlb"
	KindCLB = "slb"
)

// Link is the private connection from the instance to what it is to reach, as far
// as it stands. Each part is written by the step that makes it; this is where all
// others read it.
type Link struct {
	// Host is the endpoint's domain, without a zone, once the connection stands.
	Host string
	// Endpoint and Service are IDs, empty until they are known. Asked for are those
	// that may have been made.
	Endpoint, Service           string
	EndpointAsked, ServiceAsked bool
	Balancer                    Balancer
}

// Balancer is the load balancer that the link leads to, of whichever kind.
type Balancer struct {
	// Kind is empty while none may have been made, ID until it is known.
	Kind, ID string
	// Admitted says that what it leads to admits it.
	Admitted bool
	// Listeners are the IDs of those that have one, Ports what each listens on
	// where listeners are known by that.
	Listeners []string
	Ports     []int
}

// Listens reports whether a listener on a port is known to have been made.
func (b Balancer) Listens(port int) bool { return slices.Contains(b.Ports, port) }

// Backed reports whether something stands behind the balancer.
func (b Balancer) Backed() bool { return len(b.Listeners)+len(b.Ports) > 0 }

// Stands reports whether all of the link is on record.
func (l Link) Stands() bool {
	return l.Host != "" && l.Endpoint != "" && l.Service != "" && l.Balancer.Backed()
}

// Link returns the run's link.
func (f *Facts) Link() Link {
	l := Link{Balancer: f.balancer()}
	if s := f.EndpointService; s != nil {
		l.Service, l.ServiceAsked = s.ID, true
	}
	if c := f.PrivateConnection; c != nil {
		l.Endpoint, l.EndpointAsked = c.EndpointID, true
	}
	if a := f.Accept; a != nil {
		l.Host = a.Domain
	}
	return l
}

func (f *Facts) balancer() Balancer {
	b := Balancer{Admitted: f.IPWhitelist != nil || f.Firewall != nil}
	switch {
	case f.CLB != nil:
		b.Kind, b.ID = KindCLB, f.CLB.ID
	case f.NLB != nil:
		b.Kind, b.ID = KindNLB, f.NLB.ID
	}
	if n := f.NLBBackend; n != nil && n.ListenerID != "" {
		b.Listeners = []string{n.ListenerID}
	}
	if c := f.CLBBackend; c != nil {
		for _, p := range c.Ports {
			b.Ports = append(b.Ports, p.Port)
		}
	}
	return b
}
