package network_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/network"
)

// A balancer may use any of its local addresses, so one that is not admitted is
// a link that fails sometimes: here it always does.
func TestEveryLocalAddressMustBeAdmitted(t *testing.T) {
	w := newLink(t, nil)
	local := w.NLB.LoadBalancers()[0].Zones[0].Local
	require.Len(t, local, 2)
	for _, one := range local {
		w.ES.SetGroup(src, "eslink", one.String())
		f := w.fault(w.Network.FromCluster(dst), w.domain, 9200)
		require.Equal(t, network.Timeout, f.Kind)
		require.Equal(t, "whitelist", f.Link)
	}
	w.ES.SetGroup(src, "eslink", local[0].String(), local[1].String())
	_, err := w.Network.FromCluster(dst).Route(w.domain, 9200)
	require.NoError(t, err)
}
