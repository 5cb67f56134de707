package world

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/receivers"
	"eslink/localtest/runtime"
	"eslink/shared/api/notify"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// tellsPeople has the function notify tell a receiver of each kind.
func (s *sim) tellsPeople() {
	s.Secrets.Put(notify.SecretName, fmt.Sprintf(`{"receivers": [
		{"kind": "dingtalk", "url": "https://oapi.dingtalk.com/robot/send?access_token=canary-address", "secret": %[1]q},
		{"kind": "feishu", "url": "https://open.feishu.cn/open-apis/bot/v2/hook/canary-address", "secret": %[1]q},
		{"kind": "slack", "url": "https://hooks.slack.com/services/canary-address", "statuses": ["waiting-approval", "failed"]},
		{"kind": "webhook", "url": "https://hooks.example.org/canary-address", "secret": %[1]q}]}`, ReceiverSecret))
}

// heard are the statuses that the webhook was told, each ID once.
func (s *sim) heard(t *testing.T) (statuses []string, most int) {
	t.Helper()
	times := map[string]int{}
	for _, raw := range s.Receivers.Taken(receivers.Webhook) {
		var n notify.Notification
		require.NoError(t, json.Unmarshal([]byte(raw), &n))
		require.Equal(t, s.id, n.RunID)
		if times[n.ID]++; times[n.ID] == 1 {
			statuses = append(statuses, n.Status)
		}
		most = max(most, times[n.ID])
	}
	return statuses, most
}

// People hear when a run waits for them and when it has ended; a receiver that is
// busy hears it later, a dead invocation may repeat it, and the run never waits.
func TestPeopleAreTold(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.tellsPeople()
		s.Receivers.Throttle(receivers.Webhook, 1)
		var twice once
		s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
			if d.Queue == "eslink-"+engine.Notify && twice.first() {
				return runtime.Fault{Copies: 1}
			}
			return runtime.Fault{}
		}
		spec := s.Spec()
		spec.Approve = "manual"
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.WaitingApproval)
		time.Sleep(20 * time.Minute)
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Done)
		time.Sleep(20 * time.Minute)
		s.do(t, events.Request{Action: "teardown", KeepConfig: true})
		s.ends(t, run.Removed)
		time.Sleep(20 * time.Minute)
		got, most := s.heard(t)
		require.Equal(t, []string{"waiting-approval", "done", "removed"}, got)
		require.LessOrEqual(t, most, 2, "sent again at most once")
		require.NotEmpty(t, s.Receivers.Taken(receivers.DingTalk))
		require.NotEmpty(t, s.Receivers.Taken(receivers.Feishu))
		for _, text := range s.Receivers.Taken(receivers.Slack) {
			require.Contains(t, text, "waits for your approval", "the others were not asked for")
		}
		for _, host := range receivers.Hosts {
			require.NotContains(t, strings.Join(s.Receivers.Taken(host), " "), InstancePassword)
		}
	})
}

// A run whose receivers are gone, or whose secret is wrong, goes on all the same.
func TestTellingIsNeverInTheWay(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"no such form":  `{"receivers": "canary-address"}`,
		"a dead host":   `{"receivers": [{"kind": "slack", "url": "https://gone.example.org/canary-address"}]}`,
		"a wrong token": `{"receivers": [{"kind": "feishu", "url": "https://open.feishu.cn/open-apis/bot/v2/hook/canary-address", "secret": "wrong"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				s.Secrets.Put(notify.SecretName, value)
				s.start(t, events.Request{})
				s.ends(t, run.Done)
				s.tearDown(t)
			})
		})
	}
}
