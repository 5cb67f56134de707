package deploy

import (
	"fmt"
	"strings"
)

// A Function is one line of the table: all that is to be said of a function
// besides its code. Rendered from it are functions/<Name>/main.go, its resource
// in a deployment file, and its line in localtest/world/functions.go; its queue,
// its role and its policy are made from it by `up`.
type Function struct {
	// Name is the step's, or that of what users or the cloud call. It is deployed
	// as eslink-<Name>.
	Name string
	Set  Set
	// Side is the network that the function needs: that of a cluster, or none.
	Side Side
	// Memory is in MB and CPU in cores, whose ratio is 1 to 4 GB a core; 0 stands
	// for 256 and 0.25. Every function has Timeout seconds.
	Memory  int
	CPU     float64
	Trigger Trigger
	// Code is what the function is made of: of a step, "" stands for New in
	// shared/steps/<Name without dashes>; of others, package (below shared) and
	// constructor.
	Code string
	// Networks says that its environment has the deployment's VPCs and vSwitches.
	Networks bool
	Does     string
	// Rights are the operations that it calls, by product: "kms: GetSecretValue".
	// Those that its trigger implies (see rights) are not repeated.
	Rights []string
}

// Timeout of every function, in seconds: work is done after 200, and queues hide
// a message for more than four of these (queue.json).
const Timeout = 240

// A Set is what is deployed and removed together, from a file of its own.
type Set string

// The sets. s.yaml has Common and Alibaba; every set has shared/deploy/<set>.yaml.
const (
	Common  Set = "common"
	Alibaba Set = "alibaba"
	Azure   Set = "azure"
	AWS     Set = "aws"
)

// A Side is the network of a function.
type Side string

// The sides. A function of a side is in the VPC of the cluster that is read, or
// of the one that runs _reindex.
const (
	None        Side = ""
	Source      Side = "source"
	Destination Side = "destination"
)

// A Trigger wakes a function.
type Trigger string

// The triggers.
const (
	Stream    Trigger = ""          // a step: an event stream from the queue eslink-<Name>
	POST      Trigger = "POST"      // signed HTTP
	GET       Trigger = "GET"       // signed HTTP
	Creations Trigger = "creations" // the default event bus: an instance was created
	Timer     Trigger = "timer"     // every five minutes
	Messages  Trigger = "messages"  // an event stream, as a step's, of a function that is no step
)

// Functions is the table, in the order of the deployment files.
func Functions() []Function { return table }

var table = []Function{
	// What all scenarios need.
	{Name: "runs", Set: Common, Trigger: POST, Code: "api.RunsFunction", Does: "start, cancel, retry, teardown",
		Rights: []string{"ots: GetRow PutRow GetRange DeleteRow", "mns: SendMessage"}},
	{Name: "approve", Set: Common, Trigger: POST, Code: "api.ApproveFunction", Does: "consent to a plan",
		Rights: []string{"ots: GetRow PutRow", "mns: SendMessage"}},
	{Name: "status", Set: Common, Trigger: GET, Code: "api.StatusFunction", Does: "what a run does and why",
		Rights: []string{"ots: GetRow GetRange"}},
	{Name: "sweep", Set: Common, Trigger: Timer, Code: "api.SweepFunction", Does: "sends again what is overdue",
		Rights: []string{"ots: GetRange GetRow PutRow", "mns: SendMessage"}},
	{Name: "notify", Set: Common, Trigger: Messages, Code: "api/notify.Function", Does: "tells people that a run waits or has ended",
		Rights: []string{"ots: GetRow", "kms: GetSecretValue"}},
	{Name: "link-plan", Set: Common, Does: "what will be made on other clouds, and approval"},
	// The scenarios of Alibaba Cloud Elasticsearch.
	{Name: "preflight", Set: Alibaba, Networks: true, Does: "limits, seen from the cloud's side",
		Rights: []string{"elasticsearch: DescribeInstance", "privatelink: CheckProductOpen DescribeZones", "nlb: DescribeZones", "slb: DescribeAvailableResource", "ecs: DescribeInstances DescribeSecurityGroupAttribute", "vpc: DescribeVSwitches DescribeVSwitchAttributes"}},
	{Name: "survey", Set: Alibaba, Side: Source, Does: "source cluster: reachable, rights, mappings, counts",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "plan", Set: Alibaba, Side: Destination, Does: "destination cluster, cost, approval",
		Rights: []string{"elasticsearch: DescribeInstance EstimatedRestartTime GetKeystores", "kms: GetSecretValue"}},
	{Name: "nlb", Set: Alibaba, Does: "private NLB in ES_2's VPC",
		Rights: []string{"nlb: CreateLoadBalancer GetLoadBalancerAttribute ListLoadBalancers DeleteLoadBalancer", "ots: GetRange DeleteRow"}},
	{Name: "ip-whitelist", Set: Alibaba, Does: "ES_2 admits the NLB",
		Rights: []string{"elasticsearch: DescribeInstance UpdateWhiteIps"}},
	{Name: "nlb-backend", Set: Alibaba, Side: Source, Does: "server group, listener, health",
		Rights: []string{"nlb: CreateServerGroup ListServerGroups DeleteServerGroup AddServersToServerGroup ListServerGroupServers RemoveServersFromServerGroup CreateListener ListListeners GetListenerAttribute GetListenerHealthStatus DeleteListener GetJobStatus"}},
	{Name: "clb", Set: Alibaba, Does: "private CLB in the ECS host's VPC",
		Rights: []string{"slb: CreateLoadBalancer DescribeLoadBalancerAttribute DescribeLoadBalancers DeleteLoadBalancer", "ots: GetRange DeleteRow"}},
	{Name: "firewall", Set: Alibaba, Does: "the host's security group admits the CLB",
		Rights: []string{"ecs: DescribeSecurityGroupAttribute AuthorizeSecurityGroup RevokeSecurityGroup"}},
	{Name: "clb-backend", Set: Alibaba, Does: "server groups, listeners, health",
		Rights: []string{"slb: DescribeLoadBalancerAttribute CreateVServerGroup DescribeVServerGroups DescribeVServerGroupAttribute AddVServerGroupBackendServers RemoveVServerGroupBackendServers DeleteVServerGroup CreateLoadBalancerTCPListener DescribeLoadBalancerTCPListenerAttribute StartLoadBalancerListener DeleteLoadBalancerListener DescribeHealthStatus"}},
	{Name: "endpoint-service", Set: Alibaba, Does: "PrivateLink service on the balancer",
		Rights: []string{"privatelink: CreateVpcEndpointService GetVpcEndpointServiceAttribute ListVpcEndpointServices ListVpcEndpointServiceResources DetachResourceFromVpcEndpointService DeleteVpcEndpointService"}},
	{Name: "private-connection", Set: Alibaba, Does: "ES_1's endpoint to the service",
		Rights: []string{"elasticsearch: CreateVpcEndpoint ListVpcEndpoints DeleteVpcEndpoint"}},
	{Name: "accept", Set: Alibaba, Does: "accepts that endpoint",
		Rights: []string{"elasticsearch: ListVpcEndpoints", "privatelink: ListVpcEndpointConnections EnableVpcEndpointConnection DisableVpcEndpointConnection"}},
	{Name: "configure", Set: Alibaba, Side: Destination, Does: "ES_1's reindex whitelist, restart",
		Rights: []string{"elasticsearch: DescribeInstance UpdateInstanceSettings EstimatedRestartTime ListActionRecords InterruptElasticsearchTask GetKeystores UpdateKeystores", "kms: GetSecretValue", "ots: GetRange"}},
	{Name: "destination", Set: Alibaba, Side: Destination, Does: "destination indices",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "reindex", Set: Alibaba, Side: Destination, Does: "kicks off, cancels",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "progress", Set: Alibaba, Side: Destination, Does: "waits for the tasks",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "digest", Set: Alibaba, Side: Source, Memory: 1024, CPU: 0.5, Does: "source side counts and hashes",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "verify", Set: Alibaba, Side: Destination, Memory: 1024, CPU: 0.5, Does: "the four checks, and the comparison",
		Rights: []string{"elasticsearch: ListVpcEndpoints", "privatelink: ListVpcEndpointConnections", "nlb: GetListenerAttribute GetListenerHealthStatus", "slb: DescribeLoadBalancerTCPListenerAttribute DescribeHealthStatus", "kms: GetSecretValue"}},
	{Name: "private-whitelist", Set: Alibaba, Does: "one group of ES_1's IP whitelist",
		Rights: []string{"elasticsearch: DescribeInstance UpdateWhiteIps", "ots: GetRange DeleteRow"}},
	{Name: "check", Set: Alibaba, Side: Destination, Trigger: POST, Code: "api/check.Function", Does: "the four checks of a link",
		Rights: []string{"elasticsearch: DescribeInstance ListVpcEndpoints", "privatelink: ListVpcEndpointConnections ListVpcEndpointServiceResources", "nlb: ListListeners GetListenerAttribute GetListenerHealthStatus", "slb: DescribeLoadBalancerTCPListenerAttribute DescribeHealthStatus", "kms: GetSecretValue", "ots: GetRow"}},
	{Name: "created", Set: Alibaba, Trigger: Creations, Code: "api/created.Function", Does: "a cluster was created: starts its profile's run",
		Rights: []string{"elasticsearch: DescribeInstance ListInstance", "ots: GetRow PutRow", "mns: SendMessage"}},
	// elastic-azure.
	{Name: "azure-preflight", Set: Azure, Does: "network, subnet and machine in Azure",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "elastic-survey", Set: Azure, Does: "deployments and policies on Elastic Cloud",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "azure-endpoint", Set: Azure, Does: "private endpoint in Azure",
		Rights: []string{"kms: GetSecretValue", "ots: GetRange DeleteRow"}},
	{Name: "azure-dns", Set: Azure, Does: "private DNS zone, links and record in Azure",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "elastic-policy", Set: Azure, Does: "private connection policy on Elastic Cloud",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "azure-approval", Set: Azure, Does: "approval of the private endpoint",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "azure-probe", Set: Azure, Does: "proof from inside the network, without a login",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "elastic-access", Set: Azure, Does: "associations and claim on Elastic Cloud",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "azure-verify", Set: Azure, Does: "the four checks of a link from Azure",
		Rights: []string{"kms: GetSecretValue"}},
	// zilliz-aws.
	{Name: "zilliz-survey", Set: AWS, Does: "what Zilliz Cloud says of the clusters",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "aws-preflight", Set: AWS, Does: "the network on AWS, and the machine that proves the link",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "zilliz-admit", Set: AWS, Does: "the account on the whitelist of Zilliz Cloud's service",
		Rights: []string{"kms: GetSecretValue", "ots: GetRange DeleteRow"}},
	{Name: "aws-group", Set: AWS, Does: "security group of the endpoint",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "aws-endpoint", Set: AWS, Does: "interface endpoint on AWS",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "zilliz-register", Set: AWS, Does: "the endpoint's registration at Zilliz Cloud",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "aws-acceptance", Set: AWS, Does: "waits until the endpoint is accepted",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "zilliz-address", Set: AWS, Does: "the clusters' private addresses",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "aws-rules", Set: AWS, Does: "rules of security groups on AWS",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "aws-dns", Set: AWS, Does: "private hosted zones and records on AWS",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "aws-verify", Set: AWS, Does: "proof from inside the VPC",
		Rights: []string{"kms: GetSecretValue"}},
	{Name: "zilliz-public", Set: AWS, Does: "public addresses of the clusters",
		Rights: []string{"kms: GetSecretValue"}},
}

// Of returns the functions of some sets.
func Of(sets ...Set) (out []Function) {
	for _, f := range table {
		for _, s := range sets {
			if f.Set == s {
				out = append(out, f)
			}
		}
	}
	return out
}

// Sets lists the sets that have functions, in the table's order.
func Sets() (out []Set) {
	seen := map[Set]bool{}
	for _, f := range table {
		if !seen[f.Set] {
			seen[f.Set] = true
			out = append(out, f.Set)
		}
	}
	return out
}

// Step reports whether the function is a step of a flow.
func (f Function) Step() bool { return f.Trigger == Stream }

// Queued reports whether a queue wakes the function.
func (f Function) Queued() bool { return f.Step() || f.Trigger == Messages }

// Deployed is the function's name in the cloud, its role's and its queue's.
func (f Function) Deployed() string { return "eslink-" + f.Name }

// Resource is its key in a deployment file. A key that is a command of fc3 would
// make that command unusable for all (`s plan`).
func (f Function) Resource() string {
	if f.Name == "plan" || f.Name == "verify" {
		return f.Name + "-step"
	}
	return f.Name
}

// code returns the import path and the expression that make the function.
func (f Function) code() (path, expression string) {
	code := f.Code
	if code == "" {
		code = "steps/" + strings.ReplaceAll(f.Name, "-", "") + ".New"
	}
	pkg, constructor, _ := strings.Cut(code, ".")
	return "eslink/shared/" + pkg, pkg[strings.LastIndex(pkg, "/")+1:] + "." + constructor
}

// platform lists what the platform does in the function's role: with a role of its own, a function does not use
// AliyunServiceRoleForFC, which has these rights. FC's page "Grant permissions" has them in its samples.
func (f Function) platform() []string {
	if f.Side == None {
		return nil
	}
	return []string{"vpc:DescribeVSwitchAttributes", "vpc:DescribeVpcAttribute", "ecs:CreateNetworkInterface", "ecs:DeleteNetworkInterface", "ecs:DescribeNetworkInterfaces",
		"ecs:CreateNetworkInterfacePermission", "ecs:DeleteNetworkInterfacePermission", "ecs:DescribeNetworkInterfacePermissions"}
}

// actions lists the function's rights as RAM writes them, product by product.
func (f Function) actions() (out []string, err error) {
	rights := append([]string{"log: PostLogStoreLogs"}, f.Rights...) // its output
	if f.Step() {
		rights = append([]string{"ots: GetRow PutRow", "mns: SendMessage"}, rights...)
	}
	for _, r := range rights {
		product, operations, ok := strings.Cut(r, ":")
		if !ok || len(strings.Fields(operations)) == 0 {
			return nil, fmt.Errorf("function %s: right %q: want <product>: <Operation> …", f.Name, r)
		}
		for _, o := range strings.Fields(operations) {
			out = append(out, product+":"+o)
		}
	}
	return out, nil
}
