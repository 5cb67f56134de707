package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

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

// StatusFunction is the function status: GET ?runId=…, or the runs without it, a
// page at a time: ?after= the next of the page before. Through `s invoke` the
// payload is {"runId": …}, {"after": …} or {}.
func StatusFunction(f *wire.Function) wire.Handler {
	status := &Status{Store: f.Deps.Runs}
	return f.HTTP(http.MethodGet, func(ctx context.Context, req wire.Request) (int, any, error) {
		ask, err := parameters(req)
		if err != nil {
			return 0, nil, err
		}
		if ask["runId"] != "" {
			v, err := status.Get(ctx, ask["runId"])
			return http.StatusOK, v, err
		}
		list, next, err := status.List(ctx, ask["after"])
		return http.StatusOK, runsPage{list, next}, err
	})
}

// runsPage is a page of runs; Next asks for the one after it.
type runsPage struct {
	Runs []View `json:"runs"`
	Next string `json:"next,omitempty"`
}

// parameters are what status is asked. One that it does not know is refused, since
// all runs are no answer to who meant one; what begins with x- is a gateway's.
func parameters(req wire.Request) (map[string]string, error) {
	ask := req.Query
	if req.Method == "" && len(req.Body) > 0 {
		if err := json.Unmarshal(req.Body, &ask); err != nil {
			return nil, events.NewProblem(400, "invalid-request", "the request is not a JSON object of strings", events.Finding{Message: err.Error(), Remedy: `send {"runId": …}, {"after": …} or {}`})
		}
	}
	var fs events.Findings
	for _, name := range slices.Sorted(maps.Keys(ask)) {
		if name != "runId" && name != "after" && !strings.HasPrefix(strings.ToLower(name), "x-") {
			fs.Add(name, "status has no parameter "+name, "use runId or after")
		}
	}
	if len(fs) > 0 {
		return nil, events.NewProblem(400, "invalid-request", "the request is wrong in itself", fs...)
	}
	return ask, nil
}

// SweepFunction is the function sweep; a timer's payload says nothing.
func SweepFunction(f *wire.Function) wire.Handler {
	return func(ctx context.Context, _ []byte) (json.RawMessage, error) {
		return nil, f.Engine.Sweep(ctx)
	}
}
