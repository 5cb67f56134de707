package privatelink_test

import (
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/faketest"
)

// other makes a second service.
func (w *world) other() string {
	w.Helper()
	id, err := w.create(func(r *privatelink.CreateVpcEndpointServiceRequest) {
		r.ClientToken = "token-2"
		r.Resource = &[]privatelink.CreateVpcEndpointServiceResource{{ResourceType: "nlb", ResourceId: w.balancer, ZoneId: faketest.ZoneJ}}
	})
	require.NoError(w, err)
	w.Advance(10 * time.Minute)
	return id
}

func TestServicesAreDeletedOneAfterTheOther(t *testing.T) {
	w := newWorld(t)
	first, second := w.service(), w.other()
	require.NoError(t, w.detach(first, faketest.ZoneI))
	require.NoError(t, w.detach(second, faketest.ZoneJ))
	w.Advance(10 * time.Minute)
	require.NoError(t, w.delete(first))
	require.ErrorContains(t, w.delete(second), "ConcurrentCallNotSupported")
	w.Advance(10 * time.Minute)
	require.NoError(t, w.delete(second))
}

func TestAnEndpointIsAcceptedByItsOwnService(t *testing.T) {
	w := newWorld(t)
	first, second := w.service(), w.other()
	e := w.endpoint(first, "1999999999999999")
	require.ErrorContains(t, w.enable(second, e), "EndpointConnectionNotFound")
	require.NoError(t, w.enable(first, e))
}
