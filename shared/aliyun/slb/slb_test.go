package slb_test

import (
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/steps/stepstest"
)

func TestErrorCodesByClass(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c := slb.New(w.Deps.Aliyun)
	for code, class := range map[string]apierr.Class{
		"OperationBusy": apierr.Conflict, "ServiceIsConfiguring": apierr.Conflict, "ServiceIsStopping": apierr.Conflict, "BackendServer.configuring": apierr.Conflict,
		"VServerGroupProcessing": apierr.Conflict, "ObtainIpFail": apierr.Conflict, "OperationFailed.TokenIsProcessing": apierr.Conflict, "RspoolVipExist": apierr.Conflict,
		"ListenerAlreadyExists": apierr.Conflict, "InvalidLoadBalancerId.NotFound": apierr.NotFound, "SystemBusy": apierr.Retry, "Throttling": apierr.Retry,
		"Throttling.User": apierr.Retry, "InvalidParameter": apierr.Fatal, "Forbidden.RAM": apierr.Fatal, "BackendServer.NotRunning": apierr.Fatal,
	} {
		w.Account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{Before: cloud.Errorf(400, code, "No.")} })
		err := c.DeleteLoadBalancer(w.Context(), "lb-1")
		require.Equal(t, class, apierr.ClassOf(err), code)
		var op *smithy.OperationError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "DeleteLoadBalancer", op.Operation())
		require.ErrorContains(t, err, "delete clb lb-1")
	}
	w.Account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{LoseReply: true} })
	require.Equal(t, apierr.Retry, apierr.ClassOf(c.DeleteLoadBalancer(w.Context(), "lb-1")), "a lost reply")
}

func TestWhatMayBeTheWayOfPaying(t *testing.T) {
	t.Parallel()
	for code, may := range map[string]bool{"InvalidParameter": true, "InvalidParameter.InstanceChargeType": true, "UnsupportedOperation": true,
		"OperationUnsupported.PayByCLCU": true, "InvalidVSwitchId.NotFound": false, "Throttling": false} {
		require.Equal(t, may, slb.NotOffered(&apierr.Error{Code: code}), code)
	}
	require.False(t, slb.NotOffered(nil))
}

// What is gone reads as NotFound, also where the API has no code for it.
func TestGoneIsNotFound(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c, ctx := slb.New(w.Deps.Aliyun), w.Context()
	_, err := c.LoadBalancer(ctx, "lb-gone")
	require.True(t, apierr.IsNotFound(err), err)
	_, err = c.Group(ctx, "rsp-gone")
	require.True(t, apierr.IsNotFound(err), err)
	require.True(t, apierr.IsNotFound(c.DeleteGroup(ctx, "rsp-gone")))
	id, err := c.CreateLoadBalancer(ctx, slb.NewLoadBalancer{Name: "eslink-test", VpcID: "vpc-src", VSwitchID: "vsw-src-i", ZoneID: faketest.ZoneI, TagKey: "k", TagValue: "v"}, "token")
	require.NoError(t, err)
	w.Advance(time.Minute)
	_, err = c.Listener(ctx, id, 8080)
	require.True(t, apierr.IsNotFound(err), err)
	require.True(t, apierr.IsNotFound(c.DeleteListener(ctx, id, 8080)))
	_, err = c.Health(ctx, id, 8080)
	require.True(t, apierr.IsNotFound(err), err)
	lb, err := c.LoadBalancer(ctx, id)
	require.NoError(t, err)
	require.Empty(t, lb.Listens(8080))
}
