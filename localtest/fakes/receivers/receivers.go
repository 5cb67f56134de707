// Package receivers are fakes of what takes eslink's notifications: DingTalk's and
// Feishu's robots, Slack's incoming webhooks, and a receiver of Standard Webhooks.
// Each checks form and signature as its document says, and refuses as it does.
package receivers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Hosts of the products; the last is anybody's.
const (
	DingTalk = "oapi.dingtalk.com"
	Feishu   = "open.feishu.cn"
	Slack    = "hooks.slack.com"
	Webhook  = "hooks.example.org"
)

// Hosts are all of them.
var Hosts = []string{DingTalk, Feishu, Slack, Webhook}

// Receivers is one fake of each, told apart by the host.
type Receivers struct {
	// Now is the receivers' clock; Secret the key that senders must sign with.
	Now    func() time.Time
	Secret string

	mu     sync.Mutex
	taken  map[string][]string // texts or bodies, by host
	refuse map[string]int      // how many of the next are refused as too many, by host
}

// Taken returns what a host has accepted, in order.
func (f *Receivers) Taken(host string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.taken[host]...)
}

// Throttle refuses the next n of a host.
func (f *Receivers) Throttle(host string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse == nil {
		f.refuse = map[string]int{}
	}
	f.refuse[host] = n
}

func (f *Receivers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	take := map[string]func(http.ResponseWriter, *http.Request, []byte){DingTalk: f.dingTalk, Feishu: f.feishu, Slack: f.slack, Webhook: f.webhook}[r.Host]
	if take == nil {
		http.Error(w, "no such host "+r.Host, http.StatusNotFound)
		return
	}
	take(w, r, body)
}

// throttled counts one refusal down.
func (f *Receivers) throttled(host string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse[host] == 0 {
		return false
	}
	f.refuse[host]--
	return true
}

func (f *Receivers) accept(host, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taken == nil {
		f.taken = map[string][]string{}
	}
	f.taken[host] = append(f.taken[host], what)
}

func signature(key, message string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(message))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// dingTalk answers 200 whatever it thinks, with errcode 0 if it took the message.
func (f *Receivers) dingTalk(w http.ResponseWriter, r *http.Request, body []byte) {
	answer := func(code int, message string) { fmt.Fprintf(w, `{"errcode":%d,"errmsg":%q}`, code, message) }
	q := r.URL.Query()
	at, err := strconv.ParseInt(q.Get("timestamp"), 10, 64)
	var message struct {
		Kind string `json:"msgtype"`
		Text struct {
			Content string `json:"content"`
		} `json:"text"`
	}
	switch {
	case r.URL.Path != "/robot/send" || q.Get("access_token") == "":
		answer(300005, "token is not exist")
	case err != nil || f.Now().Sub(time.UnixMilli(at)).Abs() > time.Hour:
		answer(310000, "sign not match, more: [timestamp is invalid]")
	case !hmac.Equal([]byte(q.Get("sign")), []byte(signature(f.Secret, q.Get("timestamp")+"\n"+f.Secret))):
		answer(310000, "sign not match")
	case json.Unmarshal(body, &message) != nil || message.Kind != "text" || message.Text.Content == "":
		answer(40035, "缺少参数 text")
	case f.throttled(DingTalk):
		answer(130101, "send too fast, exceed 20 times per minute")
	default:
		f.accept(DingTalk, message.Text.Content)
		answer(0, "ok")
	}
}

// feishu answers with code 0, or with a code of its own and status 200 or 400.
func (f *Receivers) feishu(w http.ResponseWriter, r *http.Request, body []byte) {
	answer := func(status, code int, message string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%d,"msg":%q,"data":{}}`, code, message)
	}
	var message struct {
		Timestamp, Sign string
		Kind            string `json:"msg_type"`
		Content         struct{ Text string }
	}
	if json.Unmarshal(body, &message) != nil || message.Kind != "text" || message.Content.Text == "" {
		answer(http.StatusBadRequest, 9499, "Bad Request")
		return
	}
	at, err := strconv.ParseInt(message.Timestamp, 10, 64)
	switch {
	case err != nil || f.Now().Sub(time.Unix(at, 0)).Abs() > time.Hour,
		!hmac.Equal([]byte(message.Sign), []byte(signature(message.Timestamp+"\n"+f.Secret, ""))):
		answer(http.StatusOK, 19021, "sign match fail or timestamp is not within one hour from current time")
	case f.throttled(Feishu):
		answer(http.StatusOK, 11232, "frequency limited")
	default:
		f.accept(Feishu, message.Content.Text)
		answer(http.StatusOK, 0, "success")
	}
}

// slack answers "ok", or a status with a word.
func (f *Receivers) slack(w http.ResponseWriter, r *http.Request, body []byte) {
	var message map[string]string
	switch {
	case json.Unmarshal(body, &message) != nil:
		http.Error(w, "invalid_payload", http.StatusBadRequest)
	case message["text"] == "":
		http.Error(w, "no_text", http.StatusBadRequest)
	case f.throttled(Slack):
		w.Header().Set("Retry-After", "30")
		http.Error(w, "rate_limited", http.StatusTooManyRequests)
	default:
		f.accept(Slack, message["text"])
		io.WriteString(w, "ok")
	}
}

// webhook verifies as a receiver of Standard Webhooks does, except for the time,
// which is the fake's own.
func (f *Receivers) webhook(w http.ResponseWriter, r *http.Request, body []byte) {
	verifier, err := standardwebhooks.NewWebhook(f.Secret)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	at, err := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
	switch {
	case err != nil || f.Now().Sub(time.Unix(at, 0)).Abs() > 5*time.Minute:
		http.Error(w, "timestamp", http.StatusBadRequest)
	case verifier.VerifyIgnoringTimestamp(body, r.Header) != nil:
		http.Error(w, "signature", http.StatusUnauthorized)
	case f.throttled(Webhook):
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		f.accept(Webhook, string(body))
		w.WriteHeader(http.StatusNoContent)
	}
}
