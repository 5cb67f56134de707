package check

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"time"

	smithytime "github.com/aws/smithy-go/time"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/aws"
	"eslink/shared/aws/ec2"
	"eslink/shared/aws/route53"
	"eslink/shared/aws/ssm"
	"eslink/shared/aws/sts"
	"eslink/shared/awsaccount"
	"eslink/shared/deps"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
	"eslink/shared/secrets"
	"eslink/shared/vantage"
	"eslink/shared/vantage/zillizprobe"
	"eslink/shared/zilliz"
	"eslink/shared/zillizlink"
	"eslink/shared/zillizproject"
)

// Zilliz checks links between AWS and Zilliz Cloud, whoever made them.
type Zilliz struct {
	Accounts *awsaccount.Opener
	Projects zillizproject.Opener
	Now      func() time.Time
	Rand     io.Reader // of check IDs
	Pause    func(ctx context.Context, d time.Duration) error
}

func newZilliz(d deps.Deps, from secrets.Reader) *Zilliz {
	random := d.Rand
	if random == nil {
		random = rand.Reader
	}
	return &Zilliz{Accounts: awsaccount.New(from, aws.Config{Transport: d.Transport("aws"), Now: d.Now}),
		Projects: zillizproject.Opener{Secrets: from, Config: zilliz.Config{Transport: d.Transport("zilliz")}}, Now: d.Now, Rand: random, Pause: smithytime.SleepWithContext}
}

const (
	// delivery is how long a command may wait for the machine's agent.
	delivery = 2 * time.Minute
	// nextLook is how often a command is read.
	nextLook = 5 * time.Second
)

// ofZillizRun are the links of a run.
func ofZillizRun(r *run.Run) ([]zillizlink.Link, error) {
	if r.Facts.AWSEndpoint == nil || r.Facts.AWSEndpoint.ID == "" || r.Facts.ZillizAddress == nil {
		return nil, events.NewProblem(409, "no-link", "the run has no link yet",
			events.Finding{Field: "runId", Message: "it is " + string(r.Status) + " at step " + r.Cursor.Step, Remedy: "wait until it is past step zilliz-address"})
	}
	var all []zillizlink.Link
	for _, k := range r.Facts.ZillizAddress.Clusters {
		l := zillizlink.Link{Region: r.Spec.AWS.Region, VPCID: r.Spec.AWS.VPCID, EndpointID: r.Facts.AWSEndpoint.ID,
			ProjectID: r.Spec.Zilliz.ProjectID, ZillizRegion: r.Spec.Zilliz.Region, ClusterID: k.ClusterID, Host: k.Host, Port: k.Port}
		if r.Spec.Vantage != nil {
			l.InstanceID, l.Parameter = r.Spec.Vantage.InstanceID, r.Spec.Vantage.Parameter
		}
		all = append(all, l)
	}
	return all, nil
}

// ofZillizRequest is what a request says of a link that eslink did not make, as a
// run with nothing but its spec.
func ofZillizRequest(req events.CheckRequest) *run.Run {
	return &run.Run{Spec: events.Spec{Secrets: req.Secrets, Vantage: req.Vantage, AcceptRisks: req.AcceptRisks, AWS: &events.AWS{Region: req.AWS.Region},
		Zilliz: &events.Zilliz{ProjectID: req.Zilliz.ProjectID, ClusterIDs: []string{req.Zilliz.ClusterID}, API: req.Zilliz.API}}}
}

// zillizClouds are the clients of one check.
type zillizClouds struct {
	zillizlink.Cloud
	network *ec2.Client
	project *zilliz.Client
	agents  *ssm.Client
}

// open opens both clouds, and holds the secret's "for" against the account and the
// machine: whoever may ask must not have a command sent to a machine of their choice.
func (z *Zilliz) open(ctx context.Context, r *run.Run) (zillizClouds, error) {
	key, err := z.Accounts.Key(ctx, r)
	if err != nil {
		return zillizClouds{}, err
	}
	account, err := z.Accounts.Open(ctx, r)
	if err != nil {
		return zillizClouds{}, err
	}
	id, err := sts.Caller(ctx, account)
	if err != nil {
		return zillizClouds{}, err
	}
	machine := id
	if r.Spec.Vantage != nil {
		machine = r.Spec.Vantage.InstanceID
	}
	if err := vantage.MayUse(r.Spec.Secrets.AWS, key.For, id, machine); err != nil {
		return zillizClouds{}, events.NewProblem(409, "secret", "a secret may not be used here", events.Finding{Field: awsaccount.Field, Message: err.Error(), Remedy: `name the account and the machine in "for" of the secret's value`})
	}
	project, err := z.Projects.Open(ctx, r)
	if err != nil {
		return zillizClouds{}, err
	}
	network := ec2.New(account, r.Spec.AWS.Region)
	return zillizClouds{zillizlink.Cloud{Network: network, Zones: route53.New(account), Project: project}, network, project, ssm.New(account, r.Spec.AWS.Region)}, nil
}

// foreign finds out about a link that eslink did not make. Host and port come from
// the cluster, never from the caller.
func (z *Zilliz) foreign(ctx context.Context, c zillizClouds, r *run.Run, endpointID string) ([]zillizlink.Link, error) {
	e, err := c.network.Endpoint(ctx, endpointID)
	if err != nil {
		return nil, notFound(err, "aws.endpointId", endpointID)
	}
	k, err := c.project.Cluster(ctx, r.Spec.Zilliz.ClusterIDs[0])
	if err != nil {
		return nil, zillizproject.Explain(err, r)
	}
	host, port, ok, err := k.Address()
	if err != nil {
		return nil, err
	}
	if !ok || !vantage.ValidHost(host) {
		return nil, events.NewProblem(409, "no-link", "the cluster has no private address", events.Finding{Field: "zilliz.clusterId", Message: k.ID + " has none", Remedy: "register an endpoint of its region, and wait about five minutes"})
	}
	l := zillizlink.Link{Region: r.Spec.AWS.Region, VPCID: e.VpcID, EndpointID: e.ID, ProjectID: r.Spec.Zilliz.ProjectID, ZillizRegion: k.Region, ClusterID: k.ID, Host: host, Port: port}
	if r.Spec.Vantage != nil {
		l.InstanceID, l.Parameter = r.Spec.Vantage.InstanceID, r.Spec.Vantage.Parameter
	}
	return []zillizlink.Link{l}, nil
}

// Do makes the four checks of each link of a run, or of the one that endpointID
// names. A reply with a check ID says that a probe has not ended.
func (z *Zilliz) Do(ctx context.Context, r *run.Run, endpointID, checkID string) (Reply, error) {
	c, err := z.open(ctx, r)
	if err != nil {
		return Reply{}, err
	}
	var links []zillizlink.Link
	if endpointID != "" {
		links, err = z.foreign(ctx, c, r, endpointID)
	} else {
		links, err = ofZillizRun(r)
	}
	if err != nil {
		return Reply{}, err
	}
	if checkID == "" {
		var raw [8]byte
		if _, err := io.ReadFull(z.Rand, raw[:]); err != nil {
			return Reply{}, err
		}
		checkID = hex.EncodeToString(raw[:])
	}
	var checks []facts.Check
	ended := true
	for _, l := range links {
		one, done, err := z.check(ctx, c, r, l, checkID)
		if err != nil {
			return Reply{}, zillizproject.Explain(err, r)
		}
		for i := range one {
			if len(links) > 1 {
				one[i].Name += " (" + l.ClusterID + ")"
			}
		}
		checks, ended = append(checks, one...), ended && done
	}
	if !ended {
		return Reply{CheckID: checkID, Checks: checks}, nil
	}
	return Reply{OK: linkcheck.OK(checks), Checks: checks}, nil
}

// check makes the checks of one link.
func (z *Zilliz) check(ctx context.Context, c zillizClouds, r *run.Run, l zillizlink.Link, checkID string) (checks []facts.Check, ended bool, err error) {
	began := z.Now()
	link, addresses, err := zillizlink.Control(ctx, c.Cloud, l)
	if err != nil {
		return nil, false, err
	}
	link.Seconds = z.Now().Sub(began).Seconds()
	if l.InstanceID == "" {
		checks = []facts.Check{link}
		if !r.Spec.Accepts(events.RiskNotProven) {
			checks = append(checks, facts.Check{Name: vantage.Network, Detail: "nothing is proved from inside the network: no machine is named", Remedy: "name an EC2 instance in vantage.instanceId, or say not-proven-inside in acceptRisks"})
		}
		return checks, true, nil
	}
	instance, err := c.network.Instance(ctx, l.InstanceID)
	if err != nil {
		return nil, false, notFound(err, "vantage.instanceId", l.InstanceID)
	}
	if instance.VpcID != l.VPCID {
		return nil, false, events.NewProblem(409, "vantage", "the machine proves nothing here", events.Finding{Field: "vantage.instanceId", Message: l.InstanceID + " is in " + instance.VpcID + " instead of " + l.VPCID, Remedy: "name an instance of that VPC"})
	}
	i, err := z.probe(ctx, c.agents, l, "eslink-check-"+checkID+"-"+l.ClusterID)
	if err != nil {
		return nil, false, err
	}
	if !i.Ended {
		return []facts.Check{link}, false, nil
	}
	o, err := zillizprobe.Parse(i.Output, l.Parameter != "")
	if err != nil || !i.Succeeded() {
		detail := "the probe did not run: the command is " + i.Status
		if err != nil && i.Succeeded() {
			detail = err.Error()
		}
		return []facts.Check{link, {Name: vantage.Network, Detail: detail, Remedy: "see the command's output in Systems Manager (Run Command, on " + l.InstanceID + ")"}}, true, nil
	}
	rest, err := zillizlink.Judge(l, o, addresses, func() (string, string, error) { return zillizlink.Trace(ctx, c.Cloud, l) })
	return append([]facts.Check{link}, rest...), true, err
}

// probe sends the probe, unless the same check did before, and reads it within one
// request.
func (z *Zilliz) probe(ctx context.Context, c *ssm.Client, l zillizlink.Link, comment string) (ssm.Invocation, error) {
	id, err := c.Sent(ctx, l.InstanceID, comment, z.Now().Add(-time.Hour))
	if apierr.IsNotFound(err) {
		var parameters map[string]string
		if parameters, err = (zillizprobe.Target{Host: l.Host, Port: l.Port, Parameter: l.Parameter, Region: l.Region}).Parameters(); err != nil {
			return ssm.Invocation{}, err
		}
		id, err = c.Send(ctx, zillizprobe.Document, l.InstanceID, comment, parameters, delivery)
	}
	if err != nil {
		return ssm.Invocation{}, err
	}
	for waited := time.Duration(0); ; waited += nextLook {
		i, err := c.Invocation(ctx, id, l.InstanceID)
		if err == nil && i.Ended || err != nil && !apierr.IsNotFound(err) || waited >= probing {
			if apierr.IsNotFound(err) {
				err = nil
			}
			return i, err
		}
		if err := z.Pause(ctx, nextLook); err != nil {
			return ssm.Invocation{}, err
		}
	}
}
