package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"eslink/events"
	"eslink/localtest/runtime"
	"eslink/localtest/world"
	"eslink/shared/api"
	"eslink/shared/api/check"
)

// client calls the deployed HTTP functions as a user does: signed, through
// their triggers.
type client struct{ d *world.Deployment }

func (c client) runs(ctx context.Context, req events.Request) (reply api.Reply, err error) {
	err = c.call(ctx, http.MethodPost, "eslink-runs", "", req, &reply)
	return reply, err
}

func (c client) approve(ctx context.Context, a events.Approval) (reply api.Reply, err error) {
	err = c.call(ctx, http.MethodPost, "eslink-approve", "", a, &reply)
	return reply, err
}

func (c client) status(ctx context.Context, runID string) (v api.View, err error) {
	err = c.call(ctx, http.MethodGet, "eslink-status", "?runId="+runID, nil, &v)
	return v, err
}

func (c client) check(ctx context.Context, runID string) (reply check.Reply, err error) {
	err = c.call(ctx, http.MethodPost, "eslink-check", "", events.CheckRequest{RunID: runID}, &reply)
	return reply, err
}

func (c client) call(ctx context.Context, method, function, query string, body, into any) error {
	var payload []byte
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: %w", function, err)
		}
		payload = raw
	}
	req, err := http.NewRequestWithContext(ctx, method, c.d.FunctionURLs[function]+"/"+query, bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	runtime.Sign(req, c.d.Account.RootKey(), time.Now())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	var p events.Problem
	if resp.StatusCode >= 300 && json.Unmarshal(raw, &p) == nil && p.Type != "" {
		return &p
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: status %d: %.300s", function, resp.StatusCode, raw)
	}
	return nil
}
