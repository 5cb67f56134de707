package runtime

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Invoker runs a function; Platform.Invoke is one, and a simulation without processes has its own.
type Invoker func(ctx context.Context, function string, payload []byte) (Result, error)

// HTTP is the gateway in front of a function's HTTP trigger, nil for a function without one: it authenticates, turns
// the request into the event of "HTTP trigger invoking function" (FC 3.0, version v1) and the function's
// {statusCode, headers, isBase64Encoded, body} into the reply. invoke nil means the platform's own.
func (p *Platform) HTTP(f Function, invoke Invoker) http.Handler {
	i := slices.IndexFunc(f.Triggers, func(t Trigger) bool { return t.HTTP != nil })
	if i < 0 {
		return nil
	}
	if invoke == nil {
		invoke = p.Invoke
	}
	t := f.Triggers[i].HTTP
	return p.gateway(func(w http.ResponseWriter, r *http.Request, id string, body []byte) *refusal {
		path, raw := r.URL.Path, r.URL.EscapedPath()
		if t.AuthType == "jwt" {
			if refused := t.Auth.verify(r, body, time.Now()); refused != nil {
				return refused
			}
		} else if _, refused := p.verify(r, body); refused != nil {
			return refused
		}
		if !slices.Contains(t.Methods, r.Method) {
			return &refusal{http.StatusMethodNotAllowed, "MethodNotAllowed", "method " + r.Method + " is not allowed by the trigger"}
		}
		now := p.Clock.Now().UTC()
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		domain := f.Name + "." + f.Region + ".fcapp.run"
		event := map[string]any{
			"version": "v1", "rawPath": raw, "headers": joined(r.Header), "queryParameters": joined(r.URL.Query()),
			"body": string(body), "isBase64Encoded": false,
			"requestContext": map[string]any{
				"accountId": p.Account.AccountID, "domainName": domain, "domainPrefix": f.Name, "requestId": id,
				"time": now.Format(time.RFC3339), "timeEpoch": fmt.Sprint(now.UnixMilli()),
				"http": map[string]string{"method": r.Method, "path": path, "protocol": r.Proto, "sourceIp": client, "userAgent": r.UserAgent()},
			},
		}
		if !utf8.Valid(body) {
			event["body"], event["isBase64Encoded"] = base64.StdEncoding.EncodeToString(body), true
		}
		payload, err := json.Marshal(event)
		if err != nil {
			return &refusal{http.StatusInternalServerError, "InternalServerError", err.Error()}
		}
		result, err := invoke(r.Context(), f.Name, payload)
		if err != nil {
			return &refusal{http.StatusInternalServerError, "InternalServerError", err.Error()}
		}
		if result.ErrorType != "" {
			w.Header().Set("X-Fc-Error-Type", result.ErrorType)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadGateway)
			w.Write(result.Body)
			return nil
		}
		return reply(w, result.Body)
	})
}

func joined[M ~map[string][]string](m M) map[string]string {
	out := make(map[string]string, len(m))
	for k, vs := range m {
		out[k] = strings.Join(vs, ",")
	}
	return out
}

func reply(w http.ResponseWriter, body []byte) *refusal {
	var out struct {
		StatusCode int               `json:"statusCode"`
		Headers    map[string]string `json:"headers"`
		Base64     bool              `json:"isBase64Encoded"`
		Body       string            `json:"body"`
	}
	if err := json.Unmarshal(body, &out); err != nil || out.StatusCode < 100 || out.StatusCode > 599 {
		// What FC makes of a reply without statusCode is not documented, so none may rely on it.
		return &refusal{http.StatusBadGateway, "BadResponse", "the function's reply is not {statusCode, headers, isBase64Encoded, body}"}
	}
	content := []byte(out.Body)
	if out.Base64 {
		var err error
		if content, err = base64.StdEncoding.DecodeString(out.Body); err != nil {
			return &refusal{http.StatusBadGateway, "BadResponse", "body is not base64: " + err.Error()}
		}
	}
	for k, v := range out.Headers {
		w.Header().Set(k, v)
	}
	w.WriteHeader(out.StatusCode)
	w.Write(content)
	return nil
}

// API is InvokeFunction of the FC API 2023-03-30 (POST /2023-03-30/functions/{name}/invocations, signed, synchronous):
// what `s invoke` calls. invoke nil means the platform's own.
func (p *Platform) API(invoke Invoker) http.Handler {
	if invoke == nil {
		invoke = p.Invoke
	}
	mux := http.NewServeMux()
	mux.Handle("POST /2023-03-30/functions/{name}/invocations", p.gateway(func(w http.ResponseWriter, r *http.Request, id string, body []byte) *refusal {
		name := r.PathValue("name")
		who, refused := p.verify(r, body)
		if refused != nil {
			return refused
		}
		resource := fmt.Sprintf("acs:fc:%s:%s:functions/%s", p.Account.Region, p.Account.AccountID, name)
		if err := p.Account.Authorize(who, "fc:InvokeFunction", resource); err != nil {
			return &refusal{http.StatusForbidden, "AccessDenied", err.Message}
		}
		if !slices.ContainsFunc(p.Functions, func(f Function) bool { return f.Name == name }) {
			return &refusal{http.StatusNotFound, "FunctionNotFound", "function '" + name + "' does not exist"}
		}
		if kind := r.Header.Get("x-fc-invocation-type"); kind != "" && kind != "Sync" {
			return &refusal{http.StatusBadRequest, "InvalidArgument", "invocation type " + kind + " is not run here"}
		}
		result, err := invoke(r.Context(), name, body)
		if err != nil {
			return &refusal{http.StatusInternalServerError, "InternalServerError", err.Error()}
		}
		if result.ErrorType != "" {
			w.Header().Set("X-Fc-Error-Type", result.ErrorType)
		}
		w.Header().Set("X-Fc-Invocation-Duration", fmt.Sprint(result.Duration.Milliseconds()))
		w.Write(result.Body)
		return nil
	}))
	return mux
}

// gateway reads the body and renders refusals with a request ID.
func (p *Platform) gateway(serve func(w http.ResponseWriter, r *http.Request, id string, body []byte) *refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := "1-" + p.Account.NewID("", 8) + "-" + p.Account.NewID("", 20)
		w.Header().Set("X-Fc-Request-Id", id)
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
		refused := &refusal{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "at most 32 MB"}
		if err == nil {
			refused = serve(w, r, id, body)
		}
		if refused != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(refused.status)
			json.NewEncoder(w).Encode(map[string]string{"RequestId": id, "Code": refused.code, "Message": refused.message})
		}
	})
}
