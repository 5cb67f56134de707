// Package shared holds no code: this is the tour of the packages below it,
// bottom up. Arrows point down only; deps_test.go holds the table.
//
// What is said:
//
//	../events   the wire contract: spec, step events, problem documents, schemas
//	flow        WHAT: the scenarios as ordered lists of steps, read down and up, and
//	            all else that a scenario decides
//	apierr      what may be done after an error: retry, not found, conflict, fatal
//	checksum    whether two sets of documents are the same, and where not
//	remedy      what a person can do about a cloud's refusal, by its code
//	vantage     the proof from inside a network: a probe script and what it says
//	vantage/zillizprobe   that script as a Systems Manager document, with a login
//
// What remembers and wakes:
//
//	facts       what the steps learn and write down, as data; Link is what of the
//	            link the others read
//	run         a run's record, its parts and its lines that stay; leases, locks with
//	            a queue, compare-and-swap over a Driver
//	run/tablestore, run/runtest   the driver on Tablestore, what any driver must pass
//	bus         publish an event, now or later
//	bus/mns, bus/bustest          the bus on MNS queues, what any bus must pass
//
// What is called:
//
//	aliyun      one call to Alibaba Cloud: credentials, endpoints, errors
//	aliyun/nlb, slb, privatelink, escluster, ecs, vpc, kms   one narrow client a product
//	azure       one call to Azure: a service principal, errors, operations taken up
//	azure/network, privatedns, compute   one narrow client a product
//	azurelink   the probe on a machine of Azure, its verdicts, what both control planes say
//	elasticcloud   the Elastic Cloud API: policies, associations, claims, deployments
//	aws, aws/ec2, route53, ssm, sts, zilliz   accounts by a key or role; clients of AWS and Zilliz Cloud
//	es          the clusters themselves: inspect, create, reindex, tasks
//
// What steps have in common:
//
//	deps        what a step is given: store, clock, and how each cloud is called
//	secrets     a secret read by name, and made a key or a login of
//	ensure      create once: find it again, wait for lists, wait for a job
//	esconfig    what use cases need of esConfig, and nothing else changed
//	indexdef    with which definition a copy is created: carried, dropped, templates
//	clusters    a cluster opened with the login that its secret holds
//	copyjob     _reindex tasks: windows, kick-offs, adoption, what broke off
//	scan        an index read on one side, page by page, for the proof
//	linkcheck   the four checks of a link, for step verify and function check
//
// What runs:
//
//	engine      WHEN: decode, acquire, one step, save, publish; retry, wait, approval;
//	            short pauses are taken up by the invocation
//	steps/...   HOW: a package for each step, Up and Down side by side
//	api         what users call: runs and status
//	api/check   what users call: the four checks, any time
//	api/created what the cloud calls: an instance is new, its profile's run begins
//	wire        the environment, read once; ../functions call it and nothing else
//
// A new step is a line in flow, a line in deploy/functions.go, its package
// steps/<name without dashes> with a New and a test, its part of the schema
// (events/schema, events/spec.go) and a sample (events/samples/<name>.json). Then
// `go generate ./shared/deploy` writes its main, its resource, its queue, its role
// and its line in the local world. A new cloud is one more Set in that table, and
// so a deployment file of its own, shared/deploy/<set>.yaml.
//
// A step on another cloud: its clients are packages of their own (aws/ec2, …),
// which import that cloud's SDK and no other package does. Its New makes the
// cloud's configuration of deps.Deps, where Transport("aws") carries the calls
// and kms.New(d.Aliyun) reads the key (see package deps for the lines to write).
// In deps_test.go, table clouds names the packages and products what the step's
// binary links; wire, engine, run, bus, api and the other steps do not change.
//
// What a person touches:
//
//	deploy      one table of all functions (side, memory, trigger, rights), what is
//	            rendered from it, and what must exist before `s deploy`
//	eslink      the command: init, plan, start, watch, approve, check, teardown
//	eslink/commands, functions, display, page, specs   its commands; how it calls
//	            the functions; how a run is shown in a terminal and in a browser;
//	            specs to begin with
//
// A step on Alibaba Cloud touches six files: its package and test below steps, its
// line in flow, its part in facts and in the schema, and its line in the table that
// functions and deployment are rendered from.
//
// # A walk through one event
//
// A message {"runId", "step": "nlb", "seq": 7} lies in queue eslink-nlb.
//
//  1. functions/nlb/main.go is woken with it: wire.Step has read the environment,
//     built the store, the bus and the engine, and given nlb.New its deps.Deps.
//  2. engine.Handle decodes the delivery (package events) and takes the run's lease
//     (run.Store.Acquire): a held lease sends the event back, delayed. An event whose
//     seq is not the record's is skipped.
//  3. Before the first step that writes, the run takes its target (engine.own).
//  4. engine.advance calls the step once: nlb.Up looks (shared/aliyun/nlb), acts at
//     most once, writes r.Facts.NLB, and returns Done, Wait or an error.
//  5. The outcome moves the cursor: flow says what comes after nlb, seq rises.
//  6. run.Store.SaveAndRelease writes the record by compare-and-swap and gives up
//     the lease; the record says that event 8, for ip-whitelist, is owed.
//  7. engine.send publishes it (bus.Capped, bus/mns) and notes that it did. Who dies
//     between 6 and 7 is repaired by the redelivery of event 7, or by sweep.
//
// The states of a run are in engine/README.md, why it is so in decisions.
package shared
