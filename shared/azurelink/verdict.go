// Package azurelink is the proof of a private connection from an Azure virtual
// network to a deployment on Elastic Cloud: the probe on a virtual machine, run by a
// managed run command, the verdict table, and what the two control planes say. Steps
// azure-probe and azure-verify and function check share it.
package azurelink

import (
	"net/netip"
	"strings"

	"eslink/shared/vantage"
)

// Expect is what a probe should see.
type Expect struct {
	Address  netip.Addr // of the private endpoint
	Approved bool       // Azure says that the connection is
	Login    bool       // the probe sent a login
	// Filtered says that policies are associated of which none admits this endpoint
	// yet: then the filter's 403 is proof enough that the way is there.
	Filtered bool
}

// Rows of the verdict table.
const (
	NotResolving = "not-resolving"
	WrongAddress = "wrong-address"
	NotApproved  = "not-approved"
	Blocked      = "blocked"
	NoReply      = "no-reply"
	Certificate  = "certificate"
	Handshake    = "handshake"
	Filter       = "filtered"
	NoLogin      = "login-refused"
	NoRight      = "login-lacks-right"
	NotElastic   = "not-elasticsearch"
	Unavailable  = "unavailable"
)

// Judge reads the table: a verdict on each of the checks network, login and
// operation, as far as the probe got. Without a login the first alone.
// Source: Elastic's documentation on Azure Private Link ("Test the connection") and
// on network security policies ("View rejected requests").
func Judge(o vantage.Output, e Expect) []vantage.Verdict {
	if o.Missing != "" {
		return []vantage.Verdict{vantage.ToolMissing(o.Missing)}
	}
	network := judgeNetwork(o, e)
	if !network.OK || !e.Login {
		return []vantage.Verdict{network}
	}
	return append([]vantage.Verdict{network}, judgeLogin(o.Best())...)
}

func bad(check, code, detail, remedy string) vantage.Verdict {
	return vantage.Verdict{Check: check, Code: code, Detail: detail, Remedy: remedy}
}

func judgeNetwork(o vantage.Output, e Expect) vantage.Verdict {
	if len(o.Addresses) == 0 {
		return bad(vantage.Network, NotResolving, "the name does not resolve on the machine",
			"the zone, its link to this virtual network or the record * is missing: start the run with again; if the network has DNS servers of its own, have them forward the zone to 168.63.129.16")
	}
	for _, a := range o.Addresses {
		if a == e.Address {
			continue
		}
		if !a.IsPrivate() {
			return bad(vantage.Network, WrongAddress, "the name resolves to the public address "+a.String()+" on the machine",
				"the machine does not ask the private zone: link the zone to its network, or have the network's own DNS servers forward the zone to 168.63.129.16")
		}
		return bad(vantage.Network, WrongAddress, "the name resolves to "+a.String()+", and the private endpoint has "+e.Address.String(),
			"the record * is stale, or another zone of this name answers: start the run with again, which repairs its own record")
	}
	a := o.Best()
	switch {
	case a.Curl == vantage.CurlNotResolved:
		return bad(vantage.Network, NotResolving, "curl does not resolve the name, which getent does", "look at the machine's resolver, then start the run with again")
	case (a.Curl == vantage.CurlNotReached || a.Curl == vantage.CurlTimeout) && !e.Approved:
		return bad(vantage.Network, NotApproved, "the address does not answer, and the private endpoint's connection is not approved",
			"compare the policy's resource name and ID with the private endpoint's: Elastic approves the connection when they are right")
	case a.Curl == vantage.CurlNotReached:
		return bad(vantage.Network, Blocked, "the address refuses connections on ports "+ports(o)+" ("+connect(a)+"), although the connection is approved",
			"look at the network security group and the routes of the endpoint's subnet, and at rules for outgoing traffic on the machine")
	case a.Curl == vantage.CurlTimeout:
		return bad(vantage.Network, NoReply, "connections to ports "+ports(o)+" are not answered, although the connection is approved",
			"look at the network security group and the routes of the endpoint's subnet, and at rules for outgoing traffic on the machine")
	case a.Curl == vantage.CurlCertificate:
		return bad(vantage.Network, Certificate, "the certificate is not valid for the name, or its chain is not trusted by the machine",
			"check that the zone's name is the one of Elastic's table for the region, and that the machine's CA certificates are current")
	case a.Curl != vantage.CurlOK:
		return bad(vantage.Network, Handshake, "the address answers, and TLS does not come about (curl "+number(a.Curl)+")",
			"look for a proxy or firewall in between that inspects TLS, and whether the deployment is running")
	case a.HTTP == 403 && a.Body == vantage.BodyFilter && !e.Filtered:
		return bad(vantage.Network, Filter, "the deployment is reached, and its traffic filter refuses the request (403): policies are associated with it, and none admits this private endpoint",
			"associate the run's policy (associate: true), or remove the other policies")
	case a.HTTP == 404 || a.HTTP >= 500:
		return bad(vantage.Network, Unavailable, "the region's proxy is reached, and the deployment does not answer (HTTP "+number(a.HTTP)+")",
			"see in the Elastic Cloud console whether the deployment runs and whether its alias is right, then retry")
	case a.HTTP == 403 && a.Body == vantage.BodyFilter:
		return vantage.Good(vantage.Network, "the name resolves to the private endpoint %s, port %d answers with a valid certificate, and the traffic filter refuses, as it does until the policy is associated", e.Address, a.Port)
	}
	return vantage.Good(vantage.Network, "the name resolves to the private endpoint %s, and port %d answers with a valid certificate", e.Address, a.Port)
}

func judgeLogin(a vantage.Attempt) []vantage.Verdict {
	switch {
	case a.HTTP == 403 && a.Body == vantage.BodyFilter:
		return []vantage.Verdict{bad(vantage.Login, Filter, "the traffic filter refuses the request (403), so no login was tried", "associate the run's policy with the deployment")}
	case a.HTTP == 401:
		return []vantage.Verdict{bad(vantage.Login, NoLogin, "the deployment refuses the user and password of secrets.target (401)", "put the right password into that secret")}
	case a.HTTP == 403:
		return []vantage.Verdict{vantage.Good(vantage.Login, "the deployment knows the user"),
			bad(vantage.Operation, NoRight, "the user may not read the deployment's basic information (403)", "give the user of secrets.target the cluster privilege monitor")}
	case a.HTTP == 200 && a.Body == vantage.BodyTagline:
		return []vantage.Verdict{vantage.Good(vantage.Login, "the deployment takes the user and password"),
			vantage.Good(vantage.Operation, "Elasticsearch answers 200 with its tagline")}
	}
	return []vantage.Verdict{bad(vantage.Login, NotElastic, "something answers HTTP "+number(a.HTTP)+" that is not Elasticsearch", "check the deployment's alias and what listens on the private endpoint")}
}

func connect(a vantage.Attempt) string {
	if a.Connect == "" {
		return "other"
	}
	return a.Connect
}

func ports(o vantage.Output) string {
	var list []string
	for _, a := range o.Attempts {
		list = append(list, number(a.Port))
	}
	return strings.Join(list, " and ")
}
