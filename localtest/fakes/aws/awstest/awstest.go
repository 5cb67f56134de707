// Package awstest fills the fakes of AWS and Zilliz Cloud with a small world: an
// account with a VPC that is to reach two clusters, and a machine in it.
package awstest

import (
	"net/http"
	"net/netip"

	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/vantage/zillizprobe"
)

// What the world is made with; the README's spec names them.
const (
	Account = "111122223333"
	Region  = "us-west-2"

	VPC = "vpc-0a1b2c3d4e5f60718" // 10.20.0.0/16
	// SubnetA and SubnetB are in zones that the service is in, SubnetC is in one that
	// it is not.
	SubnetA = "subnet-0a00000000000000a"
	SubnetB = "subnet-0b00000000000000b"
	SubnetC = "subnet-0c00000000000000c"
	// SubnetVM has the machine, in zone us-west-2a.
	SubnetVM = "subnet-0d00000000000000d"
	// Clients is the group of those who are to reach the clusters; its egress admits
	// everything. Instance is one of them.
	Clients  = "sg-0c11e000000000001"
	Instance = "i-0b0be00000000000a"
	Profile  = "arn:aws:iam::" + Account + ":instance-profile/eslink-probe"

	// MoreVPC is another VPC of the account, in MoreRegion, with two subnets.
	MoreVPC      = "vpc-0f1e2d3c4b5a69788"
	MoreRegion   = "us-east-1"
	MoreSubnet   = "subnet-0e00000000000000e"
	MoreClients  = "sg-0c11e000000000002"
	MoreInstance = "i-0b0be00000000000b"

	AccessKeyID = "AKIA0000ESLINK000001"
	SecretKey   = "canary-aws-2b9f40c7d1e8a3560e"
	Role        = "arn:aws:iam::" + Account + ":role/eslink"
	ExternalID  = "eslink-7"

	Project       = "proj-20e13e974c7d659a83xxxx"
	ZillizRegion  = "aws-us-west-2"
	Service       = "com.amazonaws.vpce.us-west-2.vpce-svc-0b62964bfd0edfb74"
	Cluster       = "in01-0a1b2c3d4e5f601"
	OtherCluster  = "in01-0a1b2c3d4e5f602"
	Serverless    = "in03-0a1b2c3d4e5f603"
	Port          = 19530
	APIKey        = "canary-zilliz-6d0c5be29f47a1"
	DataKey       = "canary-data-91e7c04ab35f28"
	DataParameter = "/eslink/zilliz"
)

// World is both clouds.
type World struct {
	AWS    *aws.Fake
	Zilliz *zilliz.Fake
}

// New makes it; clock, seed, faults and log are those of account.
func New(account *cloud.Account) World {
	a := aws.New(account, Account)
	z := zilliz.New(account, a)
	a.AddKey(AccessKeyID, SecretKey, Account)
	a.AddRole(Role, Account, ExternalID)
	a.AddVPC(aws.VPC{ID: VPC, Region: Region, CIDR: netip.MustParsePrefix("10.20.0.0/16"), DNSSupport: true, DNSHostnames: true})
	a.AddVPC(aws.VPC{ID: MoreVPC, Region: MoreRegion, CIDR: netip.MustParsePrefix("10.30.0.0/16"), DNSSupport: true, DNSHostnames: true})
	for _, s := range []aws.Subnet{
		{ID: SubnetA, VPC: VPC, Zone: Region + "a", CIDR: netip.MustParsePrefix("10.20.1.0/24")},
		{ID: SubnetB, VPC: VPC, Zone: Region + "b", CIDR: netip.MustParsePrefix("10.20.2.0/24")},
		{ID: SubnetC, VPC: VPC, Zone: Region + "c", CIDR: netip.MustParsePrefix("10.20.3.0/24")},
		{ID: SubnetVM, VPC: VPC, Zone: Region + "a", CIDR: netip.MustParsePrefix("10.20.9.0/24")},
		{ID: MoreSubnet, VPC: MoreVPC, Zone: MoreRegion + "d", CIDR: netip.MustParsePrefix("10.30.1.0/24")},
	} {
		a.AddSubnet(s)
	}
	a.AddGroup(Clients, VPC)
	a.AddGroup(MoreClients, MoreVPC)
	a.AddInstance(aws.Instance{ID: Instance, VPC: VPC, Subnet: SubnetVM, Groups: []string{Clients}, Profile: Profile, Agent: "Online"})
	a.AddInstance(aws.Instance{ID: MoreInstance, VPC: MoreVPC, Subnet: MoreSubnet, Groups: []string{MoreClients}, Profile: Profile, Agent: "Online"})
	for _, region := range []string{Region, MoreRegion} {
		a.PutDocument(region, zillizprobe.Document, zillizprobe.Text())
		a.PutParameter(region, DataParameter, DataKey)
	}
	z.AddKey(APIKey)
	z.AddService(zilliz.Service{Region: ZillizRegion, Name: Service}, Region, []string{Region + "a", Region + "b"}, []string{MoreRegion})
	z.AddCluster(zilliz.Cluster{ID: Cluster, Project: Project, Region: ZillizRegion, CUs: 2, Port: Port, Public: true, Switchable: true, Collections: []string{"books", "films"}, Keys: []string{DataKey}})
	z.AddCluster(zilliz.Cluster{ID: OtherCluster, Project: Project, Region: ZillizRegion, CUs: 1, Port: Port, Public: true, Keys: []string{DataKey}})
	z.AddCluster(zilliz.Cluster{ID: Serverless, Project: Project, Region: ZillizRegion, Plan: "Serverless", Port: Port})
	a.SetRunner(aws.Agent{Fake: a, Handler: z.Data}.Twin)
	return World{a, z}
}

// Handler serves a host of either cloud, or is nil.
func (w World) Handler(host string) http.Handler {
	switch {
	case aws.IsHost(host):
		return w.AWS
	case host == zilliz.Host:
		return w.Zilliz
	}
	return nil
}

// Transport reaches both without sockets.
func (w World) Transport() http.RoundTripper { return cloud.Transport(w.Handler) }
