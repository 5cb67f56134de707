package events

import (
	"fmt"
	"slices"
	"strings"
)

// Risks that elastic-azure knows.
const (
	// RiskPublicBlocked accepts that a deployment refuses traffic from the internet
	// once its first policy is associated.
	RiskPublicBlocked = "public-traffic-blocked"
	// RiskNotProven accepts that nothing is proved from inside the network.
	RiskNotProven = "not-proven-inside"
	// RiskFiltered accepts that policies are associated of which none admits the
	// private endpoint.
	RiskFiltered = "private-traffic-filtered"
	// RiskCustomDNS accepts that the network asks DNS servers of its own.
	RiskCustomDNS = "custom-dns"
)

// Azure is where the private endpoint goes (elastic-azure).
type Azure struct {
	SubscriptionID string `json:"subscriptionId"`
	ResourceGroup  string `json:"resourceGroup"` // of the network, and of what is made
	Location       string `json:"location"`      // of the network, such as westeurope
	VirtualNetwork string `json:"virtualNetwork"`
	Subnet         string `json:"subnet"`
	// DNSResourceGroup is where the zone goes; ResourceGroup if left out.
	DNSResourceGroup string `json:"dnsResourceGroup,omitempty"`
	// MoreVirtualNetworkIDs are further networks that the zone is linked to.
	MoreVirtualNetworkIDs []string `json:"moreVirtualNetworkIds,omitempty"`
}

// NetworkID is the virtual network's, in Resource Manager's form.
func (a Azure) NetworkID() string {
	return "/subscriptions/" + a.SubscriptionID + "/resourceGroups/" + a.ResourceGroup + "/providers/Microsoft.Network/virtualNetworks/" + a.VirtualNetwork
}

// Elastic is what is connected: deployments of one region of Elastic Cloud.
type Elastic struct {
	DeploymentIDs []string `json:"deploymentIds"`
	Region        string   `json:"region"` // such as azure-eastus2
	// Policy names the private connection policy; eslink-<run> if left out.
	Policy *Policy `json:"policy,omitempty"`
	// Associate has the policy filter the deployments' traffic.
	Associate bool `json:"associate,omitempty"`
	// Claim has no other organization use the private endpoint in a policy.
	Claim bool `json:"claim,omitempty"`
	// ApplyByDefault attaches the policy to every new deployment of the region.
	ApplyByDefault bool `json:"applyByDefault,omitempty"`
	// Service is for regions that eslink does not know.
	Service *LinkService `json:"service,omitempty"`
}

// AzureCheck names a private endpoint to check by its resource ID.
type AzureCheck struct {
	EndpointID string `json:"endpointId"`
}

// ElasticCheck names the deployment that it should lead to.
type ElasticCheck struct {
	DeploymentID string `json:"deploymentId"`
}

// Policy is how a private connection policy is called.
type Policy struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// LinkService is a private link service of Elastic's.
type LinkService struct {
	Alias string `json:"alias"`
	Zone  string `json:"zone"`
}

// Vantage is the machine inside the network that proves the link.
type Vantage struct {
	// VM is "<resource group>/<name>" in the subscription (elastic-azure).
	VM string `json:"vm,omitempty"`
	// InstanceID is an EC2 instance in the VPC (zilliz-aws).
	InstanceID string `json:"instanceId,omitempty"`
	// Parameter names a SecureString of Parameter Store, in the VPC's region, with a
	// credential for the clusters; without it no login is tested.
	Parameter string `json:"parameter,omitempty"`
}

// Machine is the resource group and name of VM.
func (v Vantage) Machine() (group, name string) {
	group, name, _ = strings.Cut(v.VM, "/")
	return group, name
}

// VMName is how a secret's "for" names the machine: vm:<subscription>/<group>/<name>.
func (s Spec) VMName() string {
	if s.Azure == nil || s.Vantage == nil {
		return ""
	}
	return "vm:" + s.Azure.SubscriptionID + "/" + s.Vantage.VM
}

// Accepts reports whether the spec accepts a risk.
func (s Spec) Accepts(risk string) bool { return slices.Contains(s.AcceptRisks, risk) }

func (s *Spec) fillAzure() {
	if s.Azure != nil && s.Azure.DNSResourceGroup == "" {
		s.Azure.DNSResourceGroup = s.Azure.ResourceGroup
	}
}

// checkAzure holds what a schema cannot say.
func (s *Spec) checkAzure(fs *Findings) {
	if s.Azure == nil || s.Elastic == nil {
		return
	}
	for i, id := range s.Azure.MoreVirtualNetworkIDs {
		if strings.EqualFold(id, s.Azure.NetworkID()) {
			fs.Add(fmt.Sprintf("spec.azure.moreVirtualNetworkIds[%d]", i), "it is the endpoint's own network", "leave it out: the zone is linked to that anyway")
		}
	}
	if v := s.Elastic.Service; v != nil && (strings.Contains(v.Alias, "-privatelink-serverless.") || strings.HasPrefix(v.Zone, "private.")) {
		fs.Add("spec.elastic.service", "it is the service of serverless projects", "name a hosted deployment and its service: traffic filters of projects are of another kind")
	}
	if s.Vantage == nil && !s.Accepts(RiskNotProven) {
		fs.Add("spec.vantage", "it is missing, so nothing could be proved from inside the network", fmt.Sprintf("name a Linux machine on the network, or name %q in acceptRisks", RiskNotProven))
	}
	if s.Vantage != nil && s.Secrets.Target == "" {
		fs.Add("spec.secrets.target", "it is missing", "name the KMS secret of a login at the deployments, which the probe uses")
	}
	if s.Elastic.ApplyByDefault && !s.Elastic.Associate {
		fs.Add("spec.elastic.applyByDefault", "new deployments would be filtered, and those named would not", "say associate: true too, or leave applyByDefault out")
	}
}
