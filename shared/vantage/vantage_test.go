package vantage_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"eslink/shared/vantage"
)

func TestOnlyHostsAndPortsEnterAScript(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"a;touch x", "a b.example", "$(id).example", "`id`.example", "a.example\nid", "-oProxy.example", "localhost", "", "A.example",
		"a..example", "a.example.", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 130) + "example", "a'b.example", "a.example/../x"} {
		_, err := vantage.Target{Host: host, Ports: []int{443}}.Script()
		assert.ErrorContains(t, err, "is not a DNS name", host)
	}
	for _, ports := range [][]int{nil, {0}, {65536}, {-1}, {1, 2, 3, 4, 5}} {
		_, err := vantage.Target{Host: "a.example", Ports: ports}.Script()
		assert.Error(t, err, ports)
	}
	script, err := vantage.Target{Host: "my-deployment.es.privatelink.eastus2.azure.elastic-cloud.com", Ports: []int{443, 9243}}.Script()
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(script, "ESLINK_HOST='my-deployment.es.privatelink.eastus2.azure.elastic-cloud.com'\nESLINK_PORTS='443 9243'\n"), script[:120])
}

func TestAShellReadsBackWhatIsQuoted(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("this machine has no sh")
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("a'\"$`\\ ;&|*?\n~#é")), 0, 20, -1).Draw(t, "text")
		out, err := exec.Command(sh, "-c", "printf %s "+vantage.Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Fatalf("%q came back as %q: %v", s, out, err)
		}
	})
}

func TestALoginNeedsNoQuoting(t *testing.T) {
	t.Parallel()
	v, err := vantage.Basic("reader", `p"a'ss:\ $(id)`)
	require.NoError(t, err)
	assert.Regexp(t, `^[A-Za-z0-9+/=]+$`, v)
	_, err = vantage.Basic("re:ader", "x")
	assert.ErrorContains(t, err, "colon")
}

func TestOutput(t *testing.T) {
	t.Parallel()
	o, err := vantage.Parse("Welcome! https://motd.example/?a=b\nprobe=1\nip=10.1.2.5\nip=not an address\nport=443\ncurl=7\nconnect=no-route\nhttp=000\nverify=0\nbody=other\n" +
		"port=9243\r\ncurl=0\nhttp=401\nverify=0\nbody=<script>\nsecret=hunter2\nend=1\n")
	require.NoError(t, err)
	assert.Equal(t, vantage.Output{Addresses: []netip.Addr{netip.MustParseAddr("10.1.2.5")}, Attempts: []vantage.Attempt{
		{Port: 443, Curl: 7, Connect: vantage.NoRoute, Body: vantage.BodyOther}, {Port: 9243, HTTP: 401, Body: vantage.BodyOther}}}, o)
	assert.Equal(t, 9243, o.Best().Port)

	o, err = vantage.Parse("probe=1\nmissing=getent\n")
	require.NoError(t, err)
	assert.Equal(t, "getent", o.Missing)
	o, err = vantage.Parse("probe=1\nmissing=$(id)\n")
	require.NoError(t, err)
	assert.Equal(t, "other", o.Missing)

	for name, text := range map[string]string{
		"nothing":          "",
		"cut off":          "probe=1\nip=10.1.2.5\nport=443\n",
		"no beginning":     "ip=10.1.2.5\nport=443\ncurl=0\nend=1\n",
		"another program":  "hello\nend=1\n",
		"nothing was said": "probe=1\nend=1\n",
	} {
		_, err := vantage.Parse(text)
		assert.ErrorIs(t, err, vantage.ErrOutput, name)
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.SampledFrom([]string{"probe=1", "ip=10.0.0.1", "port=443", "curl=0", "http=99999999999", "body=tagline", "body=" + strings.Repeat("x", 100), "end=1", "", "="})).Draw(t, "lines")
		o, err := vantage.Parse(strings.Join(lines, "\n"))
		if err != nil {
			return
		}
		if len(o.Addresses) > 8 || len(o.Attempts) > 4 {
			t.Fatalf("%+v", o)
		}
		for _, a := range o.Attempts {
			if len(a.Body) > 20 || a.HTTP > 65535 {
				t.Fatalf("%+v", a)
			}
		}
	})
}

func TestASecretNamesDeploymentAndMachine(t *testing.T) {
	t.Parallel()
	const deployment, vm = "0123456789abcdef0123456789abcdef", "vm:sub/rg/probe"
	assert.NoError(t, vantage.MayUse("eslink/reader", []string{deployment, vm}, deployment, vm))
	assert.EqualError(t, vantage.MayUse("eslink/reader", []string{deployment}, deployment, vm), `secret eslink/reader may not be used for vm:sub/rg/probe: add it to "for" in the secret's value`)
	assert.ErrorContains(t, vantage.MayUse("eslink/reader", nil, deployment, vm), deployment+" and "+vm)
}
