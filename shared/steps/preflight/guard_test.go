package preflight

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	client "eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/vpc"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// offer is where NLB and PrivateLink are offered, and what vSwitches there are.
type offer struct {
	balancers, links []string
	vswitches        []vpc.VSwitch
}

func (o offer) Activated(context.Context) (bool, error)              { return true, nil }
func (o offer) VSwitch(context.Context, string) (vpc.VSwitch, error) { return vpc.VSwitch{}, nil }
func (o offer) VSwitches(context.Context, string) ([]vpc.VSwitch, error) {
	return o.vswitches, nil
}

type offered []string

func (z offered) Zones(context.Context) ([]string, error) { return z, nil }

type linked struct{ offer }

func (l linked) Zones(context.Context, string) ([]string, error) { return l.links, nil }

// TestPlace sees which zones and vSwitches are chosen, of clusters in a, b.
func TestPlace(t *testing.T) {
	t.Parallel()
	vsw := func(zone string, free int) vpc.VSwitch {
		return vpc.VSwitch{ID: "v-" + zone, ZoneID: zone, Free: free, Status: "Available", CIDR: netip.MustParsePrefix("10.0.0.0/24")}
	}
	pending := vsw("b", 500)
	pending.ID, pending.Status = "v-pending", "Pending"
	all := []string{"a", "b", "c"}
	for name, c := range map[string]struct {
		offer
		earlier []string // zones, of an earlier walk
		want    []string // vSwitches
		finding string
	}{
		"the first, and a second":            {offer{all, all, []vpc.VSwitch{vsw("a", 9), vsw("b", 9)}}, nil, []string{"v-a", "v-b"}, ""},
		"what an earlier walk chose":         {offer{all, all, []vpc.VSwitch{vsw("a", 9), vsw("b", 9), vsw("c", 9)}}, []string{"b", "c"}, []string{"v-b", "v-c"}, ""},
		"unless it has no room any more":     {offer{all, all, []vpc.VSwitch{vsw("a", 9), vsw("b", 8), vsw("c", 9)}}, []string{"b", "c"}, []string{"v-a", "v-c"}, ""},
		"none that is being made":            {offer{all, all, []vpc.VSwitch{vsw("a", 9), vsw("b", 9), pending}}, nil, []string{"v-a", "v-b"}, ""},
		"none where NLB is not offered":      {offer{[]string{"a", "b"}, all, []vpc.VSwitch{vsw("a", 9), vsw("c", 9)}}, nil, []string{"v-a"}, ""},
		"not first where PrivateLink is not": {offer{all, []string{"b"}, []vpc.VSwitch{vsw("a", 9), vsw("b", 9)}}, nil, []string{"v-b", "v-a"}, ""},
		"second where PrivateLink is":        {offer{all, []string{"a", "c"}, []vpc.VSwitch{vsw("a", 9), vsw("b", 9), vsw("c", 9)}}, nil, []string{"v-a", "v-c"}, ""},
		"no room at all":                     {offer{all, all, []vpc.VSwitch{vsw("a", 8), vsw("b", 8)}}, nil, nil, "9 free addresses in a or b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Step{Balancers: offered(c.balancers), Links: linked{c.offer}, Networks: c.offer}
			r := &run.Run{}
			if c.earlier != nil {
				r.Facts.Preflight = &facts.Preflight{Zone: c.earlier[0], VSwitches: []facts.VSwitch{{ZoneID: c.earlier[0]}, {ZoneID: c.earlier[1]}}}
			}
			cluster := side{Instance: client.Instance{Zones: []client.Zone{{ID: "a", Status: "NORMAL"}, {ID: "b", Status: "NORMAL"}}}}
			facts, fs := &facts.Preflight{}, events.Findings{}
			require.NoError(t, s.place(t.Context(), r, facts, cluster, cluster, &fs))
			var got []string
			for _, v := range facts.VSwitches {
				got = append(got, v.VSwitchID)
			}
			if c.finding != "" {
				require.Len(t, fs, 1)
				require.Contains(t, fs[0].Message, c.finding)
				return
			}
			require.Empty(t, fs)
			require.Equal(t, c.want, got)
			require.Equal(t, c.want[0], "v-"+facts.Zone)
		})
	}
}
