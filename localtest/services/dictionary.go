package services

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Dictionary serves a list of words, one a line, at one path, the way a web
// server serves a file: a plugin asks with If-Modified-Since and If-None-Match
// and is told 304 while nothing changed.
type Dictionary struct {
	path string

	mu       sync.Mutex
	text     []byte
	changed  time.Time
	requests []string
}

// NewDictionary makes one that answers at path and nowhere else.
func NewDictionary(path string, words ...string) *Dictionary {
	d := &Dictionary{path: path}
	d.Set(words...)
	return d
}

// Set replaces the words.
func (d *Dictionary) Set(words ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = []byte(strings.Join(words, "\n") + "\n")
	d.changed = time.Now()
}

// Requests lists what was asked, as "METHOD path status", oldest first.
func (d *Dictionary) Requests() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.requests)
}

// ServeHTTP implements http.Handler.
func (d *Dictionary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	text, changed := d.text, d.changed
	d.mu.Unlock()
	seen := &statusWriter{w, http.StatusOK}
	if r.URL.Path != d.path {
		http.NotFound(seen, r)
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%.8x", sha256.Sum256(text))))
		http.ServeContent(seen, r, "", changed, bytes.NewReader(text))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, seen.status))
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
