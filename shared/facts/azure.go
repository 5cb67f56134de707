package facts

// AzurePreflight is what Azure says of the network and of the machine on it.
type AzurePreflight struct {
	SubnetID string `json:"subnetId"`
	// FreeAddresses of the subnet, when it was read.
	FreeAddresses int `json:"freeAddresses"`
	// MachineID and MachineLocation are the vantage machine's; empty without one.
	MachineID       string `json:"machineId,omitempty"`
	MachineLocation string `json:"machineLocation,omitempty"`
	// DNSServers are the network's own; none means Azure's.
	DNSServers []string `json:"dnsServers,omitempty"`
}

// ElasticSurvey is what Elastic Cloud says of the deployments and their region.
type ElasticSurvey struct {
	Alias       string       `json:"alias"` // of the private link service
	Zone        string       `json:"zone"`  // the private DNS zone
	Deployments []Deployment `json:"deployments"`
}

// Deployment is a deployment on Elastic Cloud.
type Deployment struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Host is Elasticsearch's name in the zone, Ports are tried in this order.
	Host  string `json:"host"`
	Ports []int  `json:"ports"`
	// URLs are the private ones of all that the deployment runs.
	URLs []ProductURL `json:"urls"`
	// Policies are those associated that are not the run's, by ID, and PolicyNames
	// what they are called as far as the key may see them.
	Policies    []string `json:"policies,omitempty"`
	PolicyNames []string `json:"policyNames,omitempty"`
}

// ProductURL is a private address of one application of a deployment.
type ProductURL struct {
	Product string `json:"product"` // elasticsearch, kibana, fleet or apm
	URL     string `json:"url"`
}

// AzureEndpoint is the private endpoint.
type AzureEndpoint struct {
	// Generation counts the endpoints of the run: a name is blocked for a while after
	// its deletion, so the next one has another.
	Generation int    `json:"generation"`
	Name       string `json:"name"`
	ID         string `json:"id,omitempty"`
	GUID       string `json:"guid,omitempty"` // properties.resourceGuid
	Address    string `json:"address,omitempty"`
}

// AzureDNS is the zone, with whether the run has made each part of it.
type AzureDNS struct {
	Group   string     `json:"group"`
	Zone    string     `json:"zone"`
	Created bool       `json:"created"`
	Links   []ZoneLink `json:"links"`
	// Address is what the record * holds, and RecordCreated whether the run wrote it.
	Address       string `json:"address,omitempty"`
	RecordCreated bool   `json:"recordCreated,omitempty"`
}

// ZoneLink is the zone's link to a virtual network.
type ZoneLink struct {
	Network string `json:"network"`
	Name    string `json:"name"`
	Created bool   `json:"created"`
}

// ElasticPolicy is the private connection policy.
type ElasticPolicy struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Created says that all of its rules are the run's.
	Created bool `json:"created"`
	// Deployments are those associated that the key may see, of Total in all.
	Deployments []string `json:"deployments,omitempty"`
	Total       int      `json:"totalAssociations"`
	// HiddenSince is when the API began to refuse reads of the policy, in unix
	// seconds; 0: it does not.
	HiddenSince int64 `json:"hiddenSince,omitempty"`
}

// AzureApproval is the endpoint's connection as Azure sees it.
type AzureApproval struct {
	Connection string `json:"connection"` // Approved
}

// ElasticAccess is what the run has associated and claimed.
type ElasticAccess struct {
	Associated []string `json:"associated,omitempty"` // deployments
	// Claimed is the private endpoint that the run has claimed.
	Claimed *ClaimedEndpoint `json:"claimed,omitempty"`
}

// ClaimedEndpoint is a private endpoint by what the other side knows of it.
type ClaimedEndpoint struct {
	Name string `json:"name"`
	GUID string `json:"guid"`
}

// InsideProof is what a machine inside the network saw.
type InsideProof struct {
	// Attempt counts the probes, each of which has a name of its own. Running is the
	// name of one that may exist at the machine.
	Attempt int    `json:"attempt"`
	Running string `json:"running,omitempty"`
	// Read is what Running has shown, and Unread why it showed nothing: it is deleted
	// next. Discard deletes it unread, as one of an earlier walk.
	Read    []Check `json:"read,omitempty"`
	Unread  string  `json:"unread,omitempty"`
	Discard bool    `json:"discard,omitempty"`
	// Level is "inside", or "control plane" when no machine was named.
	Level string `json:"level,omitempty"`
	// Results are the deployments' so far.
	Results []DeploymentChecks `json:"results,omitempty"`
	// Access is what a person needs to use the link.
	Access []string `json:"access,omitempty"`
}

// Forget begins a proof again, for another walk: a proof is of one. A probe that an
// earlier walk may have left behind is not forgotten: one that is on record, or of a
// walk that has no result.
func (p *InsideProof) Forget() {
	if p != nil {
		p.Discard = p.Running != "" || len(p.Results) == 0
		p.Results, p.Level, p.Read, p.Unread = nil, "", nil, ""
	}
}

// DeploymentChecks are the checks of one deployment.
type DeploymentChecks struct {
	DeploymentID string  `json:"deploymentId"`
	Host         string  `json:"host"`
	Checks       []Check `json:"checks"`
}
