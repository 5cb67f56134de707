// Package eventbridge is a fake of the event streams of EventBridge, API version 2020-04-01, as far as a deployment
// counts them: an account has 50 a region until its quota is raised.
package eventbridge

import (
	"net/http"
	"strconv"
	"sync"

	"eslink/localtest/fakes/cloud"
)

// Fake holds the names of a region's streams.
type Fake struct {
	http.Handler
	mu      sync.Mutex
	streams []string
}

// New serves the streams of an account.
func New(a *cloud.Account) *Fake {
	f := &Fake{}
	f.Handler = a.RPC("eventbridge", "2020-04-01", map[string]cloud.Op{"ListEventStreamings": f.list})
	return f
}

// Add makes streams.
func (f *Fake) Add(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams = append(f.streams, names...)
}

// list answers a page of at most 100; the token is where the next begins.
func (f *Fake) list(req *cloud.Request) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	limit, _ := strconv.Atoi(req.Get("Limit"))
	if limit == 0 {
		limit = 10
	}
	if limit > 100 {
		return nil, cloud.Errorf(400, "InvalidArgument", "Limit is at most 100.")
	}
	from, _ := strconv.Atoi(req.Get("NextToken"))
	var page []any
	for i := from; i < min(from+limit, len(f.streams)); i++ {
		page = append(page, map[string]any{"EventStreamingName": f.streams[i], "Status": "RUNNING"})
	}
	data := map[string]any{"EventStreamings": page, "Total": len(f.streams)}
	if from+limit < len(f.streams) {
		data["NextToken"] = strconv.Itoa(from + limit)
	}
	return map[string]any{"Success": true, "Code": "Success", "Data": data}, nil
}
