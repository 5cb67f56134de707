package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

var kinds = map[string]kind{
	// DingTalk, "Custom robot access" and "Custom robot security settings": the
	// signature of "<milliseconds>\n<secret>" goes into the address. -1 is a busy
	// system; 130101 more than 20 messages a minute; 310000 a wrong signature.
	"dingtalk": {
		request: func(r Receiver, n Notification, now time.Time) ([]byte, string, map[string]string, error) {
			body, err := json.Marshal(map[string]any{"msgtype": "text", "text": map[string]string{"content": n.Text()}})
			if r.Secret == "" || err != nil {
				return body, r.URL, nil, err
			}
			u, err := url.Parse(r.URL)
			if err != nil {
				return nil, "", nil, fmt.Errorf("its address is not a URL")
			}
			at := strconv.FormatInt(now.UnixMilli(), 10)
			q := u.Query()
			q.Set("timestamp", at)
			q.Set("sign", sign(r.Secret, at+"\n"+r.Secret))
			u.RawQuery = q.Encode()
			return body, u.String(), nil, nil
		},
		refused: coded("errcode", "errmsg"),
		busy:    []string{"-1", "130101"},
	},
	// Feishu, "Custom bot usage guide": the signature is of nothing, with
	// "<seconds>\n<secret>" as its key, and goes into the body. 11232 is the limit of
	// 100 a minute and 5 a second; 19021 a wrong signature, or an hour's difference.
	"feishu": {
		request: func(r Receiver, n Notification, now time.Time) ([]byte, string, map[string]string, error) {
			message := map[string]any{"msg_type": "text", "content": map[string]string{"text": n.Text()}}
			if r.Secret != "" {
				at := strconv.FormatInt(now.Unix(), 10)
				message["timestamp"], message["sign"] = at, sign(at+"\n"+r.Secret, "")
			}
			body, err := json.Marshal(message)
			return body, r.URL, nil, err
		},
		refused: coded("code", "msg"),
		busy:    []string{"11232"},
	},
	// Slack, "Sending messages using incoming webhooks": 200 and "ok", else a status
	// with a word. &, < and > are control characters of its text.
	"slack": {
		request: func(r Receiver, n Notification, _ time.Time) ([]byte, string, map[string]string, error) {
			body, err := json.Marshal(map[string]string{"text": slackEscapes.Replace(n.Text())})
			return body, r.URL, nil, err
		},
	},
	// Standard Webhooks 1.0.0: webhook-id, webhook-timestamp and webhook-signature.
	"webhook": {
		request: func(r Receiver, n Notification, now time.Time) ([]byte, string, map[string]string, error) {
			body, err := json.Marshal(n)
			if err != nil {
				return nil, "", nil, err
			}
			signer, err := standardwebhooks.NewWebhook(r.Secret)
			if err != nil {
				return nil, "", nil, fmt.Errorf("its secret is not whsec_ and base64")
			}
			signature, err := signer.Sign(n.ID, now, body)
			if err != nil {
				return nil, "", nil, fmt.Errorf("sign: %w", err)
			}
			return body, r.URL, map[string]string{"webhook-id": n.ID, "webhook-timestamp": strconv.FormatInt(now.Unix(), 10), "webhook-signature": signature}, nil
		},
	},
}

// sign is the base64 of HMAC-SHA256.
func sign(key, message string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(message))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// coded reads {code: 0, message: …}, in which any other code is a refusal.
func coded(code, message string) func([]byte) (string, string) {
	return func(body []byte) (string, string) {
		var reply map[string]json.RawMessage
		if json.Unmarshal(body, &reply) != nil || reply[code] == nil {
			return "no-code", firstLine(body)
		}
		if string(reply[code]) == "0" {
			return "", ""
		}
		var says string
		if json.Unmarshal(reply[message], &says) != nil {
			says = firstLine(body)
		}
		return string(reply[code]), says
	}
}
