// Package awspreflight is the step that holds the network on AWS, and the machine
// in it that is to prove the link, against what the link needs. It writes nothing.
package awspreflight

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/aws"
	"eslink/shared/aws/ec2"
	"eslink/shared/aws/route53"
	"eslink/shared/aws/ssm"
	"eslink/shared/aws/sts"
	"eslink/shared/awsaccount"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/vantage"
	"eslink/shared/vantage/zillizprobe"
)

// Network is what EC2 says of a region.
type Network interface {
	VPC(ctx context.Context, id string) (ec2.VPC, error)
	Subnets(ctx context.Context, ids []string) ([]ec2.Subnet, error)
	Groups(ctx context.Context, ids []string) ([]ec2.Group, error)
	Service(ctx context.Context, name, region string) (ec2.Service, error)
	Instance(ctx context.Context, id string) (ec2.Instance, error)
}

// Agents are the machines that Systems Manager manages.
type Agents interface {
	Agent(ctx context.Context, instanceID string) (ssm.Agent, error)
	Document(ctx context.Context, name string) (string, error)
}

// Zones are hosted zones.
type Zones interface {
	ZonesOf(ctx context.Context, vpc route53.VPC) (map[string]string, error)
	Zone(ctx context.Context, id string) (route53.Zone, error)
}

// Cloud is an account, opened.
type Cloud struct {
	AccountID string
	For       []string // what the secret may be used for
	Network   func(region string) Network
	Agents    Agents
	Zones     Zones
}

// Step looks.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Cloud, error)
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := awsaccount.New(kms.New(d.Aliyun), aws.Config{Transport: d.Transport("aws"), Now: d.Now})
	return &Step{Open: func(ctx context.Context, r *run.Run) (Cloud, error) {
		key, err := o.Key(ctx, r)
		if err != nil {
			return Cloud{}, err
		}
		a, err := o.Open(ctx, r)
		if err != nil {
			return Cloud{}, refusedKey(err, r)
		}
		id, err := sts.Caller(ctx, a)
		if err != nil {
			return Cloud{}, refusedKey(err, r)
		}
		return Cloud{AccountID: id, For: key.For, Network: func(region string) Network { return ec2.New(a, region) },
			Agents: ssm.New(a, r.Spec.AWS.Region), Zones: route53.New(a)}, nil
	}}
}

// refusedKey makes a problem of a key that AWS refuses.
func refusedKey(err error, r *run.Run) error {
	if apierr.ClassOf(err) == apierr.Fatal && apierr.CodeOf(err) != "" {
		return events.NewProblem(409, "login", "AWS refuses the key", events.Finding{Field: awsaccount.Field, Message: err.Error(),
			Remedy: "put a valid key into secret " + r.Spec.Secrets.AWS + "; with a role, check its trust policy and the external ID"})
	}
	return err
}

// look is one pass over the network.
type look struct {
	Cloud
	r  *run.Run
	fs events.Findings
}

// Up looks, and names everything that is wrong at once.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	l := &look{Cloud: c, r: r}
	f := &facts.AWSPreflight{AccountID: c.AccountID, CrossRegion: r.Spec.AWS.Region != r.Spec.Zilliz.AWSRegion()}
	l.secret()
	for _, part := range []func(context.Context, *facts.AWSPreflight) error{l.vpc, l.subnets, l.service, l.groups, l.moreVPCs, l.machine, l.zones} {
		if err := part(ctx, f); err != nil {
			return engine.Outcome{}, err
		}
	}
	if err := l.fs.Problem("aws-preflight", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.AWSPreflight = f
	return engine.Done(), nil
}

// secret holds the secret's "for" against the account and the machine: whoever
// may start a run must not have a command sent to a machine of their choice.
func (l *look) secret() {
	machine := l.AccountID
	if v := l.r.Spec.Vantage; v != nil {
		machine = v.InstanceID
	}
	if err := vantage.MayUse(l.r.Spec.Secrets.AWS, l.For, l.AccountID, machine); err != nil {
		l.fs.Add(awsaccount.Field, err.Error(), `name the account and the machine in "for" of the secret's value`)
	}
}

func (l *look) network() Network { return l.Network(l.r.Spec.AWS.Region) }

func (l *look) vpc(ctx context.Context, f *facts.AWSPreflight) error {
	id := l.r.Spec.AWS.VPCID
	v, err := l.network().VPC(ctx, id)
	if apierr.IsNotFound(err) {
		l.fs.Add("aws.vpcId", fmt.Sprintf("%s is not in account %s in %s", id, l.AccountID, l.r.Spec.AWS.Region), "correct the ID or the region, or use a key of the VPC's account")
		return nil
	}
	if err != nil {
		return err
	}
	f.VPCCIDRs = v.CIDRs
	l.dns("aws.vpcId", v, l.r.Spec.AWS.Region)
	return nil
}

// dns finds a VPC in which private hosted zones do not answer.
func (l *look) dns(field string, v ec2.VPC, region string) {
	for name, on := range map[string]bool{"enable-dns-support": v.DNSSupport, "enable-dns-hostnames": v.DNSHostnames} {
		if !on {
			l.fs.Add(field, fmt.Sprintf("%s has %s off, and private hosted zones answer only where it is on", v.ID, name), fmt.Sprintf("aws ec2 modify-vpc-attribute --region %s --vpc-id %s --%s '{\"Value\":true}'", region, v.ID, name))
		}
	}
}

func (l *look) subnets(ctx context.Context, f *facts.AWSPreflight) error {
	zones := map[string]string{}
	for i, id := range l.r.Spec.AWS.SubnetIDs {
		field := fmt.Sprintf("aws.subnetIds[%d]", i)
		found, err := l.network().Subnets(ctx, []string{id})
		if apierr.IsNotFound(err) {
			l.fs.Add(field, fmt.Sprintf("%s is not in account %s in %s", id, l.AccountID, l.r.Spec.AWS.Region), "correct the ID")
			continue
		}
		if err != nil {
			return err
		}
		n := found[0]
		switch {
		case n.VpcID != l.r.Spec.AWS.VPCID:
			l.fs.Add(field, fmt.Sprintf("%s is in %s", id, n.VpcID), "name subnets of "+l.r.Spec.AWS.VPCID)
		case zones[n.Zone] != "":
			l.fs.Add(field, fmt.Sprintf("%s is in zone %s, as %s is", id, n.Zone, zones[n.Zone]), "name one subnet a zone: an endpoint has one interface in each")
		case n.Free < 1:
			l.fs.Add(field, id+" has no free address", "name another subnet of zone "+n.Zone+", or free an address")
		}
		zones[n.Zone] = id
		f.Subnets = append(f.Subnets, facts.AWSSubnet{ID: id, Zone: n.Zone})
	}
	return nil
}

// service compares zones where the service is to be seen already; where the
// account has to be admitted first, aws-endpoint does so.
func (l *look) service(ctx context.Context, f *facts.AWSPreflight) error {
	s, region := l.r.Facts.ZillizSurvey, ""
	if f.CrossRegion {
		region = l.r.Spec.Zilliz.AWSRegion()
	}
	found, err := l.network().Service(ctx, s.Service, region)
	switch {
	case apierr.CodeOf(err) == ec2.InvalidService && (s.Whitelist && l.r.Facts.ZillizAdmit == nil):
		f.ZonesLater = true
		return nil
	case apierr.CodeOf(err) == ec2.InvalidService && f.CrossRegion:
		l.fs.Add("aws.region", "the service name does not exist for endpoints in "+l.r.Spec.AWS.Region+": Zilliz Cloud has not enabled that region for "+l.r.Spec.Zilliz.Region,
			fmt.Sprintf("open a ticket at support.zilliz.com: \"AWS PrivateLink across regions: please let account %s reach the endpoint service of %s from AWS region %s\", then retry", l.AccountID, l.r.Spec.Zilliz.Region, l.r.Spec.AWS.Region))
		return nil
	case apierr.CodeOf(err) == ec2.InvalidService:
		l.fs.Add("zilliz.region", "AWS does not show endpoint service "+s.Service+" in "+l.r.Spec.AWS.Region, "ask Zilliz's support why account "+l.AccountID+" does not see it")
		return nil
	case apierr.CodeOf(err) == ec2.Unauthorized && f.CrossRegion:
		l.fs.Add(awsaccount.Field, "the role may not use a service of another region", "allow vpce:AllowMultiRegion in its policy, and in the service control policies of the organization")
		return nil
	case err != nil:
		return err
	case f.CrossRegion:
		return nil // zones of two regions have no names in common
	}
	for i, n := range f.Subnets {
		if !slices.Contains(found.Zones, n.Zone) {
			l.fs.Add(fmt.Sprintf("aws.subnetIds[%d]", i), fmt.Sprintf("%s is in zone %s, which the service is not in", n.ID, n.Zone), "name subnets in "+strings.Join(found.Zones, ", "))
		}
	}
	return nil
}

func (l *look) groups(ctx context.Context, _ *facts.AWSPreflight) error {
	for i, id := range l.r.Spec.AWS.ClientSecurityGroupIDs {
		field := fmt.Sprintf("aws.clientSecurityGroupIds[%d]", i)
		found, err := l.network().Groups(ctx, []string{id})
		if apierr.IsNotFound(err) {
			l.fs.Add(field, fmt.Sprintf("%s is not in account %s in %s", id, l.AccountID, l.r.Spec.AWS.Region), "correct the ID")
			continue
		}
		if err != nil {
			return err
		}
		if found[0].VpcID != l.r.Spec.AWS.VPCID {
			l.fs.Add(field, fmt.Sprintf("%s is of %s", id, found[0].VpcID), "a rule takes groups of its own VPC: name those, or clientCidrs")
		}
	}
	return nil
}

// moreVPCs finds VPCs of other accounts, which need two commands there.
func (l *look) moreVPCs(ctx context.Context, _ *facts.AWSPreflight) error {
	for i, m := range l.r.Spec.AWS.MoreVPCs {
		field := fmt.Sprintf("aws.moreVpcs[%d]", i)
		v, err := l.Network(m.Region).VPC(ctx, m.ID)
		if apierr.IsNotFound(err) {
			l.fs.Add(field, fmt.Sprintf("%s is not in account %s in %s", m.ID, l.AccountID, m.Region),
				fmt.Sprintf("correct ID and region; for a VPC of another account leave it out, and when the run is done: aws route53 create-vpc-association-authorization --hosted-zone-id <zone> --vpc VPCRegion=%s,VPCId=%s (in this account), then aws route53 associate-vpc-with-hosted-zone with the same arguments (in that one)", m.Region, m.ID))
			continue
		}
		if err != nil {
			return err
		}
		l.dns(field, v, m.Region)
	}
	return nil
}

// machine finds a machine that would prove nothing, or cannot run the probe.
func (l *look) machine(ctx context.Context, f *facts.AWSPreflight) error {
	v := l.r.Spec.Vantage
	if v == nil {
		l.fs.AddRisk(events.RiskNotProven, "vantage", "no machine in the VPC is named, so that nothing can be proved from inside", "name an EC2 instance in vantage.instanceId")
		return nil
	}
	const field = "vantage.instanceId"
	i, err := l.network().Instance(ctx, v.InstanceID)
	if apierr.IsNotFound(err) {
		l.fs.Add(field, fmt.Sprintf("%s is not in account %s in %s", v.InstanceID, l.AccountID, l.r.Spec.AWS.Region), "correct the ID")
		return nil
	}
	if err != nil {
		return err
	}
	f.Instance = &facts.AWSInstance{ID: i.ID, SubnetID: i.SubnetID, Address: i.Address, GroupIDs: i.GroupIDs}
	switch {
	case i.VpcID != l.r.Spec.AWS.VPCID:
		l.fs.Add(field, fmt.Sprintf("%s is in %s: it would prove nothing of %s", i.ID, i.VpcID, l.r.Spec.AWS.VPCID), "name an instance of that VPC")
		return nil
	case i.State != "running":
		l.fs.Add(field, fmt.Sprintf("%s is %s", i.ID, i.State), "start it")
		return nil
	case !l.client(i):
		l.fs.Add(field, fmt.Sprintf("%s is no client: it has none of clientSecurityGroupIds, and its address %s is in none of clientCidrs", i.ID, i.Address), "give it one of these groups, or name a machine that is a client")
	}
	return l.agent(ctx, i)
}

// client reports whether an instance is one of those who may connect.
func (l *look) client(i ec2.Instance) bool {
	for _, g := range l.r.Spec.AWS.ClientSecurityGroupIDs {
		if slices.Contains(i.GroupIDs, g) {
			return true
		}
	}
	a, err := netip.ParseAddr(i.Address)
	return err == nil && slices.ContainsFunc(l.r.Spec.AWS.ClientCIDRs, func(c string) bool {
		n, err := netip.ParsePrefix(c)
		return err == nil && n.Contains(a)
	})
}

func (l *look) agent(ctx context.Context, i ec2.Instance) error {
	const field = "vantage.instanceId"
	a, err := l.Agents.Agent(ctx, i.ID)
	switch {
	case apierr.IsNotFound(err):
		l.fs.Add(field, i.ID+" is not managed by Systems Manager", "give it an instance profile with AmazonSSMManagedInstanceCore and a way to the endpoints ssm, ssmmessages and ec2messages; the agent then registers within minutes")
		return nil
	case err != nil:
		return err
	case !a.Online:
		l.fs.Add(field, "the Systems Manager agent on "+i.ID+" has lost its connection", "start the agent, or restart the instance")
	case a.Platform != "Linux":
		l.fs.Add(field, i.ID+" runs "+a.Platform, "name a Linux machine: the probe is a shell script")
	}
	text, err := l.Agents.Document(ctx, zillizprobe.Document)
	switch {
	case apierr.IsNotFound(err):
		l.fs.Add("vantage", "Systems Manager has no document "+zillizprobe.Document+" in "+l.r.Spec.AWS.Region, fmt.Sprintf("have an administrator create it once: aws ssm create-document --region %s --name %s --document-type Command --content file://shared/vantage/zillizprobe/eslink-probe.json", l.r.Spec.AWS.Region, zillizprobe.Document))
	case err != nil:
		return err
	case !zillizprobe.Same(text):
		l.fs.Add("vantage", "document "+zillizprobe.Document+" is not the one that this version of eslink ships", fmt.Sprintf("aws ssm update-document --region %s --name %s --document-version '$LATEST' --content file://shared/vantage/zillizprobe/eslink-probe.json, then make that version the default", l.r.Spec.AWS.Region, zillizprobe.Document))
	}
	return nil
}

// zones finds hosted zones that stand in the way of names which are known
// already; aws-dns does so for the others.
func (l *look) zones(ctx context.Context, f *facts.AWSPreflight) error {
	if len(f.VPCCIDRs) == 0 {
		return nil // the VPC is not there
	}
	var have map[string]string
	for _, k := range l.r.Facts.ZillizSurvey.Clusters {
		if k.Host == "" {
			continue
		}
		if have == nil {
			var err error
			if have, err = l.Zones.ZonesOf(ctx, route53.VPC{ID: l.r.Spec.AWS.VPCID, Region: l.r.Spec.AWS.Region}); err != nil {
				return err
			}
		}
		id, ok := have[k.Host]
		if !ok {
			continue
		}
		z, err := l.Zones.Zone(ctx, id)
		if err != nil && !apierr.IsNotFound(err) {
			return err
		}
		if err != nil || z.Comment != awsaccount.Mark(l.r) {
			l.fs.Add("aws.vpcId", fmt.Sprintf("hosted zone %s of name %s is on the VPC already, and is not this run's", id, k.Host), "delete that zone, or take it off the VPC, if nobody needs it: a VPC takes a name once")
		}
	}
	return nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
