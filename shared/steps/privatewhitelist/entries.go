package privatewhitelist

import (
	"net/netip"
	"slices"

	"eslink/shared/facts"
)

// settle counts the pending change as made if the group looks like it: its reply
// was lost, or the invocation died.
func settle(f *facts.PrivateWhitelist, have []string, exists bool) {
	if p := f.Pending; p != nil && len(minus(p.Add, have)) == 0 && len(common(have, p.Remove)) == 0 && exists != p.Delete {
		fold(f)
	}
}

// fold adds the pending change to what the run has changed. What was taken away
// and then put back is no change.
func fold(f *facts.PrivateWhitelist) {
	p := f.Pending
	added := slices.Concat(minus(f.Added, p.Remove), minus(p.Add, slices.Concat(f.Removed, f.Added)))
	f.Removed = slices.Concat(minus(f.Removed, p.Add), minus(p.Remove, slices.Concat(f.Added, f.Removed)))
	f.Added, f.Created, f.Deleted, f.Pending = added, f.Created || p.Create && !f.Deleted, p.Delete, nil
}

func same(a, b facts.PendingWhitelist) bool {
	return slices.Equal(a.Add, b.Add) && slices.Equal(a.Remove, b.Remove) && a.Create == b.Create && a.Delete == b.Delete
}

// minus lists the entries of a that b lacks, common those that b has, both as a
// writes them.
func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(entry string) bool { return has(b, entry) })
}

func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(entry string) bool { return !has(b, entry) })
}

func has(list []string, entry string) bool {
	return slices.ContainsFunc(list, func(other string) bool { return network(other) == network(entry) })
}

// network is what an entry means: 10.0.0.8 and 10.0.0.8/32 are the same. What
// cannot be read means itself.
func network(entry string) string {
	if a, err := netip.ParseAddr(entry); err == nil {
		return netip.PrefixFrom(a, a.BitLen()).String()
	}
	if p, err := netip.ParsePrefix(entry); err == nil {
		return p.Masked().String()
	}
	return entry
}
