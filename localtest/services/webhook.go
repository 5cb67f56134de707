package services

import (
	"io"
	"net/http"
	"slices"
	"sync"
)

// Webhook receives what Watcher sends, and remembers it.
type Webhook struct {
	mu       sync.Mutex
	status   int
	received []Received
}

// Received is one request.
type Received struct {
	Method, Path string // with the query
	Header       http.Header
	Body         string
}

// Answer sets the status of the next replies; at first it is 200.
func (w *Webhook) Answer(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

// Received lists the requests, oldest first.
func (w *Webhook) Received() []Received {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.received)
}

// ServeHTTP implements http.Handler.
func (w *Webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender gave up
	}
	w.mu.Lock()
	w.received = append(w.received, Received{r.Method, r.URL.RequestURI(), r.Header.Clone(), string(body)})
	status := w.status
	w.mu.Unlock()
	if status == 0 {
		status = http.StatusOK
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, http.StatusText(status)) // the sender may be gone
}
