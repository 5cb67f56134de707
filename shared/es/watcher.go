package es

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Webhook is a request that Watcher sends.
type Webhook struct {
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	Port   int    `json:"port"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body,omitempty"`
	// Timeouts, such as 10s, keep one call shorter than an invocation.
	ConnectionTimeout string `json:"connection_timeout"`
	ReadTimeout       string `json:"read_timeout"`
}

// Sent is what came of a webhook.
type Sent struct {
	State  string // of the watch's record, such as executed
	Status string // of its one action: success or failure
	Reply  int    // the HTTP status that the service answered with; 0: none
	Reason string // why there was no reply, or no good one
	Error  *Cause // the same, if it was an exception
}

// Send makes Watcher send a webhook once, and tells what came of it. The watch
// is given in the request and stored nowhere, nor is its record.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/watcher-api-execute-watch.html
func (c *Client) Send(ctx context.Context, w Webhook) (Sent, error) {
	watch := map[string]any{
		"trigger":   map[string]any{"schedule": map[string]any{"interval": "24h"}},
		"input":     map[string]any{"simple": map[string]any{}},
		"condition": map[string]any{"always": map[string]any{}},
		"actions":   map[string]any{"webhook": map[string]any{"webhook": w}},
	}
	ask := map[string]any{"watch": watch, "record_execution": false, "ignore_condition": true, "action_modes": map[string]string{"_all": "force_execute"}}
	var out struct {
		Record struct {
			State    string   `json:"state"`
			Messages []string `json:"messages"`
			Result   struct {
				Actions []struct {
					Status  string          `json:"status"`
					Reason  string          `json:"reason"`
					Error   json.RawMessage `json:"error"`
					Webhook struct {
						Response struct{ Status int }
					}
				}
			}
		} `json:"watch_record"`
	}
	if err := c.do(ctx, "execute a watch", raw{http.MethodPost, "/_watcher/watch/_execute", "", "", ask}, &out); err != nil {
		return Sent{}, err
	}
	sent := Sent{State: out.Record.State}
	if len(out.Record.Result.Actions) == 0 {
		sent.Reason = fmt.Sprint(out.Record.Messages)
		return sent, nil
	}
	a := out.Record.Result.Actions[0]
	sent.Status, sent.Reply, sent.Reason = a.Status, a.Webhook.Response.Status, a.Reason
	var cause Cause
	if json.Unmarshal(a.Error, &cause) == nil && cause.Type != "" {
		sent.Error, sent.Reason = &cause, cause.String()
	}
	return sent, nil
}

// IsOff reports whether err says that the cluster has no such API: the feature
// is switched off, or not there. 7.x takes its path for that of a document.
func IsOff(err error) bool {
	e := asReply(err)
	return e != nil && (e.Code == "invalid_index_name_exception" || e.Code == "http_400" || e.Code == "http_405")
}
