// Package vpc is a fake of Alibaba Cloud VPC (API version 2016-04-28): networks and vSwitches are given, calls read
// them, and other fakes take private addresses from the vSwitches.
package vpc

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"eslink/localtest/fakes/cloud"
)

// VPC is a network.
type VPC struct{ ID, Name, CIDR string }

// VSwitch is a part of a network, in one zone.
type VSwitch struct{ ID, Name, VpcID, ZoneID, CIDR string }

// Networks holds the account's networks and serves the API.
type Networks struct {
	http.Handler
	account *cloud.Account

	mu        sync.Mutex
	vpcs      []VPC
	vswitches []*vswitch
}

type vswitch struct {
	VSwitch
	prefix netip.Prefix
	taken  map[netip.Addr]bool
}

// New makes an account without networks.
func New(a *cloud.Account) *Networks {
	n := &Networks{account: a}
	n.Handler = a.RPC("vpc", "2016-04-28", map[string]cloud.Op{
		"DescribeVpcs": n.describeVpcs, "DescribeVSwitches": n.describeVSwitches, "DescribeVSwitchAttributes": n.describeVSwitchAttributes,
	})
	return n
}

// AddVPC adds a network. Its ID has to be new and its CIDR an IPv4 prefix.
func (n *Networks) AddVPC(v VPC) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, err := netip.ParsePrefix(v.CIDR); err != nil || !p.Addr().Is4() || p != p.Masked() {
		return fmt.Errorf("add vpc %s: CIDR %q is no IPv4 network", v.ID, v.CIDR)
	}
	if slices.ContainsFunc(n.vpcs, func(o VPC) bool { return o.ID == v.ID }) {
		return fmt.Errorf("add vpc %s: exists", v.ID)
	}
	n.vpcs = append(n.vpcs, v)
	return nil
}

// AddVSwitch adds a vSwitch to a network that was added. Its CIDR (/16 to /29) lies in the network's and overlaps no other.
func (n *Networks) AddVSwitch(v VSwitch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, err := netip.ParsePrefix(v.CIDR)
	if err != nil || p != p.Masked() || p.Bits() < 16 || p.Bits() > 29 {
		return fmt.Errorf("add vSwitch %s: CIDR %q is no IPv4 network of /16 to /29", v.ID, v.CIDR)
	}
	i := slices.IndexFunc(n.vpcs, func(o VPC) bool { return o.ID == v.VpcID })
	if i < 0 {
		return fmt.Errorf("add vSwitch %s: no vpc %s", v.ID, v.VpcID)
	}
	if outer := netip.MustParsePrefix(n.vpcs[i].CIDR); !outer.Contains(p.Addr()) || outer.Bits() > p.Bits() {
		return fmt.Errorf("add vSwitch %s: %s is not in %s", v.ID, v.CIDR, n.vpcs[i].CIDR)
	}
	for _, o := range n.vswitches {
		if o.ID == v.ID || o.VpcID == v.VpcID && o.prefix.Overlaps(p) {
			return fmt.Errorf("add vSwitch %s: conflicts with %s %s", v.ID, o.ID, o.CIDR)
		}
	}
	n.vswitches = append(n.vswitches, &vswitch{v, p, map[netip.Addr]bool{}})
	return nil
}

// VPC finds a network.
func (n *Networks) VPC(id string) (VPC, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range n.vpcs {
		if v.ID == id {
			return v, true
		}
	}
	return VPC{}, false
}

// VSwitch finds a vSwitch.
func (n *Networks) VSwitch(id string) (VSwitch, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v := n.find(id); v != nil {
		return v.VSwitch, true
	}
	return VSwitch{}, false
}

// VSwitches lists the vSwitches of a network, in the order they were added.
func (n *Networks) VSwitches(vpcID string) []VSwitch {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []VSwitch
	for _, v := range n.vswitches {
		if v.VpcID == vpcID {
			list = append(list, v.VSwitch)
		}
	}
	return list
}

// TakeIP takes the vSwitch's next free address; it is the zero Addr if there is no such vSwitch or no address left.
func (n *Networks) TakeIP(vswitchID string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.find(vswitchID)
	if v == nil || v.available() == 0 {
		return netip.Addr{}
	}
	ip := v.prefix.Addr().Next()
	for v.taken[ip] {
		ip = ip.Next()
	}
	v.taken[ip] = true
	return ip
}

// FreeIP gives an address back.
func (n *Networks) FreeIP(vswitchID string, ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v := n.find(vswitchID); v != nil {
		delete(v.taken, ip)
	}
}

func (n *Networks) find(id string) *vswitch {
	for _, v := range n.vswitches {
		if v.ID == id {
			return v
		}
	}
	return nil
}

// available: the cloud keeps the first and the last three addresses for itself.
func (v *vswitch) available() int { return 1<<(32-v.prefix.Bits()) - 4 - len(v.taken) }

func (n *Networks) describeVpcs(r *cloud.Request) (any, error) {
	if err := r.Only("VpcId", "VpcName", "PageNumber", "PageSize"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []any{}
	for _, v := range n.vpcs {
		if (r.Get("VpcId") == "" || slices.Contains(strings.Split(r.Get("VpcId"), ","), v.ID)) && selected(r, "VpcName", v.Name) {
			ids := []string{}
			for _, s := range n.vswitches {
				if s.VpcID == v.ID {
					ids = append(ids, s.ID)
				}
			}
			list = append(list, map[string]any{"VpcId": v.ID, "VpcName": v.Name, "CidrBlock": v.CIDR, "RegionId": n.account.Region,
				"Status": "Available", "IsDefault": false, "VSwitchIds": map[string]any{"VSwitchId": ids}})
		}
	}
	return page(r, "Vpcs", "Vpc", list)
}

func (n *Networks) describeVSwitches(r *cloud.Request) (any, error) {
	if err := r.Only("VpcId", "VSwitchId", "ZoneId", "VSwitchName", "PageNumber", "PageSize"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []any{}
	for _, v := range n.vswitches {
		if selected(r, "VpcId", v.VpcID) && selected(r, "VSwitchId", v.ID) && selected(r, "ZoneId", v.ZoneID) && selected(r, "VSwitchName", v.Name) {
			list = append(list, v.reply())
		}
	}
	return page(r, "VSwitches", "VSwitch", list)
}

func (n *Networks) describeVSwitchAttributes(r *cloud.Request) (any, error) {
	if err := r.Only("VSwitchId"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.find(r.Get("VSwitchId"))
	if v == nil {
		return nil, cloud.Errorf(http.StatusNotFound, "InvalidVSwitchId.NotFound", "The specified virtual switch does not exist.")
	}
	return v.reply(), nil
}

func (v *vswitch) reply() map[string]any {
	return map[string]any{"VSwitchId": v.ID, "VSwitchName": v.Name, "VpcId": v.VpcID, "ZoneId": v.ZoneID, "CidrBlock": v.CIDR,
		"Status": "Available", "IsDefault": false, "AvailableIpAddressCount": v.available()}
}

func selected(r *cloud.Request, name, value string) bool {
	return r.Get(name) == "" || r.Get(name) == value
}

// page cuts a list: PageNumber from 1, PageSize 1 to 50, 10 by default.
func page(r *cloud.Request, outer, inner string, list []any) (any, error) {
	number, size := 1, 10
	for name, at := range map[string]*int{"PageNumber": &number, "PageSize": &size} {
		if s := r.Get(name); s != "" {
			if *at, _ = strconv.Atoi(s); *at < 1 || *at > 1<<20 || name == "PageSize" && *at > 50 {
				return nil, cloud.Errorf(http.StatusBadRequest, "InvalidParameter", "The specified %s %s is not valid.", name, s)
			}
		}
	}
	from := min((number-1)*size, len(list))
	return map[string]any{"TotalCount": len(list), "PageNumber": number, "PageSize": size,
		outer: map[string]any{inner: list[from:min(from+size, len(list))]}}, nil
}
