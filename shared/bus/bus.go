// Package bus publishes events, now or later.
package bus

import (
	"context"
	"fmt"
	"time"
)

// MaxDelay caps a message's delay: retention may run while it waits, so a
// longer wait is made of several. Who wakes too early publishes again.
const MaxDelay = time.Hour

// A Bus puts messages into queues. Delivery is at least once, in no order.
type Bus interface {
	// Publish sends body to a queue, to be seen after delay.
	Publish(ctx context.Context, queue string, body []byte, delay time.Duration) error
}

// Queue names the queue of a step function.
func Queue(step string) string { return "eslink-" + step }

// Capped publishes with a delay of at least 0 and at most MaxDelay, in whole
// seconds rounded up: a message that comes before its time costs an invocation.
func Capped(ctx context.Context, b Bus, queue string, body []byte, delay time.Duration) error {
	delay = min(max(delay, 0), MaxDelay)
	if rest := delay % time.Second; rest > 0 {
		delay += time.Second - rest
	}
	if err := b.Publish(ctx, queue, body, delay); err != nil {
		return fmt.Errorf("publish to %s: %w", queue, err)
	}
	return nil
}
