package events

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// AWS is the network that clusters are reached from (zilliz-aws).
type AWS struct {
	Region    string   `json:"region"`
	VPCID     string   `json:"vpcId"`
	SubnetIDs []string `json:"subnetIds"`
	// ClientSecurityGroupIDs and ClientCIDRs are who may connect: at least one.
	ClientSecurityGroupIDs []string `json:"clientSecurityGroupIds,omitempty"`
	ClientCIDRs            []string `json:"clientCidrs,omitempty"`
	// ManageClientEgress adds an egress rule to the clients' groups where none
	// admits the clusters' port.
	ManageClientEgress bool `json:"manageClientEgress,omitempty"`
	// MoreVPCs of the same account get the clusters' names, too.
	MoreVPCs []AWSVPC `json:"moreVpcs,omitempty"`
}

// AWSVPC names a VPC.
type AWSVPC struct {
	ID     string `json:"id"`
	Region string `json:"region"`
}

// Zilliz is what is to be reached (zilliz-aws).
type Zilliz struct {
	ProjectID  string   `json:"projectId"`
	ClusterIDs []string `json:"clusterIds"`
	Region     string   `json:"region"` // as Zilliz Cloud names it: aws-us-west-2
	API        string   `json:"api,omitempty"`
	// PublicAccess is "keep" or "disable", after the link is proved.
	PublicAccess string `json:"publicAccess,omitempty"`
	// ReopenPublic has teardown open again what this run closed.
	ReopenPublic bool `json:"reopenPublic,omitempty"`
}

// Disable is the value of PublicAccess that closes public addresses.
const Disable = "disable"

// AWSRegion is the AWS region that the clusters are in.
func (z Zilliz) AWSRegion() string { return strings.TrimPrefix(z.Region, "aws-") }

// fillZilliz writes out what left-out fields mean.
func (s *Spec) fillZilliz() {
	if s.Zilliz != nil {
		s.Zilliz.API = cmp.Or(s.Zilliz.API, "global")
		s.Zilliz.PublicAccess = cmp.Or(s.Zilliz.PublicAccess, "keep")
	}
}

// checkZilliz holds what a schema cannot say.
func (s *Spec) checkZilliz(fs *Findings) {
	if s.AWS == nil {
		return
	}
	if len(s.AWS.ClientSecurityGroupIDs)+len(s.AWS.ClientCIDRs) == 0 {
		fs.Add("spec.aws.clientSecurityGroupIds", "nobody may connect", "name the security groups of the clients, or their networks in clientCidrs")
	}
	for i, c := range s.AWS.ClientCIDRs {
		field := fmt.Sprintf("spec.aws.clientCidrs[%d]", i)
		switch n, err := netip.ParsePrefix(c); {
		case err != nil || n != n.Masked():
			fs.Add(field, c+" is not a network", "give a network such as 10.20.0.0/16, with zeros behind the prefix")
		case n.Bits() == 0:
			fs.Add(field, "it admits everybody who can reach the endpoint", "name the clients' networks")
		}
	}
	if i := slices.IndexFunc(s.AWS.MoreVPCs, func(v AWSVPC) bool { return v.ID == s.AWS.VPCID }); i >= 0 {
		fs.Add(fmt.Sprintf("spec.aws.moreVpcs[%d].id", i), "it is vpcId itself", "leave it out: that one has the names anyway")
	}
}

// AWSCheck names an endpoint whose link is to be checked.
type AWSCheck struct {
	Region     string `json:"region"`
	EndpointID string `json:"endpointId"`
}

// ZillizCheck names the cluster that it leads to.
type ZillizCheck struct {
	ProjectID string `json:"projectId"`
	ClusterID string `json:"clusterId"`
	API       string `json:"api,omitempty"`
}
