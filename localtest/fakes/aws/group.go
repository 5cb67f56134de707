package aws

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"eslink/localtest/fakes/cloud"
)

// group is a security group.
type group struct {
	id, name, description, vpc, region, account string
	tags                                        map[string]string
	ingress, egress                             []Rule
	shown, listed                               time.Time // from when reads by ID and lists know it
}

// Rule is one rule of a security group; it admits a group or a network.
type Rule struct {
	Protocol    string // "tcp" or "-1"
	From, To    int
	Group       string
	CIDR        netip.Prefix
	Description string
}

// Group is what a test sees of a security group.
type Group struct {
	ID, Name, VPC   string
	Tags            map[string]string
	Ingress, Egress []Rule
}

// AddGroup adds a security group with the egress rule that all begin with.
func (f *Fake) AddGroup(id, vpc string, ingress ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.vpcs[vpc]
	f.groups[id] = &group{id: id, name: id, vpc: vpc, region: v.Region, account: v.Account, tags: map[string]string{}, ingress: ingress, egress: []Rule{everything}}
}

// SetGroup changes the rules of one.
func (f *Fake) SetGroup(id string, change func(ingress, egress *[]Rule)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.groups[id].ingress, &f.groups[id].egress)
}

// RemoveGroup deletes one whatever uses it.
func (f *Fake) RemoveGroup(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.groups, id)
}

// Groups are all security groups, by their IDs.
func (f *Fake) Groups() []Group {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Group
	for _, id := range slices.Sorted(maps.Keys(f.groups)) {
		g := f.groups[id]
		out = append(out, Group{g.id, g.name, g.vpc, maps.Clone(g.tags), slices.Clone(g.ingress), slices.Clone(g.egress)})
	}
	return out
}

var everything = Rule{Protocol: "-1", CIDR: netip.MustParsePrefix("0.0.0.0/0")}

func createGroup(f *Fake, r *request) (any, error) {
	v, err := f.vpc(r, r.params["VpcId"])
	if err != nil {
		return nil, err
	}
	name := r.params["GroupName"]
	for _, g := range f.groups {
		if g.vpc == v.ID && g.name == name {
			return nil, cloud.Errorf(400, "InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", name, v.ID)
		}
	}
	g := &group{id: f.hex("sg-"), name: name, description: r.params["GroupDescription"], vpc: v.ID, region: r.region, account: r.account, tags: r.params.tags(), egress: []Rule{everything}}
	g.shown, g.listed = r.now.Add(f.world.Lag(8*time.Second)), r.now.Add(f.world.Lag(40*time.Second))
	f.groups[g.id] = g
	return struct {
		GroupID string `xml:"groupId"`
	}{g.id}, nil
}

// group finds one of the caller's that reads by ID know.
func (f *Fake) group(r *request, id string) (*group, error) {
	if g := f.groups[id]; g != nil && g.region == r.region && g.account == r.account && !r.now.Before(g.shown) {
		return g, nil
	}
	return nil, cloud.Errorf(400, "InvalidGroup.NotFound", "The security group '%s' does not exist", id)
}

type groupItem struct {
	ID          string       `xml:"groupId"`
	Name        string       `xml:"groupName"`
	Description string       `xml:"groupDescription"`
	VPC         string       `xml:"vpcId"`
	Owner       string       `xml:"ownerId"`
	Ingress     []permission `xml:"ipPermissions>item"`
	Egress      []permission `xml:"ipPermissionsEgress>item"`
	Tags        []tag        `xml:"tagSet>item"`
}

type permission struct {
	Protocol string      `xml:"ipProtocol"`
	From     *int        `xml:"fromPort"`
	To       *int        `xml:"toPort"`
	Groups   []groupPair `xml:"groups>item"`
	Ranges   []ipRange   `xml:"ipRanges>item"`
}

type groupPair struct {
	User        string `xml:"userId"`
	ID          string `xml:"groupId"`
	Description string `xml:"description,omitempty"`
}

type ipRange struct {
	CIDR        string `xml:"cidrIp"`
	Description string `xml:"description,omitempty"`
}

func describeGroups(f *Fake, r *request) (any, error) {
	var all []groupItem
	if ids := r.params.values("GroupId"); len(ids) > 0 {
		for _, id := range ids {
			g, err := f.group(r, id)
			if err != nil {
				return nil, err
			}
			all = append(all, g.item())
		}
	} else {
		filters := r.params.filters()
		for _, id := range slices.Sorted(maps.Keys(f.groups)) {
			if g := f.groups[id]; g.region == r.region && g.account == r.account && !r.now.Before(g.listed) && g.matches(filters) {
				all = append(all, g.item())
			}
		}
	}
	var out struct {
		Items []groupItem `xml:"securityGroupInfo>item"`
		Next  string      `xml:"nextToken,omitempty"`
	}
	var err error
	out.Items, out.Next, err = page(r, "NextToken", all)
	return out, err
}

func (g *group) matches(filters map[string][]string) bool {
	for name, values := range filters {
		have := ""
		switch name {
		case "vpc-id":
			have = g.vpc
		case "group-name":
			have = g.name
		default:
			have = g.tags[tagOf(name)]
		}
		if !slices.Contains(values, have) {
			return false
		}
	}
	return true
}

// tagOf is the key that a filter tag:key names.
func tagOf(filter string) string { return filter[min(len("tag:"), len(filter)):] }

func (g *group) item() groupItem {
	i := groupItem{ID: g.id, Name: g.name, Description: g.description, VPC: g.vpc, Owner: g.account, Tags: tagItems(g.tags)}
	for _, r := range g.ingress {
		i.Ingress = append(i.Ingress, r.item(g.account))
	}
	for _, r := range g.egress {
		i.Egress = append(i.Egress, r.item(g.account))
	}
	return i
}

func (r Rule) item(account string) permission {
	p := permission{Protocol: r.Protocol}
	if r.Protocol != "-1" {
		p.From, p.To = &r.From, &r.To
	}
	if r.Group != "" {
		p.Groups = []groupPair{{account, r.Group, r.Description}}
	} else {
		p.Ranges = []ipRange{{r.CIDR.String(), r.Description}}
	}
	return p
}

func tagItems(tags map[string]string) []tag {
	var out []tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, tag{k, tags[k]})
	}
	return out
}

func deleteGroup(f *Fake, r *request) (any, error) {
	g, err := f.group(r, r.params["GroupId"])
	if err != nil {
		return nil, err
	}
	busy := cloud.Errorf(400, "DependencyViolation", "resource %s has a dependent object", g.id)
	for _, e := range f.endpoints {
		if slices.Contains(e.groups, g.id) && r.now.Before(e.interfacesGone(r.now)) {
			return nil, busy
		}
	}
	for _, i := range f.instances {
		if slices.Contains(i.Groups, g.id) {
			return nil, busy
		}
	}
	for _, other := range f.groups {
		for _, rule := range slices.Concat(other.ingress, other.egress) {
			if rule.Group == g.id && other != g {
				return nil, busy
			}
		}
	}
	delete(f.groups, g.id)
	return success, nil
}

// success is the reply of an operation that has nothing to tell.
var success = struct {
	Return bool `xml:"return"`
}{true}

// rules reads IpPermissions.
func (f *Fake) rules(r *request) ([]Rule, error) {
	var out []Rule
	for _, p := range r.params.structs("IpPermissions") {
		rule := Rule{Protocol: p["IpProtocol"], From: atoi(p["FromPort"]), To: atoi(p["ToPort"])}
		if rule.Protocol != "tcp" && rule.Protocol != "-1" || rule.From > rule.To || rule.From < 0 || rule.To > 65535 {
			return nil, cloud.Errorf(400, "InvalidParameterValue", "Invalid protocol or ports.")
		}
		for _, pair := range p.structs("Groups") {
			if _, err := f.group(r, pair["GroupId"]); err != nil {
				return nil, err
			}
			rule.Group, rule.Description = pair["GroupId"], pair["Description"]
			out = append(out, rule)
		}
		for _, n := range p.structs("IpRanges") {
			cidr, err := netip.ParsePrefix(n["CidrIp"])
			if err != nil || cidr != cidr.Masked() {
				return nil, cloud.Errorf(400, "InvalidParameterValue", "CIDR block %s is malformed", n["CidrIp"])
			}
			rule.Group, rule.CIDR, rule.Description = "", cidr, n["Description"]
			out = append(out, rule)
		}
	}
	if len(out) == 0 {
		return nil, cloud.Errorf(400, "MissingParameter", "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.")
	}
	return out, nil
}

// same reports whether two rules admit the same: descriptions do not count.
func (r Rule) same(o Rule) bool {
	r.Description, o.Description = "", ""
	return r == o
}

func (g *group) side(egress bool) *[]Rule {
	if egress {
		return &g.egress
	}
	return &g.ingress
}

func authorize(egress bool) op {
	return func(f *Fake, r *request) (any, error) {
		g, err := f.group(r, r.params["GroupId"])
		if err != nil {
			return nil, err
		}
		rules, err := f.rules(r)
		if err != nil {
			return nil, err
		}
		side := g.side(egress)
		for _, rule := range rules {
			if slices.ContainsFunc(*side, rule.same) {
				return nil, cloud.Errorf(400, "InvalidPermission.Duplicate", "the specified rule already exists")
			}
		}
		*side = append(*side, rules...)
		return success, nil
	}
}

func revoke(egress bool) op {
	return func(f *Fake, r *request) (any, error) {
		g, err := f.group(r, r.params["GroupId"])
		if err != nil {
			return nil, err
		}
		rules, err := f.rules(r)
		if err != nil {
			return nil, err
		}
		side := g.side(egress)
		for _, rule := range rules {
			if !slices.ContainsFunc(*side, rule.same) {
				return nil, cloud.Errorf(400, "InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
			*side = slices.DeleteFunc(*side, rule.same)
		}
		return success, nil
	}
}
