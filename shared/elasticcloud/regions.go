package elasticcloud

import (
	"fmt"
	"slices"
	"strings"
)

// Service is Elastic's private link service of a region.
type Service struct {
	Alias string // of the private link service, for a private endpoint's manual connection
	Zone  string // the private DNS zone for which the certificates are
}

// services are those of hosted deployments, by the region's name at Azure. Source:
// Elastic's documentation, "Private connectivity with Azure Private Link", table
// "Azure public regions". No API lists them.
var services = map[string]Service{
	"australiaeast":    {"australiaeast-prod-012-privatelink-service.a0cf0c1a-33ab-4528-81e7-9cb23608f94e.australiaeast.azure.privatelinkservice", "privatelink.australiaeast.azure.elastic-cloud.com"},
	"centralus":        {"centralus-prod-009-privatelink-service.49a041f7-2ad1-4bd2-9898-fba7f7a1ff77.centralus.azure.privatelinkservice", "privatelink.centralus.azure.elastic-cloud.com"},
	"eastus2":          {"eastus2-prod-002-privatelink-service.64359fdd-7893-4215-9929-ece3287e1371.eastus2.azure.privatelinkservice", "privatelink.eastus2.azure.elastic-cloud.com"},
	"francecentral":    {"francecentral-prod-008-privatelink-service.8ab667fd-e8af-44b2-a347-bd48d109afec.francecentral.azure.privatelinkservice", "privatelink.francecentral.azure.elastic-cloud.com"},
	"japaneast":        {"japaneast-prod-006-privatelink-service.cfcf2172-917a-4260-b002-3e7183e56fd0.japaneast.azure.privatelinkservice", "privatelink.japaneast.azure.elastic-cloud.com"},
	"northeurope":      {"northeurope-prod-005-privatelink-service.163e4238-bdde-4a0b-a812-04650bfa41c4.northeurope.azure.privatelinkservice", "privatelink.northeurope.azure.elastic-cloud.com"},
	"southeastasia":    {"southeastasia-prod-004-privatelink-service.20d67dc0-2a36-40a0-af8d-0e1f997a419d.southeastasia.azure.privatelinkservice", "privatelink.southeastasia.azure.elastic-cloud.com"},
	"uksouth":          {"uksouth-prod-007-privatelink-service.98758729-06f7-438d-baaa-0cb63e737cdf.uksouth.azure.privatelinkservice", "privatelink.uksouth.azure.elastic-cloud.com"},
	"westeurope":       {"westeurope-prod-001-privatelink-service.190cd496-6d79-4ee2-8f23-0667fd5a8ec1.westeurope.azure.privatelinkservice", "privatelink.westeurope.azure.elastic-cloud.com"},
	"westus2":          {"westus2-prod-003-privatelink-service.b9c176b8-4fe9-41f9-916c-67cacd753ca1.westus2.azure.privatelinkservice", "privatelink.westus2.azure.elastic-cloud.com"},
	"eastus":           {"eastus-prod-010-privatelink-service.b5765cd8-1fc8-45e9-91fc-a9b208369f9a.eastus.azure.privatelinkservice", "privatelink.eastus.azure.elastic-cloud.com"},
	"southcentralus":   {"southcentralus-prod-013-privatelink-service.f8030986-5fb9-4b0e-8463-69604233b07e.southcentralus.azure.privatelinkservice", "privatelink.southcentralus.azure.elastic-cloud.com"},
	"canadacentral":    {"canadacentral-prod-011-privatelink-service.203896f1-da53-4c40-b7db-0ba4e17a1019.canadacentral.azure.privatelinkservice", "privatelink.canadacentral.azure.elastic-cloud.com"},
	"brazilsouth":      {"brazilsouth-prod-014-privatelink-service.05813ca4-cd0f-4692-ad69-a339d023f666.brazilsouth.azure.privatelinkservice", "privatelink.brazilsouth.azure.elastic-cloud.com"},
	"centralindia":     {"centralindia-prod-016-privatelink-service.071806ca-8101-425b-ae86-737935a719d3.centralindia.azure.privatelinkservice", "privatelink.centralindia.azure.elastic-cloud.com"},
	"southafricanorth": {"southafricanorth-prod-015-privatelink-service.b443098d-6382-42aa-9025-e0cd3ec9c103.southafricanorth.azure.privatelinkservice", "privatelink.southafricanorth.azure.elastic-cloud.com"},
}

// azurePrefix begins the API's names of regions at Azure.
const azurePrefix = "azure-"

// ServiceOf returns the private link service for deployments of a region, such as
// azure-eastus2. Its errors say what to do instead.
func ServiceOf(region string) (Service, error) {
	name, ok := strings.CutPrefix(region, azurePrefix)
	if !ok {
		return Service{}, fmt.Errorf("region %s is not one of Azure: Azure Private Link reaches deployments on Azure alone, so name a deployment of a region such as azure-eastus2", region)
	}
	s, ok := services[name]
	if !ok {
		return Service{}, fmt.Errorf("the private link service of region %s is not known (known are %s): set elastic.service to the alias and zone that Elastic's documentation names for it", region, strings.Join(Regions(), ", "))
	}
	return s, nil
}

// Regions lists the regions that ServiceOf knows, by the API's names.
func Regions() []string {
	var out []string
	for name := range services {
		out = append(out, azurePrefix+name)
	}
	slices.Sort(out)
	return out
}

// Serverless reports whether a service is one for serverless projects, whose
// aliases and zones differ from those of hosted deployments.
func (s Service) Serverless() bool {
	return strings.Contains(s.Alias, "privatelink-serverless") || strings.HasPrefix(s.Zone, "private.")
}

// Private is the name, within the zone, of a host's public one, such as
// my-deployment.es of my-deployment.es.eastus2.azure.elastic-cloud.com: what the
// zone's name has behind its first label is the region's public domain.
func (s Service) Private(host string) (string, error) {
	_, domain, _ := strings.Cut(s.Zone, ".")
	name, ok := strings.CutSuffix(host, "."+domain)
	if !ok || name == "" {
		return "", fmt.Errorf("host %s is not in %s, to which zone %s belongs", host, domain, s.Zone)
	}
	return name + "." + s.Zone, nil
}
