package aws

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"eslink/localtest/fakes/cloud"
)

// VPC is a virtual network of an account in a region.
type VPC struct {
	ID, Region, Account      string // Account "" stands for the fake's own
	CIDR                     netip.Prefix
	DNSSupport, DNSHostnames bool
}

// Subnet is a subnet of a VPC. Free is how many addresses are left.
type Subnet struct {
	ID, VPC, Zone string
	CIDR          netip.Prefix
	ACL           string // its network ACL, which AddACL makes; "" admits everything
	Free          int

	taken int
}

// ACL is a network ACL.
type ACL struct {
	ID, VPC string
	Entries []Entry
}

// Entry is a rule of an ACL; the lowest number that matches decides.
type Entry struct {
	Number        int
	Egress, Allow bool
	Protocol      string // "6" or "-1"
	From, To      int
	CIDR          netip.Prefix
}

// Instance is a virtual machine.
type Instance struct {
	ID, VPC, Subnet string
	Address         netip.Addr // drawn from the subnet if it has none
	Groups          []string
	State           string // running if ""
	Profile         string // ARN of its instance profile
	// Agent is the state of its Systems Manager agent: Online, ConnectionLost, or ""
	// if it never registered.
	Agent    string
	Platform string // Linux if ""
	// Missing is a tool that the machine lacks, if any.
	Missing string
}

// AddVPC adds a VPC.
func (f *Fake) AddVPC(v VPC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v.Account = first(v.Account, f.home)
	f.vpcs[v.ID] = &v
}

// SetVPC changes one.
func (f *Fake) SetVPC(id string, change func(*VPC)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.vpcs[id])
}

// AddSubnet adds a subnet, whose VPC is there.
func (f *Fake) AddSubnet(s Subnet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Free == 0 {
		s.Free = 250
	}
	f.subnets[s.ID] = &s
}

// SetSubnet changes one.
func (f *Fake) SetSubnet(id string, change func(*Subnet)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.subnets[id])
}

// AddACL adds a network ACL and gives it to subnets.
func (f *Fake) AddACL(a ACL, subnets ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acls[a.ID] = &a
	for _, id := range subnets {
		f.subnets[id].ACL = a.ID
	}
}

// AddInstance adds an instance, whose subnet and groups are there.
func (f *Fake) AddInstance(i Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i.State, i.Platform = first(i.State, "running"), first(i.Platform, "Linux")
	if !i.Address.IsValid() {
		i.Address = f.takeAddress(f.subnets[i.Subnet])
	}
	f.instances[i.ID] = &i
}

// SetInstance changes one.
func (f *Fake) SetInstance(id string, change func(*Instance)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.instances[id])
}

func (f *Fake) takeAddress(s *Subnet) netip.Addr {
	s.taken++
	s.Free--
	return address(s.CIDR, 3+s.taken) // AWS keeps the first four
}

// ops are the operations by service.
var ops = map[string]map[string]op{
	"ec2": {
		"DescribeVpcs": describeVPCs, "DescribeVpcAttribute": describeVPCAttribute, "DescribeSubnets": describeSubnets, "DescribeNetworkAcls": describeACLs,
		"DescribeNetworkInterfaces": describeInterfaces, "DescribeInstances": describeInstances,
		"DescribeVpcEndpointServices": describeServices, "CreateVpcEndpoint": createEndpoint, "DescribeVpcEndpoints": describeEndpoints,
		"ModifyVpcEndpoint": modifyEndpoint, "DeleteVpcEndpoints": deleteEndpoints,
		"CreateSecurityGroup": createGroup, "DescribeSecurityGroups": describeGroups, "DeleteSecurityGroup": deleteGroup,
		"AuthorizeSecurityGroupIngress": authorize(false), "AuthorizeSecurityGroupEgress": authorize(true),
		"RevokeSecurityGroupIngress": revoke(false), "RevokeSecurityGroupEgress": revoke(true),
	},
	"route53": {
		"CreateHostedZone": createZone, "GetHostedZone": getZone, "ListHostedZonesByVPC": zonesByVPC, "ListHostedZonesByName": zonesByName,
		"ListResourceRecordSets": listRecords, "ChangeResourceRecordSets": changeRecords, "GetChange": getChange,
		"AssociateVPCWithHostedZone": associate, "DisassociateVPCFromHostedZone": disassociate, "DeleteHostedZone": deleteZone,
	},
	"ssm": {
		"DescribeInstanceInformation": instanceInformation, "GetDocument": getDocument, "SendCommand": sendCommand, "ListCommands": listCommands,
		"GetCommandInvocation": commandInvocation, "CancelCommand": cancelCommand,
	},
	"sts": {"AssumeRole": assumeRole, "GetCallerIdentity": callerIdentity},
}

// vpc finds a VPC of the caller in the request's region.
func (f *Fake) vpc(r *request, id string) (*VPC, error) {
	if v := f.vpcs[id]; v != nil && v.Region == r.region && v.Account == r.account {
		return v, nil
	}
	return nil, cloud.Errorf(400, "InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", id)
}

func (f *Fake) subnet(r *request, id string) (*Subnet, error) {
	if s := f.subnets[id]; s != nil {
		if _, err := f.vpc(r, s.VPC); err == nil {
			return s, nil
		}
	}
	return nil, cloud.Errorf(400, "InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
}

func describeVPCs(f *Fake, r *request) (any, error) {
	type item struct {
		VPCID string `xml:"vpcId"`
		State string `xml:"state"`
		CIDR  string `xml:"cidrBlock"`
		Owner string `xml:"ownerId"`
	}
	var out struct {
		Items []item `xml:"vpcSet>item"`
	}
	for _, id := range r.params.values("VpcId") {
		v, err := f.vpc(r, id)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, item{v.ID, "available", v.CIDR.String(), v.Account})
	}
	return out, nil
}

func describeVPCAttribute(f *Fake, r *request) (any, error) {
	v, err := f.vpc(r, r.params["VpcId"])
	if err != nil {
		return nil, err
	}
	type attribute struct {
		Value bool `xml:"value"`
	}
	var out struct {
		VPCID     string     `xml:"vpcId"`
		Support   *attribute `xml:"enableDnsSupport"`
		Hostnames *attribute `xml:"enableDnsHostnames"`
	}
	out.VPCID = v.ID
	switch r.params["Attribute"] {
	case "enableDnsSupport":
		out.Support = &attribute{v.DNSSupport}
	case "enableDnsHostnames":
		out.Hostnames = &attribute{v.DNSHostnames}
	default:
		return nil, cloud.Errorf(400, "InvalidParameterValue", "Unknown attribute.")
	}
	return out, nil
}

func describeSubnets(f *Fake, r *request) (any, error) {
	type item struct {
		ID   string `xml:"subnetId"`
		VPC  string `xml:"vpcId"`
		CIDR string `xml:"cidrBlock"`
		Zone string `xml:"availabilityZone"`
		Free int    `xml:"availableIpAddressCount"`
	}
	var out struct {
		Items []item `xml:"subnetSet>item"`
	}
	for _, id := range r.params.values("SubnetId") {
		s, err := f.subnet(r, id)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, item{s.ID, s.VPC, s.CIDR.String(), s.Zone, s.Free})
	}
	slices.Reverse(out.Items) // in no order that a caller may count on
	return out, nil
}

func describeACLs(f *Fake, r *request) (any, error) {
	type ports struct {
		From int `xml:"from"`
		To   int `xml:"to"`
	}
	type entry struct {
		Number   int    `xml:"ruleNumber"`
		Protocol string `xml:"protocol"`
		Action   string `xml:"ruleAction"`
		Egress   bool   `xml:"egress"`
		CIDR     string `xml:"cidrBlock"`
		Ports    *ports `xml:"portRange"`
	}
	type association struct {
		Subnet string `xml:"subnetId"`
		ACL    string `xml:"networkAclId"`
	}
	type item struct {
		ID           string        `xml:"networkAclId"`
		VPC          string        `xml:"vpcId"`
		Entries      []entry       `xml:"entrySet>item"`
		Associations []association `xml:"associationSet>item"`
	}
	var out struct {
		Items []item `xml:"networkAclSet>item"`
	}
	byACL := map[string]*item{}
	for _, id := range r.params.filters()["association.subnet-id"] {
		s, err := f.subnet(r, id)
		if err != nil {
			continue // a filter matches nothing
		}
		acl := f.aclOf(s)
		if byACL[acl.ID] == nil {
			i := &item{ID: acl.ID, VPC: s.VPC}
			for _, e := range acl.Entries {
				x := entry{Number: e.Number, Protocol: e.Protocol, Action: map[bool]string{true: "allow", false: "deny"}[e.Allow], Egress: e.Egress, CIDR: e.CIDR.String()}
				if e.Protocol == "6" {
					x.Ports = &ports{e.From, e.To}
				}
				i.Entries = append(i.Entries, x)
			}
			for _, egress := range []bool{false, true} { // what every ACL ends with
				i.Entries = append(i.Entries, entry{Number: 32767, Protocol: "-1", Action: "deny", Egress: egress, CIDR: "0.0.0.0/0"})
			}
			byACL[acl.ID] = i
		}
		byACL[acl.ID].Associations = append(byACL[acl.ID].Associations, association{s.ID, acl.ID})
	}
	for _, id := range slices.Sorted(maps.Keys(byACL)) {
		out.Items = append(out.Items, *byACL[id])
	}
	return out, nil
}

// aclOf is a subnet's network ACL: the VPC's default one if it has none.
func (f *Fake) aclOf(s *Subnet) *ACL {
	if a := f.acls[s.ACL]; a != nil {
		return a
	}
	all := netip.MustParsePrefix("0.0.0.0/0")
	return &ACL{ID: "acl-default-" + s.VPC[len("vpc-"):], VPC: s.VPC, Entries: []Entry{{Number: 100, Allow: true, Protocol: "-1", CIDR: all}, {Number: 100, Egress: true, Allow: true, Protocol: "-1", CIDR: all}}}
}

func describeInterfaces(f *Fake, r *request) (any, error) {
	type item struct {
		ID      string `xml:"networkInterfaceId"`
		Subnet  string `xml:"subnetId"`
		VPC     string `xml:"vpcId"`
		Address string `xml:"privateIpAddress"`
		Status  string `xml:"status"`
	}
	var out struct {
		Items []item `xml:"networkInterfaceSet>item"`
	}
	for _, id := range r.params.values("NetworkInterfaceId") {
		e, n := f.networkInterface(id)
		if e == nil || e.account != r.account || e.region != r.region || r.now.After(e.interfacesGone(r.now)) {
			return nil, cloud.Errorf(400, "InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
		}
		out.Items = append(out.Items, item{n.id, n.subnet, e.vpc, n.address.String(), "in-use"})
	}
	return out, nil
}

func describeInstances(f *Fake, r *request) (any, error) {
	type group struct {
		ID string `xml:"groupId"`
	}
	type profile struct {
		ARN string `xml:"arn"`
	}
	type item struct {
		ID      string `xml:"instanceId"`
		VPC     string `xml:"vpcId"`
		Subnet  string `xml:"subnetId"`
		Address string `xml:"privateIpAddress"`
		State   struct {
			Name string `xml:"name"`
		} `xml:"instanceState"`
		Groups  []group  `xml:"groupSet>item"`
		Profile *profile `xml:"iamInstanceProfile"`
	}
	var out struct {
		Items []item `xml:"reservationSet>item>instancesSet>item"`
	}
	for _, id := range r.params.values("InstanceId") {
		i := f.instances[id]
		if i == nil || f.vpcs[i.VPC].Region != r.region || f.vpcs[i.VPC].Account != r.account {
			return nil, cloud.Errorf(400, "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
		}
		x := item{ID: i.ID, VPC: i.VPC, Subnet: i.Subnet, Address: i.Address.String()}
		x.State.Name = i.State
		for _, g := range i.Groups {
			x.Groups = append(x.Groups, group{g})
		}
		if i.Profile != "" {
			x.Profile = &profile{i.Profile}
		}
		out.Items = append(out.Items, x)
	}
	return out, nil
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
