// Package flow says what eslink does, as data: the scenarios as ordered lists
// of steps, read down to provision and read up to tear down. Read it first. How
// a step works is in package steps, when it runs in package engine.
package flow

import "time"

// A Step is one line of a flow. Its name is also the name of its function, its
// queue, its sample event and its value in logs.
type Step struct {
	Name string
	// Within is how long the step may take in all, waits and retries included,
	// before the run stops and asks for a person.
	Within time.Duration
	// Undo says that the step has something to take back on teardown.
	Undo bool
}

// A Flow is an ordered list of steps.
type Flow []Step

// ESToES connects one Alibaba Cloud Elasticsearch cluster to another through a
// private NLB and PrivateLink, and copies indices with _reindex.
const ESToES = "es-to-es"

// ESToECS connects an Alibaba Cloud Elasticsearch cluster to services on an ECS
// instance through a private CLB and PrivateLink: for Watcher, LDAP, Active
// Directory, a plugin's dictionary, or _reindex from a cluster that runs there.
const ESToECS = "es-to-ecs"

// PrivateWhitelist changes one group of an instance's private IP whitelist. It
// restarts nothing and costs nothing, so there is nothing to plan or approve.
const PrivateWhitelist = "private-whitelist"

// Of returns the flow of a scenario.
func Of(scenario string) (Flow, bool) {
	f, ok := flows[scenario]
	return f, ok
}

// Scenarios lists the names of all flows.
func Scenarios() []string { return []string{ESToES, ESToECS, PrivateWhitelist} }

var flows = map[string]Flow{
	ESToES: {
		{Name: "preflight", Within: 2 * time.Hour},
		{Name: "survey", Within: 30 * time.Minute},
		{Name: "plan", Within: 30 * time.Minute},
		{Name: "nlb", Within: 20 * time.Minute, Undo: true},
		{Name: "ip-whitelist", Within: time.Hour, Undo: true},
		{Name: "nlb-backend", Within: 30 * time.Minute, Undo: true},
		{Name: "endpoint-service", Within: 20 * time.Minute, Undo: true},
		// Another run may have set the instance restarting, which then makes no
		// endpoints until it is done.
		{Name: "private-connection", Within: 6 * time.Hour, Undo: true},
		{Name: "accept", Within: 30 * time.Minute, Undo: true},
		// A restart takes as long as the cluster's data needs: Terraform's
		// provider allows six hours for a change of settings.
		{Name: "configure", Within: 6 * time.Hour, Undo: true},
		{Name: "destination", Within: 30 * time.Minute, Undo: true},
		{Name: "reindex", Within: 30 * time.Minute, Undo: true},
		{Name: "progress", Within: 7 * 24 * time.Hour},
		{Name: "digest", Within: 24 * time.Hour},
		{Name: "verify", Within: 24 * time.Hour, Undo: true},
	},
	ESToECS: {
		{Name: "preflight", Within: 2 * time.Hour},
		{Name: "survey", Within: 30 * time.Minute},
		{Name: "plan", Within: 30 * time.Minute},
		{Name: "clb", Within: 20 * time.Minute, Undo: true},
		{Name: "firewall", Within: 20 * time.Minute, Undo: true},
		{Name: "clb-backend", Within: 30 * time.Minute, Undo: true},
		{Name: "endpoint-service", Within: 20 * time.Minute, Undo: true},
		{Name: "private-connection", Within: 6 * time.Hour, Undo: true},
		{Name: "accept", Within: 30 * time.Minute, Undo: true},
		{Name: "configure", Within: 6 * time.Hour, Undo: true},
		{Name: "destination", Within: 30 * time.Minute, Undo: true},
		{Name: "reindex", Within: 30 * time.Minute, Undo: true},
		{Name: "progress", Within: 7 * 24 * time.Hour},
		{Name: "digest", Within: 24 * time.Hour},
		{Name: "verify", Within: 24 * time.Hour, Undo: true},
	},
	PrivateWhitelist: {
		// A change that is under way at the instance is waited for, and may be a
		// restart.
		{Name: "private-whitelist", Within: 6 * time.Hour, Undo: true},
	},
}

// First is the step that a walk down begins with.
func (f Flow) First() string { return f[0].Name }

// Last is the step that a teardown begins with.
func (f Flow) Last() string {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].Undo {
			return f[i].Name
		}
	}
	return ""
}

// Step returns the step called name.
func (f Flow) Step(name string) (Step, bool) {
	if i := f.index(name); i >= 0 {
		return f[i], true
	}
	return Step{}, false
}

// After returns the step that follows name on the way down, or "".
func (f Flow) After(name string) string {
	if i := f.index(name); i >= 0 && i+1 < len(f) {
		return f[i+1].Name
	}
	return ""
}

// Before returns the step that follows name on the way up, or "". Steps without
// anything to undo are passed over.
func (f Flow) Before(name string) string {
	for i := f.index(name) - 1; i >= 0; i-- {
		if f[i].Undo {
			return f[i].Name
		}
	}
	return ""
}

func (f Flow) index(name string) int {
	for i, s := range f {
		if s.Name == name {
			return i
		}
	}
	return -1
}
