package zillizprobe_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/vantage"
	"eslink/shared/vantage/zillizprobe"
)

var update = flag.Bool("update", false, "write eslink-probe.json")

// The file that an administrator creates the document from is the document.
func TestTheFileIsTheDocument(t *testing.T) {
	t.Parallel()
	const file = "eslink-probe.json"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(zillizprobe.Text()), 0o644))
	}
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, zillizprobe.Text(), string(raw), "write it again: go test ./shared/vantage/zillizprobe -update")
	require.Less(t, len(raw), 64<<10, "Systems Manager takes 64 KB")
	require.True(t, zillizprobe.Same(strings.ReplaceAll(string(raw), "\n", "\n\n")))
	require.False(t, zillizprobe.Same(strings.Replace(string(raw), "probe=1", "probe=2", 1)))
	require.False(t, zillizprobe.Same("no JSON"))
}

func TestOnlyWhatMatchesEntersTheScript(t *testing.T) {
	t.Parallel()
	good := zillizprobe.Target{Host: "in01-1.aws-us-west-2.vectordb-private.zillizcloud.com", Port: 19530, Parameter: "/eslink/zilliz", Region: "us-west-2"}
	p, err := good.Parameters()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"Host": good.Host, "Port": "19530", "Parameter": "/eslink/zilliz", "Region": "us-west-2"}, p)
	for name, change := range map[string]func(*zillizprobe.Target){
		"host":      func(t *zillizprobe.Target) { t.Host = "a;touch x" },
		"port":      func(t *zillizprobe.Target) { t.Port = 0 },
		"parameter": func(t *zillizprobe.Target) { t.Parameter = "/a'$(id)" },
		"no slash":  func(t *zillizprobe.Target) { t.Parameter = "a" },
		"newline":   func(t *zillizprobe.Target) { t.Parameter = "/a\nid" },
		"region":    func(t *zillizprobe.Target) { t.Region = "us-west-2;id" },
	} {
		bad := good
		change(&bad)
		_, err := bad.Parameters()
		require.Error(t, err, name)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	const base = "probe=1\nip=10.20.1.4\nport=19530\ncurl=0\nhttp=400\nverify=0\nbody=other\nend=1\n"
	o, err := zillizprobe.Parse(base, false)
	require.NoError(t, err)
	require.Equal(t, 400, o.Best().HTTP)
	require.Empty(t, o.Login)
	o, err = zillizprobe.Parse(base+"login=sent\nlogincurl=0\nloginhttp=200\nloginbody=ok\ncollections=3\nloginend=1\n", true)
	require.NoError(t, err)
	require.Equal(t, zillizprobe.LoginOK, o.LoginBody)
	require.Equal(t, 3, o.Collections)
	_, err = zillizprobe.Parse(base, true)
	require.ErrorIs(t, err, zillizprobe.ErrCut)
	_, err = zillizprobe.Parse(base+"login=sent\nlogincurl=0\n", true)
	require.ErrorIs(t, err, zillizprobe.ErrCut)
	_, err = zillizprobe.Parse(base[:40], true)
	require.ErrorIs(t, err, vantage.ErrOutput)
	o, err = zillizprobe.Parse(base+"login=<script>\nloginend=1\n", true)
	require.NoError(t, err)
	require.Equal(t, zillizprobe.Unreadable, o.Login, "no word of a host is shown")
	o, err = zillizprobe.Parse("probe=1\nmissing=curl\n", true)
	require.NoError(t, err)
	require.Equal(t, "curl", o.Missing)
}
