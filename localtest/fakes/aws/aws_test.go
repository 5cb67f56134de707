package aws_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fake "eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/cloud"
	"eslink/shared/apierr"
	"eslink/shared/aws"
	"eslink/shared/aws/ec2"
	"eslink/shared/aws/route53"
	"eslink/shared/aws/ssm"
	"eslink/shared/aws/sts"
	"eslink/shared/vantage/zillizprobe"
	"eslink/shared/zilliz"
)

// world is the fakes behind a loopback server, called by the shipped clients
// with the real SDK.
type world struct {
	*testing.T
	awstest.World
	account *cloud.Account
	aws     aws.Account
	ec2     *ec2.Client
	dns     *route53.Client
	ssm     *ssm.Client
	zilliz  *zilliz.Client

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Parallel()
	w := &world{T: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	w.account = cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Now: w.Now, Seed: 1})
	w.World = awstest.New(w.account)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.Handler(r.Host).ServeHTTP(rw, r) }))
	t.Cleanup(server.Close)
	config := aws.Config{Transport: redirect{server.URL}, Now: w.Now}
	w.aws = aws.KeyAccount(config, aws.Key{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretKey})
	w.ec2, w.dns, w.ssm = ec2.New(w.aws, awstest.Region), route53.New(w.aws), ssm.New(w.aws, awstest.Region)
	host, _ := zilliz.Host("global")
	w.zilliz = zilliz.New(zilliz.Config{Transport: redirect{server.URL}}, host, zilliz.Key{APIKey: awstest.APIKey})
	return w
}

// redirect sends requests to the fakes, with the host that they are for.
type redirect struct{ to string }

func (t redirect) RoundTrip(r *http.Request) (*http.Response, error) {
	u, err := url.Parse(t.to)
	if err != nil {
		return nil, err
	}
	again := r.Clone(r.Context())
	again.Host, again.URL.Scheme, again.URL.Host = r.URL.Host, u.Scheme, u.Host
	return http.DefaultTransport.RoundTrip(again)
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) until(done func() bool) {
	w.Helper()
	for range 1200 {
		if done() {
			return
		}
		w.pass(time.Second)
	}
	w.Fatal("not so after twenty minutes")
}

func (w *world) refused(code string, err error) {
	w.Helper()
	require.Error(w, err)
	require.Equal(w, code, apierr.CodeOf(err), err)
}

func (w *world) group() string {
	w.Helper()
	id, err := w.ec2.CreateGroup(w.Context(), awstest.VPC, "eslink-x", "eslink", map[string]string{"eslink:run": "r"})
	require.NoError(w, err)
	w.pass(time.Minute)
	return id
}

func (w *world) newEndpoint(group string) ec2.NewEndpoint {
	return ec2.NewEndpoint{VpcID: awstest.VPC, ServiceName: awstest.Service, SubnetIDs: []string{awstest.SubnetA, awstest.SubnetB}, GroupIDs: []string{group}, Tags: map[string]string{"eslink:run": "r"}}
}

// available makes an endpoint and has it accepted.
func (w *world) available(group string) ec2.Endpoint {
	w.Helper()
	e, err := w.ec2.CreateEndpoint(w.Context(), w.newEndpoint(group), "token")
	require.NoError(w, err)
	require.NoError(w, w.zilliz.Register(w.Context(), awstest.Project, awstest.ZillizRegion, e.ID))
	id := e.ID
	w.until(func() bool {
		e, err = w.ec2.Endpoint(w.Context(), id)
		return err == nil && e.State == ec2.Available
	})
	return e
}

// The cases say what AWS does and where that is written: facts (clouds.md §2 and
// §3, the ten gaps of moto), tf-aws (terraform-provider-aws issues), API (the
// API references).
func TestEndpoints(t *testing.T) {
	w := newWorld(t)
	ctx, sg := w.Context(), w.group()

	first, err := w.ec2.CreateEndpoint(ctx, w.newEndpoint(sg), "token")
	require.NoError(t, err)
	require.Equal(t, ec2.PendingAcceptance, first.State, "facts §3.2: a service with acceptance begins with pendingAcceptance")
	again, err := w.ec2.CreateEndpoint(ctx, w.newEndpoint(sg), "token")
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID, "facts §3.1: a client token repeats its endpoint")
	other := w.newEndpoint(sg)
	other.SubnetIDs = other.SubnetIDs[:1]
	_, err = w.ec2.CreateEndpoint(ctx, other, "token")
	w.refused(ec2.TokenMismatch, err)

	seen := []string{}
	require.NoError(t, w.zilliz.Register(ctx, awstest.Project, awstest.ZillizRegion, first.ID))
	w.until(func() bool {
		e, err := w.ec2.Endpoint(ctx, first.ID)
		if err == nil && !slices.Contains(seen, e.State) {
			seen = append(seen, e.State)
		}
		return err == nil && e.State == ec2.Available
	})
	require.Equal(t, []string{ec2.PendingAcceptance, ec2.Pending, ec2.Available}, seen, "tf-aws#14604: pending lies between")

	e, err := w.ec2.Endpoint(ctx, first.ID)
	require.NoError(t, err)
	require.Len(t, e.Names, 3, "facts §3.4: the regional name, then one a zone")
	require.Regexp(t, `^`+e.ID+`-[0-9a-z]{8}\.vpce-svc-0b62964bfd0edfb74\.us-west-2\.vpce\.amazonaws\.com$`, e.Names[0].Name)
	require.NotEqual(t, e.Names[0].Name, e.Names[1].Name)
	ns, err := w.ec2.Interfaces(ctx, e.InterfaceIDs)
	require.NoError(t, err)
	require.Len(t, ns, 2)
	for _, n := range ns {
		want := map[string]string{awstest.SubnetA: "10.20.1.0/24", awstest.SubnetB: "10.20.2.0/24"}[n.SubnetID]
		require.True(t, netip.MustParsePrefix(want).Contains(netip.MustParseAddr(n.Address)), "facts §3.6: addresses are the subnet's")
	}
	w.refused("DependencyViolation", w.ec2.DeleteGroup(ctx, sg)) // facts §3.9

	require.NoError(t, w.ec2.DeleteEndpoint(ctx, e.ID))
	w.until(func() bool { _, err := w.ec2.Endpoint(ctx, e.ID); return apierr.IsNotFound(err) })
	w.refused("InvalidVpcEndpoint.NotFound", w.ec2.DeleteEndpoint(ctx, "vpce-0123456789abcdef0")) // facts §3.10: Unsuccessful[], with HTTP 200
	w.until(func() bool { return w.ec2.DeleteGroup(ctx, sg) == nil })                             // terraform#11047: once its interfaces are gone
}

func TestEndpointsAreRefused(t *testing.T) {
	w := newWorld(t)
	ctx, sg := w.Context(), w.group()
	for name, c := range map[string]struct {
		code   string
		change func(*ec2.NewEndpoint)
	}{
		"unknown service":          {ec2.InvalidService, func(n *ec2.NewEndpoint) { n.ServiceName = "com.amazonaws.vpce.us-west-2.vpce-svc-00000000000000000" }},
		"wrong region":             {ec2.InvalidService, func(n *ec2.NewEndpoint) { n.ServiceRegion = "us-east-1" }},
		"zone without the service": {ec2.InvalidArgument, func(n *ec2.NewEndpoint) { n.SubnetIDs = []string{awstest.SubnetC} }},
		"a zone twice":             {"DuplicateSubnetsInSameZone", func(n *ec2.NewEndpoint) { n.SubnetIDs = []string{awstest.SubnetA, awstest.SubnetVM} }},
		"unknown subnet":           {"InvalidSubnetID.NotFound", func(n *ec2.NewEndpoint) { n.SubnetIDs = []string{"subnet-0123456789abcdef0"} }},
		"unknown group":            {"InvalidGroup.NotFound", func(n *ec2.NewEndpoint) { n.GroupIDs = []string{"sg-0123456789abcdef0"} }},
		"unknown VPC":              {"InvalidVpcID.NotFound", func(n *ec2.NewEndpoint) { n.VpcID = "vpc-0123456789abcdef0" }},
	} {
		n := w.newEndpoint(sg)
		c.change(&n)
		_, err := w.ec2.CreateEndpoint(ctx, n, name)
		require.Equal(t, c.code, apierr.CodeOf(err), "%s: %v", name, err)
	}
	w.AWS.SetEndpointLimit(0)
	_, err := w.ec2.CreateEndpoint(ctx, w.newEndpoint(sg), "limit")
	w.refused("VpcEndpointLimitExceeded", err)
}

// Across regions ServiceRegion is needed (tf-aws#40583), no zone is compared, and
// only the regional name may be there.
func TestAnEndpointInAnotherRegion(t *testing.T) {
	w := newWorld(t)
	far := ec2.New(w.aws, awstest.MoreRegion)
	n := ec2.NewEndpoint{VpcID: awstest.MoreVPC, ServiceName: awstest.Service, SubnetIDs: []string{awstest.MoreSubnet}, GroupIDs: []string{awstest.MoreClients}}
	_, err := far.CreateEndpoint(w.Context(), n, "a")
	w.refused(ec2.InvalidService, err)
	n.ServiceRegion = awstest.Region
	e, err := far.CreateEndpoint(w.Context(), n, "b")
	require.NoError(t, err)
	require.Len(t, e.Names, 1)
	require.Contains(t, e.Names[0].Name, "."+awstest.Region+".vpce.")
	w.AWS.DenyMultiRegion()
	_, err = far.CreateEndpoint(w.Context(), n, "c")
	w.refused(ec2.Unauthorized, err)
	require.Less(t, len(err.Error()), 800, "the encoded part is cut")
}

func TestGroups(t *testing.T) {
	w := newWorld(t)
	ctx, sg := w.Context(), w.group()
	_, err := w.ec2.CreateGroup(ctx, awstest.VPC, "eslink-x", "eslink", nil)
	w.refused(ec2.GroupDuplicate, err)
	rule := ec2.Rule{Protocol: "tcp", From: awstest.Port, To: awstest.Port, GroupID: awstest.Clients, Description: "eslink"}
	require.NoError(t, w.ec2.Admit(ctx, sg, rule))
	require.NoError(t, w.ec2.Admit(ctx, sg, rule), "API: InvalidPermission.Duplicate says that the rule stands")
	g, err := w.ec2.Group(ctx, sg)
	require.NoError(t, err)
	require.Equal(t, []ec2.Rule{rule}, g.Ingress)
	require.Equal(t, []ec2.Rule{{Protocol: "-1", CIDR: "0.0.0.0/0"}}, g.Egress)
	require.NoError(t, w.ec2.Revoke(ctx, sg, rule))
	require.NoError(t, w.ec2.Revoke(ctx, sg, rule))
	listed, err := w.ec2.GroupsTagged(ctx, "eslink:run", "r")
	require.NoError(t, err)
	require.Len(t, listed, 1)
}

func TestZones(t *testing.T) {
	w := newWorld(t)
	ctx, vpc := w.Context(), route53.VPC{ID: awstest.VPC, Region: awstest.Region}
	e := w.available(w.group())
	host := "in01-x.aws-us-west-2.vectordb-private.zillizcloud.com"
	for range 7 { // so that lists have a second page
		w.AWS.AddZone("other.example", "", "", awstest.MoreVPC)
	}
	id, change, err := w.dns.CreateZone(ctx, host, "eslink run r", "reference", vpc)
	require.NoError(t, err)
	inSync, err := w.dns.InSync(ctx, change)
	require.NoError(t, err)
	require.False(t, inSync, "a change is PENDING first")
	w.until(func() bool { ok, err := w.dns.InSync(ctx, change); return err == nil && ok })
	_, _, err = w.dns.CreateZone(ctx, host, "", "reference", vpc)
	w.refused(route53.ReferenceUsed, err) // facts §3.8
	_, _, err = w.dns.CreateZone(ctx, host, "", "reference 2", vpc)
	w.refused(route53.Conflicting, err) // facts §3.8
	zones, err := w.dns.ZonesOf(ctx, vpc)
	require.NoError(t, err)
	require.Equal(t, id, zones[host])
	named, err := w.dns.ZonesNamed(ctx, host)
	require.NoError(t, err)
	require.Len(t, named, 1)
	require.Equal(t, "eslink run r", named[0].Comment)

	alias := route53.Alias{Name: host, Target: e.Names[0].Name, ZoneID: e.Names[0].ZoneID}
	_, err = w.dns.PutAlias(ctx, id, route53.Alias{Name: host, Target: "elsewhere.example", ZoneID: "Z0"})
	w.refused(route53.WrongBatch, err)
	change, err = w.dns.PutAlias(ctx, id, alias)
	require.NoError(t, err)
	got, err := w.dns.Alias(ctx, id, host)
	require.NoError(t, err)
	require.Equal(t, alias, got)
	w.until(func() bool { ok, err := w.dns.InSync(ctx, change); return err == nil && ok })

	more, err := w.dns.Associate(ctx, id, route53.VPC{ID: awstest.MoreVPC, Region: awstest.MoreRegion})
	require.NoError(t, err)
	require.NotEmpty(t, more)
	z, err := w.dns.Zone(ctx, id)
	require.NoError(t, err)
	require.Len(t, z.VPCs, 2)
	_, err = w.dns.Disassociate(ctx, id, route53.VPC{ID: awstest.MoreVPC, Region: awstest.MoreRegion})
	require.NoError(t, err)
	_, err = w.dns.Disassociate(ctx, id, vpc)
	w.refused("LastVPCAssociation", err)

	_, err = w.dns.DeleteZone(ctx, id)
	w.refused("HostedZoneNotEmpty", err)
	wrong := alias
	wrong.Target = e.Names[1].Name
	_, err = w.dns.DeleteAlias(ctx, id, wrong)
	w.refused(route53.WrongBatch, err)
	_, err = w.dns.DeleteAlias(ctx, id, alias)
	require.NoError(t, err)
	_, err = w.dns.DeleteZone(ctx, id)
	w.refused("HostedZoneNotEmpty", err) // terraform#7098: until the record's deletion is in sync
	w.until(func() bool { _, err := w.dns.DeleteZone(ctx, id); return err == nil })
	_, err = w.dns.Zone(ctx, id)
	require.True(t, apierr.IsNotFound(err))
	_, _, err = w.dns.CreateZone(ctx, host, "", "reference 3", route53.VPC{ID: "vpc-0123456789abcdef0", Region: awstest.Region})
	w.refused("InvalidVPCId", err)
}

func TestKeysAndSignatures(t *testing.T) {
	w := newWorld(t)
	who, err := sts.Caller(w.Context(), w.aws)
	require.NoError(t, err)
	require.Equal(t, awstest.Account, who)
	wrong := aws.KeyAccount(w.aws.Config, aws.Key{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: "another"})
	_, err = ec2.New(wrong, awstest.Region).VPC(w.Context(), awstest.VPC)
	w.refused("AuthFailure", err)
	_, err = sts.Caller(w.Context(), wrong)
	w.refused("SignatureDoesNotMatch", err)
	_, err = route53.New(wrong).ZonesNamed(w.Context(), "a.example")
	w.refused("SignatureDoesNotMatch", err)
	w.AWS.RemoveKey(awstest.AccessKeyID)
	_, err = w.ssm.Agent(w.Context(), awstest.Instance)
	w.refused("UnrecognizedClientException", err)
}

// A role's credentials are used until shortly before they end.
func TestARoleIsAssumedOnce(t *testing.T) {
	w := newWorld(t)
	calls := func() (n int) {
		for _, e := range w.account.Exchanges() {
			if e.Action == "AssumeRole" {
				n++
			}
		}
		return n
	}
	s := sts.New(w.aws.Config)
	key := aws.Key{AccessKeyID: awstest.AccessKeyID, SecretAccessKey: awstest.SecretKey, RoleARN: awstest.Role, ExternalID: awstest.ExternalID}
	for range 3 {
		a, err := s.Open(w.Context(), key)
		require.NoError(t, err)
		_, err = ec2.New(a, awstest.Region).VPC(w.Context(), awstest.VPC)
		require.NoError(t, err)
	}
	require.Equal(t, 1, calls())
	w.pass(56 * time.Minute)
	_, err := s.Open(w.Context(), key)
	require.NoError(t, err)
	require.Equal(t, 2, calls())
	key.ExternalID = "another"
	_, err = s.Open(w.Context(), key)
	w.refused("AccessDenied", err)
	for _, e := range w.account.Exchanges() {
		require.NotContains(t, e.ReqBody+e.RespBody+e.ReqHeader.Get("Authorization"), awstest.SecretKey)
	}
}

func TestThrottlingMayPass(t *testing.T) {
	w := newWorld(t)
	w.account.SetFault(func(cloud.Call) cloud.Fault {
		return cloud.Fault{Before: cloud.Errorf(400, "Throttling.User", "later")}
	})
	_, err1 := w.ec2.VPC(w.Context(), awstest.VPC)
	_, err2 := w.dns.ZonesNamed(w.Context(), "a.example")
	_, err3 := w.ssm.Agent(w.Context(), awstest.Instance)
	_, err4 := w.zilliz.Cluster(w.Context(), awstest.Cluster)
	for _, err := range []error{err1, err2, err3, err4} {
		require.Equal(t, apierr.Retry, apierr.ClassOf(err), err)
	}
	w.account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{LoseReply: true} })
	_, err := w.ec2.VPC(w.Context(), awstest.VPC)
	require.Equal(t, apierr.Retry, apierr.ClassOf(err), err)
	require.NotContains(t, err.Error(), "amazonaws.com", "the URL carries what nobody needs")
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	_, err = w.ec2.VPC(ctx, awstest.VPC)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCommands(t *testing.T) {
	w := newWorld(t)
	ctx := w.Context()
	a, err := w.ssm.Agent(ctx, awstest.Instance)
	require.NoError(t, err)
	require.True(t, a.Online)
	text, err := w.ssm.Document(ctx, zillizprobe.Document)
	require.NoError(t, err)
	require.True(t, zillizprobe.Same(text))
	p, err := zillizprobe.Target{Host: "a.example.com", Port: 443, Region: awstest.Region}.Parameters()
	require.NoError(t, err)
	since := w.Now()
	id, err := w.ssm.Send(ctx, zillizprobe.Document, awstest.Instance, "eslink r 1", p, time.Minute)
	require.NoError(t, err)
	w.until(func() bool {
		got, err := w.ssm.Sent(ctx, awstest.Instance, "eslink r 1", since)
		return err == nil && got == id
	})
	var i ssm.Invocation
	w.until(func() bool { i, err = w.ssm.Invocation(ctx, id, awstest.Instance); return err == nil && i.Ended })
	require.True(t, i.Succeeded())
	require.Contains(t, i.Output, "curl=6\n")

	_, err = w.ssm.Send(ctx, "another", awstest.Instance, "x", p, time.Minute)
	w.refused("InvalidDocument", err)
	p["Host"] = "a;touch x"
	_, err = w.ssm.Send(ctx, zillizprobe.Document, awstest.Instance, "x", p, time.Minute)
	w.refused("InvalidParameters", err)
	w.AWS.SetInstance(awstest.Instance, func(i *fake.Instance) { i.Agent = "" })
	_, err = w.ssm.Agent(ctx, awstest.Instance)
	require.True(t, apierr.IsNotFound(err))
	p["Host"] = "a.example.com"
	_, err = w.ssm.Send(ctx, zillizprobe.Document, awstest.Instance, "x", p, time.Minute)
	w.refused("InvalidInstanceId", err)
	w.AWS.SetInstance(awstest.Instance, func(i *fake.Instance) { i.Agent = "ConnectionLost" })
	id, err = w.ssm.Send(ctx, zillizprobe.Document, awstest.Instance, "x", p, time.Minute)
	require.NoError(t, err)
	w.until(func() bool { i, err = w.ssm.Invocation(ctx, id, awstest.Instance); return err == nil && i.Ended })
	require.Equal(t, "Delivery Timed Out", i.Status)
}
