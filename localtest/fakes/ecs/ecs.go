// Package ecs is a fake of Elastic Compute Service, RPC version 2014-05-26: hosts are given, calls read them, and their
// security groups can be changed and are evaluated.
//
// Rules follow the published documents: an Accept has to be there, since a group without rules admits nobody; the rules
// of all of a host's groups are taken together, by priority, and at one priority a Drop comes before an Accept; a rule
// that exists already, whatever its description, is not added again, and that is no error. Assumed, as no source says it:
// a new rule is shown at once and in force some seconds later; revoking a rule ID that does not exist is refused.
package ecs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
	"eslink/localtest/fakes/vpc"
)

// Instance is a host as it is given to AddInstance, and as it is now.
type Instance struct {
	ID, Name         string
	VPCID, VSwitchID string
	ZoneID           string     // the vSwitch's
	IP               netip.Addr // private; default: one taken from the vSwitch
	Status           string     // Pending, Starting, Running (default), Stopping, Stopped
	Classic          bool       // in the classic network, without a VPC
	SecurityGroups   []string
}

// Rule is an ingress rule of a security group.
type Rule struct {
	ID          string
	Drop        bool
	Priority    int // 1 to 100
	Protocol    string
	From, To    int // ports; -1 and -1 for all
	Source      netip.Prefix
	Description string

	force time.Time // since when it is obeyed
}

type group struct {
	id, vpcID string
	rules     []Rule
}

// Fake is the product in one account. It is an http.Handler of its API.
type Fake struct {
	http.Handler
	account *cloud.Account
	network *vpc.Networks

	mu        sync.Mutex
	instances []*Instance
	groups    []*group
}

// New makes the product without hosts.
func New(a *cloud.Account, network *vpc.Networks) *Fake {
	f := &Fake{account: a, network: network}
	ops := map[string]cloud.Op{
		"DescribeInstances":              f.describeInstances,
		"DescribeSecurityGroupAttribute": f.describeSecurityGroup,
		"AuthorizeSecurityGroup":         f.authorize,
		"RevokeSecurityGroup":            f.revoke,
	}
	ops = resource.Locked(&f.mu, ops)
	f.Handler = a.RPC("ecs", "2014-05-26", ops)
	return f
}

// AddSecurityGroup adds a group that admits what rules say; without any, nobody.
func (f *Fake) AddSecurityGroup(id, vpcID string, rules ...Rule) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.network.VPC(vpcID); !ok || f.group(id) != nil {
		return fmt.Errorf("add security group %s: it exists, or vpc %s does not", id, vpcID)
	}
	g := &group{id: id, vpcID: vpcID}
	f.groups = append(f.groups, g)
	for _, r := range rules {
		f.add(g, r, f.account.Now())
	}
	return nil
}

// AddInstance adds a host. Its security groups have to be there, in its VPC.
func (f *Fake) AddInstance(i Instance) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.instances, func(x *Instance) bool { return x.ID == i.ID }) {
		return fmt.Errorf("add ecs instance %s: exists", i.ID)
	}
	if i.Status == "" {
		i.Status = "Running"
	}
	if !i.Classic {
		v, ok := f.network.VSwitch(i.VSwitchID)
		if !ok || v.VpcID != i.VPCID {
			return fmt.Errorf("add ecs instance %s: no vSwitch %s in %s", i.ID, i.VSwitchID, i.VPCID)
		}
		if i.ZoneID = v.ZoneID; !i.IP.IsValid() {
			i.IP = f.network.TakeIP(v.ID)
		}
	}
	for _, id := range i.SecurityGroups {
		if g := f.group(id); g == nil || g.vpcID != i.VPCID {
			return fmt.Errorf("add ecs instance %s: no security group %s in %s", i.ID, id, i.VPCID)
		}
	}
	f.instances = append(f.instances, &i)
	return nil
}

// SetStatus puts a host into a state, as if by hand.
func (f *Fake) SetStatus(id, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.instances {
		if i.ID == id {
			i.Status = status
		}
	}
}

// Remove makes a host vanish.
func (f *Fake) Remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instances = slices.DeleteFunc(f.instances, func(i *Instance) bool { return i.ID == id })
}

// Instances are the hosts.
func (f *Fake) Instances() []Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Instance
	for _, i := range f.instances {
		all = append(all, *i)
	}
	return all
}

// Server is what a load balancer asks of a host: where it is and whether it runs.
func (f *Fake) Server(id string) (vpcID string, ip netip.Addr, running, ok bool) {
	for _, i := range f.Instances() {
		if i.ID == id {
			return i.VPCID, i.IP, i.Status == "Running", true
		}
	}
	return "", netip.Addr{}, false, false
}

// Rules are a group's.
func (f *Fake) Rules(groupID string) []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.group(groupID); g != nil {
		return slices.Clone(g.rules)
	}
	return nil
}

// SecurityGroups are the IDs of all groups.
func (f *Fake) SecurityGroups() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, g := range f.groups {
		ids = append(ids, g.id)
	}
	return ids
}

// AddRule adds a rule by hand, in force at once.
func (f *Fake) AddRule(groupID string, r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(f.group(groupID), r, f.account.Now())
}

// RemoveRules removes those that match, by hand.
func (f *Fake) RemoveRules(groupID string, match func(Rule) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.group(groupID)
	g.rules = slices.DeleteFunc(g.rules, match)
}

// Admits reports whether a host's security groups let a TCP connection from an address to a port in.
func (f *Fake) Admits(id string, from netip.Addr, port int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var best *Rule
	for _, i := range f.instances {
		if i.ID != id {
			continue
		}
		for _, groupID := range i.SecurityGroups {
			for _, r := range f.group(groupID).rules {
				if r.Protocol != "TCP" && r.Protocol != "ALL" || !r.Source.Contains(from) || r.From != -1 && (port < r.From || port > r.To) || f.account.Now().Before(r.force) {
					continue
				}
				if best == nil || r.Priority < best.Priority || r.Priority == best.Priority && r.Drop {
					best = &r
				}
			}
		}
	}
	return best != nil && !best.Drop
}

func (f *Fake) group(id string) *group {
	for _, g := range f.groups {
		if g.id == id {
			return g
		}
	}
	return nil
}

// add appends a rule, unless the group has it already under whatever description.
func (f *Fake) add(g *group, r Rule, force time.Time) {
	if r.Priority == 0 {
		r.Priority = 1
	}
	if r.Protocol == "" {
		r.Protocol = "TCP"
	}
	if slices.ContainsFunc(g.rules, func(x Rule) bool { return same(x, r) }) {
		return
	}
	r.ID, r.force = f.account.NewID("sgr-bp1", 17), force
	g.rules = append(g.rules, r)
}

func same(a, b Rule) bool {
	return a.Drop == b.Drop && a.Priority == b.Priority && a.Protocol == b.Protocol && a.From == b.From && a.To == b.To && a.Source == b.Source
}

// among reads a list parameter that is a string of JSON; absent, it matches everything.
func among(r *cloud.Request, name, value string) (bool, error) {
	if r.Get(name) == "" {
		return true, nil
	}
	var list []string
	if json.Unmarshal([]byte(r.Get(name)), &list) != nil || len(list) > 100 {
		return false, cloud.Errorf(400, "InvalidParameter", "The specified parameter %s is not a valid JSON array of at most 100 strings.", name)
	}
	return slices.Contains(list, value), nil
}

func (f *Fake) describeInstances(r *cloud.Request) (any, error) {
	if err := r.Only("InstanceIds", "PrivateIpAddresses", "InstanceNetworkType", "VpcId", "VSwitchId", "ZoneId", "Status", "PageNumber", "PageSize"); err != nil {
		return nil, err
	}
	if r.Get("PrivateIpAddresses") != "" && r.Get("InstanceNetworkType") != "vpc" {
		return nil, cloud.Errorf(400, "InvalidParameter", "PrivateIpAddresses can be used only when InstanceNetworkType is vpc.")
	}
	found := []any{}
	for _, i := range f.instances {
		network, addresses := "vpc", []string{i.IP.String()}
		if i.Classic {
			network, addresses = "classic", nil
		}
		byID, err := among(r, "InstanceIds", i.ID)
		if err != nil {
			return nil, err
		}
		byIP, err := among(r, "PrivateIpAddresses", i.IP.String())
		if err != nil {
			return nil, err
		}
		if !byID || !byIP || !resource.Is(r, "InstanceNetworkType", network) || !resource.Is(r, "VpcId", i.VPCID) || !resource.Is(r, "VSwitchId", i.VSwitchID) || !resource.Is(r, "ZoneId", i.ZoneID) || !resource.Is(r, "Status", i.Status) {
			continue
		}
		found = append(found, map[string]any{
			"InstanceId": i.ID, "InstanceName": i.Name, "Status": i.Status, "RegionId": f.account.Region, "ZoneId": i.ZoneID, "InstanceNetworkType": network,
			"VpcAttributes": map[string]any{"VpcId": i.VPCID, "VSwitchId": i.VSwitchID, "NatIpAddress": "",
				"PrivateIpAddress": map[string]any{"IpAddress": addresses}},
			"SecurityGroupIds": map[string]any{"SecurityGroupId": i.SecurityGroups},
		})
	}
	page, size, err := paged(r, len(found), 10)
	if err != nil {
		return nil, err
	}
	from, to := min((page-1)*size, len(found)), min(page*size, len(found))
	return map[string]any{"Instances": map[string]any{"Instance": found[from:to]}, "TotalCount": len(found), "PageNumber": page, "PageSize": size}, nil
}

func paged(r *cloud.Request, n, standard int) (page, size int, err error) {
	page, size = 1, standard
	for name, into := range map[string]*int{"PageNumber": &page, "PageSize": &size} {
		if v := r.Get(name); v != "" {
			if *into, err = strconv.Atoi(v); err != nil || *into < 1 || name == "PageSize" && *into > 100 {
				return 0, 0, cloud.Errorf(400, "InvalidParameter", "The specified parameter %s is not valid.", name)
			}
		}
	}
	return page, size, nil
}

func (f *Fake) find(r *cloud.Request) (*group, error) {
	if g := f.group(r.Get("SecurityGroupId")); g != nil {
		return g, nil
	}
	return nil, cloud.Errorf(404, "InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
}

func (f *Fake) describeSecurityGroup(r *cloud.Request) (any, error) {
	if err := r.Only("SecurityGroupId", "NicType", "Direction", "MaxResults", "NextToken"); err != nil {
		return nil, err
	}
	g, err := f.find(r)
	if err != nil {
		return nil, err
	}
	if !resource.Is(r, "NicType", "intranet") { // a VPC's rules are all of this kind
		return map[string]any{"SecurityGroupId": g.id, "VpcId": g.vpcID, "Permissions": map[string]any{"Permission": []any{}}}, nil
	}
	found := []any{}
	for _, rule := range g.rules {
		policy := map[bool]string{true: "Drop", false: "Accept"}[rule.Drop]
		found = append(found, map[string]any{
			"SecurityGroupRuleId": rule.ID, "Direction": "ingress", "Policy": policy, "Priority": strconv.Itoa(rule.Priority), "IpProtocol": rule.Protocol,
			"PortRange": fmt.Sprintf("%d/%d", rule.From, rule.To), "SourceCidrIp": rule.Source.String(), "NicType": "intranet", "Description": rule.Description,
		})
	}
	page, next, _, err := resource.Page(r, found, 500, 1000)
	if err != nil {
		return nil, err
	}
	return map[string]any{"SecurityGroupId": g.id, "VpcId": g.vpcID, "RegionId": f.account.Region, "InnerAccessPolicy": "Accept", "NextToken": next,
		"Permissions": map[string]any{"Permission": page}}, nil
}

// maxRules is how many rules a group of the basic kind may have.
const maxRules = 200

func (f *Fake) authorize(r *cloud.Request) (any, error) {
	if err := r.Only("SecurityGroupId", "Permissions"); err != nil {
		return nil, err
	}
	g, err := f.find(r)
	if err != nil {
		return nil, err
	}
	rules, err := permissions(r)
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 || len(rules) > 100 {
		return nil, cloud.Errorf(400, "MissingParameter", "The input parameter Permissions has to list 1 to 100 rules.")
	}
	if len(g.rules)+len(rules) > maxRules {
		return nil, cloud.Errorf(403, "AuthorizationLimitExceed", "The limit of authorization records in the security group reaches.")
	}
	force := f.account.Now().Add(f.account.Between(0, 5*time.Second))
	for _, rule := range rules {
		f.add(g, rule, force)
	}
	return map[string]any{}, nil
}

func permissions(r *cloud.Request) ([]Rule, error) {
	var rules []Rule
	for _, p := range r.List("Permissions") {
		for key := range p {
			if !slices.Contains([]string{"Policy", "Priority", "IpProtocol", "SourceCidrIp", "PortRange", "NicType", "Description"}, key) {
				return nil, cloud.Errorf(501, "NotImplemented", "The fake of ecs %s does not honour Permissions.%s.", r.Action, key)
			}
		}
		rule := Rule{Priority: 1, Protocol: strings.ToUpper(p["IpProtocol"]), Description: p["Description"]}
		from, to, _ := strings.Cut(p["PortRange"], "/")
		var bad [4]error
		rule.From, bad[0] = strconv.Atoi(from)
		rule.To, bad[1] = strconv.Atoi(to)
		rule.Source, bad[2] = netip.ParsePrefix(p["SourceCidrIp"])
		if v := p["Priority"]; v != "" {
			rule.Priority, bad[3] = strconv.Atoi(v)
		}
		all := rule.From == -1 && rule.To == -1
		switch {
		case !slices.Contains([]string{"TCP", "UDP", "ICMP", "GRE", "ALL"}, rule.Protocol):
			return nil, cloud.Errorf(400, "InvalidIpProtocol.ValueNotSupported", "The parameter IpProtocol must be specified with case insensitive TCP, UDP, ICMP, GRE or All.")
		case bad[0] != nil || bad[1] != nil || (rule.Protocol == "TCP" || rule.Protocol == "UDP") != (!all && rule.From >= 1 && rule.From <= rule.To && rule.To <= 65535):
			return nil, cloud.Errorf(400, "InvalidParam.PortRange", "The specified parameter PortRange is not valid.")
		case bad[2] != nil:
			return nil, cloud.Errorf(400, "InvalidParam.SourceIp", "The specified parameter SourceCidrIp is not valid.")
		case bad[3] != nil || rule.Priority < 1 || rule.Priority > 100:
			return nil, cloud.Errorf(400, "InvalidPriority.ValueNotSupported", "The parameter Priority is invalid.")
		case !slices.Contains([]string{"", "accept", "drop"}, strings.ToLower(p["Policy"])):
			return nil, cloud.Errorf(400, "InvalidPolicy.Malformed", "The parameter Policy must be accept or drop.")
		case p["NicType"] != "intranet":
			return nil, cloud.Errorf(403, "InvalidNicType.ValueNotSupported", "A rule of a security group in a VPC has to have the NicType intranet.")
		case len(p["Description"]) > 512:
			return nil, cloud.Errorf(400, "InvalidSecurityGroupDiscription.Malformed", "The specified rule description is not valid.")
		}
		rule.Drop, rule.Source = strings.EqualFold(p["Policy"], "drop"), rule.Source.Masked()
		rules = append(rules, rule)
	}
	return rules, nil
}

func (f *Fake) revoke(r *cloud.Request) (any, error) {
	if err := r.Only("SecurityGroupId", "SecurityGroupRuleId", "Permissions"); err != nil {
		return nil, err
	}
	g, err := f.find(r)
	if err != nil {
		return nil, err
	}
	ids := resource.Values(r, "SecurityGroupRuleId")
	rules, err := permissions(r)
	if err != nil {
		return nil, err
	}
	if len(ids)+len(rules) == 0 || len(ids) > 100 {
		return nil, cloud.Errorf(400, "MissingParameter", "The input parameter SecurityGroupRuleId has to list 1 to 100 rules.")
	}
	for _, id := range ids {
		if !slices.ContainsFunc(g.rules, func(x Rule) bool { return x.ID == id }) {
			return nil, cloud.Errorf(404, "InvalidSecurityGroupRule.RuleNotExist", "The specified rule %s does not exist.", id)
		}
	}
	g.rules = slices.DeleteFunc(g.rules, func(x Rule) bool {
		return slices.Contains(ids, x.ID) || slices.ContainsFunc(rules, func(rule Rule) bool { return same(rule, x) })
	})
	return map[string]any{}, nil
}
