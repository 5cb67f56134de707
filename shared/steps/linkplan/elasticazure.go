package linkplan

import (
	"fmt"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/facts"
	"eslink/shared/run"
)

const (
	// hoursPerMonth is how Azure reckons a month.
	hoursPerMonth = 730
	// endpointHour and zoneMonth are list prices of Azure, in USD (Azure Private Link
	// and Azure DNS pricing, 2026; prices change).
	endpointHour = 0.01
	zoneMonth    = 0.50
)

// elasticAzure plans a private connection from an Azure network to deployments on
// Elastic Cloud.
func elasticAzure(r *run.Run) draft {
	var d draft
	r.Facts.AzureProbe.Forget()
	r.Facts.AzureVerify.Forget()
	a, e, f := r.Spec.Azure, r.Spec.Elastic, r.Facts
	if f.AzureEndpoint == nil || f.AzureEndpoint.GUID == "" {
		d.creates = append(d.creates, fmt.Sprintf("a private endpoint in subnet %s of %s, to Elastic's service for %s", a.Subnet, a.VirtualNetwork, e.Region))
	}
	if f.AzureDNS == nil || f.AzureDNS.Address == "" {
		d.creates = append(d.creates, "DNS zone "+f.ElasticSurvey.Zone+" in "+a.DNSResourceGroup+" with its record *, or only the record in the zone that is linked already")
	}
	for _, id := range append([]string{a.NetworkID()}, a.MoreVirtualNetworkIDs...) {
		if f.AzureDNS == nil || !slices.ContainsFunc(f.AzureDNS.Links, func(l facts.ZoneLink) bool { return strings.EqualFold(l.Network, id) }) {
			d.creates = append(d.creates, "the zone's link to network "+id[strings.LastIndex(id, "/")+1:])
		}
	}
	if f.ElasticPolicy == nil {
		d.creates = append(d.creates, "a private connection policy, or a rule in the one of that name; it approves the endpoint")
	}
	d.lockedOut(r)
	d.letIn(r)
	if e.ApplyByDefault && (f.ElasticPolicy == nil || f.ElasticPolicy.Created) {
		d.access = append(d.access, "every new deployment of "+e.Region+" refuses public traffic, by applyByDefault")
	}
	d.cost = run.Cost{Currency: "USD", PerHour: endpointHour, PerMonth: endpointHour*hoursPerMonth + zoneMonth,
		Note: "one private endpoint and one private zone; traffic comes on top, at both clouds; list prices of 2026"}
	return d
}

// lockedOut names whom associations lock out. The first one of a deployment turns
// the internet away, so a person has to want it.
func (d *draft) lockedOut(r *run.Run) {
	for i, k := range r.Facts.ElasticSurvey.Deployments {
		if !r.Spec.Elastic.Associate {
			if len(k.Policies) > 0 {
				d.findings.AddRisk(events.RiskFiltered, fmt.Sprintf("elastic.deploymentIds[%d]", i),
					fmt.Sprintf("policies are associated with deployment %s already (%s), and the private endpoint is admitted by none of them", k.Name, names(k)),
					"say associate: true")
			}
			continue
		}
		if a := r.Facts.ElasticAccess; a != nil && slices.Contains(a.Associated, k.ID) {
			continue
		}
		if len(k.Policies) > 0 {
			d.access = append(d.access, fmt.Sprintf("deployment %s admits the private endpoint too; it is filtered already by %s", k.Name, names(k)))
			continue
		}
		d.access = append(d.access, fmt.Sprintf("deployment %s refuses all traffic that does not come through the private endpoint: no policy and no IP filter is associated with it today, so everybody who uses it over the internet is locked out, Kibana and agents included", k.Name))
		d.consent = d.consent || !r.Spec.Accepts(events.RiskPublicBlocked)
	}
}

// letIn names deployments that lose the policy by a changed spec.
func (d *draft) letIn(r *run.Run) {
	a := r.Facts.ElasticAccess
	if a == nil {
		return
	}
	for _, id := range a.Associated {
		if r.Spec.Elastic.Associate && slices.Contains(r.Spec.Elastic.DeploymentIDs, id) {
			continue
		}
		d.access = append(d.access, "deployment "+id+" loses the run's policy; if that is its last one, it takes traffic from the internet again")
		d.consent = true
	}
}

func names(k facts.Deployment) string {
	if len(k.PolicyNames) == 0 {
		return strings.Join(k.Policies, ", ")
	}
	return strings.Join(k.PolicyNames, ", ")
}
