package runtime

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Clock is the world's time: Epoch + (real − Epoch)·Rate. Rate 1 is real time (and a synctest bubble's).
// Its text form, epoch in unix ms "@" rate, is what functions get as ESLINK_CLOCK.
type Clock struct {
	Epoch time.Time
	Rate  float64
}

// ParseClock reads the form that String prints.
func ParseClock(s string) (Clock, error) {
	ms, rate, ok := strings.Cut(s, "@")
	at, err1 := strconv.ParseInt(ms, 10, 64)
	r, err2 := strconv.ParseFloat(rate, 64)
	if !ok || err1 != nil || err2 != nil || r <= 0 {
		return Clock{}, fmt.Errorf("clock %q: want <epoch unix ms>@<rate>", s)
	}
	return Clock{Epoch: time.UnixMilli(at), Rate: r}, nil
}

func (c Clock) String() string {
	return fmt.Sprintf("%d@%s", c.Epoch.UnixMilli(), strconv.FormatFloat(c.Rate, 'f', -1, 64))
}

// Now is the world's time.
func (c Clock) Now() time.Time {
	real := time.Now()
	if c.Rate == 1 {
		return real
	}
	return c.Epoch.Add(time.Duration(float64(real.Sub(c.Epoch)) * c.Rate))
}

// Timer fires after d of the world's time.
func (c Clock) Timer(d time.Duration) *time.Timer {
	return time.NewTimer(time.Duration(float64(d) / c.Rate))
}

// Sleep waits until d of the world's time has passed or ctx ends, whose error it returns.
func (c Clock) Sleep(ctx context.Context, d time.Duration) error {
	timer := c.Timer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
