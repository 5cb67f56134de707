package events

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Ways to change a whitelist.
const (
	Cover  = "Cover" // replace it; of a group, no IPs delete it
	Append = "Append"
	Delete = "Delete" // at least one IP has to stay
)

// Whitelist is a change of an instance's private IP whitelist: of a group of
// it, or without one of its plain list.
type Whitelist struct {
	Mode  string   `json:"mode"`
	IPs   []string `json:"ips"` // IPv4 addresses and networks
	Group string   `json:"group,omitempty"`
}

func (w *Whitelist) fill() { w.Mode = cmp.Or(w.Mode, Cover) }

func (w *Whitelist) check(fs *Findings) {
	switch {
	case len(w.IPs) > 0:
	case w.Mode != Cover:
		fs.Add("spec.whitelist.ips", "it is empty", "list the addresses to "+strings.ToLower(w.Mode))
	case w.Group == "" || w.Group == "default":
		fs.Add("spec.whitelist.ips", "it is empty, and the plain list cannot be deleted", "list at least one address; 127.0.0.1 alone admits nobody")
	}
	if strings.HasPrefix(w.Group, "eslink_") {
		fs.Add("spec.whitelist.group", w.Group+" is the group of a run's balancer", "name another group; that one goes with its run")
	}
	for i, ip := range w.IPs {
		if why, remedy := entry(ip); why != "" {
			fs.Add(fmt.Sprintf("spec.whitelist.ips[%d]", i), ip+" "+why, remedy)
		} else if slices.ContainsFunc(w.IPs[:i], func(other string) bool { return strings.TrimSuffix(other, "/32") == strings.TrimSuffix(ip, "/32") }) {
			fs.Add(fmt.Sprintf("spec.whitelist.ips[%d]", i), ip+" is listed already", "list each address once")
		}
	}
}

// entry says what is wrong with an entry of a private whitelist, if anything is.
func entry(s string) (why, remedy string) {
	const example = "give an IPv4 address such as 10.0.0.8, or a network such as 10.0.0.0/24"
	text := s
	if !strings.Contains(s, "/") {
		text += "/32"
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "is no IPv4 address or network", example
	case p != p.Masked():
		return "is an address with a network's length", "write " + p.Masked().String() + " for the network, or leave the length out"
	case p.Bits() == 0:
		return "", "" // everybody
	case !private(p):
		return "is public, and the private whitelist takes private addresses alone", "give addresses of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
	}
	return "", ""
}

// private reports whether all of a network is.
func private(p netip.Prefix) bool {
	return slices.ContainsFunc([]string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8"}, func(block string) bool {
		b := netip.MustParsePrefix(block)
		return b.Contains(p.Addr()) && p.Bits() >= b.Bits()
	})
}
