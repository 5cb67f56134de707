// Package cloud is the account behind all control-plane fakes: who may call, what a signed request looks like,
// which parameters an operation takes, which idempotency tokens were seen, and what was called.
//
// A product fake hands its operations to [Account.RPC] or [Account.ROA] and gets an [net/http.Handler] that speaks
// the real wire protocol: Alibaba Cloud's V1 signatures (HMAC-SHA1, as alibaba-cloud-sdk-go sends them) and
// ACS3-HMAC-SHA256 (as the V2 SDKs send them). Parameter names, positions, types and requiredness come from
// operations.json, which is distilled from the published API metadata; what that does not know, the handler refuses.
package cloud

import (
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

// Config describes one account in one region.
type Config struct {
	Region    string           // "cn-hangzhou"
	AccountID string           // 16 digits
	Now       func() time.Time // the world's clock: states, tokens, STS expiry. Default time.Now
	SignNow   func() time.Time // the callers' clock, which SDKs stamp requests with. Default time.Now
	Seed      uint64           // of all drawn durations and ids
	Log       *slog.Logger     // nil: discard
}

// Account is what the product fakes share. Its methods may be called concurrently, also from within an [Op].
type Account struct {
	Region, AccountID string

	now, signNow func() time.Time
	log          *slog.Logger

	mu        sync.Mutex
	rand      *rand.Rand    // of ids
	times     *rand.Rand    // of durations: the same ones however often is asked
	waits     time.Duration // see Waits
	root      Credentials
	keys      map[string]key // by access key id
	roles     map[string]*role
	refusals  []Refusal
	nonces    []nonce         // by time
	seen      map[string]bool // their values
	fault     func(Call) Fault
	calls     int
	served    map[string][]string // operations by product
	exchanges []Exchange
	hidden    []string
}

// New makes an account with a root key and no roles.
func New(c Config) *Account {
	a := &Account{
		Region: c.Region, AccountID: c.AccountID, now: c.Now, signNow: c.SignNow, log: c.Log,
		rand: rand.New(rand.NewPCG(c.Seed, 0x65736c696e6b)), times: rand.New(rand.NewPCG(c.Seed, 0x74696d6573)),
		keys: map[string]key{}, roles: map[string]*role{}, seen: map[string]bool{}, served: map[string][]string{},
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.signNow == nil {
		a.signNow = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	a.root = Credentials{AccessKeyID: a.NewID("LTAI5t", 18), AccessKeySecret: a.NewID("", 30)}
	a.keys[a.root.AccessKeyID] = key{Credentials: a.root, principal: Principal{AccountID: a.AccountID}}
	return a
}

// Operations are those that the fakes made so far answer, by product and in order.
func (a *Account) Operations() map[string][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.served)
}

// Now is the world's time.
func (a *Account) Now() time.Time { return a.now() }

// SignNow is the callers' time, which requests are stamped with.
func (a *Account) SignNow() time.Time { return a.signNow() }

// Between draws a duration in [lo, hi], for instance how long a resource takes to become ready.
func (a *Account) Between(lo, hi time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := lo + time.Duration(a.times.Int64N(int64(hi-lo)+1))
	a.waits += d
	return d
}

// Lag draws how long a list trails a write, up to most.
func (a *Account) Lag(most time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Duration(a.times.Int64N(int64(most) + 1))
}

// Await notes time that the cloud takes without drawing it, as health checks do.
func (a *Account) Await(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits += d
}

// Waits is how long the cloud has had its callers wait so far: what Between drew and Await noted. Nobody who does one
// thing after the other is done sooner.
func (a *Account) Waits() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waits
}

// NewID draws an id: prefix and n characters of [0-9a-z].
func (a *Account) NewID(prefix string, n int) string {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
	a.mu.Lock()
	defer a.mu.Unlock()
	id := []byte(prefix)
	for range n {
		id = append(id, alphabet[a.rand.IntN(len(alphabet))])
	}
	return string(id)
}

// Call is a request about to take effect, as a fault hook sees it.
type Call struct {
	Product, Action string
	Params          map[string]string
	Caller          Principal
	N               int // the how-many-th call of the account, from 1
}

// Fault is what shall go wrong with a call. The zero Fault is none.
type Fault struct {
	Before    *Error        // refuse with this, without effect
	LoseReply bool          // take effect, then cut the connection
	Delay     time.Duration // wait before anything else
}

// SetFault installs the hook that is asked before every call that is signed and well formed; nil removes it.
func (a *Account) SetFault(hook func(Call) Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = hook
}

// FaultFor numbers a call and asks the hook. Fakes that do not serve through RPC or ROA call it themselves.
func (a *Account) FaultFor(c Call) Fault {
	a.mu.Lock()
	a.calls++
	c.N = a.calls
	hook := a.fault
	a.mu.Unlock()
	if hook == nil {
		return Fault{}
	}
	return hook(c)
}
