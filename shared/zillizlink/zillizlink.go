// Package zillizlink has the four checks of a private link from an AWS VPC to a
// Zilliz Cloud cluster: what both control planes say (link), and what a probe from
// inside the VPC means (network, login, operation). It writes nothing.
package zillizlink

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"eslink/shared/apierr"
	"eslink/shared/aws/ec2"
	"eslink/shared/aws/route53"
	"eslink/shared/awsreach"
	"eslink/shared/facts"
	"eslink/shared/vantage"
	"eslink/shared/vantage/zillizprobe"
	"eslink/shared/zilliz"
)

// Network is what EC2 says of the endpoint's region.
type Network interface {
	Endpoint(ctx context.Context, id string) (ec2.Endpoint, error)
	Interfaces(ctx context.Context, ids []string) ([]ec2.Interface, error)
	Groups(ctx context.Context, ids []string) ([]ec2.Group, error)
	ACLs(ctx context.Context, subnetIDs []string) ([]ec2.ACL, error)
	Instance(ctx context.Context, id string) (ec2.Instance, error)
}

// Zones are hosted zones.
type Zones interface {
	ZonesOf(ctx context.Context, vpc route53.VPC) (map[string]string, error)
	Alias(ctx context.Context, zoneID, name string) (route53.Alias, error)
}

// Project is where endpoints are registered.
type Project interface {
	Endpoints(ctx context.Context, projectID string) ([]zilliz.Endpoint, error)
}

// Cloud is both clouds.
type Cloud struct {
	Network Network
	Zones   Zones
	Project Project
}

// Link is a link to one cluster.
type Link struct {
	Region, VPCID, EndpointID string
	ProjectID, ZillizRegion   string
	ClusterID, Host           string
	Port                      int
	// InstanceID is the machine that proves the link, "" without one; Parameter the
	// credential that it logs in with, "" without a login.
	InstanceID, Parameter string
}

// Control is the check named link. found is the endpoint, with the addresses of
// its interfaces, also where the check fails.
func Control(ctx context.Context, c Cloud, l Link) (check facts.Check, addresses []netip.Addr, err error) {
	no := func(remedy, format string, args ...any) (facts.Check, []netip.Addr, error) {
		return facts.Check{Name: "link", Detail: fmt.Sprintf(format, args...), Remedy: remedy}, addresses, nil
	}
	e, err := c.Network.Endpoint(ctx, l.EndpointID)
	if apierr.IsNotFound(err) {
		return no("start with \"again\", which creates another one", "endpoint %s is gone", l.EndpointID)
	}
	if err != nil {
		return check, nil, err
	}
	interfaces, err := c.Network.Interfaces(ctx, e.InterfaceIDs)
	if err != nil && !apierr.IsNotFound(err) {
		return check, nil, err
	}
	for _, n := range interfaces {
		if a, err := netip.ParseAddr(n.Address); err == nil {
			addresses = append(addresses, a)
		}
	}
	if e.State != ec2.Available {
		return no("see the VPC console, and Zilliz Cloud's (Network > Private Endpoint), for the cause", "endpoint %s is %.30q instead of available", l.EndpointID, e.State)
	}
	registered, err := c.Project.Endpoints(ctx, l.ProjectID)
	if err != nil {
		return check, nil, err
	}
	i := slices.IndexFunc(registered, func(r zilliz.Endpoint) bool { return r.ID == l.EndpointID && r.Region == l.ZillizRegion })
	if i < 0 || registered[i].Refused() {
		return no("start with \"again\", which registers it", "endpoint %s is not registered in project %s", l.EndpointID, l.ProjectID)
	}
	zones, err := c.Zones.ZonesOf(ctx, route53.VPC{ID: l.VPCID, Region: l.Region})
	if err != nil {
		return check, nil, err
	}
	zone, ok := zones[l.Host]
	if !ok {
		return no("start with \"again\", which creates it", "%s has no private hosted zone named %s", l.VPCID, l.Host)
	}
	alias, err := c.Zones.Alias(ctx, zone, l.Host)
	if err != nil && !apierr.IsNotFound(err) {
		return check, nil, err
	}
	if err != nil || !slices.ContainsFunc(e.Names, func(n ec2.Name) bool { return n.Name == alias.Target }) {
		return no("start with \"again\", which repairs the record if the zone is the run's", "record %s of zone %s does not point at endpoint %s", l.Host, zone, l.EndpointID)
	}
	admitted, err := c.admitted(ctx, e, l.Port)
	if err != nil {
		return check, nil, err
	}
	if !admitted {
		return no("start with \"again\", which adds them", "the endpoint's security group %s admits nobody on port %d", strings.Join(e.GroupIDs, ", "), l.Port)
	}
	return facts.Check{Name: "link", OK: true, Detail: fmt.Sprintf("endpoint %s is available and registered (%s), %s resolves to it in %s, and its group admits clients on port %d", l.EndpointID, cut(registered[i].Status), l.Host, l.VPCID, l.Port)}, addresses, nil
}

func (c Cloud) admitted(ctx context.Context, e ec2.Endpoint, port int) (bool, error) {
	groups, err := c.Network.Groups(ctx, e.GroupIDs)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(groups, func(g ec2.Group) bool {
		return slices.ContainsFunc(g.Ingress, func(r ec2.Rule) bool { return r.Protocol == "-1" || r.From <= port && port <= r.To })
	}), nil
}

func cut(s string) string { return s[:min(len(s), 30)] }

// untraced is what Trace says where no rule stands in the way.
const untraced = "the rules of its security groups and network ACLs let it through: look at its routes, and at a firewall on the machine"

// Trace says which security group or network ACL keeps the machine's packets from
// the endpoint, and the commands that change that.
func Trace(ctx context.Context, c Cloud, l Link) (detail, remedy string, err error) {
	instance, err := c.Network.Instance(ctx, l.InstanceID)
	if err != nil {
		return "", "", err
	}
	e, err := c.Network.Endpoint(ctx, l.EndpointID)
	if err != nil {
		return "", "", err
	}
	p := awsreach.Path{Region: l.Region, Instance: instance, Port: l.Port}
	if p.InstanceGroups, err = c.Network.Groups(ctx, instance.GroupIDs); err != nil {
		return "", "", err
	}
	if p.EndpointGroups, err = c.Network.Groups(ctx, e.GroupIDs); err != nil {
		return "", "", err
	}
	interfaces, err := c.Network.Interfaces(ctx, e.InterfaceIDs)
	if err != nil {
		return "", "", err
	}
	if p.ACLs, err = c.Network.ACLs(ctx, append([]string{instance.SubnetID}, e.SubnetIDs...)); err != nil {
		return "", "", err
	}
	analyzer := awsreach.Analyzer(l.Region, l.InstanceID, l.EndpointID, l.Port)
	for _, p.Interface = range interfaces {
		blocks := awsreach.Blocks(p)
		if len(blocks) == 0 {
			continue
		}
		var reasons, remedies []string
		for _, b := range blocks {
			doubt := ""
			if !b.Certain {
				doubt = " (as far as its rules can be read: it has prefix lists)"
			}
			reasons, remedies = append(reasons, b.String()+doubt), append(remedies, b.Remedy)
		}
		return strings.Join(reasons, "; "), strings.Join(remedies, "; "), nil
	}
	return untraced, "ask AWS's own analyzer, which is charged by the analysis: " + analyzer, nil
}

// Judge is what a probe's output means: the checks network, login and operation.
// addresses are those of the endpoint; trace is asked only where a connection
// hangs.
func Judge(l Link, o zillizprobe.Output, addresses []netip.Addr, trace func() (detail, remedy string, err error)) ([]facts.Check, error) {
	network := facts.Check{Name: vantage.Network}
	switch a := o.Best(); {
	case o.Missing != "":
		v := vantage.ToolMissing(o.Missing)
		network.Detail, network.Remedy = v.Detail, v.Remedy
	case a.Curl == vantage.CurlNotResolved || len(o.Addresses) == 0:
		network.Detail = fmt.Sprintf("%s does not resolve on %s: there is no private DNS record, or the machine does not ask the VPC's resolver", l.Host, l.InstanceID)
		network.Remedy = "fix check link first; then look at the machine's /etc/resolv.conf, which has to name the VPC's resolver"
	case !subset(o.Addresses, addresses):
		network.Detail = fmt.Sprintf("%s resolves to %s on %s, which is not the endpoint (%s)", l.Host, list(o.Addresses), l.InstanceID, list(addresses))
		network.Remedy = "fix check link first; then look for the name in /etc/hosts of the machine, and in forwarding rules of Route 53 Resolver"
	case a.Curl == vantage.CurlTimeout:
		detail, remedy, err := trace()
		if err != nil {
			return nil, err
		}
		network.Detail, network.Remedy = fmt.Sprintf("a connection from %s to %s:%d hangs: %s", l.InstanceID, l.Host, l.Port, detail), remedy
	case a.Curl == vantage.CurlNotReached:
		network.Detail = fmt.Sprintf("%s:%d refuses the connection of %s", l.Host, l.Port, l.InstanceID)
		network.Remedy = "see in Zilliz Cloud's console whether cluster " + l.ClusterID + " runs, and whether its private link still has this port"
	case a.Curl == vantage.CurlCertificate:
		network.Detail = fmt.Sprintf("the certificate that %s shows is not valid for that name (X.509 code %d)", l.Host, a.Verify)
		network.Remedy = "look whether something in the VPC inspects TLS; else ask Zilliz's support"
	case a.Curl != vantage.CurlOK:
		network.Detail = fmt.Sprintf("curl on %s ends with exit status %d", l.InstanceID, a.Curl)
		network.Remedy = fmt.Sprintf("run on that machine: curl -v https://%s:%d/", l.Host, l.Port)
	default:
		expected := ""
		if a.HTTP == 400 {
			expected = ", as expected without a request that it knows"
		}
		network.OK, network.Detail = true, fmt.Sprintf("from %s %s resolves to the endpoint (%s), TLS is valid, and the cluster answers with HTTP %d%s", l.InstanceID, l.Host, list(o.Addresses), a.HTTP, expected)
	}
	return append([]facts.Check{network}, logins(l, o, network.OK)...), nil
}

// reached are the checks login and operation where no credential is named.
func reached(ok bool) []facts.Check {
	const detail = "level reached: no login was tested, because the spec names no vantage.parameter"
	return []facts.Check{{Name: vantage.Login, OK: ok, Detail: detail}, {Name: vantage.Operation, OK: ok, Detail: detail}}
}

func logins(l Link, o zillizprobe.Output, network bool) []facts.Check {
	login, operation := facts.Check{Name: vantage.Login}, facts.Check{Name: vantage.Operation, Detail: "not tried", Remedy: "fix check login first"}
	if !network {
		login.Detail, login.Remedy = "not tried", "fix check network first"
		return []facts.Check{login, operation}
	}
	if l.Parameter == "" {
		return reached(true)
	}
	switch {
	case o.Login == zillizprobe.MissingAWS:
		login.Detail, login.Remedy = "the machine has no aws, with which it reads the credential", "install the AWS CLI on "+l.InstanceID
	case o.Login == zillizprobe.NoParameter:
		login.Detail, login.Remedy = fmt.Sprintf("Parameter Store has no %s in %s", l.Parameter, l.Region), fmt.Sprintf("aws ssm put-parameter --region %s --type SecureString --name %s, with a credential of the cluster (user:password, or an API key) as its value", l.Region, l.Parameter)
	case o.Login == zillizprobe.Denied:
		login.Detail, login.Remedy = fmt.Sprintf("the role of %s may not read parameter %s", l.InstanceID, l.Parameter), "allow it ssm:GetParameter on that parameter, and kms:Decrypt on its key"
	case o.Login == zillizprobe.BadParameter:
		login.Detail, login.Remedy = "the value of parameter "+l.Parameter+" cannot be sent as a credential", "write user:password or an API key there, without spaces, quotes and backslashes"
	case o.Login != zillizprobe.Sent:
		login.Detail, login.Remedy = "parameter "+l.Parameter+" could not be read", "run on "+l.InstanceID+": aws ssm get-parameter --name "+l.Parameter
	case o.LoginCurl != vantage.CurlOK:
		login.Detail, login.Remedy = fmt.Sprintf("the request with the credential failed (curl: exit status %d)", o.LoginCurl), "retry; the request without it was answered"
	case o.LoginBody == zillizprobe.LoginRefused:
		login.Detail, login.Remedy = "the cluster refuses the credential in parameter "+l.Parameter, "write a valid one there; no other step is needed"
	case o.LoginBody != zillizprobe.LoginOK:
		login.Detail, login.Remedy = fmt.Sprintf("the answer (HTTP %d) is not a cluster's", o.LoginHTTP), "look whether "+l.Host+" is the cluster's private address"
	default:
		login.OK, login.Detail = true, "the cluster takes the credential in parameter "+l.Parameter
		operation = facts.Check{Name: vantage.Operation, OK: true, Detail: fmt.Sprintf("it lists %d collections", o.Collections)}
	}
	return []facts.Check{login, operation}
}

// subset reports whether all of some addresses are among the endpoint's.
func subset(some, all []netip.Addr) bool {
	return !slices.ContainsFunc(some, func(a netip.Addr) bool { return !slices.Contains(all, a) })
}

func list(all []netip.Addr) string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}
