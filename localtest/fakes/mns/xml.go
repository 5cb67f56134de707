package mns

import (
	"encoding/xml"
	"net/http"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

type xmlError struct {
	XMLName   xml.Name `xml:"Error"`
	XMLNS     string   `xml:"xmlns,attr"`
	Code      string
	Message   string
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

type xmlErrors struct {
	XMLName xml.Name `xml:"Errors"`
	XMLNS   string   `xml:"xmlns,attr"`
	Error   []xmlEntryError
}

type xmlEntryError struct{ ErrorCode, ErrorMessage, ReceiptHandle string }

// unknown catches elements that the document does not name.
type unknown struct{ XMLName xml.Name }

type xmlSettings struct {
	XMLName                xml.Name `xml:"Queue"`
	DelaySeconds           *int
	MaximumMessageSize     *int
	MessageRetentionPeriod *int
	VisibilityTimeout      *int
	PollingWaitSeconds     *int
	LoggingEnabled         *string
	DlqPolicy              *xmlDeadLetter
	Unknown                []unknown `xml:",any"`
}

type xmlDeadLetter struct {
	Enabled               bool
	DeadLetterTargetQueue string
	MaxReceiveCount       int
	Unknown               []unknown `xml:",any"`
}

// merge overlays the settings that a request names.
func merge(a *Attributes, body []byte) *cloud.Error {
	if len(body) == 0 {
		return nil
	}
	var s xmlSettings
	if err := parse(body, &s); err != nil {
		return err
	}
	for _, f := range []struct {
		given *int
		field *int
	}{
		{s.DelaySeconds, &a.DelaySeconds}, {s.MaximumMessageSize, &a.MaximumMessageSize}, {s.MessageRetentionPeriod, &a.MessageRetentionPeriod},
		{s.VisibilityTimeout, &a.VisibilityTimeout}, {s.PollingWaitSeconds, &a.PollingWaitSeconds},
	} {
		if f.given != nil {
			*f.field = *f.given
		}
	}
	if s.LoggingEnabled != nil {
		a.LoggingEnabled = strings.EqualFold(*s.LoggingEnabled, "true")
	}
	if d := s.DlqPolicy; d != nil {
		a.DeadLetter = DeadLetter{d.Enabled, d.DeadLetterTargetQueue, d.MaxReceiveCount}
		s.Unknown = append(s.Unknown, d.Unknown...)
	}
	if len(s.Unknown) > 0 {
		return fail(http.StatusBadRequest, "InvalidArgument", "Unknown element %s.", s.Unknown[0].XMLName.Local)
	}
	return nil
}

type xmlQueue struct {
	XMLName                               xml.Name `xml:"Queue"`
	XMLNS                                 string   `xml:"xmlns,attr"`
	QueueName                             string
	CreateTime, LastModifyTime            int64
	VisibilityTimeout, MaximumMessageSize int
	MessageRetentionPeriod, DelaySeconds  int
	PollingWaitSeconds                    int
	InactiveMessages, ActiveMessages      int
	DelayMessages                         int
	LoggingEnabled                        bool
	DlqPolicy                             *xmlDeadLetter `xml:",omitempty"`
}

// describe counts active (visible), inactive (received) and delayed messages,
// and gives times in seconds, as GetQueueAttributes does.
func (q *queue) describe(now time.Time) xmlQueue {
	a := q.attributes
	out := xmlQueue{
		XMLNS: namespace, QueueName: q.name, CreateTime: q.created.Unix(), LastModifyTime: q.modified.Unix(),
		VisibilityTimeout: a.VisibilityTimeout, MaximumMessageSize: a.MaximumMessageSize, MessageRetentionPeriod: a.MessageRetentionPeriod,
		DelaySeconds: a.DelaySeconds, PollingWaitSeconds: a.PollingWaitSeconds, LoggingEnabled: a.LoggingEnabled,
	}
	if d := a.DeadLetter; d.Enabled {
		out.DlqPolicy = &xmlDeadLetter{Enabled: true, DeadLetterTargetQueue: d.TargetQueue, MaxReceiveCount: d.MaxReceiveCount}
	}
	for _, msg := range q.messages {
		switch {
		case !now.Before(msg.NextVisible):
			out.ActiveMessages++
		case msg.DequeueCount > 0:
			out.InactiveMessages++
		default:
			out.DelayMessages++
		}
	}
	return out
}

type xmlQueues struct {
	XMLName xml.Name `xml:"Queues"`
	XMLNS   string   `xml:"xmlns,attr"`
	Queue   []xmlQueueURL
}

type xmlQueueURL struct{ QueueURL string }

type xmlSend struct {
	XMLName      xml.Name `xml:"Message"`
	MessageBody  string
	DelaySeconds *int
	Priority     *int
}

type xmlSends struct {
	XMLName xml.Name `xml:"Messages"`
	Message []xmlSend
}

type xmlHandles struct {
	XMLName       xml.Name `xml:"ReceiptHandles"`
	ReceiptHandle []string
}

type xmlMessage struct {
	XMLName          xml.Name `xml:"Message"`
	XMLNS            string   `xml:"xmlns,attr,omitempty"`
	MessageID        string   `xml:"MessageId"`
	ReceiptHandle    string   `xml:",omitempty"`
	MessageBody      string   `xml:",omitempty"`
	MessageBodyMD5   string
	EnqueueTime      int64 `xml:",omitempty"`
	NextVisibleTime  int64 `xml:",omitempty"`
	FirstDequeueTime int64 `xml:",omitempty"`
	DequeueCount     int   `xml:",omitempty"`
	Priority         int   `xml:",omitempty"`
}

type xmlMessages struct {
	XMLName xml.Name `xml:"Messages"`
	XMLNS   string   `xml:"xmlns,attr"`
	Message []xmlMessage
}

type xmlVisibility struct {
	XMLName         xml.Name `xml:"ChangeVisibility"`
	XMLNS           string   `xml:"xmlns,attr"`
	ReceiptHandle   string
	NextVisibleTime int64
}

// received shows messages as a consumer gets them, times in milliseconds. A
// peek holds nothing, so it has no handle.
func received(got []Message, batch, peek bool) any {
	var out []xmlMessage
	for _, msg := range got {
		x := xmlMessage{
			MessageID: msg.ID, MessageBody: msg.Body, MessageBodyMD5: msg.MD5, Priority: msg.Priority, DequeueCount: msg.DequeueCount,
			EnqueueTime: msg.Enqueued.UnixMilli(), FirstDequeueTime: msg.Enqueued.UnixMilli(),
		}
		if !msg.FirstDequeued.IsZero() {
			x.FirstDequeueTime = msg.FirstDequeued.UnixMilli()
		}
		if !peek {
			x.ReceiptHandle, x.NextVisibleTime = msg.ReceiptHandle, msg.NextVisible.UnixMilli()
		}
		out = append(out, x)
	}
	if batch {
		return xmlMessages{XMLNS: namespace, Message: out}
	}
	out[0].XMLNS = namespace
	return out[0]
}
