package mns

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

// A Message is one message as a consumer sees it. Its receipt handle is good
// until NextVisible and only for the last consumer.
type Message struct {
	ID, Body, MD5, ReceiptHandle                  string
	Enqueued, NextVisible, FirstDequeued, Expires time.Time
	DequeueCount, Priority                        int
}

// Attributes are a queue's settings in seconds and bytes, with the names and
// the bounds of the API document for CreateQueue.
type Attributes struct {
	DelaySeconds, MaximumMessageSize, MessageRetentionPeriod int
	VisibilityTimeout, PollingWaitSeconds                    int
	LoggingEnabled                                           bool
	DeadLetter                                               DeadLetter
}

// DeadLetter moves a message that was received MaxReceiveCount times to another
// queue instead of showing it again.
type DeadLetter struct {
	Enabled         bool
	TargetQueue     string
	MaxReceiveCount int
}

// DefaultAttributes are those of a queue that is created without any.
func DefaultAttributes() Attributes {
	return Attributes{MaximumMessageSize: 65536, MessageRetentionPeriod: 345600, VisibilityTimeout: 30}
}

type queue struct {
	name              string
	attributes        Attributes
	created, modified time.Time
	messages          []*Message // in the order they were sent
}

func fail(status int, code, format string, args ...any) *cloud.Error {
	return &cloud.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func outOfRange(what string, low, high int) *cloud.Error {
	return fail(http.StatusBadRequest, "InvalidArgument", "The value of %s should between %d and %d seconds/bytes.", what, low, high)
}

func noQueue() *cloud.Error {
	return fail(http.StatusNotFound, "QueueNotExist", "The queue name you provided is not exist.")
}

var queueName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)

func checkName(name string) *cloud.Error {
	switch {
	case len(name) == 0 || len(name) > 120:
		return fail(http.StatusBadRequest, "QueueNameLengthError", "Queue name length should between 1 and 120.")
	case !queueName.MatchString(name):
		return fail(http.StatusBadRequest, "InvalidQueueName", "The queue name you provided is invalid.")
	}
	return nil
}

func (a Attributes) check(name string) *cloud.Error {
	for _, r := range []struct {
		what             string
		value, low, high int
	}{
		{"DelaySeconds", a.DelaySeconds, 0, 604800},
		{"MaximumMessageSize", a.MaximumMessageSize, 1024, 65536},
		{"MessageRetentionPeriod", a.MessageRetentionPeriod, 60, 604800},
		{"VisibilityTimeout", a.VisibilityTimeout, 1, 43200},
		{"PollingWaitSeconds", a.PollingWaitSeconds, 0, 30},
	} {
		if r.value < r.low || r.value > r.high {
			return outOfRange(r.what, r.low, r.high)
		}
	}
	if d := a.DeadLetter; d.Enabled {
		if d.TargetQueue == name {
			return fail(http.StatusBadRequest, "InvalidArgument", "A queue cannot be its own dead letter queue.")
		}
		if err := checkName(d.TargetQueue); err != nil {
			return err
		}
		if d.MaxReceiveCount < 1 {
			return fail(http.StatusBadRequest, "InvalidArgument", "MaxReceiveCount must be at least 1.")
		}
	}
	return nil
}

// settle lets time pass: what outlived its retention is gone, delayed or not,
// and what was received too often has moved to the dead letter queue.
func (m *MNS) settle() {
	now := m.account.Now()
	for _, q := range m.queues {
		q.messages = slices.DeleteFunc(q.messages, func(msg *Message) bool { return !now.Before(msg.Expires) })
		d := q.attributes.DeadLetter
		target := m.queues[d.TargetQueue]
		if !d.Enabled || target == nil {
			continue
		}
		q.messages = slices.DeleteFunc(q.messages, func(msg *Message) bool {
			dead := msg.DequeueCount >= d.MaxReceiveCount && !now.Before(msg.NextVisible)
			if dead { // its retention runs on, as the document says
				msg.DequeueCount, msg.FirstDequeued, msg.ReceiptHandle = 0, time.Time{}, ""
				target.messages = append(target.messages, msg)
			}
			return dead
		})
	}
}

// visible returns the messages that may be received now, best first.
func (q *queue) visible(now time.Time) []*Message {
	var out []*Message
	for _, msg := range q.messages {
		if !now.Before(msg.NextVisible) {
			out = append(out, msg)
		}
	}
	slices.SortStableFunc(out, func(a, b *Message) int { return a.Priority - b.Priority })
	return out
}

func (m *MNS) send(q *queue, body string, delay time.Duration, priority int) (Message, *cloud.Error) {
	switch {
	case len(body) == 0 || len(body) > q.attributes.MaximumMessageSize:
		return Message{}, outOfRange("MessageBody", 1, q.attributes.MaximumMessageSize)
	case delay < 0 || delay > 604800*time.Second:
		return Message{}, outOfRange("DelaySeconds", 0, 604800)
	case priority < 1 || priority > 16:
		return Message{}, outOfRange("Priority", 1, 16)
	}
	now := m.account.Now()
	msg := &Message{
		ID: strings.ToUpper(m.account.NewID("", 32)), Body: body, MD5: fmt.Sprintf("%X", md5.Sum([]byte(body))), Priority: priority,
		Enqueued: now, NextVisible: now.Add(delay), Expires: now.Add(time.Duration(q.attributes.MessageRetentionPeriod) * time.Second),
	}
	if delay > 0 { // a delayed message can be taken back before it is seen
		msg.ReceiptHandle = m.newHandle()
	}
	q.messages = append(q.messages, msg)
	m.wake()
	return *msg, nil
}

// receive takes up to n visible messages and hides them.
func (m *MNS) receive(q *queue, n int) []Message {
	now := m.account.Now()
	visible := q.visible(now)
	var out []Message
	for _, msg := range visible[:min(n, len(visible))] {
		if msg.DequeueCount == 0 {
			msg.FirstDequeued = now
		}
		msg.DequeueCount++
		msg.NextVisible = now.Add(time.Duration(q.attributes.VisibilityTimeout) * time.Second)
		msg.ReceiptHandle = m.newHandle()
		out = append(out, *msg)
	}
	return out
}

// newHandle makes a handle with the characters that a client must escape.
func (m *MNS) newHandle() string {
	return "1-" + base64.StdEncoding.EncodeToString([]byte("?>"+m.account.NewID("", 22)))
}

// held finds the message that a handle still holds.
func (m *MNS) held(q *queue, handle string) (int, *cloud.Error) {
	now := m.account.Now()
	i := slices.IndexFunc(q.messages, func(msg *Message) bool {
		return handle != "" && msg.ReceiptHandle == handle && now.Before(msg.NextVisible)
	})
	if i < 0 {
		return 0, fail(http.StatusBadRequest, "ReceiptHandleError", "The receipt handle you provided is not valid.")
	}
	return i, nil
}

func (m *MNS) remove(q *queue, handle string) *cloud.Error {
	i, err := m.held(q, handle)
	if err == nil {
		q.messages = slices.Delete(q.messages, i, i+1)
	}
	return err
}

func (m *MNS) hide(q *queue, handle string, timeout int) (Message, *cloud.Error) {
	if timeout < 1 || timeout > 43200 {
		return Message{}, outOfRange("VisibilityTimeout", 1, 43200)
	}
	i, err := m.held(q, handle)
	if err != nil {
		return Message{}, err
	}
	msg := q.messages[i]
	msg.NextVisible = m.account.Now().Add(time.Duration(timeout) * time.Second)
	msg.ReceiptHandle = m.newHandle()
	m.wake()
	return *msg, nil
}
