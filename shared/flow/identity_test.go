package flow_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"eslink/events"
	"eslink/shared/flow"
)

func TestARunIsWhatItConnectsAndItsName(t *testing.T) {
	t.Parallel()
	for scenario, c := range map[string]struct {
		spec   events.Spec
		others map[string]func(*events.Spec)
	}{
		flow.ESToES: {events.Spec{InstanceID: "es-1", Target: events.Target{InstanceID: "es-2"}}, map[string]func(*events.Spec){
			"instance": func(s *events.Spec) { s.InstanceID = "x" }, "target": func(s *events.Spec) { s.Target.InstanceID = "x" },
		}},
		flow.ESToECS: {events.Spec{InstanceID: "es-1", Target: events.Target{ECSInstanceID: "i-1"}}, map[string]func(*events.Spec){
			"instance": func(s *events.Spec) { s.InstanceID = "x" }, "host": func(s *events.Spec) { s.Target.ECSInstanceID = "x" },
			"address": func(s *events.Spec) { s.Target = events.Target{PrivateIP: "10.0.0.8"} },
		}},
		flow.PrivateWhitelist: {events.Spec{InstanceID: "es-1", Whitelist: &events.Whitelist{Group: "office"}}, map[string]func(*events.Spec){
			"instance": func(s *events.Spec) { s.InstanceID = "x" }, "group": func(s *events.Spec) { s.Whitelist = &events.Whitelist{Group: "x"} },
			"plain list": func(s *events.Spec) { s.Whitelist = &events.Whitelist{} },
		}},
	} {
		base := c.spec
		base.Name, base.Scenario, base.Region = "orders", scenario, "cn-hangzhou"
		id, target := flow.RunID("1", base), flow.TargetID("1", base)
		assert.Regexp(t, "^[0-9a-f]{16}$", id)
		assert.NotEqual(t, id, flow.RunID("2", base), "account")
		for name, change := range map[string]func(*events.Spec){
			"indices": func(s *events.Spec) { s.Indices = []events.Index{{Source: "x"}} }, "reindex": func(s *events.Spec) { s.Reindex.Size = 7 },
			"secrets": func(s *events.Spec) { s.Secrets.Target = "eslink/x" }, "use cases": func(s *events.Spec) { s.UseCases = []events.UseCase{{Kind: "watcher"}} },
			"approve": func(s *events.Spec) { s.Approve = "auto" },
		} {
			s := base
			change(&s)
			assert.Equal(t, id, flow.RunID("1", s), "%s: %s", scenario, name)
		}
		c.others["region"] = func(s *events.Spec) { s.Region = "x" }
		c.others["scenario"] = func(s *events.Spec) { s.Scenario = "x" }
		for name, change := range c.others {
			s := base
			change(&s)
			assert.NotEqual(t, id, flow.RunID("1", s), "%s: %s", scenario, name)
			assert.NotEqual(t, target, flow.TargetID("1", s), "%s: %s", scenario, name)
		}
		s := base
		s.Name = "other"
		assert.NotEqual(t, id, flow.RunID("1", s))
		assert.Equal(t, target, flow.TargetID("1", s), "whatever the name")
	}
	plain, group := events.Spec{Scenario: flow.PrivateWhitelist, Whitelist: &events.Whitelist{}}, events.Spec{Scenario: flow.PrivateWhitelist, Whitelist: &events.Whitelist{Group: "default"}}
	assert.Equal(t, flow.RunID("1", plain), flow.RunID("1", group), "the plain list is the group default")
	assert.NotEmpty(t, flow.RunID("1", events.Spec{Scenario: "unknown"}))
}

// Where one part of a name ends and the next begins counts.
func TestPartsOfANameDoNotRunTogether(t *testing.T) {
	t.Parallel()
	a, b := events.Spec{Region: "cn-a", Scenario: "bc"}, events.Spec{Region: "cn-ab", Scenario: "c"}
	assert.NotEqual(t, flow.RunID("1", a), flow.RunID("1", b))
}

func TestWhatMayChange(t *testing.T) {
	t.Parallel()
	es, _ := flow.Of(flow.ESToES)
	ecs, _ := flow.Of(flow.ESToECS)
	assert.True(t, es.MayChange("indices", false))
	assert.True(t, es.MayChange("reindex.size", false), "a field stands for all below it")
	assert.False(t, es.MayChange("reindexed", true))
	assert.False(t, es.MayChange("secrets.target", true))
	assert.True(t, ecs.MayChange("secrets.target", true), "with its use case")
	assert.False(t, ecs.MayChange("secrets.target", false))
	assert.False(t, ecs.MayChange("secrets.instance", false))
	assert.False(t, ecs.MayChange("secrets", true))
}
