package azurelink_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/inside"
	"eslink/shared/azurelink"
	"eslink/shared/vantage"
)

const host = "my-deployment.es.privatelink.eastus2.azure.elastic-cloud.com"

var endpoint = netip.MustParseAddr("10.1.0.5")

// view is a network of one name.
type view struct {
	addrs []netip.Addr
	ports map[int]inside.Answer
}

func (v view) Resolve(string) []netip.Addr                            { return v.addrs }
func (v view) Connect(_ netip.Addr, _ string, port int) inside.Answer { return v.ports[port] }

func says(status int, body string) inside.Answer {
	return inside.Answer{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status == 0 { // by the login
			if u, p, ok := r.BasicAuth(); !ok || u != "reader" || p != `p"a'ss` {
				w.WriteHeader(401)
				w.Write([]byte(`{"error":{"root_cause":[{"type":"security_exception"}],"type":"security_exception"},"status":401}`))
				return
			}
			w.Write([]byte(`{"cluster_name":"c","tagline":"You Know, for Search"}`))
			return
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	})}
}

func both(a inside.Answer) map[int]inside.Answer { return map[int]inside.Answer{443: a, 9243: a} }

// rows are the verdict table, each with a network that produces it.
var rows = []struct {
	name   string
	view   view
	expect azurelink.Expect
	lacks  []string
	want   []string // check/code
	remedy string
}{
	{name: "the login is taken", view: view{[]netip.Addr{endpoint}, both(says(0, ""))}, expect: azurelink.Expect{Login: true, Approved: true}, want: []string{"network/ok", "login/ok", "operation/ok"}},
	{name: "no login is sent", view: view{[]netip.Addr{endpoint}, both(says(0, ""))}, expect: azurelink.Expect{Approved: true}, want: []string{"network/ok"}},
	{name: "a tool is missing", view: view{[]netip.Addr{endpoint}, both(says(0, ""))}, lacks: []string{"getent"}, want: []string{"network/probe-tool-missing"}, remedy: "install getent"},
	{name: "the name does not resolve", view: view{nil, nil}, expect: azurelink.Expect{Approved: true}, want: []string{"network/not-resolving"}, remedy: "168.63.129.16"},
	{name: "the name is public", view: view{[]netip.Addr{netip.MustParseAddr("52.1.2.3")}, both(says(0, ""))}, expect: azurelink.Expect{Approved: true}, want: []string{"network/wrong-address"}, remedy: "link the zone"},
	{name: "the record is stale", view: view{[]netip.Addr{netip.MustParseAddr("10.1.0.4")}, both(inside.Answer{Reach: inside.NoRoute})}, expect: azurelink.Expect{Approved: true}, want: []string{"network/wrong-address"}, remedy: "repairs its own record"},
	{name: "not approved", view: view{[]netip.Addr{endpoint}, both(inside.Answer{Reach: inside.NoRoute})}, want: []string{"network/not-approved"}, remedy: "resource name and ID"},
	{name: "not approved, and silent", view: view{[]netip.Addr{endpoint}, both(inside.Answer{Reach: inside.Hang})}, want: []string{"network/not-approved"}, remedy: "resource name and ID"},
	{name: "approved, and refused", view: view{[]netip.Addr{endpoint}, both(inside.Answer{Reach: inside.Refused})}, expect: azurelink.Expect{Approved: true}, want: []string{"network/blocked"}, remedy: "network security group"},
	{name: "approved, and silent", view: view{[]netip.Addr{endpoint}, both(inside.Answer{Reach: inside.Hang})}, expect: azurelink.Expect{Approved: true}, want: []string{"network/no-reply"}, remedy: "network security group"},
	{name: "the other port", view: view{[]netip.Addr{endpoint}, map[int]inside.Answer{443: {Reach: inside.Refused}, 9243: says(0, "")}}, expect: azurelink.Expect{Approved: true, Login: true}, want: []string{"network/ok", "login/ok", "operation/ok"}},
	{name: "a certificate for another name", view: view{[]netip.Addr{endpoint}, both(inside.Answer{TLS: inside.WrongName, Handler: http.NotFoundHandler()})}, expect: azurelink.Expect{Approved: true}, want: []string{"network/certificate"}, remedy: "zone's name"},
	{name: "a certificate of nobody", view: view{[]netip.Addr{endpoint}, both(inside.Answer{TLS: inside.Untrusted, Handler: http.NotFoundHandler()})}, expect: azurelink.Expect{Approved: true}, want: []string{"network/certificate"}, remedy: "zone's name"},
	{name: "the filter refuses", view: view{[]netip.Addr{endpoint}, both(says(403, `{"ok":false,"message":"Forbidden"}`))}, expect: azurelink.Expect{Approved: true}, want: []string{"network/filtered"}, remedy: "associate"},
	{name: "the filter refuses in the newer words", view: view{[]netip.Addr{endpoint}, both(says(403, `{"ok":false,"message":"Forbidden due to traffic filtering. Please see the Elastic documentation"}`))}, expect: azurelink.Expect{Approved: true}, want: []string{"network/filtered"}, remedy: "associate"},
	{name: "the filter refuses, as it does until the policy is associated", view: view{[]netip.Addr{endpoint}, both(says(403, `{"ok":false,"message":"Forbidden"}`))}, expect: azurelink.Expect{Approved: true, Filtered: true}, want: []string{"network/ok"}},
	{name: "the filter refuses the login", view: view{[]netip.Addr{endpoint}, both(says(403, `{"ok":false,"message":"Forbidden"}`))}, expect: azurelink.Expect{Approved: true, Filtered: true, Login: true}, want: []string{"network/ok", "login/filtered"}, remedy: "associate"},
	{name: "the user lacks the right", view: view{[]netip.Addr{endpoint}, both(says(403, `{"error":{"root_cause":[{"type":"security_exception"}],"type":"security_exception"}}`))}, expect: azurelink.Expect{Approved: true, Login: true}, want: []string{"network/ok", "login/ok", "operation/login-lacks-right"}, remedy: "monitor"},
	{name: "the password is wrong", view: view{[]netip.Addr{endpoint}, both(says(401, `{"error":{"root_cause":[]}}`))}, expect: azurelink.Expect{Approved: true, Login: true}, want: []string{"network/ok", "login/login-refused"}, remedy: "password"},
	{name: "the deployment is unknown to the proxy", view: view{[]netip.Addr{endpoint}, both(says(404, `{"ok":false,"message":"Unknown resource."}`))}, expect: azurelink.Expect{Approved: true, Login: true}, want: []string{"network/unavailable"}, remedy: "console"},
	{name: "the deployment is down", view: view{[]netip.Addr{endpoint}, both(says(503, `no`))}, expect: azurelink.Expect{Approved: true, Login: true}, want: []string{"network/unavailable"}, remedy: "console"},
	{name: "something else answers", view: view{[]netip.Addr{endpoint}, both(says(200, `hello`))}, expect: azurelink.Expect{Approved: true, Login: true}, want: []string{"network/ok", "login/not-elasticsearch"}, remedy: "alias"},
}

// Every row goes through both runners: the shipped text with the host's sh and curl,
// and its twin. A handshake that breaks off (curl 35) is TestAHandshakeThatBreaksOff.
func TestVerdictTable(t *testing.T) {
	t.Parallel()
	runners := map[string]inside.Runner{"twin": inside.Twin{}}
	shell, err := inside.NewShell()
	if err != nil {
		t.Log("the script is not run here:", err)
	} else {
		t.Cleanup(func() { shell.Close() })
		runners["shell"] = shell
	}
	script, err := vantage.Target{Host: host, Ports: []int{443, 9243}}.Script()
	require.NoError(t, err)
	auth, err := vantage.Basic("reader", `p"a'ss`)
	require.NoError(t, err)
	for name, runner := range runners {
		for _, row := range rows {
			t.Run(name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				env := map[string]string{}
				if row.expect.Login {
					env[vantage.Auth] = auth
				}
				text, exit := runner.Run(context.Background(), inside.Machine{Missing: row.lacks}, row.view, script, env)
				require.Zero(t, exit, text)
				assert.Less(t, len(text), 1000)
				assert.NotContains(t, text, auth)
				out, err := vantage.Parse(text)
				require.NoError(t, err, text)
				expect := row.expect
				expect.Address = endpoint
				verdicts := azurelink.Judge(out, expect)
				var got []string
				for _, v := range verdicts {
					got = append(got, v.Check+"/"+v.Code)
					assert.Equal(t, v.OK, v.Code == "ok")
					assert.Equal(t, v.OK, v.Remedy == "", "what fails has a remedy")
				}
				assert.Equal(t, row.want, got, text)
				assert.Contains(t, verdicts[len(verdicts)-1].Remedy, row.remedy)
			})
		}
	}
}

func TestAHandshakeThatBreaksOff(t *testing.T) {
	t.Parallel()
	got := azurelink.Judge(vantage.Output{Addresses: []netip.Addr{endpoint}, Attempts: []vantage.Attempt{{Port: 443, Curl: vantage.CurlHandshake}}}, azurelink.Expect{Address: endpoint, Approved: true})
	require.Len(t, got, 1)
	assert.Equal(t, azurelink.Handshake, got[0].Code)
	assert.Contains(t, got[0].Remedy, "inspects TLS")
}
