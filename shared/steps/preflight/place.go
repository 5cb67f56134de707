package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/vpc"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// addresses is what a balancer may take in a zone: one to listen on and up to
// eight to talk to its backends from.
const addresses = 9

// offers are what the cloud has for a link: the zones with NLB, those with
// PrivateLink, and the source's vSwitches.
type offers struct {
	balancers, links []string
	vswitches        []vpc.VSwitch
}

func (s *Step) offers(ctx context.Context, vpcID string) (o offers, err error) {
	if o.balancers, err = s.Balancers.Zones(ctx); err != nil {
		return o, err
	}
	if o.links, err = s.Links.Zones(ctx, "nlb"); err != nil {
		return o, err
	}
	o.vswitches, err = s.Networks.VSwitches(ctx, vpcID)
	return o, err
}

// place chooses the endpoint's zone and the balancer's vSwitches. The zone is
// one that has nodes of both clusters, NLB and PrivateLink; the balancer stands
// there and, where the source's VPC has vSwitches elsewhere, in a second zone,
// as NLB asks. What an earlier walk chose stays, as long as it can.
func (s *Step) place(ctx context.Context, r *run.Run, p *facts.Preflight, instance, target side, fs *events.Findings) error {
	o, err := s.offers(ctx, target.VpcID)
	if err != nil {
		return err
	}
	usable, field := usableZones(r.Spec, o, instance, target, fs)
	if len(usable) == 0 {
		return nil
	}
	earlier := r.Facts.Preflight
	if earlier == nil {
		earlier = &facts.Preflight{}
	}
	var own []facts.VSwitch
	if r.Facts.Link().Balancer.Kind != "" {
		own = earlier.VSwitches
	}
	best := roomiest(o, own)
	fits := func(zone string) bool { v, ok := best[zone]; return ok && v.Free >= addresses }
	lacksRoom := func(zones []string) {
		fs.Add(field, fmt.Sprintf("%s has no vSwitch with %d free addresses in %s, which the load balancer needs", target.VpcID, addresses, strings.Join(zones, " or ")),
			"create a vSwitch there")
	}
	zone := choose(usable, earlier.Zone, fits)
	if zone == "" {
		lacksRoom(usable)
		return nil
	}
	p.Zone, p.VSwitches = zone, []facts.VSwitch{fact(best[zone])}
	var others []string
	for _, z := range append(both(o.balancers, o.links), o.balancers...) { // PrivateLink can use the former alone
		if _, ok := best[z]; ok && z != zone && !slices.Contains(others, z) {
			others = append(others, z)
		}
	}
	if len(others) == 0 {
		return nil // the VPC is in one zone
	}
	second := ""
	if len(earlier.VSwitches) > 1 {
		second = earlier.VSwitches[1].ZoneID
	}
	if second = choose(others, second, fits); second == "" {
		lacksRoom(others)
		return nil
	}
	p.VSwitches = append(p.VSwitches, fact(best[second]))
	return nil
}

// usableZones are the zones with normal nodes of both clusters, NLB and
// PrivateLink, or the one of them that the spec names; none is a finding. field
// is the spec's field that decides.
func usableZones(spec events.Spec, o offers, instance, target side, fs *events.Findings) (usable []string, field string) {
	shared := both(normal(instance.Instance), normal(target.Instance))
	field = "target.instanceId"
	switch {
	case len(shared) == 0:
		fs.Add(field, fmt.Sprintf("%s (zones %s) and %s (zones %s) have no normal zone in common", target.ID, describe(target.Zones), instance.ID, describe(instance.Zones)),
			"use clusters with nodes in one zone")
		return nil, field
	case spec.Zone != "" && !slices.Contains(shared, spec.Zone):
		fs.Add("zone", fmt.Sprintf("%s is not a normal zone of both clusters", spec.Zone), "name one of "+strings.Join(shared, ", ")+", or leave it out")
		return nil, field
	case spec.Zone != "":
		shared, field = []string{spec.Zone}, "zone"
	}
	usable = both(both(shared, o.balancers), o.links)
	if len(usable) == 0 {
		fs.Add(field, fmt.Sprintf("%s: NLB and PrivateLink are not both offered there, only in %s", strings.Join(shared, ", "), strings.Join(both(o.balancers, o.links), ", ")),
			"use clusters with nodes in one of those zones")
	}
	return usable, field
}

// roomiest is the vSwitch with most free addresses in each zone with NLB. own
// are those that the run's balancer stands on already: they come first and have
// room enough.
func roomiest(o offers, own []facts.VSwitch) map[string]vpc.VSwitch {
	best := map[string]vpc.VSwitch{}
	for _, v := range o.vswitches {
		if v.Status == "Pending" || !slices.Contains(o.balancers, v.ZoneID) {
			continue
		}
		if slices.ContainsFunc(own, func(e facts.VSwitch) bool { return e.VSwitchID == v.ID }) {
			v.Free = 1 << 32
		}
		if old, ok := best[v.ZoneID]; !ok || v.Free > old.Free {
			best[v.ZoneID] = v
		}
	}
	return best
}

// choose returns the first of zones that fits, earlier if it is among them, or
// "".
func choose(zones []string, earlier string, fits func(string) bool) string {
	if slices.Contains(zones, earlier) && fits(earlier) {
		return earlier
	}
	if i := slices.IndexFunc(zones, fits); i >= 0 {
		return zones[i]
	}
	return ""
}

func fact(v vpc.VSwitch) facts.VSwitch {
	return facts.VSwitch{VSwitchID: v.ID, ZoneID: v.ZoneID, CIDR: v.CIDR.String()}
}

// normal lists the zones where a cluster is whole.
func normal(i escluster.Instance) []string {
	var ids []string
	for _, z := range i.Zones {
		if z.Status == "NORMAL" {
			ids = append(ids, z.ID)
		}
	}
	return ids
}

func describe(zones []escluster.Zone) string {
	var out []string
	for _, z := range zones {
		out = append(out, z.ID+" "+strings.ToLower(z.Status))
	}
	return strings.Join(out, ", ")
}

// both lists what a and b share, in a's order.
func both(a, b []string) []string {
	var out []string
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
