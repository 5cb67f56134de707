package api

import (
	"context"
	"encoding/json"
	"net/http"

	"eslink/events"
	"eslink/shared/aliyun"
	"eslink/shared/wire"
)

// NewRuns returns what changes the runs of a function's deployment.
func NewRuns(f *wire.Function) *Runs {
	return &Runs{Store: f.Deps.Runs, Engine: f.Engine, Region: f.Deps.Aliyun.Region, Now: f.Deps.Now, AutoApprove: f.AutoApprove()}
}

// ApproveFunction is the function approve: POST an approval (approve.schema.json).
func ApproveFunction(f *wire.Function) wire.Handler {
	runs := NewRuns(f)
	return f.HTTP(http.MethodPost, func(ctx context.Context, req wire.Request) (int, any, error) {
		reply, err := runs.Approve(ctx, req.Body)
		return http.StatusOK, reply, err
	})
}

// RunsFunction is the function runs: POST a request (request.schema.json).
func RunsFunction(f *wire.Function) wire.Handler {
	runs := NewRuns(f)
	return f.HTTP(http.MethodPost, func(ctx context.Context, req wire.Request) (int, any, error) {
		account, err := aliyun.AccountFrom(ctx)
		if err != nil {
			return 0, nil, err
		}
		reply, err := runs.Do(ctx, account, req.Body)
		return http.StatusOK, reply, err
	})
}

// StatusFunction is the function status: GET ?runId=…, or all runs without it.
// Through `s invoke` the payload is {"runId": …} or {}.
func StatusFunction(f *wire.Function) wire.Handler {
	status := &Status{Store: f.Deps.Runs}
	return f.HTTP(http.MethodGet, func(ctx context.Context, req wire.Request) (int, any, error) {
		id := req.Query["runId"]
		if req.Method == "" && len(req.Body) > 0 {
			var ask struct {
				RunID string `json:"runId"`
			}
			if err := json.Unmarshal(req.Body, &ask); err != nil {
				return 0, nil, events.NewProblem(400, "invalid-request", "the request is not JSON", events.Finding{Message: err.Error(), Remedy: `send {"runId": …} or {}`})
			}
			id = ask.RunID
		}
		if id != "" {
			v, err := status.Get(ctx, id)
			return http.StatusOK, v, err
		}
		list, err := status.List(ctx)
		return http.StatusOK, map[string]any{"runs": list}, err
	})
}

// SweepFunction is the function sweep; a timer's payload says nothing.
func SweepFunction(f *wire.Function) wire.Handler {
	return func(ctx context.Context, _ []byte) (json.RawMessage, error) {
		return nil, f.Engine.Sweep(ctx)
	}
}
