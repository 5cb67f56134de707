package aws_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fake "eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/aws/ec2"
	"eslink/shared/aws/route53"
	"eslink/shared/vantage"
	"eslink/shared/vantage/zillizprobe"
)

const host = awstest.Cluster + "." + awstest.ZillizRegion + ".vectordb-private.zillizcloud.com"

// linked makes all that the seed makes by hand.
func (w *world) linked() (endpoint ec2.Endpoint, zone string) {
	w.Helper()
	sg := w.group()
	e := w.available(sg)
	require.NoError(w, w.ec2.Admit(w.Context(), sg, ec2.Rule{Protocol: "tcp", From: awstest.Port, To: awstest.Port, GroupID: awstest.Clients}))
	zone, _, err := w.dns.CreateZone(w.Context(), host, "x", "reference", route53.VPC{ID: awstest.VPC, Region: awstest.Region})
	require.NoError(w, err)
	_, err = w.dns.PutAlias(w.Context(), zone, route53.Alias{Name: host, Target: e.Names[0].Name, ZoneID: e.Names[0].ZoneID})
	require.NoError(w, err)
	w.pass(10 * time.Minute)
	return e, zone
}

// What a probe sees of each way that a link can be wrong: the script with this
// machine's shell, and its twin.
func TestTheScriptAndItsTwinSayTheSame(t *testing.T) {
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	deny := func(egress bool) fake.ACL {
		all := fake.Entry{Number: 100, Allow: true, Protocol: "-1", CIDR: everywhere}
		back := all
		back.Egress = true
		return fake.ACL{ID: "acl-0123456789abcdef0", VPC: awstest.VPC, Entries: []fake.Entry{all, back, {Number: 50, Egress: egress, Protocol: "6", From: 1024, To: 65535, CIDR: everywhere}}}
	}
	for name, c := range map[string]struct {
		breaks    func(w *world, e ec2.Endpoint, zone string)
		parameter string
		curl      int
		check     func(t *testing.T, o zillizprobe.Output)
	}{
		"all is right": {check: func(t *testing.T, o zillizprobe.Output) {
			require.Equal(t, 400, o.Best().HTTP, "seed 004: curl shows 400")
			require.Len(t, o.Addresses, 2)
		}},
		"no record": {curl: vantage.CurlNotResolved, breaks: func(w *world, _ ec2.Endpoint, zone string) { w.AWS.RemoveZone(zone) }},
		"DNS attributes off": {curl: vantage.CurlNotResolved, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.AWS.SetVPC(awstest.VPC, func(v *fake.VPC) { v.DNSHostnames = false })
		}},
		"endpoint gone": {curl: vantage.CurlNotResolved, breaks: func(w *world, e ec2.Endpoint, _ string) { w.AWS.RemoveEndpoint(e.ID) }},
		"no ingress": {curl: vantage.CurlTimeout, breaks: func(w *world, e ec2.Endpoint, _ string) {
			w.AWS.SetGroup(e.GroupIDs[0], func(in, _ *[]fake.Rule) { *in = nil })
		}},
		"no egress": {curl: vantage.CurlTimeout, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.AWS.SetGroup(awstest.Clients, func(_, out *[]fake.Rule) { *out = nil })
		}},
		"ACL keeps it in":      {curl: vantage.CurlTimeout, breaks: func(w *world, _ ec2.Endpoint, _ string) { w.AWS.AddACL(deny(true), awstest.SubnetVM) }},
		"ACL lets no reply in": {curl: vantage.CurlTimeout, breaks: func(w *world, _ ec2.Endpoint, _ string) { w.AWS.AddACL(deny(false), awstest.SubnetVM) }},
		"rejected":             {curl: vantage.CurlTimeout, breaks: func(w *world, e ec2.Endpoint, _ string) { w.AWS.SetEndpointState(e.ID, "rejected", "") }},
		"wrong address": {curl: vantage.CurlTimeout, breaks: func(w *world, _ ec2.Endpoint, zone string) {
			w.AWS.RemoveZone(zone)
			w.AWS.AddRecord(w.AWS.AddZone(host, "", "", awstest.VPC), host, "198.51.100.7")
		}},
		"nothing listens": {curl: vantage.CurlNotReached, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.Zilliz.SetCluster(awstest.Cluster, func(c *zilliz.Cluster) { c.Status = "SUSPENDED" })
		}, check: func(t *testing.T, o zillizprobe.Output) { require.Equal(t, vantage.Refused, o.Best().Connect) }},
		"certificate": {curl: vantage.CurlCertificate, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.Zilliz.SetCluster(awstest.Cluster, func(c *zilliz.Cluster) { c.Untrusted = true })
		}},
		"no curl": {breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.AWS.SetInstance(awstest.Instance, func(i *fake.Instance) { i.Missing = "curl" })
		},
			check: func(t *testing.T, o zillizprobe.Output) { require.Equal(t, "curl", o.Missing) }},
		"login": {parameter: awstest.DataParameter, check: func(t *testing.T, o zillizprobe.Output) {
			require.Equal(t, []any{zillizprobe.Sent, zillizprobe.LoginOK, 2}, []any{o.Login, o.LoginBody, o.Collections})
		}},
		"wrong credential": {parameter: awstest.DataParameter, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.AWS.PutParameter(awstest.Region, awstest.DataParameter, "another")
		},
			check: func(t *testing.T, o zillizprobe.Output) { require.Equal(t, zillizprobe.LoginRefused, o.LoginBody) }},
		"credential that cannot be sent": {parameter: awstest.DataParameter, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.AWS.PutParameter(awstest.Region, awstest.DataParameter, `a"b`)
		},
			check: func(t *testing.T, o zillizprobe.Output) { require.Equal(t, zillizprobe.BadParameter, o.Login) }},
		"no parameter": {parameter: "/eslink/none", check: func(t *testing.T, o zillizprobe.Output) { require.Equal(t, zillizprobe.NoParameter, o.Login) }},
		"no role": {parameter: awstest.DataParameter, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.AWS.SetInstance(awstest.Instance, func(i *fake.Instance) { i.Profile = "" })
		},
			check: func(t *testing.T, o zillizprobe.Output) { require.Equal(t, zillizprobe.Denied, o.Login) }},
		"no aws": {parameter: awstest.DataParameter, breaks: func(w *world, _ ec2.Endpoint, _ string) {
			w.AWS.SetInstance(awstest.Instance, func(i *fake.Instance) { i.Missing = "aws" })
		},
			check: func(t *testing.T, o zillizprobe.Output) { require.Equal(t, zillizprobe.MissingAWS, o.Login) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e, zone := w.linked()
			if c.breaks != nil {
				c.breaks(w, e, zone)
			}
			agent := fake.Agent{Fake: w.AWS, Handler: w.Zilliz.Data}
			shell, err := agent.Shell()
			if errors.Is(err, fake.ErrTools) && os.Getenv("CI") == "" {
				t.Skip(err)
			}
			require.NoError(t, err)
			p, err := zillizprobe.Target{Host: host, Port: awstest.Port, Parameter: c.parameter, Region: awstest.Region}.Parameters()
			require.NoError(t, err)
			script := scriptOf(t, p)
			var both []zillizprobe.Output
			for _, run := range []fake.Runner{agent.Twin, shell} {
				text, code := run(fake.Job{Instance: awstest.Instance, Script: script, Parameters: p})
				require.Zero(t, code, text)
				require.NotContains(t, text, awstest.DataKey)
				o, err := zillizprobe.Parse(text, c.parameter != "")
				require.NoError(t, err, text)
				for i, a := range o.Attempts { // without a response they mean nothing
					if a.Curl != vantage.CurlOK && a.Curl != vantage.CurlCertificate {
						o.Attempts[i].HTTP, o.Attempts[i].Verify = 0, 0
					}
				}
				both = append(both, o)
			}
			require.Equal(t, both[0], both[1])
			if both[0].Missing == "" {
				require.Equal(t, c.curl, both[0].Best().Curl)
			}
			if c.check != nil {
				c.check(t, both[0])
			}
		})
	}
}

// scriptOf is the shipped script with its parameters, as Systems Manager writes
// it.
func scriptOf(t *testing.T, parameters map[string]string) string {
	var d struct {
		MainSteps []struct {
			Inputs struct{ RunCommand []string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(zillizprobe.Text()), &d))
	script := strings.Join(d.MainSteps[0].Inputs.RunCommand, "\n")
	for name, value := range parameters {
		script = strings.ReplaceAll(script, "{{ "+name+" }}", value)
	}
	return script
}
