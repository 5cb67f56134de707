package notify_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/receivers"
	"eslink/shared/api/notify"
	"eslink/shared/apierr"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// each are the kinds, with the host and the address that each is at.
var each = map[string]struct{ host, url string }{
	"dingtalk": {receivers.DingTalk, "https://oapi.dingtalk.com/robot/send?access_token=hidden"},
	"feishu":   {receivers.Feishu, "https://open.feishu.cn/open-apis/bot/v2/hook/hidden"},
	"slack":    {receivers.Slack, "https://hooks.slack.com/services/T0/B0/hidden"},
	"webhook":  {receivers.Webhook, "https://hooks.example.org/hidden"},
}

// through carries a request to a handler, as the receiver's host would get it.
type through struct{ http.Handler }

func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("not https: %s", r.URL)
	}
	w := httptest.NewRecorder()
	r.Host = r.URL.Host
	t.ServeHTTP(w, r)
	return w.Result(), nil
}

func world() (*receivers.Receivers, *notify.Client) {
	f := &receivers.Receivers{Now: func() time.Time { return now }, Secret: secret}
	return f, notify.New(through{f}, func() time.Time { return now })
}

func message() notify.Notification {
	return notify.Notification{ID: "0b-7", At: now, RunID: "0b", Name: "orders", Scenario: "es-to-es", Status: "failed", Step: "configure",
		Reason: `cluster <es-cn-1> & "others" do not start 理财`, Next: "retry once <that> is put right", MonthlyCost: "CNY 156.24"}
}

func TestEachKindTakesWhatItsDocumentSays(t *testing.T) {
	t.Parallel()
	for kind, at := range each {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f, c := world()
			r := notify.Receiver{Kind: kind, URL: at.url, Secret: secret}
			require.NoError(t, c.Send(t.Context(), r, message()))
			require.NoError(t, c.Send(t.Context(), r, message()))
			taken := f.Taken(at.host)
			require.Len(t, taken, 2)
			require.Equal(t, taken[0], taken[1], "sent again it is the same")
			require.Contains(t, taken[0], "0b-7", "by which a receiver knows it")
			text := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(taken[0])
			if kind == "webhook" {
				var n notify.Notification
				require.NoError(t, json.Unmarshal([]byte(taken[0]), &n))
				require.Equal(t, message(), n)
				return
			}
			for _, part := range []string{"run orders (es-to-es) has stopped", message().Reason, message().Next, "CNY 156.24"} {
				require.Contains(t, text, part)
			}
		})
	}
}

func TestAWrongSecretIsRefusedForGoodAndABusyReceiverIsNot(t *testing.T) {
	t.Parallel()
	for kind, at := range each {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f, c := world()
			if kind != "slack" { // which signs nothing
				err := c.Send(t.Context(), notify.Receiver{Kind: kind, URL: at.url, Secret: "whsec_d3Jvbmc="}, message())
				require.Error(t, err)
				require.Equal(t, apierr.Fatal, apierr.ClassOf(err), err)
			}
			f.Throttle(at.host, 1)
			r := notify.Receiver{Kind: kind, URL: at.url, Secret: secret}
			err := c.Send(t.Context(), r, message())
			require.Error(t, err)
			require.Equal(t, apierr.Retry, apierr.ClassOf(err), err)
			require.NotContains(t, err.Error(), "hidden", "the address is a secret")
			require.NoError(t, c.Send(t.Context(), r, message()))
			require.Len(t, f.Taken(at.host), 1)
		})
	}
}

func TestNothingGoesElsewhere(t *testing.T) {
	t.Parallel()
	asked := 0
	moved := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "https://evil.example.org/", http.StatusTemporaryRedirect)
	})
	c := notify.New(through{moved}, func() time.Time { return now })
	for kind, at := range each {
		asked = 0
		err := c.Send(t.Context(), notify.Receiver{Kind: kind, URL: at.url, Secret: secret}, message())
		require.Error(t, err)
		require.Equal(t, 1, asked, "a redirect is not followed")
		require.NotContains(t, err.Error(), "hidden")
		require.NotContains(t, err.Error(), secret)
	}
	gone := notify.New(http.DefaultTransport, func() time.Time { return now })
	err := gone.Send(t.Context(), notify.Receiver{Kind: "slack", URL: "https://127.0.0.1:1/hidden"}, message())
	require.Equal(t, apierr.Retry, apierr.ClassOf(err))
	require.NotContains(t, err.Error(), "hidden")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", notify.Receiver{Kind: "slack", URL: "https://hidden", Secret: secret}, notify.Receiver{URL: "hidden"}, notify.Receiver{URL: "hidden"}), "hidden")
}

func TestTheSecretsForm(t *testing.T) {
	t.Parallel()
	for value, says := range map[string]string{
		`{"receivers": [{"kind": "slack", "url": "https://hooks.slack.com/services/x", "statuses": ["failed"]}]}`: "",
		`{"receivers": []}`: "it does not hold",
		`no JSON`:           "it does not hold",
		`{"receivers": [{"kind": "slack", "url": "https://h/x", "token": "t"}]}`:                              "it does not hold",
		`{"receivers": [{"kind": "mail", "url": "https://h/hidden"}]}`:                                        "receivers[0].kind",
		`{"receivers": [{"kind": "slack", "url": "http://h/hidden"}]}`:                                        "receivers[0].url",
		`{"receivers": [{"kind": "slack", "url": "https://u:hidden@h/x"}]}`:                                   "receivers[0].url",
		`{"receivers": [{"kind": "slack", "url": "https://h/x"}, {"kind": "webhook", "url": "https://h/x"}]}`: "receivers[1].secret",
	} {
		got, err := notify.Parse(value)
		if says == "" {
			require.NoError(t, err)
			require.True(t, got[0].Wants("failed"))
			require.False(t, got[0].Wants("done"))
			continue
		}
		require.ErrorContains(t, err, says, value)
		require.NotContains(t, err.Error(), "hidden")
	}
}
