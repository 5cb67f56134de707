package nlb_test

import (
	"testing"

	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/steps/stepstest"
)

func TestErrorCodesByClass(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c := nlb.New(w.Deps.Aliyun)
	for code, class := range map[string]apierr.Class{
		"IncorrectStatus.serverGroup": apierr.Conflict, "IncorrectStatus.listener": apierr.Conflict, "Conflict.Lock": apierr.Conflict, "Conflict": apierr.Conflict,
		"ResourceInConfiguring.loadbalancer": apierr.Conflict, "ResourceInCreating.loadbalancer": apierr.Conflict,
		"OperationFailed.ResourceIsConfiguring": apierr.Conflict, "ResourceInUse.ServerGroup": apierr.Conflict,
		"ResourceNotFound.loadBalancer": apierr.NotFound, "ResourceNotFound.BackendServer": apierr.NotFound,
		"SystemBusy": apierr.Retry, "Throttling": apierr.Retry, "Throttling.Whatever": apierr.Retry,
		"OperationFailed.SomethingElse": apierr.Fatal, "Forbidden.RAM": apierr.Fatal,
	} {
		w.Account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{Before: cloud.Errorf(400, code, "No.")} })
		_, err := c.DeleteLoadBalancer(w.Context(), "nlb-1")
		require.Equal(t, class, apierr.ClassOf(err), code)
		var op *smithy.OperationError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "DeleteLoadBalancer", op.Operation())
		require.ErrorContains(t, err, "delete nlb nlb-1")
	}
	w.Account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{LoseReply: true} })
	_, err := c.DeleteLoadBalancer(w.Context(), "nlb-1")
	require.Equal(t, apierr.Retry, apierr.ClassOf(err), "a lost reply")
}

// What is gone reads as NotFound, also where the API only has a list.
func TestGoneIsNotFound(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c, ctx := nlb.New(w.Deps.Aliyun), w.Context()
	_, err := c.LoadBalancer(ctx, "nlb-gone")
	require.True(t, apierr.IsNotFound(err), err)
	_, err = c.ServerGroup(ctx, "sgp-gone")
	require.True(t, apierr.IsNotFound(err), err)
	_, err = c.Listener(ctx, "lsn-gone@9200")
	require.True(t, apierr.IsNotFound(err), err)
	_, err = c.JobDone(ctx, "gone")
	require.True(t, apierr.IsNotFound(err), err)
}
