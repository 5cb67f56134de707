package wire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	fcevents "github.com/aliyun/fc-runtime-go-sdk/events"

	"eslink/events"
)

// A Request is what an HTTP function is asked, whether through its trigger or
// bare, through `s invoke`.
type Request struct {
	Method string
	Query  map[string]string
	Body   []byte
}

// HTTP is the handler of a function with an HTTP trigger. Function Compute hands
// it the request as an event (version v1), and expects statusCode, headers and
// body back; without a trigger the payload is the body, and the reply's body
// alone comes back. Errors answer as problem documents (RFC 9457); one that is
// not a *events.Problem is logged, and answered with 500 and the request ID,
// for it may name what a caller should not know.
func (f *Function) HTTP(method string, do func(context.Context, Request) (status int, body any, err error)) Handler {
	return func(ctx context.Context, payload []byte) (json.RawMessage, error) {
		req, bare, err := request(payload)
		if err != nil {
			return nil, err
		}
		if !bare && req.Method != method {
			return respond(http.StatusMethodNotAllowed, events.NewProblem(405, "method", "use "+method), "Allow", method)
		}
		status, body, err := do(ctx, req)
		if err != nil {
			var p *events.Problem
			if !errors.As(err, &p) {
				f.Log.ErrorContext(ctx, "request failed", "err", err)
				p = events.NewProblem(500, "internal", "the request failed; the function's log says why")
			}
			status, body = p.Status, p
		}
		if bare {
			return json.Marshal(body)
		}
		return respond(status, body)
	}
}

// respond encodes a reply; header are further names and values.
func respond(status int, body any, header ...string) (json.RawMessage, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode reply: %w", err)
	}
	headers := map[string]string{"Content-Type": "application/json"}
	if _, ok := body.(*events.Problem); ok {
		headers["Content-Type"] = "application/problem+json"
	}
	for i := 0; i+1 < len(header); i += 2 {
		headers[header[i]] = header[i+1]
	}
	return json.Marshal(fcevents.HTTPTriggerResponse{StatusCode: status, Headers: headers, Body: string(raw)})
}

// request tells a trigger's event from a bare payload by the two fields that
// only the former has.
func request(payload []byte) (req Request, bare bool, err error) {
	var ev fcevents.HTTPTriggerEvent
	if json.Unmarshal(payload, &ev) != nil || ev.Version == nil || ev.TriggerContext.Http.Method == nil {
		return Request{Body: payload}, true, nil
	}
	req.Method = *ev.TriggerContext.Http.Method
	if ev.QueryParameters != nil {
		req.Query = *ev.QueryParameters
	}
	if ev.Body != nil {
		req.Body = []byte(*ev.Body)
	}
	if ev.IsBase64Encoded != nil && *ev.IsBase64Encoded {
		if req.Body, err = base64.StdEncoding.DecodeString(string(req.Body)); err != nil {
			return req, false, fmt.Errorf("decode body: %w", err)
		}
	}
	return req, false, nil
}
