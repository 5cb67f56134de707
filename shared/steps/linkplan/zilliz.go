package linkplan

import (
	"fmt"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/run"
)

const (
	// awsHoursPerMonth is how AWS reckons a month.
	awsHoursPerMonth = 730
	// awsEndpointHour is the price of an interface endpoint in one zone, awsZoneMonth
	// that of a hosted zone, in USD: list prices of us-west-2 (AWS PrivateLink and
	// Amazon Route 53 pricing, 2026; prices change).
	awsEndpointHour = 0.01
	awsZoneMonth    = 0.50
)

// zillizAWS plans a private connection from a VPC to clusters on Zilliz Cloud.
func zillizAWS(r *run.Run) draft {
	var d draft
	a, z, f := r.Spec.AWS, r.Spec.Zilliz, r.Facts
	if f.ZillizSurvey.Whitelist && f.ZillizAdmit == nil {
		d.creates = append(d.creates, fmt.Sprintf("an entry for account %s on the whitelist of Zilliz Cloud's endpoint service, which eslink cannot remove", f.AWSPreflight.AccountID))
	}
	if f.AWSGroup == nil {
		d.creates = append(d.creates, "a security group for the endpoint in "+a.VPCID)
	}
	if f.AWSEndpoint == nil {
		where := fmt.Sprintf("an interface endpoint in %s (%s) to %s", a.VPCID, strings.Join(a.SubnetIDs, ", "), f.ZillizSurvey.Service)
		if f.AWSPreflight.CrossRegion {
			where += ", across regions"
		}
		if f.AWSPreflight.ZonesLater {
			where += "; the service's zones are compared by step aws-endpoint, since the account does not see it yet"
		}
		d.creates = append(d.creates, where)
	}
	if f.ZillizRegister == nil {
		d.creates = append(d.creates, fmt.Sprintf("the endpoint's registration in project %s; it admits the VPC to all present and future Dedicated clusters of the project in %s, not only to %s", z.ProjectID, z.Region, strings.Join(z.ClusterIDs, ", ")))
	}
	for _, id := range z.ClusterIDs {
		if !hasZone(r, id) {
			d.creates = append(d.creates, fmt.Sprintf("a private hosted zone with the private name of cluster %s; step aws-dns stops if the VPC has one of that name", id))
		}
	}
	if f.AWSRules == nil && a.ManageClientEgress {
		d.creates = append(d.creates, "an egress rule in each of "+strings.Join(a.ClientSecurityGroupIDs, ", ")+", unless one admits the port already")
	}
	for _, v := range a.MoreVPCs {
		d.creates = append(d.creates, fmt.Sprintf("the names in %s too, unless it has them: names, not routes, which peering or a transit gateway have to bring", v.ID))
	}
	if !slices.ContainsFunc(d.creates, func(s string) bool { return !strings.HasPrefix(s, "the names in ") }) {
		d.creates = nil // they are compared by aws-dns, and nothing else is missing
	}
	d.closes(r)
	d.cost = awsCost(r)
	return d
}

// hasZone reports whether a cluster's zone is on record.
func hasZone(r *run.Run, clusterID string) bool {
	if r.Facts.AWSDNS == nil || r.Facts.ZillizAddress == nil {
		return false
	}
	for _, k := range r.Facts.ZillizAddress.Clusters {
		for _, zone := range r.Facts.AWSDNS.Zones {
			if k.ClusterID == clusterID && k.Host == zone.Host && zone.ID != "" {
				return true
			}
		}
	}
	return false
}

// closes says whose public addresses are closed, which a person has to want.
func (d *draft) closes(r *run.Run) {
	if r.Spec.Zilliz.PublicAccess != events.Disable {
		return
	}
	for _, k := range r.Facts.ZillizSurvey.Clusters {
		switch {
		case !k.Switchable:
			d.access = append(d.access, fmt.Sprintf("cluster %s keeps its public address until a person closes it in the console: its API cannot; the run then ends as done-with-differences", k.ID))
		case k.Public:
			d.access = append(d.access, fmt.Sprintf("cluster %s is no longer reached over the internet, by anybody, once the private link is proved; the control plane stays public", k.ID))
			d.consent = d.consent || !r.Spec.Accepts(events.RiskPublicBlocked)
		}
	}
}

// awsCost is the standing cost.
func awsCost(r *run.Run) run.Cost {
	hour, zones := awsEndpointHour*float64(len(r.Spec.AWS.SubnetIDs)), awsZoneMonth*float64(len(r.Spec.Zilliz.ClusterIDs))
	note := "an endpoint's price by zones, from its creation whatever its state, and a hosted zone a cluster; 0.01 USD a GB of traffic comes on top"
	if r.Facts.AWSPreflight.CrossRegion {
		note += ", and data transfer between the regions"
	}
	return run.Cost{Currency: "USD", PerHour: hour, PerMonth: hour*awsHoursPerMonth + zones, Note: note + "; list prices of us-west-2, 2026"}
}
