package escluster_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/steps/stepstest"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c := escluster.New(w.Deps.Aliyun)
	w.ES.SetGroup(faketest.Src, "office", "10.9.0.0/16")
	in, err := c.Describe(w.Context(), faketest.Src)
	require.NoError(t, err)
	require.Equal(t, "7", in.Major())
	require.Equal(t, escluster.Active, in.Status)
	require.True(t, in.Inited && in.ServiceVPC)
	require.Equal(t, "public", in.ArchType)
	require.Equal(t, "vpc-src", in.VpcID)
	require.Equal(t, "vsw-src", in.VSwitchID)
	require.Equal(t, 9200, in.Port)
	require.Equal(t, []escluster.Zone{{ID: faketest.ZoneI, Status: "NORMAL"}}, in.Zones)
	require.Equal(t, []escluster.WhiteGroup{{Name: "default", Type: escluster.PrivateES, IPs: []string{"10.2.0.0/24"}},
		{Name: "office", Type: escluster.PrivateES, IPs: []string{"10.9.0.0/16"}}}, in.Private())
	require.WithinDuration(t, w.Now(), in.UpdatedAt, time.Second)

	_, err = c.Describe(w.Context(), "es-cn-nobody00001")
	require.True(t, apierr.IsNotFound(err))
	require.ErrorContains(t, err, "describe instance es-cn-nobody00001")
}

// answer is a cloud that gives one reply to everything.
func answer(w *stepstest.World, status int, body string) *escluster.Client {
	w.Deps.Aliyun.Transport = cloud.Transport(func(string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(status)
			rw.Write([]byte(body))
		})
	})
	return escluster.New(w.Deps.Aliyun)
}

func TestRepliesOfOtherShapes(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 2)
	in, err := answer(w, 200, `{"Result":{"status":"active","privateNetworkIpWhiteList":["10.0.0.0/8"],"networkConfig":{"whiteIpGroupList":[{"groupName":"default","ips":["1.2.3.4"],"whiteIpType":"PUBLIC_ES"}]}}}`).Describe(w.Context(), "es-1")
	require.NoError(t, err)
	require.Equal(t, []escluster.WhiteGroup{{Name: "default", Type: escluster.PrivateES, IPs: []string{"10.0.0.0/8"}}}, in.Private(), "the documented list stands in for the groups")
	require.Equal(t, "es-1", in.ID)

	for process, want := range map[string]string{`"40%"`: "40%", `40`: "40%", `null`: "", `""`: ""} {
		actions, err := answer(w, 200, `{"Result":[{"stateType":"ACTIVATING","process":`+process+`}]}`).ActionRecords(w.Context(), "es-1")
		require.NoError(t, err)
		require.Equal(t, want, actions[0].Percent)
	}
	_, err = answer(w, 200, `{"Result":{"unit":"minute","value":5}}`).EstimateRestart(w.Context(), "es-1")
	require.ErrorContains(t, err, `unit "minute"`)
	_, err = answer(w, 200, `{"Result":{}}`).CreateEndpoint(w.Context(), "es-1", "epsrv-1", "z", "token")
	require.ErrorContains(t, err, "names no endpoint")
}

func TestErrorsByCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]apierr.Class{
		"InstanceActivating": apierr.Conflict, "ConcurrencyUpdateInstanceConflict": apierr.Conflict, "InstanceStatusNotSupportCurrentAction": apierr.Conflict,
		"InstanceDuplicateScheduledTask": apierr.Conflict, "EndpointServiceOperationDenied": apierr.Conflict,
		"TokenPreviousRequestProcessError": apierr.Retry, "QPS Limit Exceeded": apierr.Retry, "Throttling.User": apierr.Retry,
		"InstanceNotFound": apierr.NotFound, "InvalidParameter": apierr.Fatal, "NetworkConfigError": apierr.Fatal,
	} {
		w := stepstest.New(t, 3)
		_, err := answer(w, 400, `{"Code":"`+code+`","Message":"m","RequestId":"r"}`).ListEndpoints(w.Context(), "es-1")
		require.Equal(t, want, apierr.ClassOf(err), code)
	}
	for _, code := range []string{"MustChangeOneResource", "CssCheckUpdowngradeError"} {
		w := stepstest.New(t, 3)
		id, err := answer(w, 400, `{"Code":"`+code+`","Message":"m","RequestId":"r"}`).UpdateConfig(w.Context(), "es-1", nil, "token")
		require.NoError(t, err, "nothing to change is success")
		require.Empty(t, id)
	}
}

func TestListEndpointsReadsEveryPage(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 4)
	calls := 0
	w.Deps.Aliyun.Transport = cloud.Transport(func(string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			calls++
			n := map[string]int{"1": 50, "2": 50, "3": 7}[r.URL.Query().Get("page")]
			require.Equal(t, "50", r.URL.Query().Get("size"))
			rw.Header().Set("Content-Type", "application/json")
			rw.Write([]byte(`{"Result":[` + strings.TrimSuffix(strings.Repeat(`{"endpointId":"ep-1"},`, n), ",") + `]}`))
		})
	})
	all, err := escluster.New(w.Deps.Aliyun).ListEndpoints(w.Context(), "es-1")
	require.NoError(t, err)
	require.Len(t, all, 107)
	require.Equal(t, 3, calls)
}
