// Package page serves eslink's page to the browser of the person who started it.
//
// Whoever can reach the page can change runs, so nobody else can: it listens on
// loopback, answers only the Host that was printed (a foreign name that resolves
// to loopback is refused), and wants with every request the token that the printed
// address carries in its fragment, which browsers send nowhere. There is no cookie
// that another page could ride on. What changes something needs JSON and, where
// the browser names one, our own Origin. The page has no inline script, is not
// framed, and puts everything it is told in as text.
package page

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/eslink/functions"
	"eslink/shared/flow"
)

//go:embed static
var static embed.FS

// Caller calls a deployed function; functions.Client is one.
type Caller interface {
	Invoke(ctx context.Context, function string, payload, into any) error
}

// Page is the handler. All fields are set before it serves.
type Page struct {
	Functions Caller
	// Host is what requests must be addressed to, as host:port; Token what they
	// must carry.
	Host, Token string
	// ReadOnly refuses whatever changes a run; Where says whose runs these are.
	ReadOnly bool
	Where    string
}

// NewToken returns a token that cannot be guessed.
func NewToken() string { return rand.Text() }

// Address is what to open: the token is in its fragment.
func (p *Page) Address() string { return "http://" + p.Host + "/#" + p.Token }

// Listen takes a port of loopback.
func Listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// actions are what a person may do to a run.
var actions = []string{"approve", "cancel", "retry", "teardown", "restore", "start", "throttle"}

// maxBody bounds a request.
const maxBody = 64 << 10

// Serve answers until ctx ends.
func (p *Page) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve page: %w", err)
	}
	return nil
}

func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.Host != p.Host {
		refuse(w, http.StatusMisdirectedRequest, "host", "open the address that eslink ui has printed")
		return
	}
	mux := http.NewServeMux()
	files, err := fs.Sub(static, "static")
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	mux.Handle("GET /", http.FileServerFS(files))
	mux.Handle("GET /api/about", p.asked(p.about))
	mux.Handle("GET /api/runs", p.asked(p.runs))
	mux.Handle("GET /api/runs/{id}", p.asked(p.run))
	mux.Handle("POST /api/runs/{id}/check", p.changing(p.check))
	mux.Handle("POST /api/runs/{id}/{action}", p.changing(p.act))
	mux.ServeHTTP(w, r)
}

// answer is what a person asked for, or an error; both are shown.
type answer func(r *http.Request) (any, error)

// asked lets in who has the token.
func (p *Page) asked(do answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(p.Token)) != 1 {
			refuse(w, http.StatusUnauthorized, "token", "open the address that eslink ui has printed: it carries a token")
			return
		}
		body, err := do(r)
		if err != nil {
			tell(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(body)
	})
}

// changing also wants JSON and our own origin, and more than a look.
func (p *Page) changing(do answer) http.Handler {
	next := p.asked(do)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case kind != "application/json":
			refuse(w, http.StatusUnsupportedMediaType, "content-type", "send JSON")
		case r.Header.Get("Origin") != "http://"+p.Host:
			refuse(w, http.StatusForbidden, "origin", "only the page itself may change runs")
		case p.ReadOnly:
			refuse(w, http.StatusForbidden, "read-only", "this page was started with --read-only: start it without that to change runs")
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			next.ServeHTTP(w, r)
		}
	})
}

func refuse(w http.ResponseWriter, status int, kind, remedy string) {
	tell(w, events.NewProblem(status, kind, "the page refuses this", events.Finding{Message: http.StatusText(status), Remedy: remedy}))
}

// tell answers with a problem document, whatever the error is.
func tell(w http.ResponseWriter, err error) {
	var problem *events.Problem
	if !errors.As(err, &problem) {
		problem = events.NewProblem(http.StatusBadGateway, "functions", "the functions cannot be called")
		problem.Detail = err.Error()
		if errors.Is(err, functions.ErrNotReached) {
			problem.Detail = "no answer from the functions: is the deployment (or localtest serve) still up?"
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(problem.Status)
	json.NewEncoder(w).Encode(problem)
}

// about says what the page cannot know by itself.
func (p *Page) about(*http.Request) (any, error) {
	scenarios := map[string]any{}
	for _, name := range flow.Scenarios() {
		f, _ := flow.Of(name)
		steps := make([]map[string]any, len(f.Steps))
		for i, s := range f.Steps {
			steps[i] = map[string]any{"name": s.Name, "undo": s.Undo}
		}
		scenarios[name] = map[string]any{"steps": steps, "picture": f.Picture}
	}
	return map[string]any{"where": p.Where, "readOnly": p.ReadOnly, "scenarios": scenarios}, nil
}

func (p *Page) runs(r *http.Request) (any, error) {
	var list json.RawMessage
	err := p.Functions.Invoke(r.Context(), "status", struct{}{}, &list)
	return list, err
}

func (p *Page) run(r *http.Request) (any, error) {
	var view json.RawMessage
	err := p.Functions.Invoke(r.Context(), "status", map[string]string{"runId": r.PathValue("id")}, &view)
	return view, err
}

func (p *Page) check(r *http.Request) (any, error) {
	var reply json.RawMessage
	err := p.Functions.Invoke(r.Context(), "check", map[string]string{"runId": r.PathValue("id")}, &reply)
	return reply, err
}

// act sends an action with what the page adds to it: approve the plan that was
// shown, teardown what is kept, throttle a rate, start the spec again.
func (p *Page) act(r *http.Request) (any, error) {
	action := r.PathValue("action")
	if !slices.Contains(actions, action) {
		return nil, events.NewProblem(http.StatusNotFound, "no-such-action", "there is no such action",
			events.Finding{Field: "action", Message: action + " is unknown", Remedy: "use one of " + strings.Join(actions, ", ")})
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, events.NewProblem(http.StatusRequestEntityTooLarge, "too-large", "the request is too large")
	}
	request := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &request); err != nil {
			return nil, events.NewProblem(http.StatusBadRequest, "invalid-request", "the request is not a JSON object")
		}
	}
	// Consent is a function of its own, with a right of its own.
	function := "runs"
	if action == "approve" {
		function = "approve"
	} else {
		request["action"] = action
	}
	if action != "start" {
		request["runId"] = r.PathValue("id")
	}
	var reply json.RawMessage
	err = p.Functions.Invoke(r.Context(), function, request, &reply)
	return reply, err
}
