// Package notify tells people what became of a run: in a DingTalk or Feishu group,
// a Slack channel, or at any address that takes webhooks.
//
// The addresses and their signing secrets are in one KMS secret, since whoever has
// an address can write to the group. A notification is sent at least once: a
// function that dies after the receiver has it sends it again, with the same ID.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"eslink/shared/apierr"
)

// SecretName is the name of the KMS secret with the receivers.
const SecretName = "eslink/notify"

// A Notification is what people are told of a run.
type Notification struct {
	// ID is the same whenever this is sent again.
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	RunID    string    `json:"runId"`
	Name     string    `json:"name"`
	Scenario string    `json:"scenario"`
	Status   string    `json:"status"`
	Step     string    `json:"step,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Next     string    `json:"next,omitempty"`
	// MonthlyCost is what the link costs while it stands, such as "CNY 156.24".
	MonthlyCost string `json:"monthlyCost,omitempty"`
}

// headlines say what happened, for people.
var headlines = map[string]string{
	"waiting-approval":      "waits for your approval",
	"failed":                "has stopped",
	"done":                  "is done",
	"done-with-differences": "is done, and source and destination differ",
	"removed":               "is removed",
	"expired":               "was not approved in time",
}

// Title is one line.
func (n Notification) Title() string {
	headline := headlines[n.Status]
	if headline == "" {
		headline = "is " + n.Status
	}
	return fmt.Sprintf("eslink: run %s (%s) %s", n.Name, n.Scenario, headline)
}

// Text is all of it, in lines of plain text.
func (n Notification) Text() string {
	lines := []string{n.Title()}
	for _, part := range []struct{ term, text string }{
		{"Step", n.Step}, {"Reason", n.Reason}, {"What to do", n.Next}, {"Costs a month", n.MonthlyCost}, {"Run", n.RunID},
		{"At", n.At.UTC().Format(time.RFC3339)}, {"Notification", n.ID},
	} {
		if part.text != "" {
			lines = append(lines, part.term+": "+part.text)
		}
	}
	return strings.Join(lines, "\n")
}

// A Receiver is where notifications go.
type Receiver struct {
	// Kind is dingtalk, feishu, slack or webhook.
	Kind string `json:"kind"`
	// URL is the address that the product gave; https only.
	URL string `json:"url"`
	// Secret signs what is sent (dingtalk, feishu, webhook; slack has none).
	Secret string `json:"secret,omitempty"`
	// Statuses limits what is sent; none means all.
	Statuses []string `json:"statuses,omitempty"`
}

// String hides the address and the secret.
func (r Receiver) String() string { return r.Kind }

// GoString does the same for %#v.
func (r Receiver) GoString() string { return r.Kind }

// Wants tells whether a receiver is to be told of a status.
func (r Receiver) Wants(status string) bool {
	return len(r.Statuses) == 0 || slices.Contains(r.Statuses, status)
}

// form is what the secret has to hold, for messages.
const form = `{"receivers": [{"kind": "dingtalk|feishu|slack|webhook", "url": "https://…", "secret": "…"}]}`

// Parse reads what the secret holds. Its errors show neither addresses nor secrets.
func Parse(value string) ([]Receiver, error) {
	var doc struct {
		Receivers []Receiver `json:"receivers"`
	}
	decoder := json.NewDecoder(strings.NewReader(value))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&doc) != nil || len(doc.Receivers) == 0 {
		return nil, errors.New("it does not hold " + form)
	}
	for i, r := range doc.Receivers {
		if _, ok := kinds[r.Kind]; !ok {
			return nil, fmt.Errorf("receivers[%d].kind: use dingtalk, feishu, slack or webhook", i)
		}
		u, err := url.Parse(r.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return nil, fmt.Errorf("receivers[%d].url: give an https address", i)
		}
		if r.Secret == "" && r.Kind == "webhook" {
			return nil, fmt.Errorf("receivers[%d].secret: a webhook is signed: give a secret, whsec_ and base64", i)
		}
	}
	return doc.Receivers, nil
}

// A kind makes the request of a product and reads its answer.
type kind struct {
	request func(r Receiver, n Notification, now time.Time) (body []byte, address string, header map[string]string, err error)
	// refused reads a reply with status 200 that is a refusal all the same.
	refused func(body []byte) (code, message string)
	// busy are the codes after which the same may work later.
	busy []string
}

// Client sends notifications.
type Client struct {
	http *http.Client
	now  func() time.Time
}

// timeout is how long one receiver may take.
const timeout = 10 * time.Second

// New returns a client. It follows no redirect: what is sent goes to the address in
// the secret and nowhere else.
func New(transport http.RoundTripper, now func() time.Time) *Client {
	return &Client{now: now, http: &http.Client{Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Send sends one notification to one receiver, once. What the receiver refuses is an
// apierr by its code; no error shows the address or the secret.
func (c *Client) Send(ctx context.Context, r Receiver, n Notification) error {
	k, ok := kinds[r.Kind]
	if !ok {
		return fmt.Errorf("notify: there is no kind %q", r.Kind)
	}
	body, address, header, err := k.request(r, n, c.now())
	if err != nil {
		return fmt.Errorf("notify %s: %w", r.Kind, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("notify %s: its address is not a URL", r.Kind) // whose error shows it
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var shown *url.Error // which shows the address, token and all
		if errors.As(err, &shown) {
			err = shown.Err
		}
		return failed(r, &apierr.Error{Class: apierr.Retry, Message: err.Error()})
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return failed(r, &apierr.Error{Class: apierr.Retry, Message: "its reply broke off"})
	}
	refusal := &apierr.Error{Status: resp.StatusCode, Message: firstLine(reply)}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		refusal.Class = apierr.Retry
	case resp.StatusCode >= 300:
		refusal.Class = apierr.Fatal
	case k.refused == nil:
		return nil
	default:
		if refusal.Code, refusal.Message = k.refused(reply); refusal.Code == "" {
			return nil
		}
		if slices.Contains(k.busy, refusal.Code) {
			refusal.Class = apierr.Retry
		}
	}
	return failed(r, refusal)
}

// failed is a refusal by one receiver, or the lack of a reply.
func failed(r Receiver, err *apierr.Error) error {
	return &smithy.OperationError{ServiceID: r.Kind, OperationName: "send", Err: err}
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if len(line) > 200 {
		line = line[:200]
	}
	return line
}
