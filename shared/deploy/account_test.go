package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/tablestore"
	"eslink/shared/deploy"
)

// deployer is what a key that deploys is allowed.
func deployer(t *testing.T) (p cloud.Policy) {
	t.Helper()
	raw, err := os.ReadFile("deployer.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &p))
	require.Less(t, len(raw), 6144, "the limit of a policy")
	return p
}

// An account with nothing in it, and a key with the rights of deployer.json alone.
func TestUpFromAnEmptyAccountWithTheDeployersRights(t *testing.T) {
	t.Parallel()
	w := open(t)
	require.NoError(t, w.account.AddRole("deployer", deployer(t)))
	target := target
	target.TableInstance, target.LogProject = "mine", "mine-logs"
	w.hosts["mine.cn-hangzhou.ots.aliyuncs.com"] = tablestore.New(w.account, "mine")
	w.use(target, w.account.AssumeRole("deployer", time.Now()))
	set, err := deploy.Read(target)
	require.NoError(t, err)

	err = set.Apply(t.Context(), w.clients, target, false, w.log)
	assert.ErrorContains(t, err, "log project mine-logs is missing: make it, or set ESLINK_CREATE_LOG_PROJECT=true")
	assert.ErrorContains(t, err, "tablestore instance mine is missing", "all at once")
	assert.Zero(t, w.writes(), "before anything is made")

	target.CreateTableInstance, target.CreateLogProject = true, true
	require.NoError(t, set.Apply(t.Context(), w.clients, target, true, w.log))
	planned := w.changes
	assert.Zero(t, w.writes())
	w.changes = nil
	require.NoError(t, set.Apply(t.Context(), w.clients, target, false, w.log))
	assert.Equal(t, planned, w.changes)
	assert.True(t, w.logs.Indexed("mine-logs", "functions"))
	assert.True(t, w.instances.Has("mine"))
	assert.Len(t, w.ram.Linked(), len(deploy.LinkedRoles()))
	assert.Contains(t, w.ram.Linked(), "source-actiontrail.eventbridge.aliyuncs.com")
	w.changes = nil
	require.NoError(t, set.Apply(t.Context(), w.clients, target, false, w.log))
	assert.Empty(t, w.changes)
	// A changed policy, and everything back.
	other := *set
	other.Roles = map[string]string{"eslink-nlb": `{"Version":"1","Statement":[]}`}
	require.NoError(t, other.Apply(t.Context(), w.clients, target, false, w.log))
	q := set.Queues["eslink-nlb"]
	q.VisibilityTimeout++
	other.Queues = map[string]deploy.Queue{"eslink-nlb": q}
	require.NoError(t, other.Apply(t.Context(), w.clients, target, false, w.log))
	require.NoError(t, set.Remove(t.Context(), w.clients, target, true, false, w.log))
	assert.Empty(t, w.queues.Queues())
	assert.Empty(t, w.account.Refusals(), "what the file lacks")
	used := map[string]int{} // of an action, on any of its resources
	for _, g := range w.account.Grants() {
		if g.Role == "deployer" {
			used[g.Action] += g.Used
		}
	}
	require.Greater(t, len(used), 40)
	for action, n := range used {
		if !strings.HasPrefix(action, "fc:") && !strings.HasPrefix(action, "resourcemanager:") && action != "ram:PassRole" { // `s` does those
			assert.NotZero(t, n, "granted in vain: %s", action)
		}
	}
}

// Each right that is missing is named, all of them at once, and before anything is made where reading shows it.
func TestMissingRightsAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	without := func(actions ...string) cloud.Policy {
		p := deployer(t)
		for i, s := range p.Statement {
			p.Statement[i].Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return slices.Contains(actions, a) })
		}
		p.Statement = slices.DeleteFunc(p.Statement, func(s cloud.Statement) bool { return len(s.Action) == 0 })
		return p
	}
	for _, c := range []struct {
		lacks  []string
		before bool // nothing is made
	}{
		{[]string{"ram:GetPolicy", "mns:GetQueueAttributes", "log:GetProject", "ots:GetInstance", "eventbridge:ListEventStreamings"}, true},
		{[]string{"ram:GetRole", "ots:DescribeTable", "log:GetIndex"}, true},
		{[]string{"ram:CreateRole", "mns:CreateQueue", "ots:CreateTable", "ram:CreateServiceLinkedRole"}, false},
		{[]string{"ram:CreatePolicy", "ram:AttachPolicyToRole"}, false},
	} {
		t.Run(c.lacks[0], func(t *testing.T) {
			t.Parallel()
			w := open(t)
			require.NoError(t, w.account.AddRole("deployer", without(c.lacks...)))
			w.use(target, w.account.AssumeRole("deployer", time.Now()))
			err := w.up()
			for _, right := range c.lacks {
				assert.ErrorContains(t, err, right)
			}
			assert.ErrorContains(t, err, "deployer.json")
			if c.before {
				assert.Zero(t, w.writes())
			}
			w.use(target, w.account.RootKey())
			require.NoError(t, w.up(), "with the rights, up again heals what was half made")
		})
	}
}

func TestAKeyOfAnotherAccount(t *testing.T) {
	t.Parallel()
	w := open(t)
	other := target
	other.AccountID = "9999999999999999"
	assert.ErrorContains(t, w.set.Apply(t.Context(), w.clients, other, false, w.log), "the key is of account 1234567890123456, and ESLINK_ACCOUNT_ID says 9999999999999999")
	assert.Zero(t, w.writes())
}

// Names that are unique beyond the account may be somebody else's.
func TestNamesThatOthersHave(t *testing.T) {
	t.Parallel()
	w := open(t)
	other := target
	other.LogProject, other.CreateLogProject = "taken", true
	w.use(other, w.account.RootKey())
	assert.ErrorContains(t, w.set.Apply(t.Context(), w.clients, other, false, w.log), "log project taken is another account's: choose another ESLINK_LOG_PROJECT")
	assert.Zero(t, w.writes())
	other = target
	other.TableInstance, other.CreateTableInstance = "taken", true
	w.hosts["taken.cn-hangzhou.ots.aliyuncs.com"] = w.hosts["eslink.cn-hangzhou.ots.aliyuncs.com"]
	w.use(other, w.account.RootKey())
	assert.ErrorContains(t, w.set.Apply(t.Context(), w.clients, other, false, w.log), "choose another ESLINK_TABLE_INSTANCE")
}

// The quota of event streams is counted before anything is made, with the streams that are there already.
func TestStreamsAreCounted(t *testing.T) {
	t.Parallel()
	w := open(t)
	steps := 0
	for _, f := range deploy.Functions() {
		if f.Step() {
			steps++
		}
	}
	for i := range 51 - steps {
		w.streams.Add(fmt.Sprint("theirs-", i))
	}
	err := w.up()
	require.ErrorIs(t, err, deploy.ErrStreams)
	assert.ErrorContains(t, err, fmt.Sprintf("has %d, the functions need %d more, and the limit is 50", 51-steps, steps))
	assert.Zero(t, w.writes())
	w.streams.Add("MNS-eslink-nlb-queue") // ours, from before
	require.ErrorIs(t, w.up(), deploy.ErrStreams)
	raised := target
	raised.Streams = 51
	require.NoError(t, w.set.Apply(t.Context(), w.clients, raised, false, w.log))
}
