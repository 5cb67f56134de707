package runtime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An update lets the invocation that is under way end where it began; the next
// one starts an instance of the new code and configuration, and idle ones go.
func TestUpdateWhileAnInvocationIsUnderWay(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, nil)
	_, first := ask(t, p, "")
	under := make(chan Result, 1)
	go func() {
		r, err := p.Invoke(t.Context(), "echo", []byte(`{"do":"pause"}`))
		assert.NoError(t, err)
		under <- r
	}()
	busy := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.pools["echo"].idle) == 0
	}
	require.Eventually(t, busy, 5*time.Second, time.Millisecond)
	f := p.Functions[0]
	f.Environment = map[string]string{"GREETING": "hello again"}
	require.NoError(t, p.Update(f, p.Binaries["echo"]))
	_, second := ask(t, p, "")
	assert.Equal(t, "hello again", second.Greeting)
	assert.NotEqual(t, first.PID, second.PID)
	r := <-under
	assert.NoError(t, r.Err(), "it has ended as if nothing had happened")
	_, third := ask(t, p, "")
	assert.Equal(t, second.PID, third.PID, "the old instance is not used again")
	assert.Equal(t, 4, p.Stats()["echo"].Invocations)
	p.mu.Lock()
	assert.Empty(t, p.old[0].all, "and is gone")
	p.mu.Unlock()
	f.Name = "none"
	assert.ErrorContains(t, p.Update(f, ""), "not in s.yaml")
}
