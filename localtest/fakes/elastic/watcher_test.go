package elastic_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
	"eslink/localtest/services"
)

func itoa(n int) string { return strconv.Itoa(n) }

var watcherOn = map[string]string{"xpack.watcher.enabled": "true"}

func withWatcher(t *testing.T, c elastic.Config, f func(h *host, hook *services.Webhook)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, c)
		hook := &services.Webhook{}
		h.serve("hook.example:8080", func(l net.Listener) error { return services.ServeHTTP(l, hook) })
		f(h, hook)
	})
}

// execution is a request with one webhook.
func execution(hook, more string) string {
	return `{"watch":{"trigger":{"schedule":{"interval":"24h"}},"input":{"simple":{"a":1}},"condition":{"always":{}},"actions":{"w":{"webhook":` + hook + `}}}` + more + `}`
}

// run executes and gives the record.
func (h *host) run(body string) map[string]any {
	h.t.Helper()
	status, reply := h.call(admin, "POST", "/_watcher/watch/_execute", body)
	require.Equal(h.t, 200, status, reply)
	var out map[string]any
	require.NoError(h.t, json.Unmarshal([]byte(reply), &out))
	return out["watch_record"].(map[string]any)
}

// action is the first action's result, as text.
func action(t *testing.T, record map[string]any) (map[string]any, string) {
	t.Helper()
	result := record["result"].(map[string]any)["actions"].([]any)[0].(map[string]any)
	text, err := json.Marshal(result)
	require.NoError(t, err)
	return result, string(text)
}

func TestWebhookIsSent(t *testing.T) {
	withWatcher(t, elastic.Config{Settings: watcherOn}, func(h *host, hook *services.Webhook) {
		record := h.run(execution(`{"scheme":"http","host":"hook.example","port":8080,"method":"post","path":"/in","params":{"q":"1"},"headers":{"X-Run":"r1"},"auth":{"basic":{"username":"u","password":"canary-hook"}},"body":"ping"}`,
			`,"action_modes":{"_all":"force_execute"},"ignore_condition":true`))
		got := hook.Received()
		require.Len(t, got, 1)
		assert.Equal(t, "POST /in?q=1 ping", got[0].Method+" "+got[0].Path+" "+got[0].Body)
		assert.Equal(t, "r1", got[0].Header.Get("X-Run"))
		user, password, _ := (&http.Request{Header: got[0].Header}).BasicAuth()
		assert.Equal(t, "u canary-hook", user+" "+password)

		assert.Equal(t, "_inlined_", record["watch_id"])
		assert.Equal(t, "executed", record["state"])
		assert.Equal(t, "elastic", record["user"])
		assert.Equal(t, map[string]any{"simple": map[string]any{"a": 1.0}}, record["input"])
		assert.Equal(t, []any{}, record["messages"])
		status := record["status"].(map[string]any)
		assert.Equal(t, "executed", status["execution_state"])
		assert.Equal(t, "ackable", status["actions"].(map[string]any)["w"].(map[string]any)["ack"].(map[string]any)["state"])
		result, text := action(t, record)
		assert.Equal(t, "success", result["status"])
		webhook := result["webhook"].(map[string]any)
		assert.Equal(t, map[string]any{"host": "hook.example", "port": 8080.0, "scheme": "http", "method": "post", "path": "/in", "body": "ping",
			"params": map[string]any{"q": "1"}, "headers": map[string]any{"X-Run": "r1"}, "auth": map[string]any{"basic": map[string]any{"username": "u", "password": "::es_redacted::"}}}, webhook["request"])
		assert.EqualValues(t, 200, webhook["response"].(map[string]any)["status"])
		assert.Equal(t, "OK", webhook["response"].(map[string]any)["body"])
		assert.NotContains(t, text, "canary")
	})
}

func TestWebhookFails(t *testing.T) {
	withWatcher(t, elastic.Config{Settings: watcherOn}, func(h *host, hook *services.Webhook) {
		to := func(host string, port int) string {
			return `{"scheme":"http","host":"` + host + `","port":` + itoa(port) + `,"method":"post","path":"/","body":"ping"}`
		}
		hook.Answer(500)
		record := h.run(execution(to("hook.example", 8080), ""))
		result, _ := action(t, record)
		assert.Equal(t, "executed", record["state"], "a record of a failure, with status 200")
		assert.Equal(t, "failure", result["status"])
		assert.Equal(t, "received [500] status code", result["reason"])
		assert.EqualValues(t, 500, result["webhook"].(map[string]any)["response"].(map[string]any)["status"])
		last := record["status"].(map[string]any)["actions"].(map[string]any)["w"].(map[string]any)
		assert.Equal(t, "awaits_successful_execution", last["ack"].(map[string]any)["state"])
		assert.Equal(t, false, last["last_execution"].(map[string]any)["successful"])

		for _, c := range []struct {
			host, typ, reason, cause string
			takes                    time.Duration
		}{
			{"closed.example", "http_host_connect_exception", "Connect to closed.example:8081 failed: Connection refused", "Connection refused", 0},
			{"nosuch.invalid", "unknown_host_exception", "nosuch.invalid: Name or service not known", "", 0},
			{"silent.example", "connect_timeout_exception", "Connect to silent.example:8081 failed: Connect timed out", "Connect timed out", 10 * time.Second},
		} {
			began := time.Now()
			result, text := action(t, h.run(execution(to(c.host, 8081), "")))
			assert.Equal(t, c.takes, time.Since(began), c.host)
			assert.Equal(t, "failure", result["status"])
			assert.NotContains(t, result, "webhook")
			e := result["error"].(map[string]any)
			assert.Equal(t, c.typ+": "+c.reason, e["type"].(string)+": "+e["reason"].(string))
			assert.Equal(t, c.typ, e["root_cause"].([]any)[0].(map[string]any)["type"])
			if c.cause != "" {
				assert.Contains(t, text, `"caused_by":{"reason":"`+c.cause+`"`)
			}
		}
		began := time.Now()
		result, _ = action(t, h.run(execution(strings.Replace(to("silent.example", 8081), `"scheme"`, `"connection_timeout":"2s","scheme"`, 1), "")))
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.Equal(t, "failure", result["status"])

		h.serve("slow.example:8080", func(l net.Listener) error {
			return services.ServeHTTP(l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // or it would not see the caller leave
				<-r.Context().Done()
			}))
		})
		_, text := action(t, h.run(execution(to("slow.example", 8080), "")))
		assert.Contains(t, text, `"reason":"Read timed out","root_cause":[{"reason":"Read timed out","type":"socket_timeout_exception"}]`)
		_, text = action(t, h.run(execution(`{"scheme":"https","host":"hook.example","port":8080}`, "")))
		assert.Contains(t, text, "Unsupported or unrecognized SSL message")
	})
}

func TestWatchThatDoesNotSend(t *testing.T) {
	withWatcher(t, elastic.Config{Settings: watcherOn}, func(h *host, hook *services.Webhook) {
		to := `{"host":"hook.example","port":8080}`
		record := h.run(strings.Replace(execution(to, ""), `"always"`, `"never"`, 1))
		assert.Equal(t, "execution_not_needed", record["state"])
		assert.Empty(t, record["result"].(map[string]any)["actions"])
		result, _ := action(t, h.run(execution(to, `,"action_modes":{"w":"simulate"}`)))
		assert.Equal(t, "simulated", result["status"])
		assert.Empty(t, hook.Received())
		h.run(strings.Replace(execution(to, `,"ignore_condition":true`), `"always"`, `"never"`, 1))
		require.Len(t, hook.Received(), 1)
		assert.Equal(t, "GET", hook.Received()[0].Method)
	})
}

func TestWatcherRefuses(t *testing.T) {
	users := map[string]elastic.User{"weak": {Password: "p", Cluster: []string{"monitor"}}, "strong": {Password: "p", Cluster: []string{"manage_watcher"}}}
	withWatcher(t, elastic.Config{Settings: watcherOn, Users: users}, func(h *host, hook *services.Webhook) {
		to := `{"host":"hook.example","port":8080}`
		for body, want := range map[string]string{
			`{}`: `"reason":"Validation Failed: 1: a watch execution request must either have a watch id or an inline watch source, but both are missing;"`,
			execution(to, `,"record_execution":true`):                  "the execution of an inline watch cannot be recorded",
			execution(to, `,"action_modes":{"w":"sometimes"}`):         "unknown action execution mode [sometimes]",
			execution(to, `,"other":{}`):                               "unexpected object field [other]",
			`{"trigger":{}}`:                                           `please wrap watch including field [trigger] inside a \"watch\" field`,
			`{"watch":{"actions":{}}}`:                                 "missing required field [trigger]",
			execution(`{"port":8080}`, ""):                             "missing required [host] string field",
			execution(`{"host":"h"}`, ""):                              "wrong port for http request template",
			`{"watch":{"trigger":{"schedule":{}},"actions":{"w":{}}}}`: "missing action type",
			`{"watch":{"trigger":{"schedule":{}},"colour":{}}}`:        "unexpected field [colour]",
		} {
			status, reply := h.call(admin, "PUT", "/_watcher/watch/_execute", body)
			assert.Equal(t, 400, status, body)
			assert.Contains(t, reply, want)
		}
		for _, body := range []string{execution(`{"host":"h","port":1,"body":"{{ctx.payload}}"}`, ""), `{"watch":{"trigger":{"schedule":{}},"input":{"http":{}}}}`} {
			status, reply := h.call(admin, "POST", "/_watcher/watch/_execute", body)
			assert.Equal(t, 501, status, reply)
		}
		for _, path := range []string{"/_watcher/watch/w", "/_watcher/watch/w/_execute"} {
			status, reply := h.call(admin, "PUT", path, "{}")
			assert.Equal(t, 501, status, reply)
		}
		status, reply := h.call("weak:p", "POST", "/_watcher/watch/_execute", execution(to, ""))
		assert.Equal(t, 403, status)
		assert.Contains(t, reply, "[manage_watcher,manage,all]")
		status, _ = h.call("strong:p", "POST", "/_watcher/watch/_execute", execution(to, ""))
		assert.Equal(t, 200, status)
		assert.Len(t, hook.Received(), 1)

		for _, off := range []map[string]string{nil, {"xpack.watcher.enabled": "false"}} {
			require.NoError(t, h.Restart(off))
			status, reply = h.call(admin, "POST", "/_watcher/watch/_execute", execution(to, ""))
			reason := `{"type":"invalid_index_name_exception","reason":"Invalid index name [_watcher], must not start with '_', '-', or '+'","index_uuid":"_na_","index":"_watcher"}`
			assert.Equal(t, "400 "+`{"error":{"root_cause":[`+reason+`],`+reason[1:]+`,"status":400}`, sprint(status, reply))
		}
	})
}
