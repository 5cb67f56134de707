package privatewhitelist

import (
	"cmp"
	"fmt"
	"strings"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/facts"
)

// wanted is what the group is to hold, or what keeps it from that.
func wanted(w *events.Whitelist, id string, have []string, exists bool) ([]string, error) {
	group := cmp.Or(w.Group, escluster.DefaultGroup)
	want := w.IPs
	switch {
	case w.Mode == events.Cover:
	case !exists:
		return nil, found("whitelist.group", fmt.Sprintf("the private whitelist of %s has no group %s, and %s wants one that exists", id, group, w.Mode),
			"check its name, or use mode Cover, which creates it")
	case w.Mode == events.Append:
		want = append(append([]string{}, have...), minus(w.IPs, have)...)
	default:
		if want = minus(have, w.IPs); len(want) == 0 {
			return nil, found("whitelist.ips", fmt.Sprintf("the whitelist group %s of %s would be empty, and a group keeps at least one IP", group, id),
				"leave one out, or delete the group: mode Cover without ips")
		}
	}
	if len(want) > most {
		return nil, found("whitelist.ips", fmt.Sprintf("the whitelist group %s of %s would hold %d entries", group, id, len(want)), fmt.Sprintf("a group holds %d at most: use another one, or wider networks", most))
	}
	return want, nil
}

// change is the request for it. A plain list can only be replaced: to add to it
// or to take from it, it is called by its group's name. What is deleted is named
// as the group has it.
func change(w *events.Whitelist, have []string, next *facts.PendingWhitelist) escluster.WhitelistChange {
	group := cmp.Or(w.Group, escluster.DefaultGroup)
	switch w.Mode {
	case events.Append:
		return escluster.WhitelistChange{Mode: escluster.Append, Group: group, IPs: next.Add}
	case events.Delete:
		return escluster.WhitelistChange{Mode: escluster.Delete, Group: group, IPs: common(have, next.Remove)}
	}
	return escluster.WhitelistChange{Mode: escluster.Cover, Group: w.Group, IPs: w.IPs}
}

// difference is a change as a person reads it.
func difference(add, remove []string) string {
	var out []string
	if len(add) > 0 {
		out = append(out, "adds "+list(add))
	}
	if len(remove) > 0 {
		out = append(out, "removes "+list(remove))
	}
	return strings.Join(out, ", ")
}

func list(ips []string) string {
	const shown = 8
	if len(ips) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(ips[:shown], " "), len(ips)-shown)
	}
	return strings.Join(ips, " ")
}
