package mns_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ali_mns "github.com/aliyun/aliyun-mns-go-sdk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/mns"
)

// direct carries the SDK's requests to a handler.
type direct struct{ http.Handler }

func (d direct) RoundTrip(_ *fasthttp.HostClient, in *fasthttp.Request, out *fasthttp.Response) (bool, error) {
	r := httptest.NewRequest(string(in.Header.Method()), in.URI().String(), bytes.NewReader(in.Body()))
	in.Header.VisitAll(func(k, v []byte) { r.Header.Set(string(k), string(v)) })
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	out.SetStatusCode(w.Code)
	out.Header.Set("Location", w.Header().Get("Location"))
	out.SetBody(w.Body.Bytes())
	return false, nil
}

type world struct {
	account *cloud.Account
	fake    *mns.MNS
	manager ali_mns.AliQueueManager
	queue   ali_mns.AliMNSQueue
	client  ali_mns.MNSClient
}

// inBubble runs test in virtual time with queue q. The SDK's client leaves a
// goroutine behind that ends after ten idle seconds.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		account := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Seed: 1})
		w := &world{account: account, fake: mns.New(account)}
		w.use(account.RootKey(), "http://127.0.0.1:9999/mns.local")
		require.NoError(t, w.manager.CreateQueue("q", 0, 65536, 345600, 30, 0, 2))
		test(t, w)
		time.Sleep(time.Minute)
	})
}

func (w *world) use(c cloud.Credentials, endpoint string) {
	w.client = ali_mns.NewAliMNSClientWithConfig(ali_mns.AliMNSClientConfig{EndPoint: endpoint, AccessKeyId: c.AccessKeyID, AccessKeySecret: c.AccessKeySecret, Token: c.SecurityToken})
	w.client.SetTransport(direct{w.fake})
	w.manager, w.queue = ali_mns.NewMNSQueueManager(w.client), ali_mns.NewMNSQueue("q", w.client)
}

func (w *world) send(t *testing.T, body string, delay int64) ali_mns.MessageSendResponse {
	resp, err := w.queue.SendMessage(ali_mns.MessageSendRequest{MessageBody: body, DelaySeconds: delay, Priority: 8})
	require.NoError(t, err)
	return resp
}

// receive waits up to the given seconds; "" and the error's text otherwise.
func (w *world) receive(wait ...int64) (ali_mns.MessageReceiveResponse, error) {
	got, failed := make(chan ali_mns.MessageReceiveResponse, 1), make(chan error, 1)
	w.queue.ReceiveMessage(got, failed, wait...)
	select {
	case m := <-got:
		return m, nil
	case err := <-failed:
		return ali_mns.MessageReceiveResponse{}, err
	}
}

func (w *world) empty(t *testing.T) {
	t.Helper()
	_, err := w.receive()
	require.Error(t, err)
	assert.True(t, ali_mns.ERR_MNS_MESSAGE_NOT_EXIST.IsEqual(err), "%v", err)
}

func TestSendReceiveDelete(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		sent := w.send(t, `<a> & "中文"`, 0)
		assert.Equal(t, "", sent.ReceiptHandle, "only a delayed message has one")
		start := time.Now()
		time.Sleep(time.Second)
		got, err := w.receive()
		require.NoError(t, err)
		assert.Equal(t, `<a> & "中文"`, got.MessageBody)
		assert.Equal(t, sent.MessageId, got.MessageId)
		assert.Equal(t, sent.MessageBodyMD5, got.MessageBodyMD5)
		assert.EqualValues(t, 1, got.DequeueCount)
		assert.EqualValues(t, 8, got.Priority)
		assert.Equal(t, start.UnixMilli(), got.EnqueueTime)
		assert.Equal(t, start.Add(time.Second).UnixMilli(), got.FirstDequeueTime)
		assert.Equal(t, start.Add(31*time.Second).UnixMilli(), got.NextVisibleTime)
		w.empty(t)
		require.NoError(t, w.queue.DeleteMessage(got.ReceiptHandle))
		time.Sleep(time.Hour)
		w.empty(t)
	})
}

func TestReceiptHandleEndsWithTheVisibilityTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.send(t, "x", 0)
		first, err := w.receive()
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		assert.True(t, ali_mns.ERR_MNS_RECEIPT_HANDLE_ERROR.IsEqual(w.queue.DeleteMessage(first.ReceiptHandle)), "expired")
		second, err := w.receive()
		require.NoError(t, err)
		assert.EqualValues(t, 2, second.DequeueCount)
		assert.Equal(t, first.FirstDequeueTime, second.FirstDequeueTime)
		assert.True(t, ali_mns.ERR_MNS_RECEIPT_HANDLE_ERROR.IsEqual(w.queue.DeleteMessage(first.ReceiptHandle)), "of another consumer")

		longer, err := w.queue.ChangeMessageVisibility(second.ReceiptHandle, 300)
		require.NoError(t, err)
		assert.Equal(t, time.Now().Add(300*time.Second).UnixMilli(), longer.NextVisibleTime)
		time.Sleep(299 * time.Second)
		w.empty(t)
		require.NoError(t, w.queue.DeleteMessage(longer.ReceiptHandle))
		assert.Error(t, w.queue.DeleteMessage(longer.ReceiptHandle), "twice")
		_, err = w.queue.ChangeMessageVisibility(longer.ReceiptHandle, 43201)
		assert.True(t, ali_mns.ERR_MNS_INVALID_ARGUMENT.IsEqual(err))
	})
}

func TestDelayAndItsWithdrawal(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.send(t, "later", 604_800-3600*24*4) // three days
		sent := w.send(t, "never", 60)
		require.NotEmpty(t, sent.ReceiptHandle)
		require.NoError(t, w.queue.DeleteMessage(sent.ReceiptHandle))
		attributes, err := w.manager.GetQueueAttributes("q")
		require.NoError(t, err)
		assert.EqualValues(t, 1, attributes.DelayMessages)
		next, ok := w.fake.Next("q")
		require.True(t, ok)
		assert.Equal(t, time.Now().Add(72*time.Hour), next)
		time.Sleep(72*time.Hour - time.Second)
		w.empty(t)
		time.Sleep(time.Second)
		got, err := w.receive()
		require.NoError(t, err)
		assert.Equal(t, "later", got.MessageBody)
	})
}

func TestRetentionRunsDuringTheDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.manager.SetQueueAttributes("q", 0, 65536, 3600, 30, 0, 2))
		w.send(t, "lost", 3600)
		_, ok := w.fake.Next("q")
		assert.False(t, ok, "nobody will ever see it")
		w.send(t, "kept", 3599)
		next, ok := w.fake.Next("q")
		require.True(t, ok)
		assert.Equal(t, time.Now().Add(3599*time.Second), next)
		time.Sleep(3599 * time.Second)
		got, err := w.receive()
		require.NoError(t, err)
		assert.Equal(t, "kept", got.MessageBody)
		time.Sleep(time.Second)
		w.empty(t)
		assert.Empty(t, w.fake.Messages("q"))
	})
}

func TestLongPoll(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		start := time.Now()
		_, err := w.receive(10)
		assert.True(t, ali_mns.ERR_MNS_MESSAGE_NOT_EXIST.IsEqual(err))
		assert.Equal(t, 10*time.Second, time.Since(start))

		w.send(t, "due in five", 5)
		start = time.Now()
		_, err = w.receive(10)
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, time.Since(start))

		go func() {
			time.Sleep(3 * time.Second)
			_ = w.fake.Send("q", "sent meanwhile", 0)
		}()
		start = time.Now()
		got, err := w.receive(30)
		require.NoError(t, err)
		assert.Equal(t, "sent meanwhile", got.MessageBody)
		assert.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestBatchesPeekAndPriority(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var batch []ali_mns.MessageSendRequest
		for i := range 4 {
			batch = append(batch, ali_mns.MessageSendRequest{MessageBody: fmt.Sprint(i), Priority: int64(8 - i)})
		}
		sent, err := w.queue.BatchSendMessage(batch...)
		require.NoError(t, err)
		assert.Len(t, sent.Messages, 4)

		got, failed := make(chan ali_mns.BatchMessageReceiveResponse, 1), make(chan error, 1)
		w.queue.BatchPeekMessage(got, failed, 16)
		assert.Len(t, (<-got).Messages, 4)
		peeked, one := make(chan ali_mns.MessageReceiveResponse, 1), make(chan error, 1)
		w.queue.PeekMessage(peeked, one)
		assert.Empty(t, (<-peeked).ReceiptHandle)
		w.queue.BatchReceiveMessage(got, failed, 3)
		received := (<-got).Messages
		var bodies, handles []string
		for _, m := range received {
			bodies, handles = append(bodies, m.MessageBody), append(handles, m.ReceiptHandle)
		}
		assert.Equal(t, []string{"3", "2", "1"}, bodies, "the smaller number first")
		bad, err := w.queue.BatchDeleteMessage(append(handles, "1-nobody")...)
		require.Error(t, err)
		require.Len(t, bad.FailedMessages, 1)
		assert.Equal(t, "1-nobody", bad.FailedMessages[0].ReceiptHandle)
		time.Sleep(time.Hour)
		assert.Len(t, w.fake.Messages("q"), 1)
	})
}

func TestDeadLetters(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.fake.Create("dead", mns.DefaultAttributes()))
		policy := `<Queue xmlns="http://mns.aliyuncs.com/doc/v1/"><DlqPolicy><Enabled>true</Enabled><DeadLetterTargetQueue>%s</DeadLetterTargetQueue><MaxReceiveCount>2</MaxReceiveCount></DlqPolicy></Queue>`
		resp, err := w.client.Send("PUT", nil, fmt.Appendf(nil, policy, "q"), "queues/q?metaoverride=true")
		require.NoError(t, err)
		assert.Equal(t, 400, resp.StatusCode(), "its own dead letter queue")
		resp, err = w.client.Send("PUT", nil, fmt.Appendf(nil, policy, "dead"), "queues/q?metaoverride=true")
		require.NoError(t, err)
		require.Equal(t, 204, resp.StatusCode())

		sent := w.send(t, "poison", 0)
		for range 2 {
			_, err := w.receive()
			require.NoError(t, err)
			assert.Empty(t, w.fake.Messages("dead"))
			time.Sleep(30 * time.Second)
		}
		w.empty(t)
		dead := w.fake.Messages("dead")
		require.Len(t, dead, 1)
		assert.Equal(t, sent.MessageId, dead[0].ID)
		assert.Equal(t, dead[0].Enqueued.Add(345600*time.Second), dead[0].Expires, "its retention does not restart")
		attributes, ok := w.fake.Attributes("q")
		require.True(t, ok)
		assert.Equal(t, mns.DeadLetter{Enabled: true, TargetQueue: "dead", MaxReceiveCount: 2}, attributes.DeadLetter)
		require.NoError(t, w.manager.SetQueueAttributes("q", 0, 65536, 345600, 60, 0, 2))
		attributes, _ = w.fake.Attributes("q")
		assert.True(t, attributes.DeadLetter.Enabled, "what a request does not name stays")
		assert.Equal(t, 60, attributes.VisibilityTimeout)
	})
}

func TestQueues(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		create := func(name string, visibility int32) error {
			return w.manager.CreateQueue(name, 0, 65536, 345600, visibility, 0, 2)
		}
		assert.True(t, ali_mns.ERR_MNS_QUEUE_ALREADY_EXIST_AND_HAVE_SAME_ATTR.IsEqual(create("q", 30)))
		assert.True(t, ali_mns.ERR_MNS_QUEUE_ALREADY_EXIST.IsEqual(create("q", 31)))
		assert.True(t, ali_mns.ERR_MNS_INVALID_QUEUE_NAME.IsEqual(create("under_score", 30)))
		assert.True(t, ali_mns.ERR_MNS_QUEUE_NAME_LENGTH_ERROR.IsEqual(create(strings.Repeat("x", 121), 30)))
		assert.Error(t, w.manager.CreateQueue("small", 0, 100, 345600, 30, 0, 2))
		require.NoError(t, create("r", 30))
		again, err := w.client.Send("PUT", nil, []byte{}, "queues/r")
		require.NoError(t, err)
		assert.Equal(t, 204, again.StatusCode(), "no attributes are the default ones")
		assert.Equal(t, "http://1234567890123456.mns.cn-hangzhou.aliyuncs.com/queues/r", string(again.Header.Peek("Location")), "which the Python SDK reads")
		assert.Equal(t, []string{"q", "r"}, w.fake.Queues())
		listed, err := w.manager.ListQueue("", 0, "")
		require.NoError(t, err)
		assert.Len(t, listed.Queues, 2)
		require.NoError(t, w.manager.DeleteQueue("r"))
		require.NoError(t, w.manager.DeleteQueue("r"), "again")
		_, err = w.manager.GetQueueAttributes("r")
		assert.True(t, ali_mns.ERR_MNS_QUEUE_NOT_EXIST.IsEqual(err))
		_, err = ali_mns.NewMNSQueue("r", w.client).SendMessage(ali_mns.MessageSendRequest{MessageBody: "x", Priority: 8})
		assert.True(t, ali_mns.ERR_MNS_QUEUE_NOT_EXIST.IsEqual(err))
	})
}

func TestWhatSendRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for name, m := range map[string]ali_mns.MessageSendRequest{
			"no priority, which the SDK sends as 0": {MessageBody: "x"},
			"priority 17":                           {MessageBody: "x", Priority: 17},
			"more than seven days":                  {MessageBody: "x", Priority: 8, DelaySeconds: 604801},
			"more than 64 KB":                       {MessageBody: strings.Repeat("x", 65537), Priority: 8},
			"nothing":                               {Priority: 8},
		} {
			_, err := w.queue.SendMessage(m)
			assert.True(t, ali_mns.ERR_MNS_INVALID_ARGUMENT.IsEqual(err), "%s: %v", name, err)
		}
		w.empty(t)
	})
}

func TestWhoMayCall(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.account.AddRole("sender", cloud.Policy{Version: "1", Statement: []cloud.Statement{{
			Effect: "Allow", Action: cloud.Strings{"mns:SendMessage"}, Resource: cloud.Strings{"acs:mns:cn-hangzhou:1234567890123456:/queues/q/messages"},
		}}}))
		sender := w.account.AssumeRole("sender", time.Now())
		w.use(sender, "https://1234567890123456.mns.cn-hangzhou.aliyuncs.com")
		w.send(t, "x", 0)
		_, err := w.receive()
		assert.True(t, ali_mns.ERR_MNS_ACCESS_DENIED.IsEqual(err), "%v", err)

		for name, c := range map[string]cloud.Credentials{
			"wrong secret":  {AccessKeyID: sender.AccessKeyID, AccessKeySecret: "wrong", SecurityToken: sender.SecurityToken},
			"unknown key":   {AccessKeyID: "STS.nobody", AccessKeySecret: "x"},
			"without token": {AccessKeyID: sender.AccessKeyID, AccessKeySecret: sender.AccessKeySecret},
		} {
			w.use(c, "http://127.0.0.1:9999/mns.local")
			_, err := w.queue.SendMessage(ali_mns.MessageSendRequest{MessageBody: "x", Priority: 8})
			assert.Error(t, err, name)
		}
		assert.Len(t, w.fake.Messages("q"), 1)
		time.Sleep(36 * time.Hour)
		w.use(sender, "http://127.0.0.1:9999/mns.local")
		_, err = w.queue.SendMessage(ali_mns.MessageSendRequest{MessageBody: "x", Priority: 8})
		assert.Error(t, err, "an STS key ends after 36 hours")
	})
}

func TestBadRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		fresh := time.Now().UTC().Format(http.TimeFormat)
		for code, change := range map[string]func(*http.Request){
			"MissingAuthorizationHeader": func(r *http.Request) { r.Header.Del("Authorization") },
			"InvalidAuthorizationHeader": func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") },
			"MissingDateHeader":          func(r *http.Request) { r.Header.Del("Date") },
			"InvalidDateHeader":          func(r *http.Request) { r.Header.Set("Date", "today") },
			"TimeExpired": func(r *http.Request) {
				r.Header.Set("Date", time.Now().Add(-16*time.Minute).UTC().Format(http.TimeFormat))
			},
			"MissingVersionHeader":  func(r *http.Request) { r.Header.Del("x-mns-version") },
			"InvalidVersionHeader":  func(r *http.Request) { r.Header.Set("x-mns-version", "2020-01-01") },
			"SignatureDoesNotMatch": func(*http.Request) {},
			"InvalidQueryString":    func(r *http.Request) { r.URL.RawQuery = "wait=1" },
			"InvalidRequestURL":     func(r *http.Request) { r.URL.Path = "/topics/t" },
		} {
			r := httptest.NewRequest(http.MethodGet, "/queues/q", nil)
			r.Header.Set("Authorization", "MNS "+w.account.RootKey().AccessKeyID+":c2lnbmF0dXJl")
			r.Header.Set("Date", fresh)
			r.Header.Set("x-mns-version", "2015-06-06")
			change(r)
			rec := httptest.NewRecorder()
			w.fake.ServeHTTP(rec, r)
			body, err := io.ReadAll(rec.Body)
			require.NoError(t, err)
			assert.Contains(t, string(body), "<Code>"+code+"</Code>")
			assert.GreaterOrEqual(t, rec.Code, 400)
		}
	})
}

// The loop that the local runtime delivers with: no polling, nothing missed.
func TestDeliveryLoop(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		start := time.Now()
		type delivery struct {
			body string
			at   time.Duration
		}
		var mu sync.Mutex
		var got []delivery
		stop := make(chan struct{})
		go func() {
			for {
				changed := w.fake.Changed() // before looking
				if msg, ok := w.fake.Receive("q"); ok {
					mu.Lock()
					got = append(got, delivery{msg.Body, time.Since(start)})
					mu.Unlock()
					if msg.Body != "fails once" || msg.DequeueCount > 1 {
						_ = w.fake.Delete("q", msg.ReceiptHandle)
					}
					continue
				}
				var due <-chan time.Time
				if next, ok := w.fake.Next("q"); ok {
					due = time.After(time.Until(next))
				}
				select {
				case <-changed:
				case <-due:
				case <-stop:
					return
				}
			}
		}()
		w.send(t, "late", 600)
		w.send(t, "fails once", 5)
		time.Sleep(time.Minute)
		w.send(t, "at once", 0)
		time.Sleep(time.Hour)
		close(stop)
		synctest.Wait()
		assert.Equal(t, []delivery{{"fails once", 5 * time.Second}, {"fails once", 35 * time.Second}, {"at once", time.Minute}, {"late", 10 * time.Minute}}, got)
	})
}

func TestFaults(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.account.SetFault(func(c cloud.Call) cloud.Fault {
			if c.Action == "SendMessage" && c.Params["QueueName"] == "q" {
				return cloud.Fault{Before: cloud.Errorf(400, "QpsLimitExceeded", "slow down")}
			}
			return cloud.Fault{}
		})
		_, err := w.queue.SendMessage(ali_mns.MessageSendRequest{MessageBody: "x", Priority: 8})
		assert.True(t, ali_mns.ERR_MNS_QPS_LIMIT_EXCEEDED.IsEqual(err))
		w.empty(t)
		w.account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{LoseReply: true} })
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
			_, _ = w.queue.SendMessage(ali_mns.MessageSendRequest{MessageBody: "sent all the same", Priority: 8})
		})
		require.Len(t, w.fake.Messages("q"), 1)
		last := w.account.Exchanges()[len(w.account.Exchanges())-1]
		assert.Zero(t, last.Status)
		assert.True(t, last.Write)
		assert.Equal(t, "SendMessage", last.Action)
	})
}

// The other face: the SDK as shipped, over a socket, at an endpoint of five
// parts.
func TestOverASocket(t *testing.T) {
	t.Parallel()
	account := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Seed: 1})
	fake := mns.New(account)
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	client := ali_mns.NewAliMNSClientWithConfig(ali_mns.AliMNSClientConfig{
		EndPoint: server.URL + mns.PathPrefix, AccessKeyId: account.RootKey().AccessKeyID, AccessKeySecret: account.RootKey().AccessKeySecret,
	})
	require.NoError(t, ali_mns.NewMNSQueueManager(client).CreateSimpleQueue("q"))
	w := &world{account: account, fake: fake, queue: ali_mns.NewMNSQueue("q", client)}
	w.send(t, "x", 0)
	got, err := w.receive(1)
	require.NoError(t, err)
	require.NoError(t, w.queue.DeleteMessage(got.ReceiptHandle))
	assert.Empty(t, fake.Messages("q"))
}
