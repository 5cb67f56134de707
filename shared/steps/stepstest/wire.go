package stepstest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"eslink/localtest/fakes/cloud"
)

// Wire is a transport to an Elasticsearch cluster that a Driver can break, for
// steps that write there and not to a cloud. Actions are written "PUT /orders".
type Wire struct {
	To http.RoundTripper

	mu   sync.Mutex
	hook func(cloud.Call) cloud.Fault
	seen []cloud.Exchange
}

// SetFault implements Faults.
func (w *Wire) SetFault(hook func(cloud.Call) cloud.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

// Exchanges implements Faults.
func (w *Wire) Exchanges() []cloud.Exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]cloud.Exchange(nil), w.seen...)
}

// RoundTrip implements http.RoundTripper.
func (w *Wire) RoundTrip(q *http.Request) (*http.Response, error) {
	action := q.Method + " " + q.URL.Path
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	var f cloud.Fault
	if hook != nil {
		f = hook(cloud.Call{Product: "elasticsearch", Action: action})
	}
	if f.Before != nil {
		status := f.Before.Status
		if strings.HasPrefix(f.Before.Code, "Throttling") {
			status = http.StatusTooManyRequests // as Elasticsearch throttles
		}
		body, err := json.Marshal(map[string]any{"error": map[string]string{"type": f.Before.Code, "reason": f.Before.Message}, "status": status})
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}, "X-Elastic-Product": {"Elasticsearch"}},
			Body: io.NopCloser(strings.NewReader(string(body))), Request: q}, nil
	}
	resp, err := w.To.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	e := cloud.Exchange{Action: action, Status: resp.StatusCode, Write: isWrite(action)}
	if f.LoseReply {
		resp.Body.Close()
		e.Status = 0
	}
	w.mu.Lock()
	w.seen = append(w.seen, e)
	w.mu.Unlock()
	if f.LoseReply {
		return nil, errors.New("connection reset by peer")
	}
	return resp, nil
}
