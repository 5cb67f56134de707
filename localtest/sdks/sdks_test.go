//go:build sdks

// Package sdks_test holds the fakes of the cloud against official SDKs that eslink
// itself does not use, as people and other programs would call them: what these
// write on the wire, the cloud takes.
package sdks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	"eslink/localtest/fakes/kms"
	"eslink/localtest/fakes/ram"
)

// world is what a script is told, as JSON in ESLINK_WORLD.
type world struct {
	Endpoints      map[string]string // host:port of each product, plain HTTP
	Region, Key    string
	Secret         string
	Source, Dest   string // Elasticsearch instances
	SourceAddress  string
	Keystore       string // an instance that takes keystores
	Host, Group    string // an ECS instance and its security group
	VPC            string
	Zones          [2]string
	VSwitches      [2]string // in these zones
	SecretName     string
	ForeignAccount string
}

// The Python SDKs call every operation that a fake answers.
func TestPython(t *testing.T) {
	check(t, []string{"elasticsearch", "nlb", "privatelink", "slb", "ecs", "vpc", "kms", "ram"}, "ESLINK_SDK_PYTHON", "python3", "python/check.py")
}

// The Node client plays calls.json.
func TestNode(t *testing.T) {
	check(t, []string{"elasticsearch", "nlb", "privatelink"}, "ESLINK_SDK_NODE", "node", "node/check.js")
}

// So does the core of the V2 SDKs for Go, a module of its own: ESLINK_SDK_GO is its binary.
func TestGoV2(t *testing.T) {
	check(t, []string{"elasticsearch", "nlb", "privatelink"}, "ESLINK_SDK_GO", "", "calls.json")
}

func check(t *testing.T, products []string, program, otherwise, script string) {
	t.Parallel()
	name := os.Getenv(program)
	if name == "" {
		name = otherwise
	}
	require.NotEmpty(t, name, "set %s to the program: make test-sdks does", program)
	w := faketest.New(t, 11)
	handlers := map[string]http.Handler{"elasticsearch": w.ES, "nlb": w.NLB, "privatelink": w.Link, "slb": w.CLB, "ecs": w.ECS, "vpc": w.VPC}
	secrets := kms.New(w.Account)
	secrets.Put("eslink/es", `{"username":"elastic","password":"secret-1"}`)
	handlers["kms"], handlers["ram"] = secrets, ram.New(w.Account)
	root := w.Account.RootKey()
	told := world{Endpoints: map[string]string{}, Region: faketest.Region, Key: root.AccessKeyID, Secret: root.AccessKeySecret, Source: faketest.Src, Dest: faketest.Dst, Keystore: "es-cn-keys000000003",
		Host: faketest.Host, Group: faketest.SecurityGroup, VPC: "vpc-src", Zones: [2]string{faketest.ZoneI, faketest.ZoneJ},
		VSwitches: [2]string{"vsw-src-i", "vsw-src-j"}, SecretName: "eslink/es", ForeignAccount: "1000000000000009"}
	require.NoError(t, w.ES.AddInstance(escluster.Instance{ID: told.Keystore, VPCID: "vpc-dst", VSwitchID: "vsw-dst", ArchType: "public"}))
	w.ES.AllowKeystore(told.Keystore, false)
	for _, i := range w.ES.Instances() {
		if i.ID == faketest.Src {
			told.SourceAddress = i.Addresses[0].IP.String()
		}
	}
	for _, product := range products {
		told.Endpoints[product] = serve(t, handlers[product])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	go func() { // a hundred times as fast as the cloud
		for ctx.Err() == nil {
			w.Advance(time.Second)
			time.Sleep(10 * time.Millisecond)
		}
	}()
	text, err := json.Marshal(told)
	require.NoError(t, err)
	args := []string{}
	if script != "" {
		args = append(args, filepath.FromSlash(script))
	}
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "ESLINK_WORLD="+string(text))
	out, err := c.CombinedOutput()
	cancel()
	require.NoError(t, err, "%s", out)
	called := map[string]bool{}
	for _, e := range w.Account.Exchanges() {
		assert.Less(t, e.Status, 500, "%s %s: %s", e.Product, e.Action, e.RespBody)
		if e.Status < 300 {
			called[e.Product+":"+e.Action] = true
		}
	}
	for _, product := range products {
		for _, op := range w.Account.Operations()[product] {
			assert.True(t, called[product+":"+op], "%s %s was not called with success", product, op)
		}
	}
	t.Logf("%d operations, %d calls", len(called), len(w.Account.Exchanges()))
}

func serve(t *testing.T, h http.Handler) string {
	require.NotNil(t, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }() // until Close
	t.Cleanup(func() { _ = s.Close() })
	return fmt.Sprint(l.Addr())
}
