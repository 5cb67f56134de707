// Package mns is a fake of the queues of Alibaba Cloud MNS (Simple Message
// Queue): the XML API of 2015-06-06 as its public document describes it, and a
// second way in for what stands behind the queues in the cloud, EventBridge's
// event stream.
//
// Time is the account's: visibility, delays and retention are derived when
// somebody looks. Topics do not exist here and are refused.
package mns

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
)

// PathPrefix may lead the path of a request. The official Go SDK takes only
// endpoints of five parts between dots; 127.0.0.1 with this behind it is one.
const PathPrefix = "/mns.local"

const namespace = "http://mns.aliyuncs.com/doc/v1"

// MNS is the service of one account. It is an http.Handler.
type MNS struct {
	account *cloud.Account

	mu      sync.Mutex
	queues  map[string]*queue
	changed chan struct{}
}

// New returns a service without queues.
func New(a *cloud.Account) *MNS {
	return &MNS{account: a, queues: map[string]*queue{}, changed: make(chan struct{})}
}

// wake tells those who wait that a message may be visible sooner than they
// thought.
func (m *MNS) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Changed returns a channel that closes at the next change which can make a
// message visible earlier. Take it before looking, so as to miss nothing.
func (m *MNS) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Queues returns the names of all queues, sorted.
func (m *MNS) Queues() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.queues))
}

// Create makes a queue, as whoever sets up the account does; an existing one
// is an error unless it has the same attributes.
func (m *MNS) Create(queue string, a Attributes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.create(queue, a); err != nil {
		return fmt.Errorf("create queue %s: %w", queue, err)
	}
	return nil
}

func (m *MNS) create(name string, a Attributes) (created bool, refused *cloud.Error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	if err := a.check(name); err != nil {
		return false, err
	}
	if q := m.queues[name]; q != nil {
		if q.attributes != a {
			return false, fail(http.StatusConflict, "QueueAlreadyExist", "The queue already exist.")
		}
		return false, nil
	}
	now := m.account.Now()
	m.queues[name] = &queue{name: name, attributes: a, created: now, modified: now}
	m.wake()
	return true, nil
}

// Attributes returns a queue's settings.
func (m *MNS) Attributes(queue string) (Attributes, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.queues[queue]; q != nil {
		return q.attributes, true
	}
	return Attributes{}, false
}

// Send puts a message into a queue as EventBridge does for its dead letters.
func (m *MNS) Send(queue, body string, delay time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[queue]
	if q == nil {
		return fmt.Errorf("send to queue %s: %w", queue, noQueue())
	}
	if _, err := m.send(q, body, delay, 8); err != nil {
		return fmt.Errorf("send to queue %s: %w", queue, err)
	}
	return nil
}

// Receive takes the best visible message and hides it for the queue's
// VisibilityTimeout; false means that there is none.
func (m *MNS) Receive(queue string) (Message, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle()
	if q := m.queues[queue]; q != nil {
		if got := m.receive(q, 1); len(got) == 1 {
			return got[0], true
		}
	}
	return Message{}, false
}

// Delete removes a received message; an expired handle is an error, and the
// message will be seen again.
func (m *MNS) Delete(queue, receiptHandle string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle()
	q := m.queues[queue]
	if q == nil {
		return fmt.Errorf("delete from queue %s: %w", queue, noQueue())
	}
	if err := m.remove(q, receiptHandle); err != nil {
		return fmt.Errorf("delete from queue %s: %w", queue, err)
	}
	return nil
}

// Messages returns what a queue holds, visible or not, in the order sent.
func (m *MNS) Messages(queue string) []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle()
	var out []Message
	if q := m.queues[queue]; q != nil {
		for _, msg := range q.messages {
			out = append(out, *msg)
		}
	}
	return out
}

// Next returns when the earliest message of a queue becomes visible, which may
// be in the past; false means that none ever will as things are.
func (m *MNS) Next(queue string) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle()
	return m.next(queue)
}

func (m *MNS) next(queue string) (next time.Time, ok bool) {
	if q := m.queues[queue]; q != nil {
		for _, msg := range q.messages {
			if msg.NextVisible.Before(msg.Expires) && (!ok || msg.NextVisible.Before(next)) {
				next, ok = msg.NextVisible, true
			}
		}
	}
	return next, ok
}

// call is one request on its way.
type call struct {
	action, resource, queue string
	query                   url.Values
	body                    []byte
	done                    <-chan struct{} // closed when the caller has gone
}

// reply is a status and what to marshal as XML, or nothing.
type reply struct {
	status   int
	body     any
	location string // of a created queue
}

type operation func(*call) (reply, *cloud.Error)

// ServeHTTP implements http.Handler.
func (m *MNS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.ToUpper(m.account.NewID("", 24))
	body, err := io.ReadAll(io.LimitReader(r.Body, 2<<20))
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away
	}
	x := cloud.Exchange{At: m.account.Now(), Product: "mns", Method: r.Method, URL: cloud.URL(r), ReqHeader: r.Header.Clone(), ReqBody: string(body)}
	out, refused, lost := m.handle(r, body, &x)
	if refused != nil {
		out = reply{status: refused.Status, body: xmlError{XMLNS: namespace, Code: refused.Code, Message: refused.Message, RequestID: id, HostID: "http://" + r.Host}}
	}
	var text []byte
	if out.body != nil {
		if text, err = xml.Marshal(out.body); err != nil {
			panic(fmt.Sprintf("mns: marshal %T: %v", out.body, err)) // a fake's own type: a bug
		}
		text = append([]byte(xml.Header), text...)
	}
	x.Status, x.RespBody = out.status, string(text)
	if lost {
		x.Status = 0
	}
	m.account.Record(x)
	if lost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("x-mns-request-id", id)
	w.Header().Set("x-mns-version", "2015-06-06")
	if text != nil {
		w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	}
	if out.location != "" {
		w.Header().Set("Location", out.location)
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(text)
}

func (m *MNS) handle(r *http.Request, body []byte, x *cloud.Exchange) (out reply, refused *cloud.Error, lost bool) {
	c, run, refused := m.route(r, body)
	if refused != nil {
		return reply{}, refused, false
	}
	x.Action, x.Write = c.action, c.action != "ReceiveMessage" && c.action != "PeekMessage" && c.action != "GetQueueAttributes" && c.action != "ListQueue"
	if x.Caller, refused = m.authenticate(r, body); refused != nil {
		return reply{}, refused, false
	}
	resource := fmt.Sprintf("acs:mns:%s:%s:%s", m.account.Region, m.account.AccountID, c.resource)
	if err := m.account.Authorize(x.Caller, "mns:"+c.action, resource); err != nil {
		return reply{}, fail(http.StatusForbidden, "AccessDenied", "The OwnerId that your Access Key Id associated to is forbidden for this operation. (%s)", err.Message), false
	}
	fault := m.account.FaultFor(cloud.Call{Product: "mns", Action: c.action, Caller: x.Caller, Params: map[string]string{"QueueName": c.queue}})
	if fault.Delay > 0 {
		time.Sleep(fault.Delay)
	}
	if fault.Before != nil {
		return reply{}, fault.Before, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle()
	out, refused = run(c)
	return out, refused, fault.LoseReply
}

// route finds the operation that a request line names, and the queue.
func (m *MNS) route(r *http.Request, body []byte) (*call, operation, *cloud.Error) {
	path := strings.TrimPrefix(r.URL.Path, PathPrefix)
	c := &call{resource: path, query: r.URL.Query(), body: body, done: r.Context().Done()}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] != "queues" || len(parts) > 3 || len(parts) == 3 && parts[2] != "messages" {
		return nil, nil, fail(http.StatusBadRequest, "InvalidRequestURL", "Http request URL format invalid; this service has queues and their messages only.")
	}
	allowed := []string{}
	var run operation
	set := func(action string, op operation, params ...string) { c.action, run, allowed = action, op, params }
	if len(parts) > 1 {
		c.queue = parts[1]
	}
	switch fmt.Sprintf("%s %d", r.Method, len(parts)) {
	case "GET 1":
		set("ListQueue", m.listQueue)
	case "PUT 2":
		set("CreateQueue", m.createQueue)
		if c.query.Has("metaoverride") {
			set("SetQueueAttributes", m.setQueueAttributes, "metaoverride")
		}
	case "GET 2":
		set("GetQueueAttributes", m.getQueueAttributes)
	case "DELETE 2":
		set("DeleteQueue", m.deleteQueue)
	case "POST 3":
		set("SendMessage", m.sendMessage)
	case "GET 3":
		set("ReceiveMessage", m.receiveMessage, "waitseconds", "numOfMessages", "peekonly")
		if c.query.Get("peekonly") == "true" {
			c.action = "PeekMessage"
		}
	case "DELETE 3":
		set("DeleteMessage", m.deleteMessage, "ReceiptHandle")
	case "PUT 3":
		set("ChangeMessageVisibility", m.changeMessageVisibility, "ReceiptHandle", "VisibilityTimeout")
	default:
		return nil, nil, fail(http.StatusBadRequest, "InvalidRequestURL", "Http request URL format invalid.")
	}
	for name := range c.query {
		if !slices.Contains(allowed, name) {
			return nil, nil, fail(http.StatusBadRequest, "InvalidQueryString", "Http request URL contains invalid querystring item %q.", name)
		}
	}
	return c, run, nil
}

// authenticate checks the signature over method, digest, type, date, the
// x-mns- headers and the resource, as "Sign requests" of the API document says.
func (m *MNS) authenticate(r *http.Request, body []byte) (cloud.Principal, *cloud.Error) {
	bad := func(status int, code, message string) (cloud.Principal, *cloud.Error) {
		return cloud.Principal{}, fail(status, code, "%s", message)
	}
	h := r.Header
	auth, isMNS := strings.CutPrefix(h.Get("Authorization"), "MNS ")
	keyID, signature, isPair := strings.Cut(auth, ":")
	date, dateErr := http.ParseTime(h.Get("Date"))
	switch {
	case h.Get("Authorization") == "":
		return bad(http.StatusBadRequest, "MissingAuthorizationHeader", "Authorization header is required.")
	case !isMNS || !isPair:
		return bad(http.StatusBadRequest, "InvalidAuthorizationHeader", "The Authorization header format is invalid.")
	case h.Get("Date") == "":
		return bad(http.StatusBadRequest, "MissingDateHeader", "Date header is required.")
	case dateErr != nil:
		return bad(http.StatusBadRequest, "InvalidDateHeader", "The Date header format is invalid.")
	case h.Get("x-mns-version") == "":
		return bad(http.StatusBadRequest, "MissingVersionHeader", "x-mns-version header is required.")
	case h.Get("x-mns-version") != "2015-06-06":
		return bad(http.StatusBadRequest, "InvalidVersionHeader", "The x-mns-version header is invalid.")
	case m.account.SignNow().Sub(date).Abs() > 15*time.Minute:
		return bad(http.StatusRequestTimeout, "TimeExpired", "The http request you sent is expired.")
	}
	secret, caller, err := m.account.Secret(keyID, h.Get("security-token"))
	if err != nil {
		return bad(http.StatusForbidden, "InvalidAccessKeyId", "The AccessKey Id you provided is not exist. ("+err.Code+")")
	}
	var signed []string
	for name := range h {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-mns-") {
			signed = append(signed, name+":"+h.Get(name)+"\n")
		}
	}
	slices.Sort(signed)
	resource := strings.TrimPrefix(r.URL.RequestURI(), PathPrefix)
	mac := hmac.New(sha1.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s\n%s\n%s\n%s%s", r.Method, h.Get("Content-MD5"), h.Get("Content-Type"), h.Get("Date"), strings.Join(signed, ""), resource)
	if !hmac.Equal([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(signature)) {
		return bad(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	// The document wants the digest's bytes in base64; the Go SDK sends its hex
	// digits in base64, which the service takes as well.
	sum := md5.Sum(body)
	if given := h.Get("Content-MD5"); given != "" && given != base64.StdEncoding.EncodeToString(sum[:]) &&
		given != base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%x", sum)) {
		return bad(http.StatusBadRequest, "InvalidDegist", "The Content-MD5 you specified is invalid.")
	}
	return caller, nil
}

func parse(body []byte, into any) *cloud.Error {
	if err := xml.Unmarshal(body, into); err != nil {
		return fail(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed.")
	}
	return nil
}

func (m *MNS) createQueue(c *call) (reply, *cloud.Error) {
	wanted := DefaultAttributes()
	if err := merge(&wanted, c.body); err != nil {
		return reply{}, err
	}
	created, err := m.create(c.queue, wanted)
	if err != nil {
		return reply{}, err
	}
	out := reply{status: http.StatusNoContent, location: m.address(c.queue)}
	if created {
		out.status = http.StatusCreated
	}
	return out, nil
}

func (m *MNS) setQueueAttributes(c *call) (reply, *cloud.Error) {
	q := m.queues[c.queue]
	if q == nil {
		return reply{}, noQueue()
	}
	wanted := q.attributes
	if err := merge(&wanted, c.body); err != nil {
		return reply{}, err
	}
	if err := wanted.check(c.queue); err != nil {
		return reply{}, err
	}
	q.attributes, q.modified = wanted, m.account.Now()
	m.wake()
	return reply{status: http.StatusNoContent}, nil
}

func (m *MNS) getQueueAttributes(c *call) (reply, *cloud.Error) {
	q := m.queues[c.queue]
	if q == nil {
		return reply{}, noQueue()
	}
	return reply{status: http.StatusOK, body: q.describe(m.account.Now())}, nil
}

// deleteQueue answers 204 for a queue that is not there, as the API does.
func (m *MNS) deleteQueue(c *call) (reply, *cloud.Error) {
	delete(m.queues, c.queue)
	m.wake()
	return reply{status: http.StatusNoContent}, nil
}

// address is a queue's, as its owner knows it.
func (m *MNS) address(queue string) string {
	return fmt.Sprintf("http://%s.mns.%s.aliyuncs.com/queues/%s", m.account.AccountID, m.account.Region, queue)
}

func (m *MNS) listQueue(*call) (reply, *cloud.Error) {
	list := xmlQueues{XMLNS: namespace}
	for _, name := range slices.Sorted(maps.Keys(m.queues)) {
		list.Queue = append(list.Queue, xmlQueueURL{m.address(name)})
	}
	return reply{status: http.StatusOK, body: list}, nil
}

func (m *MNS) sendMessage(c *call) (reply, *cloud.Error) {
	q := m.queues[c.queue]
	if q == nil {
		return reply{}, noQueue()
	}
	one, many := xmlSend{}, xmlSends{}
	batch := strings.Contains(string(c.body[:min(len(c.body), 200)]), "<Messages")
	if batch {
		if err := parse(c.body, &many); err != nil {
			return reply{}, err
		}
		if len(many.Message) < 1 || len(many.Message) > 16 {
			return reply{}, fail(http.StatusBadRequest, "InvalidArgument", "The number of messages should between 1 and 16.")
		}
	} else if err := parse(c.body, &one); err != nil {
		return reply{}, err
	} else {
		many.Message = []xmlSend{one}
	}
	sent := []xmlMessage{}
	for _, s := range many.Message {
		delay, priority := q.attributes.DelaySeconds, 8
		if s.DelaySeconds != nil {
			delay = *s.DelaySeconds
		}
		if s.Priority != nil {
			priority = *s.Priority
		}
		msg, err := m.send(q, s.MessageBody, time.Duration(delay)*time.Second, priority)
		if err != nil {
			return reply{}, err
		}
		sent = append(sent, xmlMessage{XMLName: xml.Name{Local: "Message"}, MessageID: msg.ID, MessageBodyMD5: msg.MD5, ReceiptHandle: msg.ReceiptHandle})
	}
	if batch {
		return reply{status: http.StatusCreated, body: xmlMessages{XMLNS: namespace, Message: sent}}, nil
	}
	sent[0].XMLNS = namespace
	return reply{status: http.StatusCreated, body: sent[0]}, nil
}

// receiveMessage waits for a message as long as the call or the queue says. The
// lock is open meanwhile.
func (m *MNS) receiveMessage(c *call) (reply, *cloud.Error) {
	number, batch, err := intParam(c, "numOfMessages", 1, 16, 1)
	if err != nil {
		return reply{}, err
	}
	q := m.queues[c.queue]
	if q == nil {
		return reply{}, noQueue()
	}
	wait, _, err := intParam(c, "waitseconds", 0, 30, q.attributes.PollingWaitSeconds)
	if err != nil {
		return reply{}, err
	}
	peek := c.action == "PeekMessage"
	end := m.account.Now().Add(time.Duration(wait) * time.Second)
	for {
		if q = m.queues[c.queue]; q == nil {
			return reply{}, noQueue()
		}
		var got []Message
		if peek {
			for _, msg := range q.visible(m.account.Now()) {
				if len(got) < number {
					got = append(got, *msg)
				}
			}
		} else {
			got = m.receive(q, number)
		}
		if len(got) > 0 {
			return reply{status: http.StatusOK, body: received(got, batch, peek)}, nil
		}
		pause := end.Sub(m.account.Now())
		if pause <= 0 || peek {
			return reply{}, fail(http.StatusNotFound, "MessageNotExist", "Message not exist.")
		}
		if next, ok := m.next(c.queue); ok {
			pause = min(pause, next.Sub(m.account.Now()))
		}
		changed, timer := m.changed, time.NewTimer(pause)
		m.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
		case <-c.done:
		}
		timer.Stop()
		m.mu.Lock()
		m.settle()
		select {
		case <-c.done: // nobody is left to hide a message for
			return reply{}, fail(http.StatusNotFound, "MessageNotExist", "Message not exist.")
		default:
		}
	}
}

func intParam(c *call, name string, low, high, absent int) (int, bool, *cloud.Error) {
	if !c.query.Has(name) {
		return absent, false, nil
	}
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n < low || n > high {
		return 0, true, outOfRange(name, low, high)
	}
	return n, true, nil
}

func (m *MNS) deleteMessage(c *call) (reply, *cloud.Error) {
	q := m.queues[c.queue]
	if q == nil {
		return reply{}, noQueue()
	}
	if c.query.Has("ReceiptHandle") {
		return reply{status: http.StatusNoContent}, m.remove(q, c.query.Get("ReceiptHandle"))
	}
	var handles xmlHandles
	if len(c.body) == 0 {
		return reply{}, fail(http.StatusBadRequest, "MissingReceiptHandle", "ReceiptHandle is required.")
	}
	if err := parse(c.body, &handles); err != nil {
		return reply{}, err
	}
	failed := xmlErrors{XMLNS: namespace}
	for _, handle := range handles.ReceiptHandle {
		if err := m.remove(q, handle); err != nil {
			failed.Error = append(failed.Error, xmlEntryError{err.Code, err.Message, handle})
		}
	}
	if len(failed.Error) > 0 {
		return reply{status: http.StatusNotFound, body: failed}, nil
	}
	return reply{status: http.StatusNoContent}, nil
}

func (m *MNS) changeMessageVisibility(c *call) (reply, *cloud.Error) {
	q := m.queues[c.queue]
	if q == nil {
		return reply{}, noQueue()
	}
	if !c.query.Has("VisibilityTimeout") {
		return reply{}, fail(http.StatusBadRequest, "MissingVisibilityTimeout", "VisibilityTimeout is required.")
	}
	timeout, _, err := intParam(c, "VisibilityTimeout", 1, 43200, 0)
	if err != nil {
		return reply{}, err
	}
	msg, err := m.hide(q, c.query.Get("ReceiptHandle"), timeout)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: xmlVisibility{XMLNS: namespace, ReceiptHandle: msg.ReceiptHandle, NextVisibleTime: msg.NextVisible.UnixMilli()}}, nil
}
