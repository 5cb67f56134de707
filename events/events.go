// Package events is eslink's wire contract: the events that chain the step
// functions, the spec that a user gives, and the problem documents that answer
// what cannot be done. The JSON Schemas in schema/ say the same in data; both
// sides validate against them.
package events

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// Type is the CloudEvents type of a step event.
const Type = "eslink.step"

// MaxBytes bounds a delivery: what MNS and EventBridge carry at most, with room
// for their envelope.
const MaxBytes = 128 << 10

// Event asks for one step of one run, as of transition Seq of that run's
// record. It carries nothing of weight: parameters are read from the record, so
// that a forged or stale event can at most ask for work that is due anyway.
type Event struct {
	RunID string `json:"runId"`
	Step  string `json:"step"`
	Seq   int64  `json:"seq"`
}

// Encode wraps e in a CloudEvents 1.0 JSON envelope, as it goes into a queue.
// source names the sender; traceparent may be empty.
func Encode(e Event, source, traceparent string, at time.Time) ([]byte, error) {
	env := ce.New()
	env.SetID(fmt.Sprintf("%s.%d", e.RunID, e.Seq))
	env.SetSource(source)
	env.SetType(Type)
	env.SetSubject(e.Step)
	env.SetTime(at.UTC())
	if traceparent != "" {
		env.SetExtension("traceparent", traceparent)
	}
	if err := env.SetData(ce.ApplicationJSON, e); err != nil {
		return nil, fmt.Errorf("encode event %s/%d: %w", e.RunID, e.Seq, err)
	}
	return json.Marshal(env)
}

// A Delivery is one event as it arrived.
type Delivery struct {
	Event
	Traceparent string
}

// Decode sees through what the platform wraps around an event. Function Compute
// hands over a JSON array of CloudEvents when the trigger is an event stream, a
// single one when it is event-driven, and with schema RawData the bare data
// objects; the queue's message, our envelope, is data.messageBody, a string (in
// base64 if the trigger says so) or an object. Our own envelope is taken bare,
// too, as `s invoke` sends it. Anything else is an error, and nothing of a
// delivery with a malformed part is returned.
func Decode(payload []byte) ([]Delivery, error) {
	if len(payload) > MaxBytes {
		return nil, fmt.Errorf("decode delivery: %d bytes are more than %d", len(payload), MaxBytes)
	}
	payload = bytes.TrimSpace(payload)
	var parts []json.RawMessage // with none of payload's memory, which decoding would overwrite
	if !bytes.HasPrefix(payload, []byte("[")) {
		parts = append(parts, payload)
	} else if err := json.Unmarshal(payload, &parts); err != nil {
		return nil, fmt.Errorf("decode delivery: %w", err)
	}
	if len(parts) == 0 {
		return nil, errors.New("decode delivery: it holds no event")
	}
	out := make([]Delivery, 0, len(parts))
	for _, part := range parts {
		d, err := decodeOne(part)
		if err != nil {
			return nil, fmt.Errorf("decode delivery: %w", err)
		}
		out = append(out, d)
	}
	return out, nil
}

func decodeOne(raw []byte) (Delivery, error) {
	var outer struct {
		SpecVersion string          `json:"specversion"`
		Type        string          `json:"type"`
		Data        json.RawMessage `json:"data"`
		MessageBody json.RawMessage `json:"messageBody"`
	}
	if err := json.Unmarshal(raw, &outer); err != nil {
		return Delivery{}, err
	}
	switch {
	case outer.Type == Type:
		return decodeEnvelope(raw)
	case outer.SpecVersion != "":
		if err := json.Unmarshal(bytes.Clone(outer.Data), &outer); err != nil {
			return Delivery{}, fmt.Errorf("data of a %q event: %w", outer.Type, err)
		}
	}
	body, err := messageBody(outer.MessageBody)
	if err != nil {
		return Delivery{}, err
	}
	return decodeEnvelope(body)
}

func messageBody(raw json.RawMessage) ([]byte, error) {
	var s string
	switch {
	case len(raw) == 0:
		return nil, errors.New("there is neither an eslink event nor a messageBody")
	case raw[0] != '"':
		return raw, nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("messageBody: %w", err)
	}
	if plain, err := base64.StdEncoding.DecodeString(s); err == nil {
		return plain, nil
	}
	return []byte(s), nil
}

func decodeEnvelope(raw []byte) (Delivery, error) {
	var env ce.Event
	if err := json.Unmarshal(raw, &env); err != nil {
		return Delivery{}, fmt.Errorf("envelope: %w", err)
	}
	if err := env.Validate(); err != nil {
		return Delivery{}, fmt.Errorf("envelope: %w", err)
	}
	if env.Type() != Type {
		return Delivery{}, fmt.Errorf("envelope: type %q is not %s", env.Type(), Type)
	}
	var d Delivery
	if err := decode("event.schema.json", env.Data(), &d.Event); err != nil {
		return Delivery{}, fmt.Errorf("event: %w", err)
	}
	d.Traceparent, _ = env.Extensions()["traceparent"].(string)
	return d, nil
}
