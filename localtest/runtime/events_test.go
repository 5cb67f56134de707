package runtime

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/mns"
)

const triggers = `
        - triggerName: queue
          triggerType: eventbridge
          triggerConfig: {triggerEnable: true, asyncInvocationType: false, eventRuleFilterPattern: '{}',
            eventSourceConfig: {eventSourceType: MNS, eventSourceParameters: {sourceMNSParameters: {RegionId: cn-hangzhou, QueueName: steps, IsBase64Decode: false}}},
            runOptions: {mode: event-streaming, errorsTolerance: ALL, retryStrategy: {PushRetryStrategy: BACKOFF_RETRY},
              deadLetterQueue: {Arn: 'acs:mns:cn-hangzhou:1:/queues/dead'}, batchWindow: {CountBasedWindow: 1, TimeBasedWindow: 0}}}
        - triggerName: created
          triggerType: eventbridge
          triggerConfig: {triggerEnable: true, asyncInvocationType: false, eventRuleFilterPattern: '{"source":["acs.elasticsearch"]}',
            eventSourceConfig: {eventSourceType: Default},
            runOptions: {mode: event-driven, errorsTolerance: ALL, retryStrategy: {PushRetryStrategy: BACKOFF_RETRY}}}
`

const timer = `
        - {triggerName: timer, triggerType: timer, triggerConfig: {cronExpression: '@every 5m', enable: true, payload: wake}}
`

// world is the delivery side alone: the fake queues, and a function that is a Go function.
type world struct {
	t *testing.T
	e *Events
	q *mns.MNS
	a *cloud.Account

	mu    sync.Mutex
	calls []invoked
	do    func(n int, payload string) error // n counts from 1
}

type invoked struct {
	at      time.Duration
	payload string
}

// deliver runs a test in a bubble with the given triggers.
func deliver(t *testing.T, triggers string, test func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		text := strings.Replace(small, "        - {triggerName: http, triggerType: http, triggerConfig: {authType: function, methods: [POST]}}\n", strings.TrimPrefix(triggers, "\n"), 1)
		text = strings.Replace(text, "timeout: 3", "timeout: 240\n    asyncInvokeConfig: {maxAsyncRetryAttempts: 0}", 1)
		p, err := parse([]byte(text), getenv(nil))
		require.NoError(t, err)
		w := &world{t: t, a: account(t, time.Now), do: func(int, string) error { return nil }}
		w.q = mns.New(w.a)
		w.queue("steps", 1100)
		w.queue("dead", 30)
		began := time.Now()
		w.e = &Events{Functions: p.Functions, Account: w.a, Queues: w.q, Clock: Clock{began, 1}, Log: slog.New(slog.DiscardHandler),
			Invoke: func(ctx context.Context, function string, payload []byte) (Result, error) {
				w.mu.Lock()
				w.calls = append(w.calls, invoked{time.Since(began), string(payload)})
				n := len(w.calls)
				w.mu.Unlock()
				if err := w.do(n, string(payload)); err != nil {
					return Result{ErrorType: handled, Body: errorDocument("%s", err)}, nil
				}
				return Result{}, ctx.Err()
			}}
		test(w)
	})
}

// run starts deliveries; the returned function ends them.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.e.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

// queue creates a queue by the public API, signed as its document says.
func (w *world) queue(name string, visibility int) {
	body := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><Queue xmlns="http://mns.aliyuncs.com/doc/v1/"><VisibilityTimeout>%d</VisibilityTimeout></Queue>`, visibility)
	r := httptest.NewRequest("PUT", "/queues/"+name, strings.NewReader(body))
	date := time.Now().UTC().Format(http.TimeFormat)
	r.Header.Set("Content-Type", "text/xml")
	r.Header.Set("Date", date)
	r.Header.Set("x-mns-version", "2015-06-06")
	mac := hmac.New(sha1.New, []byte(w.a.RootKey().AccessKeySecret))
	fmt.Fprintf(mac, "PUT\n\ntext/xml\n%s\nx-mns-version:2015-06-06\n/queues/%s", date, name)
	r.Header.Set("Authorization", "MNS "+w.a.RootKey().AccessKeyID+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	rec := httptest.NewRecorder()
	w.q.ServeHTTP(rec, r)
	require.Equal(w.t, 201, rec.Code, rec.Body.String())
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

func TestQueueMessageBecomesAnArrayOfOneCloudEvent(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		require.NoError(t, w.e.Check())
		stop := w.run()
		defer stop()
		require.NoError(t, w.q.Send("steps", `{"runId":"r"}`, 0))
		synctest.Wait()
		require.Equal(t, 1, w.count())
		var got []struct {
			ID, Source, SpecVersion, Type, Subject string
			Data                                   struct{ MessageID, MessageBody, RequestID string }
		}
		require.NoError(t, json.Unmarshal([]byte(w.calls[0].payload), &got))
		require.Len(t, got, 1)
		assert.Equal(t, `{"runId":"r"}`, got[0].Data.MessageBody, "a string, even if it is JSON")
		assert.Equal(t, "mns:Queue:SendMessage 1.0", got[0].Type+" "+got[0].SpecVersion)
		assert.Equal(t, "acs:mns:cn-hangzhou:1234567890123456:queues/steps", got[0].Subject)
		assert.Empty(t, w.q.Messages("steps"), "deleted after success")

		require.NoError(t, w.q.Send("steps", "later", time.Hour))
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		assert.Equal(t, 1, w.count(), "a delayed message waits")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, 2, w.count())
	})
}

func TestRetriesThenDeadLetterThenTheNext(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		w.do = func(_ int, payload string) error {
			if strings.Contains(payload, "poison") {
				return errors.New("no")
			}
			return nil
		}
		stop := w.run()
		defer stop()
		require.NoError(t, w.q.Send("steps", "poison", 0))
		require.NoError(t, w.q.Send("steps", "good", 0))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, 5, w.count(), "four attempts, then the stream goes on")
		for i := range 3 {
			gap := w.calls[i+1].at - w.calls[i].at
			assert.True(t, gap >= 10*time.Second && gap <= 20*time.Second, "attempt %d after %s", i+2, gap)
		}
		assert.Contains(t, w.calls[4].payload, "good")
		dead := w.q.Messages("dead")
		require.Len(t, dead, 1)
		assert.Equal(t, strings.Trim(w.calls[0].payload, "[]"), dead[0].Body, "the event as it was")
		assert.Empty(t, w.q.Messages("steps"))
	})
}

func TestAFailureThatPasses(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		w.do = func(n int, _ string) error {
			if n < 3 {
				return errors.New("not yet")
			}
			return nil
		}
		stop := w.run()
		defer stop()
		require.NoError(t, w.q.Send("steps", "x", 0))
		time.Sleep(time.Minute)
		assert.Equal(t, 3, w.count())
		assert.Empty(t, w.q.Messages("dead"))
	})
}

func TestTheFiveMinuteCut(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		var failures []string
		w.e.After = func(_ Delivery, _ Result, err error) {
			if err != nil {
				failures = append(failures, err.Error())
			}
		}
		w.do = func(n int, _ string) error {
			if n == 1 {
				time.Sleep(cut + time.Second)
			}
			return nil
		}
		stop := w.run()
		defer stop()
		require.NoError(t, w.q.Send("steps", "x", 0))
		time.Sleep(10 * time.Minute)
		assert.Equal(t, 2, w.count())
		assert.Equal(t, []string{"the platform cut the call after 5m0s"}, failures)
	})
}

func TestAMessageThatOutlivesItsVisibilityIsSeenTwice(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		w.queue("short", 60)
		w.e.Functions[0].Triggers[0].EventBridge.Source.Parameters.MNS.QueueName = "short"
		assert.ErrorContains(t, w.e.Check(), "VisibilityTimeout is 60 s, must be over 1020 s")
		w.do = func(n int, _ string) error {
			if n == 1 {
				time.Sleep(61 * time.Second)
			}
			return nil
		}
		stop := w.run()
		defer stop()
		require.NoError(t, w.q.Send("short", "x", 0))
		time.Sleep(5 * time.Minute)
		assert.Equal(t, 2, w.count())
	})
}

func TestTriggerWithoutItsQueueIsDead(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		var log strings.Builder
		w.e.Log = slog.New(slog.NewTextHandler(&log, nil))
		w.e.Functions[0].Triggers[0].EventBridge.Source.Parameters.MNS.QueueName = "nowhere"
		assert.ErrorContains(t, w.e.Check(), "queue nowhere does not exist: the trigger is dead")
		w.run()()
		assert.Contains(t, log.String(), "trigger is dead")
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		var seen []string
		w.e.Before = func(d Delivery) {
			w.mu.Lock()
			defer w.mu.Unlock()
			seen = append(seen, fmt.Sprintf("%s/%s/%d", d.Function, d.Queue, d.Attempt))
		}
		w.e.Fault = func(d Delivery) Fault {
			switch {
			case strings.Contains(string(d.Event), "lost"):
				return Fault{Drop: true}
			case strings.Contains(string(d.Event), "thrice"):
				return Fault{Copies: 2}
			case strings.Contains(string(d.Event), "slow"):
				return Fault{Delay: time.Minute}
			}
			return Fault{}
		}
		stop := w.run()
		defer stop()
		for _, body := range []string{"lost", "thrice", "slow", "last"} {
			require.NoError(t, w.q.Send("steps", body, 0))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, 5, w.count())
		assert.Contains(t, w.calls[3].payload, "last", "the slow one is overtaken")
		assert.Contains(t, w.calls[4].payload, "slow")
		assert.Equal(t, "echo/steps/1", seen[0])
		assert.Empty(t, w.q.Messages("steps"))
	})
}

func TestShutdownKeepsTheMessage(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		w.do = func(int, string) error { return errors.New("no") }
		stop := w.run()
		require.NoError(t, w.q.Send("steps", "x", 0))
		time.Sleep(time.Second)
		stop()
		assert.Len(t, w.q.Messages("steps"), 1, "it becomes visible again")
		assert.Empty(t, w.q.Messages("dead"))
	})
}

func TestDefaultBus(t *testing.T) {
	t.Parallel()
	deliver(t, triggers, func(w *world) {
		n, err := w.e.Publish(w.t.Context(), []byte(`{"source":"acs.oss"}`))
		require.NoError(t, err)
		assert.Zero(t, n+w.count())
		n, err = w.e.Publish(w.t.Context(), []byte(created))
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Equal(t, created, w.calls[0].payload, "one object, not an array")
		w.do = func(int, string) error { return errors.New("no") }
		_, err = w.e.Publish(w.t.Context(), []byte(created))
		assert.ErrorContains(t, err, "HandledInvocationError: no")
		assert.Equal(t, 1+4, w.count())
	})
}

func TestEmittedEventsAndADayOfRetries(t *testing.T) {
	t.Parallel()
	decaying := strings.Replace(triggers, "mode: event-driven, errorsTolerance: ALL, retryStrategy: {PushRetryStrategy: BACKOFF_RETRY}",
		"mode: event-driven, errorsTolerance: ALL, retryStrategy: {PushRetryStrategy: EXPONENTIAL_DECAY_RETRY}, deadLetterQueue: {Arn: 'acs:mns:cn-hangzhou:1:/queues/dead'}", 1)
	require.NotEqual(t, triggers, decaying)
	deliver(t, decaying, func(w *world) {
		w.do = func(n int, _ string) error {
			if n < 13 {
				return errors.New("not yet")
			}
			return nil
		}
		w.e.Emit([]byte(`{"source":"acs.oss"}`))
		w.e.Emit([]byte(created)) // before anybody is there
		stop := w.run()
		assert.Zero(t, w.count(), "it returns at once")
		time.Sleep(emitted)
		require.Positive(t, w.count())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 13, w.count())
		want := time.Second
		for i := range 12 {
			assert.Equal(t, min(want, 512*time.Second), w.calls[i+1].at-w.calls[i].at)
			want *= 2
		}
		w.do = func(int, string) error { return errors.New("never") }
		before := w.count()
		w.e.Emit([]byte(created))
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		assert.Equal(t, 177, w.count()-before)
		assert.InDelta(t, 24*time.Hour, w.calls[len(w.calls)-1].at-w.calls[before].at, float64(time.Hour))
		assert.Len(t, w.q.Messages("dead"), 1)
		w.e.Emit([]byte(created))
		time.Sleep(time.Hour)
		stop() // in the middle of its retries
		assert.Len(t, w.q.Messages("dead"), 1)
	})
}

func TestTimer(t *testing.T) {
	t.Parallel()
	deliver(t, timer, func(w *world) {
		w.do = func(int, string) error { return errors.New("no") }
		stop := w.run()
		defer stop()
		time.Sleep(16 * time.Minute)
		require.Equal(t, 3, w.count(), "no repeats")
		assert.Equal(t, []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute}, []time.Duration{w.calls[0].at, w.calls[1].at, w.calls[2].at})
		assert.JSONEq(t, `{"triggerTime":"2000-01-01T00:05:00Z","triggerName":"timer","payload":"wake"}`, w.calls[0].payload)
	})
}
