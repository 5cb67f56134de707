package check

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"time"

	smithytime "github.com/aws/smithy-go/time"

	"eslink/events"
	"eslink/shared/azure"
	"eslink/shared/azure/compute"
	"eslink/shared/azure/network"
	"eslink/shared/azure/privatedns"
	"eslink/shared/azurelink"
	"eslink/shared/azurelink/standing"
	"eslink/shared/deps"
	"eslink/shared/elasticcloud"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/secrets"
	"eslink/shared/vantage"
)

// Azure checks links between Azure and Elastic Cloud, whoever made them.
type Azure struct {
	Opener  azurelink.Opener
	Elastic elasticcloud.Config
	Now     func() time.Time
	Rand    io.Reader // of check IDs
	Pause   func(ctx context.Context, d time.Duration) error
}

func newAzure(d deps.Deps, from secrets.Reader) *Azure {
	random := d.Rand
	if random == nil {
		random = rand.Reader
	}
	return &Azure{Opener: azurelink.Opener{Secrets: from, Cloud: azure.Config{Transport: d.Transport("azure")}},
		Elastic: elasticcloud.Config{Transport: d.Transport("elasticcloud")}, Now: d.Now, Rand: random, Pause: smithytime.SleepWithContext}
}

// probing is how long one request waits for probes: a reply is due within 200 s.
const probing = 150 * time.Second

// azureLink is a link to check.
type azureLink struct {
	spec        events.Spec // of which azure.subscriptionId, vantage, secrets and acceptRisks count
	endpoint    azure.ID
	deployments []string
	service     *elasticcloud.Service // nil: by the endpoint's alias
	checkID     string
}

// ofAzureRun is the link of a run.
func ofAzureRun(r *run.Run, checkID string) (azureLink, error) {
	if r.Facts.AzureEndpoint == nil || r.Facts.AzureEndpoint.ID == "" || r.Facts.ElasticSurvey == nil {
		return azureLink{}, events.NewProblem(409, "no-link", "the run has no link yet",
			events.Finding{Field: "runId", Message: "it is " + string(r.Status) + " at step " + r.Cursor.Step, Remedy: "wait until it is past step azure-approval"})
	}
	return azureLink{spec: r.Spec, endpoint: azure.ID(r.Facts.AzureEndpoint.ID), deployments: r.Spec.Elastic.DeploymentIDs,
		service: &elasticcloud.Service{Alias: r.Facts.ElasticSurvey.Alias, Zone: r.Facts.ElasticSurvey.Zone}, checkID: checkID}, nil
}

// ofAzureRequest is a link that eslink did not make.
func ofAzureRequest(req events.CheckRequest) azureLink {
	id := azure.ID(req.Azure.EndpointID)
	return azureLink{endpoint: id, deployments: []string{req.Elastic.DeploymentID}, checkID: req.CheckID,
		spec: events.Spec{Azure: &events.Azure{SubscriptionID: id.Part("subscriptions")}, Vantage: req.Vantage, Secrets: req.Secrets, AcceptRisks: req.AcceptRisks}}
}

// clients are those of one check.
type clients struct {
	standing standing.Cloud
	elastic  *elasticcloud.Client
	compute  *compute.Client
	network  *network.Client
}

func (a *Azure) open(ctx context.Context, l azureLink) (clients, error) {
	var machines []string
	if l.spec.Vantage != nil {
		machines = []string{l.spec.VMName()}
	}
	account, err := a.Opener.Open(ctx, l.spec, machines...)
	if err != nil {
		return clients{}, err
	}
	key, err := secrets.Read(ctx, a.Opener.Secrets, secrets.Name{Name: l.spec.Secrets.Elastic, Field: "secrets.elastic"}, elasticcloud.ParseKey)
	if err != nil {
		return clients{}, err
	}
	n, err := network.New(account)
	if err != nil {
		return clients{}, err
	}
	z, err := privatedns.New(account)
	if err != nil {
		return clients{}, err
	}
	m, err := compute.New(account)
	e := elasticcloud.New(a.Elastic, key)
	return clients{standing.Cloud{Endpoints: n, Names: z, Policies: e}, e, m, n}, err
}

// Do makes the four checks of a link, for each deployment.
func (a *Azure) Do(ctx context.Context, l azureLink) (Reply, error) {
	c, err := a.open(ctx, l)
	if err != nil {
		return Reply{}, azurelink.Explain(err)
	}
	var targets []facts.Deployment
	for _, id := range l.deployments {
		d, region, err := a.target(ctx, c, &l, id)
		if err != nil {
			return Reply{}, azurelink.Explain(err)
		}
		d.Name = region
		targets = append(targets, d)
	}
	state, err := c.standing.Check(ctx, standing.Link{Endpoint: l.endpoint, Zone: l.service.Zone, Region: targets[0].Name})
	if err != nil {
		return Reply{}, azurelink.Explain(err)
	}
	checks := []facts.Check{state.Check}
	if l.spec.Vantage == nil {
		if !l.spec.Accepts(events.RiskNotProven) {
			checks = append(checks, facts.Check{Name: vantage.Network, Detail: "nothing is proven from inside the network: no machine is named",
				Remedy: "name a machine in vantage, or run curl -v https://" + targets[0].Host + ":" + strconv.Itoa(targets[0].Ports[0]) + "/ on one: it has to connect to " + state.Address})
		}
		return answered(checks), nil
	}
	return a.probe(ctx, c, l, state, targets, checks)
}

// target reads a deployment, and the service by the endpoint's alias if nobody said.
// The host comes from the deployment, never from the caller.
func (a *Azure) target(ctx context.Context, c clients, l *azureLink, id string) (facts.Deployment, string, error) {
	d, err := c.elastic.Deployment(ctx, id)
	if elasticcloud.IsHidden(err) {
		return facts.Deployment{}, "", events.NewProblem(404, "no-such-deployment", "there is no such deployment",
			events.Finding{Field: "elastic.deploymentId", Message: id + " is unknown, or the key may not see it", Remedy: "correct the ID, or give the key a role for it"})
	}
	if err != nil {
		return facts.Deployment{}, "", err
	}
	if l.service == nil {
		s, err := elasticcloud.ServiceOf(d.Region)
		if err != nil {
			return facts.Deployment{}, "", events.NewProblem(409, "region", "the deployment's region is not known", events.Finding{Field: "elastic.deploymentId", Message: err.Error(), Remedy: "check a run of eslink by its runId instead"})
		}
		l.service = &s
	}
	p, _ := d.Product("elasticsearch")
	host, err := l.service.Private(p.Host)
	if err != nil {
		return facts.Deployment{}, "", events.NewProblem(409, "region", "the deployment is not of the link's region", events.Finding{Field: "elastic.deploymentId", Message: err.Error(), Remedy: "name a deployment of that region"})
	}
	ports := []int{443, 9243}
	if p.Port != 0 && p.Port != 443 {
		ports = slices.Compact([]int{p.Port, 443, 9243}[:2])
	}
	return facts.Deployment{ID: id, Host: host, Ports: ports}, d.Region, nil
}

// probe runs the probes, all at once, and reads them within one request; else the
// same request with checkId goes on with them. They are deleted once all are read.
func (a *Azure) probe(ctx context.Context, c clients, l azureLink, state standing.State, targets []facts.Deployment, checks []facts.Check) (Reply, error) {
	group, name := l.spec.Vantage.Machine()
	m, err := c.compute.Machine(ctx, group, name)
	if err != nil {
		return Reply{}, azurelink.Explain(err)
	}
	if err := a.onNetwork(ctx, c, m, state.Network); err != nil {
		return Reply{}, err
	}
	address, err := netip.ParseAddr(state.Address)
	if err != nil { // the endpoint has none: check link says why
		return answered(checks), nil
	}
	if l.checkID == "" {
		var raw [8]byte
		if _, err := io.ReadFull(a.Rand, raw[:]); err != nil {
			return Reply{}, err
		}
		l.checkID = hex.EncodeToString(raw[:])
	}
	probes := make([]azurelink.Probe, len(targets))
	for i, d := range targets {
		auth := ""
		if l.spec.Secrets.Target != "" {
			if auth, err = a.Opener.Auth(ctx, l.spec, d.ID); err != nil {
				return Reply{}, err
			}
		}
		probes[i] = azurelink.Probe{Commands: c.compute, Machine: m, Name: "eslink-check-" + l.checkID + "-" + strconv.Itoa(i), Target: vantage.Target{Host: d.Host, Ports: d.Ports}, Auth: auth}
	}
	began := a.Now()
	outputs, failures, ended, err := a.read(ctx, probes)
	if err != nil {
		return Reply{}, azurelink.Explain(err)
	}
	if !ended {
		return Reply{CheckID: l.checkID, Checks: checks}, nil
	}
	for i, p := range probes {
		if err := p.Delete(ctx); err != nil {
			return Reply{}, err
		}
		if failures[i] != nil {
			checks = append(checks, facts.Check{Name: vantage.Network, Detail: failures[i].Error(), Remedy: "see that the machine runs and that its guest agent is ready; this says nothing about the network"})
			continue
		}
		for _, v := range azurelink.Judge(outputs[i], azurelink.Expect{Address: address, Approved: state.Approved, Login: p.Auth != ""}) {
			checks = append(checks, facts.Check{Name: v.Check, OK: v.OK, Detail: v.Detail, Remedy: v.Remedy, Seconds: a.Now().Sub(began).Seconds()})
		}
	}
	return answered(checks), nil
}

// read starts and reads the probes until all have ended, or until time is up.
func (a *Azure) read(ctx context.Context, probes []azurelink.Probe) (outputs []vantage.Output, failures []error, ended bool, err error) {
	outputs, failures = make([]vantage.Output, len(probes)), make([]error, len(probes))
	for waited := time.Duration(0); ; waited += azurelink.NextLook {
		ended = true
		for i, p := range probes {
			state, out, err := p.Step(ctx)
			if err != nil && state != azurelink.Ended {
				return nil, nil, false, err
			}
			outputs[i], failures[i] = out, err
			ended = ended && state == azurelink.Ended
		}
		if ended || waited >= probing {
			return outputs, failures, ended, nil
		}
		if err := a.Pause(ctx, azurelink.NextLook); err != nil {
			return nil, nil, false, err
		}
	}
}

// onNetwork holds the machine to the endpoint's network: on another one it would prove
// nothing.
func (a *Azure) onNetwork(ctx context.Context, c clients, m compute.Machine, id azure.ID) error {
	for _, i := range m.Interfaces {
		k, err := c.network.Interface(ctx, i)
		if err != nil {
			return err
		}
		if k.Subnet.Under(id) {
			return nil
		}
	}
	return events.NewProblem(409, "vantage", "the machine proves nothing here",
		events.Finding{Field: "vantage.vm", Message: m.ID.Part("virtualMachines") + " is not on network " + id.Part("virtualNetworks"), Remedy: "name a machine on that network"})
}

func answered(checks []facts.Check) Reply {
	ok := true
	for _, c := range checks {
		ok = ok && c.OK
	}
	return Reply{OK: ok, Checks: checks}
}
