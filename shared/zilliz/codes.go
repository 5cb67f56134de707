package zilliz

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"

	"eslink/shared/apierr"
)

// codes are the numbers in the envelope that the reference shows, and what they
// mean. A number that is not here goes by the HTTP status; 200 means that a
// person has to look.
var codes = map[int]apierr.Class{
	1800:  apierr.Fatal, // user has not authenticated
	21119: apierr.Fatal, // the API key is illegal
	404:   apierr.NotFound,
	429:   apierr.Retry,
	500:   apierr.Retry,
	503:   apierr.Retry,
}

// Codes that steps act on.
const (
	Unauthenticated = "1800"
	IllegalKey      = "21119"
)

// maxMessage bounds what is kept of a service's message, in bytes.
const maxMessage = 300

// open takes an envelope apart: the data of a success, or a refusal.
func open(raw []byte, resp *http.Response) (json.RawMessage, *apierr.Error) {
	var envelope struct {
		Code    *int            `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	e := &apierr.Error{Status: resp.StatusCode, RequestID: resp.Header.Get("requestid"), Class: apierr.ByStatus(resp.StatusCode)}
	if json.Unmarshal(raw, &envelope) != nil || envelope.Code == nil {
		e.Code, e.Message = "UnknownReply", "the reply is not one of the service's own"
		if resp.StatusCode < 300 { // what it did is unknown
			e.Class = apierr.Retry
		}
		return nil, e
	}
	code := *envelope.Code
	if resp.StatusCode < 300 && (code == 0 || code == http.StatusOK) {
		if len(envelope.Data) == 0 {
			return json.RawMessage("null"), nil
		}
		return envelope.Data, nil
	}
	e.Code = strconv.Itoa(cmp.Or(code, resp.StatusCode))
	if len(envelope.Message) > maxMessage {
		envelope.Message = envelope.Message[:maxMessage] + "…"
	}
	e.Message = envelope.Message
	if class, ok := codes[code]; ok {
		e.Class = class
	} else if resp.StatusCode == http.StatusNotFound {
		e.Class = apierr.NotFound
	}
	return nil, e
}
