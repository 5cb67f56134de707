package mns_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	fakemns "eslink/localtest/fakes/mns"
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
	"eslink/shared/bus/bustest"
	"eslink/shared/bus/mns"
)

const (
	accountID = "1234567890123456"
	theHost   = accountID + ".mns.cn-hangzhou-internal.aliyuncs.com"
)

type world struct {
	account *cloud.Account
	fake    *fakemns.MNS
	config  aliyun.Config
	bus     *mns.Bus
	ctx     context.Context
}

// open makes two queues and a bus whose role may send to any of ours. now is
// the world's clock.
func open(t *testing.T, now func() time.Time) *world {
	account := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: accountID, Now: now, Seed: 1})
	require.NoError(t, account.AddRole("step", cloud.Policy{Version: "1", Statement: []cloud.Statement{{
		Effect: "Allow", Action: cloud.Strings{"mns:SendMessage"}, Resource: cloud.Strings{"acs:mns:cn-hangzhou:" + accountID + ":/queues/eslink-*/messages"},
	}}}))
	w := &world{account: account, fake: fakemns.New(account)}
	w.config = aliyun.Config{
		Endpoint: func(string) (string, string) { return "https", theHost },
		Transport: cloud.Transport(func(host string) http.Handler {
			if host == theHost {
				return w.fake
			}
			return nil
		}),
	}
	for _, name := range []string{"eslink-a", "eslink-b"} {
		require.NoError(t, w.fake.Create(name, fakemns.DefaultAttributes()))
	}
	w.bus = mns.New(w.config)
	w.ctx = as(t.Context(), account.AssumeRole("step", account.Now()))
	return w
}

func as(ctx context.Context, c cloud.Credentials) context.Context {
	fc := &fccontext.FcContext{AccountId: accountID}
	fc.Credentials.AccessKeyId, fc.Credentials.AccessKeySecret, fc.Credentials.SecurityToken = c.AccessKeyID, c.AccessKeySecret, c.SecurityToken
	return fccontext.NewContext(ctx, fc)
}

func (w *world) drain(queue string) (out []string) {
	for {
		msg, ok := w.fake.Receive(queue)
		if !ok {
			return out
		}
		out = append(out, msg.Body)
		if err := w.fake.Delete(queue, msg.ReceiptHandle); err != nil {
			panic(err) // nobody else consumes here
		}
	}
}

func TestBus(t *testing.T) {
	t.Parallel()
	bustest.Bus(t, func(t *testing.T) bustest.World {
		var passed atomic.Int64
		start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		w := open(t, func() time.Time { return start.Add(time.Duration(passed.Load())) })
		key := w.account.AssumeRole("step", start)
		invoke := func() context.Context { return as(t.Context(), key) }
		return bustest.World{Bus: w.bus, Invoke: invoke, Drain: w.drain, Advance: func(d time.Duration) { passed.Add(int64(d)) }}
	})
}

func TestErrorsSayWhatMayBeDone(t *testing.T) {
	t.Parallel()
	w := open(t, time.Now)
	_, handler := w.config.Endpoint, w.config.Transport
	for name, try := range map[string]struct {
		ctx   context.Context
		queue string
		body  string
		fault cloud.Fault
		code  string
		class apierr.Class
	}{
		"no queue":        {w.ctx, "eslink-missing", "x", cloud.Fault{}, "QueueNotExist", apierr.Fatal},
		"no permission":   {w.ctx, "other", "x", cloud.Fault{}, "AccessDenied", apierr.Fatal},
		"too large":       {w.ctx, "eslink-a", string(make([]byte, 70_000)), cloud.Fault{}, "InvalidArgument", apierr.Fatal},
		"unknown key":     {as(t.Context(), cloud.Credentials{AccessKeyID: "STS.x", AccessKeySecret: "x"}), "eslink-a", "x", cloud.Fault{}, "InvalidAccessKeyId", apierr.Fatal},
		"throttled":       {w.ctx, "eslink-a", "x", cloud.Fault{Before: &cloud.Error{Status: 400, Code: "QpsLimitExceeded"}}, "QpsLimitExceeded", apierr.Retry},
		"unknown and 5xx": {w.ctx, "eslink-a", "x", cloud.Fault{Before: &cloud.Error{Status: 502, Code: "New"}}, "New", apierr.Retry},
		"no reply":        {w.ctx, "eslink-a", "x", cloud.Fault{LoseReply: true}, "", apierr.Retry},
	} {
		w.account.SetFault(func(cloud.Call) cloud.Fault { return try.fault })
		before := len(w.account.Exchanges())
		err := mns.New(aliyun.Config{Endpoint: w.config.Endpoint, Transport: handler}).Publish(try.ctx, try.queue, []byte(try.body), 0)
		require.Error(t, err, name)
		assert.Equal(t, try.code, apierr.CodeOf(err), name)
		assert.Equal(t, try.class, apierr.ClassOf(err), name)
		assert.Equal(t, before+1, len(w.account.Exchanges()), "%s: the engine alone retries", name)
	}
	assert.Equal(t, []string{"x"}, w.drain("eslink-a"), "the message of the lost reply")
	assert.ErrorContains(t, w.bus.Publish(t.Context(), "eslink-a", []byte("x"), 0), "credentials")
}

// The SDK panics over an endpoint that it does not like; a function must not.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	w := open(t, time.Now)
	for host, want := range map[string]string{
		theHost: theHost, "127.0.0.1:8080/mns.local": "127.0.0.1:8080", "localhost:8080": "", "mns.cn-hangzhou.aliyuncs.com": "",
	} {
		called := ""
		err := mns.New(aliyun.Config{
			Endpoint:  func(string) (string, string) { return "http", host },
			Transport: cloud.Transport(func(h string) http.Handler { called = h; return w.fake }),
		}).Publish(w.ctx, "eslink-a", []byte("x"), 0)
		assert.Equal(t, want, called, host)
		assert.Equal(t, want == "", err != nil, "%s: %v", host, err)
	}
}

// No sockets, and time that passes at once: what the simulation needs.
func TestInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := open(t, time.Now)
		for i := range 100 {
			require.NoError(t, w.bus.Publish(w.ctx, "eslink-a", fmt.Append(nil, i), 30*time.Second))
			time.Sleep(time.Minute)
			assert.Equal(t, []string{fmt.Sprint(i)}, w.drain("eslink-a"))
		}
	})
}
