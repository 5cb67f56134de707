// Package flow says what eslink does, as data: the scenarios as ordered lists
// of steps, read down to provision and read up to tear down, and what else
// depends on the scenario. Read it first. How a step works is in package steps,
// when it runs in package engine. No other package branches on a scenario's name.
package flow

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"eslink/events"
)

// The scenarios, as specs name them.
const (
	// ESToES connects one Alibaba Cloud Elasticsearch cluster to another through a
	// private NLB and PrivateLink, and copies indices with _reindex.
	ESToES = "es-to-es"
	// ESToECS connects an Alibaba Cloud Elasticsearch cluster to services on an
	// ECS instance through a private CLB and PrivateLink: for Watcher, LDAP, Active
	// Directory, a plugin's dictionary, or _reindex from a cluster that runs there.
	ESToECS = "es-to-ecs"
	// PrivateWhitelist changes one group of an instance's private IP whitelist. It
	// restarts nothing and costs nothing, so there is nothing to plan or approve.
	PrivateWhitelist = "private-whitelist"
	// ElasticAzure connects an Azure virtual network to deployments on Elastic Cloud
	// by a private endpoint, its DNS zone and a private connection policy.
	ElasticAzure = "elastic-azure"
	// ZillizAWS connects a VPC on AWS to clusters on Zilliz Cloud by an interface
	// endpoint, its registration there and a private hosted zone a cluster.
	ZillizAWS = "zilliz-aws"
)

// A Step is one line of a flow. Its name is also the name of its function, its
// queue, its sample event and its value in logs.
type Step struct {
	Name string
	// Within is how long the step may take in all, waits and retries included,
	// before the run stops and asks for a person.
	Within time.Duration
	// Undo says that the step writes, and takes that back on teardown. The run
	// owns what it connects from its first such step on.
	Undo bool
	// Asks says that the step shows a plan and waits until a person approves it.
	// A run that is only to plan ends after it.
	Asks bool
	// Starts says that the step starts what runs on without it, and stops that when
	// the run is cancelled.
	Starts bool
	// Restores says that action restore sends a run to this step.
	Restores bool
}

// A Flow is a scenario: its steps, and what else it decides.
type Flow struct {
	Scenario string
	Steps    []Step
	// Connects names what a spec connects: within an account and region, one run
	// owns that.
	Connects func(events.Spec) []string
	// Changes are the fields that a later spec of the same name may change over
	// what stands, as paths of the spec's JSON. A field stands for all below it.
	Changes []string
	// Appears are the fields that may come and go then, but not change.
	Appears []string
	// Picture lists the parts of the connection from what is reached to who reaches
	// it, which is the way that copied documents take; empty if there is none.
	Picture []Part
}

// The parts that scenarios have in common.
var (
	// judge only reads, and ends with a plan to approve.
	judge = []Step{
		{Name: "preflight", Within: 2 * time.Hour},
		{Name: "survey", Within: 30 * time.Minute},
		{Name: "plan", Within: 30 * time.Minute, Asks: true},
	}
	// throughNLB and throughCLB balance to a cluster and to an ECS instance.
	throughNLB = []Step{
		{Name: "nlb", Within: 20 * time.Minute, Undo: true},
		{Name: "ip-whitelist", Within: time.Hour, Undo: true},
		{Name: "nlb-backend", Within: 30 * time.Minute, Undo: true},
	}
	throughCLB = []Step{
		{Name: "clb", Within: 20 * time.Minute, Undo: true},
		{Name: "firewall", Within: 20 * time.Minute, Undo: true},
		{Name: "clb-backend", Within: 30 * time.Minute, Undo: true},
	}
	// privateLink leads from the instance to the balancer.
	privateLink = []Step{
		{Name: "endpoint-service", Within: 20 * time.Minute, Undo: true},
		// Another run may have set the instance restarting, which then makes no
		// endpoints until it is done.
		{Name: "private-connection", Within: 6 * time.Hour, Undo: true},
		{Name: "accept", Within: 30 * time.Minute, Undo: true},
	}
	// adopt has the instance use the link. A restart takes as long as the
	// cluster's data needs: Terraform's provider allows six hours for a change of
	// settings.
	adopt = []Step{
		{Name: "configure", Within: 6 * time.Hour, Undo: true, Restores: true},
	}
	// copies moves indices over the link and proves it.
	copies = []Step{
		{Name: "destination", Within: 30 * time.Minute, Undo: true},
		{Name: "reindex", Within: 30 * time.Minute, Undo: true, Starts: true},
		{Name: "progress", Within: 7 * 24 * time.Hour},
		{Name: "digest", Within: 24 * time.Hour},
		{Name: "verify", Within: 24 * time.Hour, Undo: true},
	}
)

// overLink are the fields that say what is done over a link, not which link it is.
var overLink = []string{"approve", "acceptRisks", "indices", "reindex", "proof"}

var flows = []Flow{
	{
		Scenario: ESToES,
		Steps:    slices.Concat(judge, throughNLB, privateLink, adopt, copies),
		Connects: toTarget,
		Changes:  overLink,
		Picture:  clusters,
	},
	{
		Scenario: ESToECS,
		Steps:    slices.Concat(judge, throughCLB, privateLink, adopt, copies),
		Connects: toTarget,
		Changes:  slices.Concat(overLink, []string{"useCases"}),
		// The secret of a cluster to copy from comes and goes with the use case.
		Appears: []string{"secrets.target"},
		Picture: host,
	},
	{
		Scenario: PrivateWhitelist,
		Steps: []Step{
			// A change that is under way at the instance is waited for, and may be a
			// restart.
			{Name: "private-whitelist", Within: 6 * time.Hour, Undo: true},
		},
		Connects: func(s events.Spec) []string {
			return []string{s.InstanceID, "whitelist", cmp.Or(s.Whitelist.Group, "default")}
		},
		Changes: []string{"approve", "acceptRisks", "whitelist"},
	},
	{
		Scenario: ElasticAzure,
		Steps: []Step{
			{Name: "azure-preflight", Within: 30 * time.Minute},
			{Name: "elastic-survey", Within: 15 * time.Minute},
			{Name: "link-plan", Within: 30 * time.Minute, Asks: true},
			{Name: "azure-endpoint", Within: time.Hour, Undo: true},
			{Name: "azure-dns", Within: 30 * time.Minute, Undo: true},
			{Name: "elastic-policy", Within: 30 * time.Minute, Undo: true},
			{Name: "azure-approval", Within: time.Hour},
			// A probe is deleted by the step that read it; what a run that was stopped in
			// between left behind, teardown deletes.
			{Name: "azure-probe", Within: time.Hour, Undo: true},
			{Name: "elastic-access", Within: 15 * time.Minute, Undo: true},
			{Name: "azure-verify", Within: time.Hour, Undo: true},
		},
		// The record * serves every deployment of the region, and a network takes one
		// zone of a name.
		Connects: func(s events.Spec) []string {
			return []string{s.Azure.SubscriptionID, strings.ToLower(s.Azure.ResourceGroup), strings.ToLower(s.Azure.VirtualNetwork), s.Elastic.Region}
		},
		Changes: []string{"approve", "acceptRisks", "vantage", "elastic.policy", "elastic.deploymentIds", "elastic.associate", "elastic.claim", "elastic.applyByDefault"},
		Appears: []string{"secrets.target"},
	},
	{
		Scenario: ZillizAWS,
		Steps: []Step{
			{Name: "zilliz-survey", Within: 15 * time.Minute},
			{Name: "aws-preflight", Within: 30 * time.Minute},
			{Name: "link-plan", Within: 30 * time.Minute, Asks: true},
			{Name: "zilliz-admit", Within: 10 * time.Minute, Undo: true},
			{Name: "aws-group", Within: 30 * time.Minute, Undo: true},
			{Name: "aws-endpoint", Within: time.Hour, Undo: true},
			{Name: "zilliz-register", Within: 30 * time.Minute, Undo: true},
			{Name: "aws-acceptance", Within: time.Hour},
			{Name: "zilliz-address", Within: time.Hour},
			{Name: "aws-rules", Within: 20 * time.Minute, Undo: true},
			{Name: "aws-dns", Within: time.Hour, Undo: true},
			{Name: "aws-verify", Within: time.Hour},
			{Name: "zilliz-public", Within: time.Hour, Undo: true},
		},
		// The registration is of the project and its region, and admits the VPC to all
		// of its clusters there. A VPC's ID says whose account it is.
		Connects: func(s events.Spec) []string {
			return []string{s.AWS.Region, s.AWS.VPCID, s.Zilliz.ProjectID, s.Zilliz.Region}
		},
		Changes: []string{"approve", "acceptRisks", "vantage", "aws.clientSecurityGroupIds", "aws.clientCidrs", "aws.manageClientEgress", "aws.subnetIds", "aws.moreVpcs",
			"zilliz.clusterIds", "zilliz.publicAccess", "zilliz.reopenPublic"},
	},
}

// toTarget is an instance of Alibaba Cloud Elasticsearch and what it is to reach.
func toTarget(s events.Spec) []string { return []string{s.InstanceID, s.Target.ID()} }

// Of returns the flow of a scenario.
func Of(scenario string) (Flow, bool) {
	for _, f := range flows {
		if f.Scenario == scenario {
			return f, true
		}
	}
	return Flow{}, false
}

// Scenarios lists the names of all flows.
func Scenarios() []string {
	var out []string
	for _, f := range flows {
		out = append(out, f.Scenario)
	}
	return out
}

// RunID identifies the run that a spec of a known scenario belongs to. It depends
// on what the spec connects and on its name, not on what is done over the link.
func RunID(accountID string, s events.Spec) string {
	return digest(TargetID(accountID, s), s.Name)
}

// TargetID identifies what a spec connects, whatever its name: one run owns it.
func TargetID(accountID string, s events.Spec) string {
	parts := []string{accountID, s.Region, s.Scenario}
	if f, ok := Of(s.Scenario); ok {
		parts = append(parts, f.Connects(s)...)
	}
	return digest(parts...)
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// MayChange reports whether a field of the spec may change over what stands;
// appears says that one of the two specs lacks it.
func (f Flow) MayChange(path string, appears bool) bool {
	return slices.ContainsFunc(f.Changes, func(c string) bool { return path == c || strings.HasPrefix(path, c+".") }) ||
		appears && slices.Contains(f.Appears, path)
}

// First is the step that a walk down begins with.
func (f Flow) First() string { return f.Steps[0].Name }

// Asking is the step that asks for approval, or "".
func (f Flow) Asking() string { return f.first(func(s Step) bool { return s.Asks }) }

// Starting is the step that stops, when the run is cancelled at one of the steps
// from there on, what it has started; or "".
func (f Flow) Starting(at string) string {
	for i := range f.index(at) + 1 {
		if f.Steps[i].Starts {
			return f.Steps[i].Name
		}
	}
	return ""
}

// Restoring is the step that action restore sends a run to, or "".
func (f Flow) Restoring() string { return f.first(func(s Step) bool { return s.Restores }) }

// Writing is the first step that writes.
func (f Flow) Writing() string { return f.first(func(s Step) bool { return s.Undo }) }

func (f Flow) first(is func(Step) bool) string {
	if i := slices.IndexFunc(f.Steps, is); i >= 0 {
		return f.Steps[i].Name
	}
	return ""
}

// Last is the step that a teardown begins with.
func (f Flow) Last() string { return f.undone(len(f.Steps)) }

// Step returns the step called name.
func (f Flow) Step(name string) (Step, bool) {
	if i := f.index(name); i >= 0 {
		return f.Steps[i], true
	}
	return Step{}, false
}

// After returns the step that follows name on the way down, or "".
func (f Flow) After(name string) string {
	if i := f.index(name); i >= 0 && i+1 < len(f.Steps) {
		return f.Steps[i+1].Name
	}
	return ""
}

// Before returns the step that follows name on the way up, or "". Steps without
// anything to undo are passed over.
func (f Flow) Before(name string) string { return f.undone(f.index(name)) }

// undone is the last step before the i-th that has something to undo.
func (f Flow) undone(i int) string {
	for i--; i >= 0; i-- {
		if f.Steps[i].Undo {
			return f.Steps[i].Name
		}
	}
	return ""
}

func (f Flow) index(name string) int {
	return slices.IndexFunc(f.Steps, func(s Step) bool { return s.Name == name })
}
