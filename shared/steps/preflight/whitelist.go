package preflight

import (
	"net/netip"
	"slices"

	"eslink/shared/aliyun/escluster"
)

// admits reports whether the groups together admit every address of a network.
func admits(groups []escluster.WhiteGroup, network netip.Prefix) bool {
	var open []netip.Prefix
	for _, g := range groups {
		for _, ip := range g.IPs {
			if p, err := netip.ParsePrefix(ip); err == nil {
				open = append(open, p.Masked())
			} else if a, err := netip.ParseAddr(ip); err == nil {
				open = append(open, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return covered(network.Masked(), open)
}

// covered reports whether p lies within open as a whole, if need be in parts.
func covered(p netip.Prefix, open []netip.Prefix) bool {
	if slices.ContainsFunc(open, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) }) {
		return true
	}
	if p.IsSingleIP() || !slices.ContainsFunc(open, p.Overlaps) {
		return false
	}
	lower := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	upper := p.Addr().As4()
	upper[p.Bits()/8] |= 1 << (7 - p.Bits()%8)
	return covered(lower, open) && covered(netip.PrefixFrom(netip.AddrFrom4(upper), p.Bits()+1), open)
}
