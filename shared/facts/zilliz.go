package facts

import "time"

// ZillizSurvey is what Zilliz Cloud says of the clusters and of their region.
type ZillizSurvey struct {
	// Service is the name of the region's endpoint service; Whitelist says that the
	// account has to be admitted before it sees that.
	Service   string          `json:"service"`
	Whitelist bool            `json:"whitelist,omitempty"`
	Clusters  []ZillizCluster `json:"clusters"`
}

// ZillizCluster is one cluster.
type ZillizCluster struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
	// Host is that of a private address which stands already: another network's
	// endpoint has brought it about, and it proves nothing of this one.
	Host string `json:"host,omitempty"`
	// Switchable says that the API can open and close the public address, Public
	// whether it is open.
	Switchable bool `json:"switchable,omitempty"`
	Public     bool `json:"public,omitempty"`
}

// AWSPreflight is what AWS says of the network.
type AWSPreflight struct {
	AccountID string   `json:"accountId"`
	VPCCIDRs  []string `json:"vpcCidrs"`
	// CrossRegion says that the service is in another region.
	CrossRegion bool        `json:"crossRegion,omitempty"`
	Subnets     []AWSSubnet `json:"subnets"`
	// ZonesLater says that the service's zones are not to be seen yet.
	ZonesLater bool `json:"zonesLater,omitempty"`
	// Instance is the machine that proves the link; nil without one.
	Instance *AWSInstance `json:"instance,omitempty"`
}

// AWSSubnet is a subnet for the endpoint.
type AWSSubnet struct {
	ID   string `json:"id"`
	Zone string `json:"zone"`
}

// AWSInstance is a machine in the VPC.
type AWSInstance struct {
	ID       string   `json:"id"`
	SubnetID string   `json:"subnetId"`
	Address  string   `json:"address"`
	GroupIDs []string `json:"groupIds"`
}

// ZillizAdmit is the account on the service's whitelist.
type ZillizAdmit struct {
	AccountID string    `json:"accountId"`
	At        time.Time `json:"at"`
}

// AWSGroup is the endpoint's security group.
type AWSGroup struct {
	ID    string    `json:"id,omitempty"`
	Asked time.Time `json:"asked,omitzero"` // when it was requested
}

// AWSEndpoint is the interface endpoint.
type AWSEndpoint struct {
	ID    string    `json:"id,omitempty"`
	Asked time.Time `json:"asked,omitzero"`
	// Name is the regional DNS name, ZoneID the hosted zone of AWS's that it is in.
	Name   string `json:"name,omitempty"`
	ZoneID string `json:"zoneId,omitempty"`
}

// ZillizRegister is the endpoint's registration at the service.
type ZillizRegister struct {
	EndpointID string `json:"endpointId"`
	// Asked is when it was about to be requested, Sent says that it was.
	Asked time.Time `json:"asked,omitzero"`
	Sent  bool      `json:"sent,omitempty"`
	// Refused is what the service said to the request: the list decides.
	Refused string `json:"refused,omitempty"`
	Status  string `json:"status,omitempty"`
}

// AWSAcceptance is the accepted endpoint.
type AWSAcceptance struct {
	Addresses []string `json:"addresses"` // of its interfaces
}

// ZillizAddress are the clusters' private addresses.
type ZillizAddress struct {
	Clusters []PrivateAddress `json:"clusters"`
}

// PrivateAddress is where a cluster answers inside the network.
type PrivateAddress struct {
	ClusterID string `json:"clusterId"`
	Host      string `json:"host"`
	Port      int    `json:"port"`
}

// AWSRules are the rules of security groups that this run has added.
type AWSRules struct {
	// Egress are the clients' groups with egress rules of the run.
	Egress []string `json:"egress,omitempty"`
	// Ingress counts the rules of the endpoint's group.
	Ingress int `json:"ingress"`
}

// AWSDNS are the hosted zones of the clusters' names.
type AWSDNS struct {
	Zones []HostedZone `json:"zones"`
}

// HostedZone is one zone.
type HostedZone struct {
	Host string `json:"host"`
	ID   string `json:"id,omitempty"`
	// Change is one that Route 53 has not told all of its servers yet.
	Change string    `json:"change,omitempty"`
	Asked  time.Time `json:"asked,omitzero"` // since when its token is known to be used
}

// AWSVerify is what was proved of the clusters, in the order of the spec.
type AWSVerify struct {
	// Level is how far the proof goes: login, reached or control plane; Summary says
	// that in a sentence.
	Level   string  `json:"level,omitempty"`
	Summary string  `json:"summary,omitempty"`
	Checks  []Check `json:"checks,omitempty"`
	// Walk counts the walks, Next is the cluster that is probed next, and Probe the
	// command that runs for it.
	Walk  int      `json:"walk,omitempty"`
	Next  int      `json:"next,omitempty"`
	Try   int      `json:"try,omitempty"`
	Probe *Command `json:"probe,omitempty"`
}

// Command is a command that runs on a machine.
type Command struct {
	ID   string    `json:"id"`
	Sent time.Time `json:"sent"`
}

// ZillizPublic is what became of the public addresses.
type ZillizPublic struct {
	// Closed are the clusters whose public address this run has closed, ToDo those
	// that a person has to close.
	Closed []string `json:"closed,omitempty"`
	ToDo   []string `json:"toDo,omitempty"`
}
