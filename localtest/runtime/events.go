package runtime

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/mns"
)

// Events is EventBridge and the timers of Function Compute: it wakes functions by the triggers of s.yaml. Each event
// stream is one loop that takes one message at a time. All delays are the clock's, so it runs as well in a synctest
// bubble, where Invoke is not a process.
type Events struct {
	Functions []Function
	Account   *cloud.Account
	Queues    *mns.MNS
	Clock     Clock
	Invoke    Invoker
	Log       *slog.Logger

	Fault  func(Delivery) Fault          // asked once a message or event, may be nil
	Before func(Delivery)                // seen before each attempt, may be nil
	After  func(Delivery, Result, error) // seen after each attempt, may be nil

	wg      sync.WaitGroup
	mu      sync.Mutex
	running context.Context // of Run
	early   [][]byte        // emitted before it
}

// Delivery is one event on its way to one function. Payload is what the function gets: an array of one CloudEvent from
// a queue, one CloudEvent from the bus, or a timer's event.
type Delivery struct {
	Function, Trigger, Queue string // Queue is "" but for event streams
	Event                    []byte // the CloudEvent itself; nil for timers
	Payload                  []byte
	Attempt                  int // from 1
}

// Fault is what befalls an event on its way.
type Fault struct {
	Drop   bool          // it is lost
	Copies int           // more deliveries of it, at the same time
	Delay  time.Duration // of the clock; later events overtake it
}

// Platform limits, from the pages "Retry and dead letters" and "Advanced features of triggers".
const (
	cut        = 5 * time.Minute // the longest a trigger waits for its function
	backoff    = "BACKOFF_RETRY"
	retries    = 3
	retryAfter = 10 * time.Second
	retryMost  = 20 * time.Second
	decay      = "EXPONENTIAL_DECAY_RETRY" // for a day
	decays     = 176
	decayMost  = 512 * time.Second
	// emitted is how long an event of a product takes to the bus at most (an assumption: ActionTrail names no figure).
	emitted = 2 * time.Minute
)

// visibility is the least VisibilityTimeout of a stream's queue, in seconds: EventBridge holds a message across all its
// attempts, and one that becomes visible meanwhile is delivered twice.
func visibility(timeout int) int { return (1+retries)*timeout + retries*int(retryMost/time.Second) }

// Check says what is wrong between the triggers and the queues: each stream's queue and dead-letter queue must exist,
// with a visibility timeout over four timeouts and 60 s, and no function may run longer than a trigger waits.
func (e *Events) Check() error {
	var errs []error
	for _, f := range e.Functions {
		for _, t := range f.Triggers {
			errs = append(errs, e.checkTrigger(f, t))
		}
	}
	return errors.Join(errs...)
}

func (e *Events) checkTrigger(f Function, t Trigger) error {
	if t.EventBridge == nil || !t.EventBridge.Enable {
		return nil
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("function %s, trigger %s: %s", f.Name, t.Name, fmt.Sprintf(format, args...))
	}
	if time.Duration(f.Timeout)*time.Second >= cut {
		return bad("timeout of %d s: the platform cuts the call after %s", f.Timeout, cut)
	}
	if name := t.EventBridge.DeadLetterQueue(); name != "" {
		if _, ok := e.Queues.Attributes(name); !ok {
			return bad("dead-letter queue %s does not exist", name)
		}
	}
	if name := t.EventBridge.Queue(); name != "" {
		q, ok := e.Queues.Attributes(name)
		if !ok {
			return bad("queue %s does not exist: the trigger is dead", name)
		}
		if least := visibility(f.Timeout); q.VisibilityTimeout <= least {
			return bad("queue %s: VisibilityTimeout is %d s, must be over %d s", name, q.VisibilityTimeout, least)
		}
	}
	return nil
}

// Run delivers until ctx ends and what is under way has ended. A trigger whose queue does not exist stays dead and says
// so in the log.
func (e *Events) Run(ctx context.Context) {
	e.attend(ctx)
	for _, f := range e.Functions {
		for _, t := range f.Triggers {
			switch {
			case t.Timer != nil && t.Timer.Enable:
				e.wg.Go(func() { e.tick(ctx, f, t) })
			case t.EventBridge != nil && t.EventBridge.Enable && t.EventBridge.Queue() != "":
				if _, ok := e.Queues.Attributes(t.EventBridge.Queue()); !ok {
					e.Log.Error("trigger is dead: its queue does not exist", "function", f.Name, "trigger", t.Name, "queue", t.EventBridge.Queue())
					continue
				}
				e.wg.Go(func() { e.stream(ctx, f, t) })
			}
		}
	}
	<-ctx.Done()
	e.attend(ctx) // whoever emits now finds it ended
	e.wg.Wait()
}

// attend lets Emit begin what has been put on the bus so far, and from now on until ctx ends.
func (e *Events) attend(ctx context.Context) {
	e.mu.Lock()
	early := e.early
	e.running, e.early = ctx, nil
	e.mu.Unlock()
	for _, event := range early {
		e.Emit(event)
	}
}

// Emit puts an event on the default bus as a product of the cloud does: it returns at once, and the event is there a
// little later, while Run is.
func (e *Events) Emit(event []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx := e.running
	switch {
	case ctx == nil:
		e.early = append(e.early, event)
		return
	case ctx.Err() != nil:
		return
	}
	e.wg.Go(func() {
		if e.Clock.Sleep(ctx, e.Account.Between(0, emitted)) != nil {
			return
		}
		if _, err := e.Publish(ctx, event); err != nil && ctx.Err() == nil {
			e.Log.Warn("event was not taken", "error", err)
		}
	})
}

func (e *Events) stream(ctx context.Context, f Function, t Trigger) {
	queue := t.EventBridge.Queue()
	for ctx.Err() == nil {
		changed := e.Queues.Changed()
		m, ok := e.Queues.Receive(queue)
		if ok {
			e.consume(ctx, f, t, m)
			continue
		}
		wait := 24 * time.Hour
		if at, ok := e.Queues.Next(queue); ok {
			wait = max(at.Sub(e.Clock.Now()), 0) + time.Millisecond
		}
		timer := e.Clock.Timer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// consume delivers one message and deletes it, whatever came of it: with errorsTolerance ALL the stream goes on.
func (e *Events) consume(ctx context.Context, f Function, t Trigger, m mns.Message) {
	event, err := e.envelope(f, t, m)
	if err != nil {
		e.Log.Error("message is not base64, as the trigger's IsBase64Decode says", "queue", t.EventBridge.Queue(), "message", m.ID)
	}
	d := Delivery{Function: f.Name, Trigger: t.Name, Queue: t.EventBridge.Queue(), Event: event}
	d.Payload = append(append([]byte("["), event...), ']')
	e.upset(ctx, d, e.wg.Go, func() {
		if err == nil {
			err = e.deliver(ctx, t, d)
		}
		if ctx.Err() != nil {
			return // not deleted: it is delivered again by the next who runs
		}
		if err != nil {
			e.bury(t, d, err)
		}
		if err := e.Queues.Delete(d.Queue, m.ReceiptHandle); err != nil {
			e.Log.Warn("message was delivered but is seen again", "function", f.Name, "error", err)
		}
	}, func() { e.Queues.Delete(d.Queue, m.ReceiptHandle) })
}

// upset applies the fault of a delivery: deliver runs now, later (through spawn) or never (then drop runs).
func (e *Events) upset(ctx context.Context, d Delivery, spawn func(func()), deliver, drop func()) {
	var fault Fault
	if e.Fault != nil {
		fault = e.Fault(d)
	}
	switch {
	case fault.Drop:
		drop()
	case fault.Delay > 0 || fault.Copies > 0:
		var all sync.WaitGroup
		for range fault.Copies {
			all.Go(func() {
				if e.Clock.Sleep(ctx, fault.Delay) == nil {
					e.once(ctx, d)
				}
			})
		}
		original := func() {
			if e.Clock.Sleep(ctx, fault.Delay) == nil {
				deliver()
			}
			all.Wait()
		}
		if fault.Delay > 0 {
			spawn(original)
		} else {
			original()
		}
	default:
		deliver()
	}
}

func here(f func()) { f() }

// deliver tries an event that passes the trigger's filter until it is taken or the trigger's retries are used up.
func (e *Events) deliver(ctx context.Context, t Trigger, d Delivery) error {
	if ok, err := t.EventBridge.pattern.Match(d.Event); err != nil || !ok {
		return err
	}
	for d.Attempt = 1; ; d.Attempt++ {
		err := e.once(ctx, d)
		if err == nil {
			return nil
		}
		pause, ok := e.pause(t, d.Attempt)
		if !ok {
			return err
		}
		e.Log.Warn("delivery failed", "function", d.Function, "attempt", d.Attempt, "error", err)
		if err := e.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// pause is the time between an attempt that failed and the next, if there is one.
func (e *Events) pause(t Trigger, attempt int) (time.Duration, bool) {
	if t.EventBridge.Run.Retry.Strategy == decay {
		return min(time.Second<<min(attempt-1, 10), decayMost), attempt <= decays
	}
	return e.Account.Between(retryAfter, retryMost), attempt <= retries
}

func (e *Events) once(ctx context.Context, d Delivery) error {
	d.Attempt = max(d.Attempt, 1)
	if e.Before != nil {
		e.Before(d)
	}
	call, cancel := context.WithTimeout(ctx, cut)
	defer cancel()
	r, err := e.Invoke(call, d.Function, d.Payload)
	if err == nil {
		err = r.Err()
	} else if ctx.Err() == nil && call.Err() != nil {
		err = fmt.Errorf("the platform cut the call after %s", cut)
	}
	if e.After != nil {
		e.After(d, r, err)
	}
	return err
}

// bury sends an event that nobody could take to the trigger's dead-letter queue, as it was.
func (e *Events) bury(t Trigger, d Delivery, cause error) {
	queue := t.EventBridge.DeadLetterQueue()
	log := e.Log.With("function", d.Function, "trigger", d.Trigger, "error", cause)
	if queue == "" {
		log.Error("event dropped: the trigger has no dead-letter queue")
		return
	}
	if err := e.Queues.Send(queue, string(d.Event), 0); err != nil {
		log.Error("event dropped: the dead-letter queue refuses it", "queue", queue, "cause", err)
		return
	}
	log.Error("event is dead", "queue", queue)
}

// envelope wraps a message as the page on trigger event formats shows for MNS queues.
func (e *Events) envelope(f Function, t Trigger, m mns.Message) (event []byte, err error) {
	body := m.Body
	if t.EventBridge.base64() {
		var raw []byte
		if raw, err = base64.StdEncoding.DecodeString(body); err == nil {
			body = string(raw)
		}
	}
	source := "MNS-" + f.Name + "-" + t.Name
	now := e.Clock.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	event, fail := json.Marshal(map[string]any{
		"id": e.Account.NewID("", 32), "source": source, "specversion": "1.0", "type": "mns:Queue:SendMessage",
		"datacontenttype": "application/json; charset=utf-8",
		"subject":         fmt.Sprintf("acs:mns:%s:%s:queues/%s", f.Region, e.Account.AccountID, t.EventBridge.Queue()),
		"time":            m.Enqueued.UTC().Format("2006-01-02T15:04:05.000Z"),
		"aliyunaccountid": e.Account.AccountID, "aliyunpublishtime": now, "aliyunoriginalaccountid": e.Account.AccountID,
		"aliyuneventbusname": source, "aliyunregionid": f.Region, "aliyunpublishaddr": "127.0.0.1",
		"data": map[string]string{"requestId": e.Account.NewID("", 24), "messageId": m.ID, "messageBody": body},
	})
	return event, errors.Join(err, fail)
}

// Publish puts an event on the default bus and returns when every trigger whose pattern it matches has taken it or
// given up: how many matched, and what failed.
func (e *Events) Publish(ctx context.Context, event []byte) (int, error) {
	var errs []error
	var mu sync.Mutex
	var all sync.WaitGroup
	defer all.Wait()
	n := 0
	for _, f := range e.Functions {
		for _, t := range f.Triggers {
			if t.EventBridge == nil || !t.EventBridge.Enable || t.EventBridge.Queue() != "" {
				continue
			}
			ok, err := t.EventBridge.pattern.Match(event)
			if err != nil {
				return n, err
			}
			if !ok {
				continue
			}
			n++
			d := Delivery{Function: f.Name, Trigger: t.Name, Event: event, Payload: event}
			all.Go(func() {
				e.upset(ctx, d, here, func() {
					err := e.deliver(ctx, t, d)
					if err == nil || ctx.Err() != nil {
						return
					}
					e.bury(t, d, err)
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("function %s: %w", f.Name, err))
				}, func() {})
			})
		}
	}
	all.Wait()
	return n, errors.Join(errs...)
}

// tick wakes a function every so often, first after one period. Nothing waits for the function or tries again
// (asyncInvokeConfig.maxAsyncRetryAttempts 0, which Load asks for).
func (e *Events) tick(ctx context.Context, f Function, t Trigger) {
	at := e.Clock.Now()
	for {
		at = at.Add(t.Timer.every)
		if e.Clock.Sleep(ctx, at.Sub(e.Clock.Now())) != nil {
			return
		}
		payload, err := json.Marshal(map[string]string{
			"triggerTime": at.UTC().Format(time.RFC3339), "triggerName": t.Name, "payload": t.Timer.Payload})
		if err != nil {
			e.Log.Error("timer payload", "error", err)
			return
		}
		d := Delivery{Function: f.Name, Trigger: t.Name, Payload: payload}
		e.wg.Go(func() {
			e.upset(ctx, d, here, func() {
				if err := e.once(ctx, d); err != nil && ctx.Err() == nil {
					e.Log.Warn("timer invocation failed", "function", f.Name, "error", err)
				}
			}, func() {})
		})
	}
}
