// Package stepstest tests single steps against the fakes, through the real SDK.
// Driver calls a step the way the engine would and can break any of its writes.
// BadDays runs every bad day that a step which writes has to survive, Guards what
// it makes of one oddity at a time. World is the Alibaba Cloud account that the
// steps of the first scenarios are tested in.
package stepstest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun"
	"eslink/shared/deps"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// World is the account of package faketest with a function's view of it.
type World struct {
	*faketest.World
	*Driver
	// Deps are those of a function in the VPC of the cluster Src.
	Deps deps.Deps
}

// New makes a world; all durations are drawn from seed.
func New(t testing.TB, seed uint64) *World {
	w := &World{World: faketest.New(t, seed)}
	require.NoError(t, w.Account.AddRole("step", cloud.Policy{Version: "1", Statement: []cloud.Statement{{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}}}}))
	w.Deps = deps.Deps{
		Aliyun: aliyun.Config{
			Region: faketest.Region,
			Endpoint: func(product string) (string, string) {
				return "https", product + "." + faketest.Region + ".aliyuncs.com"
			},
			Transport: w.Transport,
			Resolver:  w.Network.FromVPC("vpc-src", faketest.Source("src")),
			Now:       w.Now,
			Rand:      bytes.NewReader(bytes.Repeat([]byte{7}, 1<<12)),
			Log:       slog.New(slog.DiscardHandler),
		},
		Now: w.Now, Log: slog.New(slog.DiscardHandler), Transport: func(string) http.RoundTripper { return w.Transport },
		Runs: &run.Store{Driver: &run.Mem{}, Now: w.Now},
		Network: func() deps.Network {
			return deps.Network{SourceVPC: "vpc-src", SourceVSwitch: "vsw-src", DestinationVPC: "vpc-dst", DestinationVSwitch: "vsw-dst"}
		},
	}
	w.Driver = &Driver{T: t, Cloud: w.Account, Clock: w, Invocation: w.Context}
	return w
}

// Context is that of an invocation: fresh credentials of a role.
func (w *World) Context() context.Context {
	c := w.Account.AssumeRole("step", w.Now())
	return fccontext.NewContext(context.Background(), &fccontext.FcContext{AccountId: w.Account.AccountID, Region: faketest.Region,
		Credentials: fccontext.Credentials{AccessKeyId: c.AccessKeyID, AccessKeySecret: c.AccessKeySecret, SecurityToken: c.SecurityToken}})
}

// Run is a run from Src to Dst, at a step, with what preflight finds.
func (w *World) Run(step string) *run.Run {
	spec := events.Spec{Name: "orders", Scenario: flow.ESToES, Region: faketest.Region, InstanceID: faketest.Dst,
		Target: events.Target{InstanceID: faketest.Src, Port: 9200, Protocol: "http"}}
	r := &run.Run{ID: flow.RunID(w.Account.AccountID, spec), Generation: 1, AccountID: w.Account.AccountID, Spec: spec, Direction: run.Up, Status: run.Running}
	r.Facts.Preflight = &facts.Preflight{
		Zone: faketest.ZoneI,
		VSwitches: []facts.VSwitch{{VSwitchID: "vsw-src-i", ZoneID: faketest.ZoneI, CIDR: "10.2.1.0/24"},
			{VSwitchID: "vsw-src-j", ZoneID: faketest.ZoneJ, CIDR: "10.2.2.0/24"}},
	}
	for id, c := range map[string]*facts.Cluster{faketest.Dst: &r.Facts.Preflight.Instance, faketest.Src: &r.Facts.Preflight.Target} {
		for _, i := range w.ES.Instances() {
			if i.ID == id {
				*c = facts.Cluster{InstanceID: id, Domain: i.Domain(), Port: 9200, Protocol: "http", Version: i.Version, VpcID: i.VPCID, VSwitchID: i.VSwitchID, ZoneIDs: i.Zones}
			}
		}
	}
	w.At(r, step)
	return r
}

// HostRun is a run from Dst to services on Host, at a step, with what preflight
// finds.
func (w *World) HostRun(step string, useCases ...events.UseCase) *run.Run {
	r := w.Run(step)
	r.Spec.Name, r.Spec.Scenario, r.Spec.Target, r.Spec.UseCases = "services", flow.ESToECS, events.Target{ECSInstanceID: faketest.Host}, useCases
	r.ID = flow.RunID(w.Account.AccountID, r.Spec)
	h := w.ECS.Instances()[0]
	r.Facts.Preflight.VSwitches = r.Facts.Preflight.VSwitches[:1]
	r.Facts.Preflight.ECS = &facts.ECSHost{InstanceID: h.ID, PrivateIP: h.IP.String(), VpcID: h.VPCID, VSwitchID: h.VSwitchID, ZoneID: h.ZoneID, SecurityGroups: h.SecurityGroups}
	r.Facts.Preflight.Target = facts.Cluster{InstanceID: h.ID, Domain: h.IP.String(), Port: useCases[0].Port, Protocol: "http", VpcID: h.VPCID, VSwitchID: h.VSwitchID, ZoneIDs: []string{h.ZoneID}}
	return r
}

// At puts the run's cursor on a step, as of now.
func (w *World) At(r *run.Run, step string) {
	r.Cursor = run.Cursor{Step: step, Since: w.Now(), WakeAt: w.Now()}
}
