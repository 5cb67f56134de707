package configure_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/configure"
)

// stub is a cluster that looks each time as looks says, the last one for ever, and
// its nodes.
type stub struct {
	configure.Cluster
	configure.Nodes
	looks    []escluster.Instance
	actions  []escluster.Action
	nodes    map[string]es.Settings
	estimate error
	written  []map[string]string
	tokens   []string
}

func (c *stub) Describe(context.Context, string) (escluster.Instance, error) {
	in := c.looks[0]
	if len(c.looks) > 1 {
		c.looks = c.looks[1:]
	}
	return in, nil
}
func (c *stub) UpdateConfig(_ context.Context, _ string, config map[string]string, token string) (string, error) {
	c.written, c.tokens = append(c.written, config), append(c.tokens, token)
	return "change-1", nil
}
func (c *stub) EstimateRestart(context.Context, string) (time.Duration, error) {
	return 0, c.estimate
}
func (c *stub) ActionRecords(context.Context, string) ([]escluster.Action, error) {
	return c.actions, nil
}
func (c *stub) NodeSettings(context.Context) (map[string]es.Settings, error) { return c.nodes, nil }

func look(status, whitelist string) escluster.Instance {
	return escluster.Instance{ID: "es-cn-dst", Status: status, Config: map[string]string{esconfig.Whitelist: whitelist}}
}

func stubbed(looks ...escluster.Instance) (*stub, *configure.Step, *run.Run) {
	c := &stub{looks: looks}
	s := &configure.Step{Cluster: c, Records: &run.Store{Driver: &run.Mem{}, Now: time.Now}, Now: time.Now,
		Nodes: func(context.Context, *run.Run) (configure.Nodes, error) { return c, nil }}
	r := &run.Run{ID: "fd5dc36da1e3cf09", Direction: run.Up, Facts: facts.Facts{Preflight: &facts.Preflight{}, Accept: &facts.Accept{Domain: domain}},
		Spec: events.Spec{InstanceID: "es-cn-dst", Approve: "auto", Target: events.Target{Port: 9200}}}
	r.Cursor.Since = time.Now()
	return c, s, r
}

// What is read under the lock decides, not what was read before.
func TestReadAgainUnderTheLock(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]escluster.Instance{
		"the entry came meanwhile": look(escluster.Active, entry), "a change began meanwhile": look(escluster.Activating, "a:1"),
	} {
		c, s, r := stubbed(look(escluster.Active, "a:1"), second)
		out, err := s.Up(t.Context(), r)
		require.NoError(t, err, name)
		require.Contains(t, out.Reason(), "outside this run", name)
		require.Empty(t, c.written, name)
		require.Nil(t, r.Facts.Configure, name)
	}
}

// esConfig is kept as it was before the first write, not the second.
func TestTheFirstConfigurationIsKept(t *testing.T) {
	t.Parallel()
	c, s, r := stubbed(look(escluster.Active, "a:1"))
	first := map[string]string{"first": "1"}
	require.NoError(t, s.Records.PutPart(t.Context(), r.ID, esconfig.BeforeRow, first))
	_, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, c.written, 1)
	var kept map[string]string
	require.NoError(t, s.Records.GetPart(t.Context(), r.ID, esconfig.BeforeRow, &kept))
	require.Equal(t, first, kept)
}

// A run of the first release has no rows of its own. Its entry goes if the run had
// added it, and stays if it had not.
func TestWhoseAnEarlierEntryIs(t *testing.T) {
	t.Parallel()
	for added, want := range map[bool]string{true: entry, false: "old:9200," + entry} {
		c, s, r := stubbed(look(escluster.Active, "old:9200"))
		r.Facts.Configure = &facts.Configure{Entry: "old:9200", Added: added}
		_, err := s.Up(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, want, c.written[0][esconfig.Whitelist])
	}
}

func TestNoDomainNoEntry(t *testing.T) {
	t.Parallel()
	c, s, r := stubbed(look(escluster.Active, "a:1"))
	r.Facts.Accept.Domain = ""
	_, err := s.Up(t.Context(), r)
	require.ErrorContains(t, err, "no endpoint domain")
	require.Empty(t, c.written)
}

// Nodes that do not answer prove nothing.
func TestNoNodesNoProof(t *testing.T) {
	t.Parallel()
	_, s, r := stubbed(look(escluster.Active, entry))
	out, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	require.False(t, out.IsDone())
}

// The estimate is only for the first wait: a write that was sent is not made to
// look like a failure for want of it.
func TestTheEstimateIsOptional(t *testing.T) {
	t.Parallel()
	c, s, r := stubbed(look(escluster.Active, "a:1"))
	c.estimate = errors.New("internal error")
	out, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	require.Positive(t, out.Delay())
	require.Len(t, c.written, 1)
}

// Of the changes on record the one under way is followed.
func TestTheChangeUnderWayIsFollowed(t *testing.T) {
	t.Parallel()
	c, s, r := stubbed(look(escluster.Activating, "a:1"))
	c.actions = []escluster.Action{{Name: "earlier", State: "FINISHED"}, {Name: "restart", State: escluster.ChangeUnderWay, Nodes: 3, Completed: 1}}
	out, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	require.Contains(t, out.Reason(), "(restart): 1 of 3 nodes done")
}

// added notes that the run has put the entry into the instance.
func added(t *testing.T, s *configure.Step, r *run.Run) {
	book, err := esconfig.Read(t.Context(), s.Records, r)
	require.NoError(t, err)
	book.Entries = []string{entry}
	require.NoError(t, book.Save(t.Context(), map[string]string{}))
}

// Who asks for a restoration has approved it.
func TestARestorationAsksNobody(t *testing.T) {
	t.Parallel()
	c, s, r := stubbed(look(escluster.Active, "a:1,"+entry))
	added(t, s, r)
	r.Spec.Approve, r.Restore = "manual", true
	out, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	require.Nil(t, out.Asked())
	require.Equal(t, "a:1", c.written[0][esconfig.Whitelist])
}

// A write that takes out has another token than one that puts in, though the
// instance was not changed between them: the cloud would take it for a repetition.
func TestTokensOfBothWaysDiffer(t *testing.T) {
	t.Parallel()
	c, s, r := stubbed(look(escluster.Active, "a:1"), look(escluster.Active, "a:1"), look(escluster.Active, "a:1,"+entry))
	_, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	_, err = s.Down(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, c.tokens, 2)
	require.NotEqual(t, c.tokens[0], c.tokens[1])
}

// A teardown that has written waits for its restart, though nothing of the run is
// on record any more.
func TestTheLastRestartIsWaitedFor(t *testing.T) {
	t.Parallel()
	_, s, r := stubbed(look(escluster.Activating, "a:1"))
	r.Facts.Configure = &facts.Configure{WroteAt: time.Now()}
	out, err := s.Down(t.Context(), r)
	require.NoError(t, err)
	require.False(t, out.IsDone())
}

// Nodes that still have what was taken out, or lack what was put in, have not
// restarted.
func TestNodesAreReadBackBothWays(t *testing.T) {
	t.Parallel()
	c, s, r := stubbed(look(escluster.Active, "a:1"))
	added(t, s, r)
	r.Facts.Configure = &facts.Configure{Writes: 1, WroteAt: time.Now()}
	c.nodes = map[string]es.Settings{"n1": settings(map[string]string{esconfig.Whitelist: "a:1," + entry})}
	out, err := s.Down(t.Context(), r)
	require.NoError(t, err)
	require.Contains(t, out.Reason(), "n1 ("+esconfig.Whitelist+")")

	on := escluster.Instance{ID: "es-cn-dst", Status: escluster.Active, Config: map[string]string{esconfig.WatcherEnabled: "true"}}
	c, s, r = stubbed(on)
	r.Spec.Target, r.Spec.UseCases = events.Target{}, []events.UseCase{{Kind: events.Watcher, Port: 8080, Protocol: "http", Watcher: &events.Webhook{}}}
	c.nodes = map[string]es.Settings{"n1": {}}
	out, err = s.Up(t.Context(), r)
	require.NoError(t, err)
	require.Contains(t, out.Reason(), "n1 ("+esconfig.WatcherEnabled+")")
}

func TestARoleMappingFollowsItsSpec(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 60, "ldap")
	w.Up(w.step, w.run)
	w.run.Spec.UseCases[0].LDAP.RoleMappings[0].Roles = []string{"viewer"}
	w.run.Generation++
	w.Up(w.step, w.run)
	require.Equal(t, []string{"viewer"}, w.mappings["eslink-orders-ldap-0"].Roles)
}
