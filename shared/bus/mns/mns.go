// Package mns publishes through the queues of Alibaba Cloud MNS (Simple Message
// Queue), with the official SDK. An EventBridge event stream delivers them.
//
// The SDK (v1.0.6) does not encode bodies in base64, so the streams are set to
// IsBase64Decode: false. A client is made for every message, because the SDK
// knows neither contexts nor changing credentials. Its fasthttp client leaves a
// goroutine behind for ten seconds, which does no harm in a function, but a
// synctest bubble must let that time pass before it ends.
package mns

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	ali_mns "github.com/aliyun/aliyun-mns-go-sdk"
	"github.com/valyala/fasthttp"

	"eslink/shared/aliyun"
	"eslink/shared/apierr"
	"eslink/shared/bus"
)

const (
	// callTimeout bounds one exchange.
	callTimeout = 10 * time.Second
	// priority is MNS's default; the SDK would send 0, which MNS refuses.
	priority = 8
)

// Bus is a bus.Bus over MNS queues. It is safe for concurrent use.
type Bus struct{ config aliyun.Config }

var _ bus.Bus = (*Bus)(nil)

// New returns a bus that calls c.Endpoint("mns"), whose host names the account:
// ACCOUNT.mns.REGION.aliyuncs.com.
func New(c aliyun.Config) *Bus { return &Bus{config: c} }

// Publish implements bus.Bus. A message without a reply may have been sent, so
// its repetition may be a duplicate, which the bus allows.
func (b *Bus) Publish(ctx context.Context, queue string, body []byte, delay time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cred, err := aliyun.CredentialsFrom(ctx)
	if err != nil {
		return err
	}
	scheme, host := b.config.Endpoint("mns")
	endpoint := scheme + "://" + host
	if strings.Count(endpoint, ".") != 4 { // the SDK would panic
		return fmt.Errorf("MNS endpoint %s: want ACCOUNT.mns.REGION.aliyuncs.com, or five parts between dots", endpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	exchange := &exchange{ctx: ctx, next: b.config.Transport}
	client := ali_mns.NewAliMNSClientWithConfig(ali_mns.AliMNSClientConfig{
		EndPoint: endpoint, AccessKeyId: cred.AccessKeyID, AccessKeySecret: cred.AccessKeySecret, Token: cred.SecurityToken,
	})
	client.SetTransport(exchange)
	_, err = ali_mns.NewMNSQueue(queue, client).SendMessage(ali_mns.MessageSendRequest{
		MessageBody: string(body), DelaySeconds: int64(delay / time.Second), Priority: priority,
	})
	if err != nil {
		return aliyun.Wrap("mns", "SendMessage", exchange.failure(err))
	}
	return nil
}

// exchange carries the SDK's one request over net/http, like every other call
// of the program, within a context, and keeps what was wrong with the reply:
// the SDK's errors say so in prose only.
type exchange struct {
	ctx     context.Context
	next    http.RoundTripper
	refused *apierr.Error
	lost    error // why there was no reply
}

var _ fasthttp.RoundTripper = (*exchange)(nil)

// RoundTrip implements fasthttp.RoundTripper. It never asks for a retry.
func (x *exchange) RoundTrip(_ *fasthttp.HostClient, in *fasthttp.Request, out *fasthttp.Response) (bool, error) {
	req, err := http.NewRequestWithContext(x.ctx, string(in.Header.Method()), in.URI().String(), bytes.NewReader(in.Body()))
	if err != nil {
		return false, err
	}
	in.Header.VisitAll(func(name, value []byte) {
		if n := string(name); n != fasthttp.HeaderHost && n != fasthttp.HeaderContentLength {
			req.Header.Set(n, string(value))
		}
	})
	next := x.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		x.lost = err
		return false, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		x.lost = err
		return false, err
	}
	if resp.StatusCode >= 300 {
		x.refused = refusal(resp.StatusCode, body)
	}
	out.SetStatusCode(resp.StatusCode)
	out.Header.Set("x-mns-request-id", resp.Header.Get("x-mns-request-id"))
	out.SetBody(body)
	return false, nil
}

func refusal(status int, body []byte) *apierr.Error {
	var e ali_mns.ErrorResponse
	if err := xml.Unmarshal(body, &e); err != nil { // a proxy's page, say
		return &apierr.Error{Class: apierr.ByStatus(status), Code: "UnknownReply", Message: "the reply is not one of MNS's own", Status: status}
	}
	return &apierr.Error{Class: class(e.Code, status), Code: e.Code, Message: e.Message, Status: status, RequestID: e.RequestId}
}

// class says what MNS's error codes mean ("Error codes" of its reference). A
// code that is not here goes by the HTTP status. A missing queue is for a
// person: queues are made before eslink is deployed.
func class(code string, status int) apierr.Class {
	switch code {
	case "QpsLimitExceeded", "InternalError", "InternalServerError", "TimeExpired":
		return apierr.Retry
	}
	return apierr.ByStatus(status)
}

func (x *exchange) failure(err error) *apierr.Error {
	if x.refused != nil {
		return x.refused
	}
	if x.lost != nil {
		err = x.lost
	}
	return &apierr.Error{Class: apierr.Retry, Message: err.Error()}
}
