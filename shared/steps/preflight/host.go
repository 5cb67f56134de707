package preflight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/aliyun/ecs"
	"eslink/shared/aliyun/vpc"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// host looks at the ECS instance that the spec names by its ID or its private
// address, judges it, and chooses where the balancer stands.
func (s *Step) host(ctx context.Context, r *run.Run, p *facts.Preflight, instance side, fs *events.Findings) error {
	t := r.Spec.Target
	field, named := "target.ecsInstanceId", t.ID()
	var found []ecs.Instance
	var err error
	if t.ECSInstanceID != "" {
		found, err = s.Hosts.Instances(ctx, t.ECSInstanceID)
	} else {
		field = "target.privateIp"
		found, err = s.Hosts.InstancesAt(ctx, t.PrivateIP)
	}
	if err != nil {
		return err
	}
	switch len(found) {
	case 1:
	case 0:
		fs.Add(field, "there is no ECS instance "+named+" in "+s.Region, "check its spelling, and that it is in this region and account")
		return nil
	default:
		fs.Add(field, fmt.Sprintf("%d ECS instances, in as many VPCs, have the address %s", len(found), named), "name one as target.ecsInstanceId: "+ids(found))
		return nil
	}
	h := found[0]
	if h.NetworkType != "vpc" || len(h.VPC.Addresses.All) == 0 {
		fs.Add(field, h.ID+" is in the classic network, which no private balancer reaches", "name an instance in a VPC, or move this one into one")
		return nil
	}
	if h.Status != ecs.Running {
		fs.Add(field, fmt.Sprintf("%s is %s", h.ID, h.Status), "start it: only a running instance can be a backend")
	}
	p.ECS = &facts.ECSHost{InstanceID: h.ID, PrivateIP: cmp.Or(t.PrivateIP, h.VPC.Addresses.All[0]), VpcID: h.VPC.ID, VSwitchID: h.VPC.VSwitchID,
		ZoneID: h.ZoneID, SecurityGroups: h.SecurityGroups.All}
	p.Target = service(r.Spec, p.ECS)
	if r.Spec.Copies() {
		if err := s.reaches(ctx, r.Spec, p, field, fs); err != nil {
			return err
		}
	}
	if !instance.known {
		return nil
	}
	return s.placeClassic(ctx, r, p, instance, field, fs)
}

func ids(hosts []ecs.Instance) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.ID)
	}
	return strings.Join(out, ", ")
}

// service is what the instance is to reach on the host, in the form of a
// cluster: the one that is copied from if there is one.
func service(spec events.Spec, h *facts.ECSHost) facts.Cluster {
	u, ok := spec.UseCase(events.ReindexUseCase)
	if !ok && len(spec.UseCases) > 0 {
		u = spec.UseCases[0]
	}
	return facts.Cluster{InstanceID: h.InstanceID, Domain: h.PrivateIP, Port: cmp.Or(u.Port, spec.Target.Port), Protocol: cmp.Or(u.Protocol, spec.Target.Protocol),
		VpcID: h.VpcID, VSwitchID: h.VSwitchID, ZoneIDs: []string{h.ZoneID}}
}

// reaches judges whether the functions that read the source can, as those of the
// source's side do.
func (s *Step) reaches(ctx context.Context, spec events.Spec, p *facts.Preflight, field string, fs *events.Findings) error {
	h, source := p.ECS, p.Target
	if source.Protocol == "https" && spec.Target.TLS != "certificate" {
		fs.Add("target.tls", "no certificate names the endpoint's domain, so the name cannot be checked", "say certificate to accept that the chain alone is checked")
	}
	if h.VpcID != s.Network.SourceVPC {
		fs.Add(field, fmt.Sprintf("%s is in %s, and the functions that would read its indices are in %s", h.InstanceID, h.VpcID, s.Network.SourceVPC),
			"deploy eslink with "+h.VpcID+" on this side, or name a host in "+s.Network.SourceVPC)
		return nil
	}
	from, err := s.Networks.VSwitch(ctx, s.Network.SourceVSwitch)
	if err != nil {
		return fmt.Errorf("find out where the functions call %s from: %w", h.InstanceID, err)
	}
	var rules []ecs.Rule
	for _, id := range h.SecurityGroups {
		some, err := s.Hosts.Rules(ctx, id)
		if err != nil {
			return err
		}
		rules = append(rules, some...)
	}
	if !ecs.Admits(rules, ecs.Admission{Port: source.Port, CIDR: from.CIDR.Masked()}) {
		fs.Add(field, fmt.Sprintf("the security groups of %s do not admit %s, the vSwitch that eslink's functions call it from, to port %d", h.InstanceID, from.CIDR, source.Port),
			fmt.Sprintf("add an ingress rule for TCP %d from %s to %s", source.Port, from.CIDR, strings.Join(h.SecurityGroups, " or ")))
	}
	return nil
}

// placeClassic chooses the balancer's vSwitch. Cluster, host and balancer have to
// be in one zone, so the zone is the host's. What an earlier walk chose stays, as
// long as it is there.
func (s *Step) placeClassic(ctx context.Context, r *run.Run, p *facts.Preflight, instance side, field string, fs *events.Findings) error {
	h, zone := p.ECS, p.ECS.ZoneID
	if !slices.Contains(normal(instance.Instance), zone) {
		fs.Add(field, fmt.Sprintf("%s is in %s, which is not a normal zone of %s (zones %s)", h.InstanceID, zone, instance.ID, describe(instance.Zones)),
			"name a host in one of the cluster's zones: cluster, host and balancer have to be in the same one")
		return nil
	}
	if r.Spec.Zone != "" && r.Spec.Zone != zone {
		fs.Add("zone", fmt.Sprintf("%s is in %s", h.InstanceID, zone), "say "+zone+", or leave it out")
		return nil
	}
	balancers, err := s.Classic.Zones(ctx)
	if err != nil {
		return err
	}
	links, err := s.Links.Zones(ctx, "slb")
	if err != nil {
		return err
	}
	if usable := both(balancers, links); !slices.Contains(usable, zone) {
		fs.Add(field, fmt.Sprintf("%s: CLB and PrivateLink are not both offered there, only in %s", zone, strings.Join(usable, ", ")), "name a host in one of those zones")
		return nil
	}
	vswitches, err := s.Networks.VSwitches(ctx, h.VpcID)
	if err != nil {
		return err
	}
	var best *vpc.VSwitch
	for _, v := range vswitches {
		stands := r.Facts.Link().Balancer.Kind != "" && r.Facts.Preflight != nil && r.Facts.Preflight.VSwitches[0].VSwitchID == v.ID
		switch {
		case v.ZoneID != zone || v.Status == "Pending":
			continue
		case stands: // it needs no further address
			v.Free = 1 << 32
		}
		if v.Free > 0 && (best == nil || v.Free > best.Free) {
			best = &v
		}
	}
	if best == nil {
		fs.Add(field, fmt.Sprintf("%s has no vSwitch with a free address in %s, which the load balancer needs", h.VpcID, zone), "create a vSwitch there")
		return nil
	}
	p.Zone, p.VSwitches = zone, []facts.VSwitch{fact(*best)}
	return nil
}
