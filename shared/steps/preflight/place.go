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

// place chooses the endpoint's zone and the balancer's vSwitches. The zone is
// one that has nodes of both clusters, NLB and PrivateLink; the balancer stands
// there and, where the target's VPC has vSwitches elsewhere, in a second zone,
// as NLB asks. What an earlier walk chose stays, as long as it can.
func (s *Step) place(ctx context.Context, r *run.Run, p *facts.Preflight, instance, target side, fs *events.Findings) error {
	balancers, err := s.Balancers.Zones(ctx)
	if err != nil {
		return err
	}
	links, err := s.Links.Zones(ctx, "nlb")
	if err != nil {
		return err
	}
	vswitches, err := s.Networks.VSwitches(ctx, target.VpcID)
	if err != nil {
		return err
	}
	earlier := r.Facts.Preflight
	if earlier == nil {
		earlier = &facts.Preflight{}
	}

	shared := both(normal(instance.Instance), normal(target.Instance))
	field := "target.instanceId"
	switch {
	case len(shared) == 0:
		fs.Add(field, fmt.Sprintf("%s (zones %s) and %s (zones %s) have no normal zone in common", target.ID, describe(target.Zones), instance.ID, describe(instance.Zones)),
			"use clusters with nodes in one zone")
		return nil
	case r.Spec.Zone != "" && !slices.Contains(shared, r.Spec.Zone):
		fs.Add("zone", fmt.Sprintf("%s is not a normal zone of both clusters", r.Spec.Zone), "name one of "+strings.Join(shared, ", ")+", or leave it out")
		return nil
	case r.Spec.Zone != "":
		shared, field = []string{r.Spec.Zone}, "zone"
	}
	usable := both(both(shared, balancers), links)
	if len(usable) == 0 {
		fs.Add(field, fmt.Sprintf("%s: NLB and PrivateLink are not both offered there, only in %s", strings.Join(shared, ", "), strings.Join(both(balancers, links), ", ")),
			"use clusters with nodes in one of those zones")
		return nil
	}
	// The roomiest vSwitch of each zone; what the balancer stands on already has
	// room enough.
	best := map[string]vpc.VSwitch{}
	room := func(v vpc.VSwitch) int {
		if r.Facts.NLB != nil && slices.ContainsFunc(earlier.VSwitches, func(e facts.VSwitch) bool { return e.VSwitchID == v.ID }) {
			return 1 << 32
		}
		return v.Free
	}
	for _, v := range vswitches {
		if old, ok := best[v.ZoneID]; v.Status != "Pending" && slices.Contains(balancers, v.ZoneID) && (!ok || room(v) > room(old)) {
			best[v.ZoneID] = v
		}
	}
	roomy := func(zone string) bool { v, ok := best[zone]; return ok && room(v) >= addresses }
	lacksRoom := func(zones []string) {
		fs.Add(field, fmt.Sprintf("%s has no vSwitch with %d free addresses in %s, which the load balancer needs", target.VpcID, addresses, strings.Join(zones, " or ")),
			"create a vSwitch there")
	}

	zone := choose(usable, earlier.Zone, roomy)
	if zone == "" {
		lacksRoom(usable)
		return nil
	}
	p.Zone, p.VSwitches = zone, []facts.VSwitch{fact(best[zone])}
	var others []string
	for _, z := range append(both(balancers, links), balancers...) { // PrivateLink can use the former alone
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
	if second = choose(others, second, roomy); second == "" {
		lacksRoom(others)
		return nil
	}
	p.VSwitches = append(p.VSwitches, fact(best[second]))
	return nil
}

// choose returns the first of zones that will do, earlier if it is among them,
// or "".
func choose(zones []string, earlier string, will func(string) bool) string {
	if slices.Contains(zones, earlier) && will(earlier) {
		return earlier
	}
	if i := slices.IndexFunc(zones, will); i >= 0 {
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
