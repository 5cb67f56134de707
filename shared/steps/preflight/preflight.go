// Package preflight is the step that holds the spec against what the cloud says
// of the two clusters, or of the cluster and the ECS host, and of their networks.
// It writes nothing, and it reports all that is wrong at once.
package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/ecs"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/aliyun/slb"
	"eslink/shared/aliyun/vpc"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Clusters describes Elasticsearch instances of the region.
type Clusters interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
}

// Hosts describes ECS instances of the region and what they admit.
type Hosts interface {
	Instances(ctx context.Context, ids ...string) ([]ecs.Instance, error)
	InstancesAt(ctx context.Context, address string) ([]ecs.Instance, error)
	Rules(ctx context.Context, groupID string) ([]ecs.Rule, error)
}

// Balancers tells which zones have load balancers of a type.
type Balancers interface {
	Zones(ctx context.Context) ([]string, error)
}

// Links tells whether and where PrivateLink can be used.
type Links interface {
	Activated(ctx context.Context) (bool, error)
	Zones(ctx context.Context, resourceType string) ([]string, error)
}

// Networks reads vSwitches.
type Networks interface {
	VSwitch(ctx context.Context, id string) (vpc.VSwitch, error)
	VSwitches(ctx context.Context, vpcID string) ([]vpc.VSwitch, error)
}

// Step looks at the cloud's side of both ends.
type Step struct {
	Clusters  Clusters
	Hosts     Hosts
	Balancers Balancers // NLB, for a cluster
	Classic   Balancers // CLB, for a host
	Links     Links
	Networks  Networks
	Region    string
	Network   deps.Network
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	c := d.Aliyun
	return &Step{Clusters: escluster.New(c), Hosts: ecs.New(c), Balancers: nlb.New(c), Classic: slb.New(c), Links: privatelink.New(c), Networks: vpc.New(c), Region: c.Region, Network: d.Network()}
}

// side is one of the two clusters, the spec's field that names it, and where
// the functions live that call it.
type side struct {
	escluster.Instance
	id, field        string
	vpcID, vSwitchID string
	known            bool // it exists, and its description is complete
}

// Up records the two ends, the zone of the endpoint and the vSwitches of the load
// balancer. A cluster that is being changed is waited for.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	var fs events.Findings
	if r.Spec.Region != s.Region {
		fs.Add("region", "these functions are deployed in "+s.Region, "deploy eslink in "+r.Spec.Region+" too, and start the run there")
		return engine.Outcome{}, fs.Problem("preflight", nil)
	}
	activated, err := s.Links.Activated(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	if !activated {
		fs.Add("region", "PrivateLink is not activated for this account", "activate PrivateLink on its page of the VPC console; that alone costs nothing")
	}
	instance := side{id: r.Spec.InstanceID, field: "instanceId", vpcID: s.Network.DestinationVPC, vSwitchID: s.Network.DestinationVSwitch}
	target := side{id: r.Spec.Target.InstanceID, field: "target.instanceId", vpcID: s.Network.SourceVPC, vSwitchID: s.Network.SourceVSwitch}
	sides := []*side{&instance}
	toHost := r.Spec.Target.InstanceID == ""
	if !toHost {
		sides = append(sides, &target)
	}
	var pending []string
	pause := time.Minute
	for _, x := range sides {
		state, err := s.describe(ctx, x, &fs)
		if err != nil {
			return engine.Outcome{}, err
		}
		if state != "" {
			pending = append(pending, x.ID+" is "+state)
		}
		if state == creating { // which takes up to an hour
			pause = 3 * time.Minute
		}
	}
	p := &facts.Preflight{Instance: cluster(instance.Instance), Target: cluster(target.Instance)}
	switch {
	case toHost:
		err = s.host(ctx, r, p, instance, &fs)
	case instance.known && target.known:
		compare(r.Spec, instance, target, &fs)
		err = s.place(ctx, r, p, instance, target, &fs)
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	if err := fs.Problem("preflight", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	if len(pending) > 0 {
		return engine.Waitf(pause, "%s: a change is in progress; the step waits for it", strings.Join(pending, ", ")), nil
	}
	r.Facts.Preflight = p
	return engine.Done(), nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }

// creating is the state of an instance that is not there yet.
const creating = "being created"

// describe looks at one cluster and judges what can be judged without the
// other. It returns the state that is to be waited for, if any.
func (s *Step) describe(ctx context.Context, x *side, fs *events.Findings) (state string, err error) {
	id := x.id
	x.Instance, err = s.Clusters.Describe(ctx, id)
	if apierr.IsNotFound(err) {
		fs.Add(x.field, "there is no cluster "+id+" in "+s.Region, "check the ID, and that both clusters are in this region and account")
		return "", nil
	}
	if err != nil {
		return "", err
	}
	switch {
	case x.Status == escluster.Inactive:
		fs.Add(x.field, id+" is inactive: frozen, as after an unpaid bill", "settle what froze it, wait until it is active, then retry")
	case x.Status != escluster.Active && x.Status != escluster.Activating: // its description lacks fields
		fs.Add(x.field, fmt.Sprintf("%s is %s: gone, or unreachable for the cloud itself", id, x.Status), "name another cluster, or open a ticket")
		return "", nil
	case !x.Inited:
		return creating, nil
	case x.Status == escluster.Activating:
		state = x.Status
	}
	x.known = true
	if !x.ServiceVPC {
		fs.Add(x.field, id+" uses the old network architecture, which has no private connections", "use a cluster created after October 2020, or have this one migrated")
	}
	if x.VpcID != x.vpcID {
		fs.Add(x.field, fmt.Sprintf("%s is in %s, and the functions that would call it are in %s", id, x.VpcID, x.vpcID), "deploy eslink with "+x.VpcID+" on this side, or name a cluster in "+x.vpcID)
		return state, nil
	}
	from, err := s.Networks.VSwitch(ctx, x.vSwitchID)
	if err != nil {
		return "", fmt.Errorf("find out where the functions call %s from: %w", id, err)
	}
	if !admits(x.Private(), from.CIDR) {
		fs.Add(x.field, fmt.Sprintf("the private whitelist of %s does not admit %s, the vSwitch that eslink's functions call it from", id, from.CIDR),
			fmt.Sprintf("add %s to its private whitelist, in the console under Security", from.CIDR))
	}
	return state, nil
}

// compare judges the two clusters against each other and the spec.
func compare(spec events.Spec, instance, target side, fs *events.Findings) {
	if instance.Major() != target.Major() {
		fs.Add("target.instanceId", fmt.Sprintf("%s is version %s and %s is %s: only clusters of one major version can be connected", target.ID, number(target.Version), instance.ID, number(instance.Version)),
			"upgrade the older one first")
	}
	// The guide lists v2 to v3, v2 to v2 and v3 to v3.
	if target.ArchType == "public" && instance.ArchType == "exclusive" {
		fs.Add("target.instanceId", fmt.Sprintf("%s is cloud-native (v3) and %s is basic (v2): indices go from v3 to v3 only", target.ID, instance.ID),
			"copy to a cluster in cloud-native control mode")
	}
	if got := strings.ToLower(target.Protocol); got != spec.Target.Protocol {
		fs.Add("target.protocol", fmt.Sprintf("%s speaks %s, the spec says %s", target.ID, got, spec.Target.Protocol), "say "+got)
	}
	if spec.Target.Protocol == "https" && spec.Target.TLS != "certificate" {
		fs.Add("target.tls", "no certificate names the endpoint's domain, so the name cannot be checked", "say certificate to accept that the chain alone is checked")
	}
	if target.Port != spec.Target.Port {
		fs.Add("target.port", fmt.Sprintf("%s listens on %d", target.ID, target.Port), fmt.Sprintf("say %d", target.Port))
	}
}

// number is a version without its flavour.
func number(version string) string {
	n, _, _ := strings.Cut(version, "_")
	return n
}

func cluster(i escluster.Instance) facts.Cluster {
	c := facts.Cluster{InstanceID: i.ID, Domain: i.Domain, Port: i.Port, Protocol: strings.ToLower(i.Protocol), Version: i.Version, VpcID: i.VpcID, VSwitchID: i.VSwitchID}
	for _, e := range i.Endpoints {
		c.Endpoints = append(c.Endpoints, e.Domain)
	}
	for _, z := range i.Zones {
		c.ZoneIDs = append(c.ZoneIDs, z.ID)
	}
	return c
}
