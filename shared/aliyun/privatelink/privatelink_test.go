package privatelink_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/stepstest"
)

func TestAServicesLife(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	r := w.Run("nlb")
	w.Up(nlb.New(w.Deps), r)
	c, ctx := privatelink.New(w.Deps.Aliyun), w.Context()
	at := func(zone string) privatelink.Resource {
		return privatelink.Resource{ID: r.Facts.NLB.ID, Type: "nlb", Zone: zone}
	}
	s, err := c.CreateService(ctx, privatelink.NewService{Description: "eslink-1", ResourceType: "nlb", Resources: []privatelink.Resource{at(faketest.ZoneI), at(faketest.ZoneJ)}, TagKey: "k", TagValue: "v"}, "t1")
	require.NoError(t, err)
	require.Equal(t, apierr.Conflict, apierr.ClassOf(c.DeleteService(ctx, s.ID, "t2")), "it is being created")
	w.Advance(10 * time.Minute)
	ctx = w.Context()
	s, err = c.Service(ctx, s.ID)
	require.NoError(t, err)
	require.Equal(t, privatelink.Active, s.Status)
	require.Equal(t, "com.aliyuncs.privatelink."+faketest.Region+"."+s.ID, s.Name)
	have, err := c.Resources(ctx, s.ID)
	require.NoError(t, err)
	require.Equal(t, []privatelink.Resource{at(faketest.ZoneI), at(faketest.ZoneJ)}, have)
	require.NoError(t, c.Detach(ctx, s.ID, at(faketest.ZoneJ), "t3"))
	require.Equal(t, apierr.Conflict, apierr.ClassOf(c.Detach(ctx, s.ID, at(faketest.ZoneI), "t4")), "locked while it changes")
	w.Advance(time.Minute)
	require.True(t, apierr.IsNotFound(c.Detach(ctx, s.ID, at(faketest.ZoneJ), "t4b")))
	require.Equal(t, apierr.Conflict, apierr.ClassOf(c.DeleteService(ctx, s.ID, "t5")), "it has resources")

	for i := range 60 { // more than a page
		_, err := w.Link.AddForeignEndpoint(s.ID, faketest.ZoneI, "1000000000000009")
		require.NoError(t, err, fmt.Sprint(i))
	}
	w.Advance(5 * time.Minute)
	all, err := c.Connections(ctx, s.ID)
	require.NoError(t, err)
	require.Len(t, all, 60)
	require.Equal(t, privatelink.ConnectionDisconnected, all[0].Status)
	require.Equal(t, "1000000000000009", all[0].OwnerID.String())
	require.NoError(t, c.Accept(ctx, s.ID, all[0].EndpointID, "t6"))
	require.Equal(t, apierr.Conflict, apierr.ClassOf(c.Accept(ctx, s.ID, all[1].EndpointID, "t7")), "one at a time")
	w.Advance(5 * time.Minute)
	require.NoError(t, c.Disconnect(ctx, s.ID, all[0].EndpointID, "t8"))
	require.True(t, apierr.IsNotFound(c.Disconnect(ctx, s.ID, "ep-none", "t9")))

	tagged, err := c.ServicesTagged(ctx, "k", "v")
	require.NoError(t, err)
	require.Len(t, tagged, 1)
	none, err := c.ServicesTagged(ctx, "k", "other")
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = c.Service(ctx, "epsrv-none")
	require.True(t, apierr.IsNotFound(err))
}
