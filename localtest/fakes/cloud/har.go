package cloud

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Exchange is one call as it went over the wire.
type Exchange struct {
	At              time.Time
	Product, Action string
	Method, URL     string
	ReqHeader       http.Header
	ReqBody         string
	Status          int // 0: the reply was lost
	RespBody        string
	Caller          Principal
	Write           bool // the operation changes something
}

const blank = "***"

// Record logs an exchange, with passwords, tokens, keys, signatures and all hidden values blanked.
func (a *Account) Record(e Exchange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hide := strings.NewReplacer(a.hidden...)
	e.ReqHeader = maps.Clone(e.ReqHeader)
	for name, values := range e.ReqHeader {
		e.ReqHeader[name] = slices.Clone(values)
		for i, v := range values {
			e.ReqHeader[name][i] = hide.Replace(v)
			if secret(name) {
				e.ReqHeader[name][i] = blank
			}
		}
	}
	if u, err := url.Parse(e.URL); err == nil {
		u.RawQuery = blankForm(u.RawQuery)
		e.URL = hide.Replace(u.String())
	}
	e.ReqBody, e.RespBody = hide.Replace(blankBody(e.ReqBody)), hide.Replace(blankBody(e.RespBody))
	a.exchanges = append(a.exchanges, e)
}

// Hide makes the log blank these values wherever they stand. Empty ones are ignored.
func (a *Account) Hide(values ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range values {
		if v == "" {
			continue
		}
		quoted := string(raw(v))
		for _, form := range []string{quoted[1 : len(quoted)-1], url.QueryEscape(v), percent(v), v} {
			a.hidden = append(a.hidden, form, blank)
		}
	}
}

// Exchanges are the calls so far, in order.
func (a *Account) Exchanges() []Exchange {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.exchanges)
}

// secret tells by its name whether a header, parameter or JSON member holds one. Client and page tokens do not.
func secret(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
	return slices.ContainsFunc([]string{"authorization", "signature", "securitytoken", "ststoken", "accesskeyid", "accesskeysecret",
		"password", "passwd", "secretdata"}, func(end string) bool { return strings.HasSuffix(name, end) })
}

// blankForm keeps the order, so that the log reads as what was sent.
func blankForm(form string) string {
	pairs := strings.Split(form, "&")
	for i, pair := range pairs {
		if name, _, ok := strings.Cut(pair, "="); ok && secret(name) {
			pairs[i] = name + "=" + blank
		}
	}
	return strings.Join(pairs, "&")
}

// blankBody knows JSON and forms; other bodies hold secrets only as hidden values.
func blankBody(body string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return blankForm(body)
	}
	if !blankJSON(v) {
		return body
	}
	return string(raw(v))
}

func blankJSON(v any) (changed bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if secret(name) {
				v[name], changed = blank, true
			} else if blankJSON(member) {
				changed = true
			}
		}
	case []any:
		for _, item := range v {
			changed = blankJSON(item) || changed
		}
	}
	return changed
}

// WriteHAR writes exchanges as an HTTP Archive 1.2 (http://www.softwareishard.com/blog/har-12-spec/). A body that is
// no text is in base64. A lost reply has status 0.
func WriteHAR(w io.Writer, exchanges []Exchange) error {
	type pair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	pairs := func(values map[string][]string) []pair {
		list := []pair{}
		for _, name := range sorted(values) {
			for _, v := range values[name] {
				list = append(list, pair{name, v})
			}
		}
		return list
	}
	text := func(body, mime string) map[string]any {
		t := map[string]any{"size": len(body), "mimeType": mime, "text": body}
		if !utf8.ValidString(body) {
			t["text"], t["encoding"] = base64.StdEncoding.EncodeToString([]byte(body)), "base64"
		}
		return t
	}
	entries := []map[string]any{}
	for _, e := range exchanges {
		query := url.Values{}
		if u, err := url.Parse(e.URL); err == nil {
			query = u.Query()
		}
		request := map[string]any{"method": e.Method, "url": e.URL, "httpVersion": "HTTP/1.1", "cookies": []pair{},
			"headers": pairs(e.ReqHeader), "queryString": pairs(query), "headersSize": -1, "bodySize": len(e.ReqBody)}
		if e.ReqBody != "" {
			post := text(e.ReqBody, e.ReqHeader.Get("Content-Type"))
			delete(post, "size")
			if encoding, ok := post["encoding"]; ok { // postData has no field for it in HAR 1.2
				delete(post, "encoding")
				post["comment"] = encoding
			}
			request["postData"] = post
		}
		mime := ""
		if json.Valid([]byte(e.RespBody)) {
			mime = "application/json"
		}
		entries = append(entries, map[string]any{
			"startedDateTime": e.At.Format(time.RFC3339Nano), "time": 0, "request": request, "cache": map[string]any{},
			"response": map[string]any{"status": e.Status, "statusText": http.StatusText(e.Status), "httpVersion": "HTTP/1.1", "cookies": []pair{},
				"headers": []pair{}, "content": text(e.RespBody, mime), "redirectURL": "", "headersSize": -1, "bodySize": len(e.RespBody)},
			"timings":  map[string]int{"send": 0, "wait": 0, "receive": 0},
			"_product": e.Product, "_action": e.Action, "_role": e.Caller.Role, "_write": e.Write,
		})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(map[string]any{"log": map[string]any{"version": "1.2",
		"creator": map[string]string{"name": "eslink localtest", "version": "1"}, "entries": entries}}); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
