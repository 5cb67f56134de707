package firewall_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	fake "eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps/firewall"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	step engine.Step
	run  *run.Run
}

var (
	webhook   = events.UseCase{Kind: events.Watcher, Port: 8080}
	directory = events.UseCase{Kind: events.LDAP, Port: 389}
)

func newWorld(t *testing.T, seed uint64, useCases ...events.UseCase) *world {
	w := stepstest.New(t, seed)
	if useCases == nil {
		useCases = []events.UseCase{webhook}
	}
	return &world{w, firewall.New(w.Deps), w.HostRun("firewall", useCases...)}
}

// ours are the run's rules, in text.
func (w *world) ours() []string {
	var out []string
	for _, id := range w.ECS.SecurityGroups() {
		for _, r := range w.ECS.Rules(id) {
			if strings.Contains(r.Description, w.run.ID) {
				out = append(out, fmt.Sprintf("%s %d-%d %s drop=%t", r.Protocol, r.From, r.To, r.Source, r.Drop))
			}
		}
	}
	return out
}

// admits demands that the balancer gets in by exactly the run's ports, and by
// rules of the run's.
func (w *world) admits(ports ...int) {
	w.Helper()
	var want []string
	for _, p := range ports {
		want = append(want, fmt.Sprintf("TCP %d-%d 100.64.0.0/10 drop=false", p, p), fmt.Sprintf("TCP %d-%d 10.2.1.0/24 drop=false", p, p))
	}
	require.ElementsMatch(w, want, w.ours())
	require.Len(w, w.run.Facts.Firewall.Rules, len(want))
	w.lets(ports...)
}

func (w *world) lets(ports ...int) {
	w.Helper()
	for _, p := range ports {
		for _, from := range []string{"100.64.0.1", "100.127.255.254", "10.2.1.9"} {
			require.True(w, w.ECS.Admits(faketest.Host, netip.MustParseAddr(from), p), "%s to %d", from, p)
		}
	}
	require.False(w, w.ECS.Admits(faketest.Host, netip.MustParseAddr("100.64.0.1"), 22))
	require.False(w, w.ECS.Admits(faketest.Host, netip.MustParseAddr("10.1.0.9"), 8080))
}

func (w *world) none() {
	w.Helper()
	require.Empty(w, w.ours())
	require.Nil(w, w.run.Facts.Firewall)
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "firewall", Most: 2,
		Not: map[stepstest.Day]string{stepstest.TwoHits: "equal rules are one rule"},
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed, webhook, directory)
			w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{From: 22, To: 22, Source: netip.MustParsePrefix("10.9.0.0/16"), Description: "eslink-of-somebody-else"})
			others := func() { require.Contains(t, w.ECS.Rules(faketest.SecurityGroup)[0].Description, "somebody-else") }
			remove := func(cidr string) func() {
				return func() {
					w.ECS.RemoveRules(faketest.SecurityGroup, func(r fake.Rule) bool { return strings.HasPrefix(r.Source.String(), cidr) && r.From != 22 })
				}
			}
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run,
				Stands: func() {
					w.Advance(10 * time.Second)
					w.admits(8080, 389)
					others()
				},
				Nothing: func() {
					w.none()
					others()
				},
				ByHand:   map[string]func(){"all": remove(""), "health checks": remove("100.64"), "vSwitch": remove("10.2.1")},
				Namesake: func() func() { return others }}
		}})
}

func TestPortsThatTheRunLeavesAreClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7, webhook, directory)
	w.Up(w.step, w.run)
	w.run.Spec.UseCases = []events.UseCase{directory}
	w.Up(w.step, w.run)
	w.admits(389)
	w.run.Spec.UseCases = []events.UseCase{webhook}
	w.Up(w.step, w.run)
	w.admits(8080)
}

func TestWhatOthersAdmitNeedsNoRuleOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{From: 8000, To: 9000, Source: netip.MustParsePrefix("100.64.0.0/10"), Priority: 50})
	w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{From: 8080, To: 8080, Source: netip.MustParsePrefix("10.2.1.0/24"), Description: "the very same"})
	require.Equal(t, 1, w.Up(w.step, w.run))
	require.Empty(t, w.ours())
	require.Zero(t, w.Writes())
	w.lets(8080)
	w.Down(w.step, w.run)
	w.none()
	require.Len(t, w.ECS.Rules(faketest.SecurityGroup), 2)
}

// A part of the network is not the network; a later Drop gives way to our rule,
// one of the first priority does not.
func TestDrops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9)
	w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{From: 8080, To: 8080, Source: netip.MustParsePrefix("100.64.0.0/16")})
	w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{Drop: true, Protocol: "ALL", From: -1, To: -1, Source: netip.MustParsePrefix("0.0.0.0/0"), Priority: 2})
	w.Up(w.step, w.run)
	w.admits(8080)
	w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{Drop: true, From: 8000, To: 9000, Source: netip.MustParsePrefix("100.100.0.0/16"), Description: "no scanners"})
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "no scanners")
	require.ErrorContains(t, err, "100.64.0.0/10 to port 8080")
	w.Down(w.step, w.run)
	w.none()
}

func TestTheReasonSaysWhatCannotBeSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	for _, part := range []string{"iptables", "127.0.0.1", "100.64.0.0/10", "10.2.1.0/24", "port 8080", faketest.Host, faketest.SecurityGroup, "clb-backend", "abnormal"} {
		require.Contains(t, out.Reason(), part)
	}
}

// Two runs to one port of one host need the same rules; each has its own, since
// the other's go with it.
func TestTwoRunsToOnePort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 13)
	other := w.HostRun("firewall", webhook)
	other.ID = "0123456789abcdef"
	w.Up(w.step, other)
	w.Up(w.step, w.run)
	w.admits(8080)
	require.Len(t, w.ECS.Rules(faketest.SecurityGroup), 4)
	before := w.Writes()
	w.Up(w.step, w.run)
	w.Up(w.step, other)
	require.Equal(t, before, w.Writes())
	w.Down(w.step, other)
	w.admits(8080)
	w.Down(w.step, w.run)
	w.none()
	require.Empty(t, w.ECS.Rules(faketest.SecurityGroup))
}

func TestAHostThatChangesItsSecurityGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 14)
	w.Up(w.step, w.run)
	require.NoError(t, w.ECS.AddSecurityGroup("sg-new", "vpc-src"))
	w.run.Facts.Preflight.ECS.SecurityGroups = []string{"sg-new"}
	w.Up(w.step, w.run)
	require.Empty(t, w.ECS.Rules(faketest.SecurityGroup))
	require.Len(t, w.ECS.Rules("sg-new"), 2)
	require.Equal(t, "sg-new", w.run.Facts.Firewall.SecurityGroupID)
	w.Down(w.step, w.run)
	w.none()
}

func TestTwoSecurityGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11)
	require.NoError(t, w.ECS.AddSecurityGroup("sg-more", "vpc-src", fake.Rule{From: 8080, To: 8080, Source: netip.MustParsePrefix("10.2.1.0/24")}))
	require.NoError(t, w.ECS.AddInstance(fake.Instance{ID: "i-two", VPCID: "vpc-src", VSwitchID: "vsw-src", SecurityGroups: []string{faketest.SecurityGroup, "sg-more"}}))
	w.run.Facts.Preflight.ECS.InstanceID, w.run.Facts.Preflight.ECS.SecurityGroups = "i-two", []string{faketest.SecurityGroup, "sg-more"}
	w.Up(w.step, w.run)
	require.Equal(t, []string{"TCP 8080-8080 100.64.0.0/10 drop=false"}, w.ours(), "the other is admitted by the second group")
	require.Equal(t, faketest.SecurityGroup, w.run.Facts.Firewall.SecurityGroupID)
	w.Down(w.step, w.run)
	w.none()
}

func TestDownWithoutTheGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	w.Up(w.step, w.run)
	w.run.Facts.Preflight.ECS.SecurityGroups = []string{"sg-gone", faketest.SecurityGroup}
	w.Down(w.step, w.run)
	w.none()
	w.run.Facts.Preflight = nil
	require.Equal(t, 1, w.Down(w.step, w.run))
}
