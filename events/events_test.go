package events_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
)

var event = events.Event{RunID: "fd5dc36da1e3cf09", Step: "nlb", Seq: 7}

const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func encoded(t testing.TB) string {
	raw, err := events.Encode(event, "eslink/plan", trace, time.Date(2026, 3, 2, 9, 0, 0, 0, time.FixedZone("", 8*3600)))
	require.NoError(t, err)
	return string(raw)
}

func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func TestEncodeIsACloudEvent(t *testing.T) {
	t.Parallel()
	assert.JSONEq(t, `{"specversion":"1.0","id":"fd5dc36da1e3cf09.7","source":"eslink/plan","type":"eslink.step","subject":"nlb",
		"datacontenttype":"application/json","time":"2026-03-02T01:00:00Z","traceparent":"`+trace+`",
		"data":{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":7}}`, encoded(t))
}

func TestDecodeSeesThroughEveryWrapping(t *testing.T) {
	t.Parallel()
	own := encoded(t)
	platform := func(body string) string {
		return `{"id":"1","source":"MNS-eslink-nlb-queue","specversion":"1.0","type":"mns:Queue:SendMessage","data":{"messageId":"m","messageBody":` + body + `}}`
	}
	b64 := quoted(base64.StdEncoding.EncodeToString([]byte(own)))
	for name, payload := range map[string]string{
		"event stream":                     "[" + platform(quoted(own)) + "]",
		"event-driven":                     platform(quoted(own)),
		"body in base64":                   "[" + platform(b64) + "]",
		"body as an object":                "[" + platform(own) + "]",
		"raw data":                         `[{"requestId":"r","messageId":"m","messageBody":` + quoted(own) + `}]`,
		"raw data, alone":                  `{"messageBody":` + b64 + `}`,
		"our own envelope":                 own,
		"our own envelope in an array":     "[" + own + "]",
		"white space around":               " \n" + own + "\n",
		"an attribute that nobody knows":   strings.Replace(own, "{", `{"aliyunregionid":"cn-hangzhou",`, 1),
		"our own envelope, data in base64": `{"specversion":"1.0","id":"1","source":"x","type":"eslink.step","traceparent":"` + trace + `","data_base64":"` + base64.StdEncoding.EncodeToString([]byte(`{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":7}`)) + `"}`,
	} {
		got, err := events.Decode([]byte(payload))
		if assert.NoError(t, err, name) {
			assert.Equal(t, []events.Delivery{{Event: event, Traceparent: trace}}, got, name)
		}
	}
	got, err := events.Decode([]byte("[" + own + "," + platform(quoted(own)) + "]"))
	require.NoError(t, err)
	assert.Len(t, got, 2, "a batch")
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	own := encoded(t)
	data := func(s string) string {
		return `{"specversion":"1.0","id":"1","source":"x","type":"eslink.step","data":` + s + `}`
	}
	for name, payload := range map[string]string{
		"nothing":               "",
		"null":                  "null",
		"an array of null":      "[null]",
		"an empty array":        "[]",
		"an empty object":       "{}",
		"a number":              "7",
		"arrays in arrays":      "[[" + own + "]]",
		"a second value":        own + own,
		"trailing garbage":      own + "}",
		"no specversion":        strings.Replace(own, `"specversion":"1.0",`, "", 1),
		"an unknown version":    strings.Replace(own, `"specversion":"1.0"`, `"specversion":"9.9"`, 1),
		"no id":                 `{"specversion":"1.0","source":"x","type":"eslink.step","data":{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":7}}`,
		"another type":          strings.Replace(own, "eslink.step", "eslink.other", 1),
		"a null body":           `[{"messageBody":null}]`,
		"an empty body":         `[{"messageBody":""}]`,
		"a body that is text":   `[{"messageBody":"TEST"}]`,
		"a body of a body":      `[{"messageBody":{"messageBody":` + own + `}}]`,
		"data that is a string": `{"specversion":"1.0","id":"1","source":"x","type":"mns:Queue:SendMessage","data":"x"}`,
		"no data":               `{"specversion":"1.0","id":"1","source":"x","type":"mns:Queue:SendMessage"}`,
		"our type without data": `{"specversion":"1.0","id":"1","source":"x","type":"eslink.step"}`,
		"null data":             data("null"),
		"an array as data":      data("[]"),
		"no run":                data(`{"step":"nlb","seq":7}`),
		"no step":               data(`{"runId":"fd5dc36da1e3cf09","seq":7}`),
		"no seq":                data(`{"runId":"fd5dc36da1e3cf09","step":"nlb"}`),
		"seq 0":                 data(`{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":0}`),
		"seq as a string":       data(`{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":"7"}`),
		"seq with a fraction":   data(`{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":7.5}`),
		"seq beyond 64 bits":    data(`{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":1e30}`),
		"seq without end":       data(`{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":1e1000000000}`),
		"a run ID too long":     data(`{"runId":"fd5dc36da1e3cf090","step":"nlb","seq":7}`),
		"a run ID and a line":   data(`{"runId":"fd5dc36da1e3cf09\n","step":"nlb","seq":7}`),
		"a step with a slash":   data(`{"runId":"fd5dc36da1e3cf09","step":"../nlb","seq":7}`),
		"a field of its own":    data(`{"runId":"fd5dc36da1e3cf09","step":"nlb","seq":7,"spec":{}}`),
		"one good, one bad":     "[" + own + ",{}]",
		"128 KB and a byte":     own + strings.Repeat(" ", events.MaxBytes-len(own)+1),
	} {
		got, err := events.Decode([]byte(payload))
		assert.Error(t, err, name)
		assert.Nil(t, got, name)
	}
	_, err := events.Decode([]byte(own + strings.Repeat(" ", events.MaxBytes-len(own))))
	assert.NoError(t, err, "128 KB exactly")
}

// FuzzDecode holds that no payload panics, and that what is decoded is an event
// that could have been encoded.
func FuzzDecode(f *testing.F) {
	own := encoded(f)
	for _, seed := range []string{own, "[" + own + "]", `[{"messageBody":` + quoted(own) + `}]`, "null", "[[]]", `{"specversion":"1.0","data":{}}`,
		`{"specversion":"1.0","type":"eslink.step","data_base64":"e30="}`, `{"messageBody":"bnVsbA=="}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := events.Decode(payload)
		if err != nil {
			assert.Nil(t, got)
			return
		}
		for _, d := range got {
			raw, err := events.Encode(d.Event, "eslink/fuzz", "", time.Unix(0, 0))
			require.NoError(t, err)
			again, err := events.Decode(raw)
			require.NoError(t, err)
			assert.Equal(t, d.Event, again[0].Event)
		}
	})
}

// FuzzParse holds that no request panics, and that every refusal can be corrected.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"action":"start","spec":{"name":"a","reindex":{"size":1e400},"indices":[{"query":[]}]}}`))
	f.Add([]byte(`{"runId":"fd5dc36da1e3cf09","port":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, err := range []error{parseError(events.ParseRequest(raw)), parseError(events.ParseCheck(raw))} {
			if err != nil {
				problem(t, err)
			}
		}
	})
}

func parseError[T any](_ T, err error) error { return err }

// problem holds err to what every answer to a bad request has, and returns it.
func problem(t testing.TB, err error) *events.Problem {
	t.Helper()
	var p *events.Problem
	require.ErrorAs(t, err, &p)
	assert.Equal(t, 400, p.Status)
	assert.Equal(t, "urn:eslink:problem:invalid-request", p.Type)
	require.NotEmpty(t, p.Errors)
	for _, f := range p.Errors {
		assert.NotEmpty(t, f.Message, fmt.Sprint(f))
		assert.NotEmpty(t, f.Remedy, fmt.Sprint(f))
	}
	return p
}
