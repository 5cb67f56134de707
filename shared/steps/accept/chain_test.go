package accept_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/faketest"
	"eslink/shared/engine"
	"eslink/shared/steps/accept"
	"eslink/shared/steps/endpointservice"
	"eslink/shared/steps/ipwhitelist"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/nlbbackend"
	"eslink/shared/steps/privateconnection"
	"eslink/shared/steps/stepstest"
)

// The steps up to this one are what a connection from one cluster to the other
// needs, and going back leaves nothing of it.
func TestTheLinkCarriesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 20)
	r := w.Run("nlb")
	chain := []struct {
		name string
		step engine.Step
	}{
		{"nlb", nlb.New(w.Deps)}, {"ip-whitelist", ipwhitelist.New(w.Deps)}, {"nlb-backend", nlbbackend.New(w.Deps)},
		{"endpoint-service", endpointservice.New(w.Deps)}, {"private-connection", privateconnection.New(w.Deps)}, {"accept", accept.New(w.Deps)},
	}
	for range 2 {
		groups := w.ES.Groups(faketest.Src)
		for _, c := range chain {
			w.At(r, c.name)
			w.Up(c.step, r)
		}
		route, err := w.Network.FromCluster(faketest.Dst).Route(r.Facts.Accept.Domain, 9200)
		require.NoError(t, err)
		require.Equal(t, faketest.Src, route.InstanceID)
		before := w.Writes()
		for _, c := range chain {
			w.At(r, c.name)
			require.Equal(t, 1, w.Up(c.step, r), c.name)
		}
		require.Equal(t, before, w.Writes(), "a second walk writes nothing")
		for i := len(chain) - 1; i >= 0; i-- {
			w.At(r, chain[i].name)
			w.Down(chain[i].step, r)
		}
		require.Empty(t, w.NLB.LoadBalancers())
		require.Empty(t, w.NLB.ServerGroups())
		require.Empty(t, w.Link.Services())
		require.Empty(t, w.Link.Endpoints())
		require.Equal(t, groups, w.ES.Groups(faketest.Src))
	}
}
