package network_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/proxy"

	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	"eslink/localtest/fakes/network"
)

const (
	dst, src  = faketest.Dst, faketest.Src
	dstDomain = "es-cn-dst000000001.elasticsearch.aliyuncs.com"
	srcDomain = "es-cn-src000000002.elasticsearch.aliyuncs.com"
)

// link is the whole chain from Dst to Src, made by the products' own calls.
type link struct {
	*faketest.World
	protocol, proxy, preserve, ip, port string // of listener, server group and server
	withoutAccept                       bool

	balancer, group, lsn, service, endpoint, domain, zoneDomain string
}

func newLink(t *testing.T, change func(*link)) *link {
	t.Parallel()
	w := &link{World: faketest.New(t, 5), protocol: "TCP", preserve: "false", proxy: "false", port: "9200"}
	w.ip = w.ES.Instances()[1].Addresses[0].IP.String()
	if change != nil {
		change(w)
	}
	lb, lbResp := nlb.CreateCreateLoadBalancerRequest(), nlb.CreateCreateLoadBalancerResponse()
	lb.VpcId, lb.AddressType = "vpc-src", "Intranet"
	lb.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{
		{ZoneId: faketest.ZoneI, VSwitchId: "vsw-src-i"}, {ZoneId: faketest.ZoneJ, VSwitchId: "vsw-src-j"},
	}
	require.NoError(t, w.Call("nlb", lb, lbResp))
	w.balancer = lbResp.LoadbalancerId
	w.settle()

	w.ES.SetGroup(src, "eslink", "10.2.1.0/24", "10.2.2.0/24")

	sg, sgResp := nlb.CreateCreateServerGroupRequest(), nlb.CreateCreateServerGroupResponse()
	sg.VpcId, sg.ServerGroupName, sg.ServerGroupType = "vpc-src", "eslink", "Ip"
	sg.PreserveClientIpEnabled = requests.Boolean(w.preserve)
	require.NoError(t, w.Call("nlb", sg, sgResp))
	w.group = sgResp.ServerGroupId
	w.settle()

	add := nlb.CreateAddServersToServerGroupRequest()
	add.ServerGroupId = w.group
	add.Servers = &[]nlb.AddServersToServerGroupServers{{ServerType: "Ip", ServerId: w.ip, Port: w.port}}
	require.NoError(t, w.Call("nlb", add, nlb.CreateAddServersToServerGroupResponse()))
	w.settle()

	l, lResp := nlb.CreateCreateListenerRequest(), nlb.CreateCreateListenerResponse()
	l.LoadBalancerId, l.ServerGroupId, l.ListenerProtocol, l.ListenerPort = w.balancer, w.group, w.protocol, "9200"
	l.ProxyProtocolEnabled = requests.Boolean(w.proxy)
	if w.protocol == "TCPSSL" {
		l.CertificateIds = &[]string{"1"}
	}
	require.NoError(t, w.Call("nlb", l, lResp))
	w.lsn = lResp.ListenerId
	w.settle()

	s, sResp := privatelink.CreateCreateVpcEndpointServiceRequest(), privatelink.CreateCreateVpcEndpointServiceResponse()
	s.RegionId, s.ServiceResourceType = faketest.Region, "nlb"
	s.Resource = &[]privatelink.CreateVpcEndpointServiceResource{
		{ResourceType: "nlb", ResourceId: w.balancer, ZoneId: faketest.ZoneI}, {ResourceType: "nlb", ResourceId: w.balancer, ZoneId: faketest.ZoneJ},
	}
	require.NoError(t, w.Call("privatelink", s, sResp))
	w.service = sResp.ServiceId
	w.settle()

	e, eResp := elasticsearch.CreateCreateVpcEndpointRequest(), elasticsearch.CreateCreateVpcEndpointResponse()
	e.InstanceId = dst
	faketest.Body(e, `{"serviceId":"`+w.service+`","zoneId":"`+faketest.ZoneI+`"}`)
	require.NoError(t, w.Call("elasticsearch", e, eResp))
	w.endpoint, w.domain = eResp.Result.EndpointId, eResp.Result.EndpointDomain
	w.zoneDomain = w.Link.Endpoints()[0].ZoneDomain
	w.settle()

	if !w.withoutAccept {
		require.NoError(t, w.accept())
		w.settle()
	}
	return w
}

// settle waits until everything asked for has happened.
func (w *link) settle() { w.Advance(10 * time.Minute) }

func (w *link) accept() error {
	req := privatelink.CreateEnableVpcEndpointConnectionRequest()
	req.RegionId, req.ServiceId, req.EndpointId = faketest.Region, w.service, w.endpoint
	return w.Call("privatelink", req, privatelink.CreateEnableVpcEndpointConnectionResponse())
}

func (w *link) fault(p *network.Place, host string, port int) *network.Fault {
	w.Helper()
	_, err := p.Route(host, port)
	var f *network.Fault
	require.ErrorAs(w, err, &f)
	return f
}

func TestLinkCarriesRequests(t *testing.T) {
	w := newLink(t, nil)
	from := w.Network.FromCluster(dst)
	for _, host := range []string{w.domain, w.zoneDomain} {
		route, err := from.Route(host, 9200)
		require.NoError(t, err)
		require.Equal(t, src, route.InstanceID)
		require.True(t, netip.MustParsePrefix("10.2.1.0/24").Contains(route.Source), "it sees the balancer")
	}
	require.Contains(t, w.zoneDomain, w.endpoint+"-"+faketest.ZoneI+".epsrv-")
	client := http.Client{Transport: from}
	resp, err := client.Post("http://"+w.domain+":9200/product_info/_search?scroll=5m", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, src+" POST /product_info/_search {}", string(body))
	_, err = client.Get("https://" + w.domain + ":9200/")
	require.ErrorContains(t, err, "does not look like a TLS handshake")
}

// Each link of the chain, taken away or made wrong, fails the connection in its own way.
func TestEachMissingLink(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		link string
		kind network.Kind
		make func(*link)
		take func(*link)
	}{
		{link: "name", kind: network.NoSuchHost, take: func(w *link) { w.Link.Remove(w.endpoint) }},
		{link: "name", kind: network.NoSuchHost, make: func(w *link) { w.withoutAccept = true }, take: func(w *link) {
			require.NoError(w, w.Link.DeleteEndpoint(w.endpoint)) // Deleting
		}},
		{link: "connection", kind: network.Timeout, make: func(w *link) { w.withoutAccept = true }},
		{link: "connection", kind: network.Timeout, take: func(w *link) {
			req := privatelink.CreateDisableVpcEndpointConnectionRequest()
			req.RegionId, req.ServiceId, req.EndpointId = faketest.Region, w.service, w.endpoint
			require.NoError(w, w.Call("privatelink", req, privatelink.CreateDisableVpcEndpointConnectionResponse()))
		}},
		{link: "connection", kind: network.Timeout, take: func(w *link) { w.Link.Remove(w.service) }},
		{link: "balancer", kind: network.Timeout, take: func(w *link) { w.NLB.Remove(w.balancer) }},
		{link: "listener", kind: network.Refused, take: func(w *link) { w.NLB.Remove(w.lsn) }},
		{link: "listener", kind: network.Refused, take: func(w *link) {
			req := nlb.CreateStopListenerRequest()
			req.ListenerId = w.lsn
			require.NoError(w, w.Call("nlb", req, nlb.CreateStopListenerResponse()))
		}},
		{link: "server group", kind: network.Timeout, take: func(w *link) { w.NLB.Remove(w.group) }},
		{link: "listener protocol", kind: network.Timeout, make: func(w *link) { w.protocol = "TCPSSL" }},
		{link: "client address", kind: network.Timeout, make: func(w *link) { w.preserve = "" }}, // the default
		{link: "proxy protocol", kind: network.Closed, make: func(w *link) { w.proxy = "true" }},
		{link: "address", kind: network.Timeout, make: func(w *link) { w.ip = "10.2.0.77" }},
		{link: "address", kind: network.Timeout, take: func(w *link) {
			w.ES.SetAddresses(src, escluster.Address{ZoneID: faketest.ZoneI, VSwitchID: "vsw-src", IP: netip.MustParseAddr("10.2.0.99")})
		}},
		{link: "port", kind: network.Refused, make: func(w *link) { w.port = "9300" }},
		{link: "backend", kind: network.Refused, take: func(w *link) {
			req := nlb.CreateRemoveServersFromServerGroupRequest()
			req.ServerGroupId = w.group
			req.Servers = &[]nlb.RemoveServersFromServerGroupServers{{ServerType: "Ip", ServerId: w.ip, Port: w.port}}
			require.NoError(w, w.Call("nlb", req, nlb.CreateRemoveServersFromServerGroupResponse()))
		}},
		{link: "whitelist", kind: network.Timeout, take: func(w *link) { w.ES.SetGroup(src, "eslink") }},
		{link: "whitelist", kind: network.Timeout, take: func(w *link) { w.ES.SetGroup(src, "eslink", "10.2.2.0/24") }},
		{link: "cluster", kind: network.Refused, take: func(w *link) { w.ES.SetStatus(src, "inactive") }},
	} {
		t.Run(c.link, func(t *testing.T) {
			w := newLink(t, c.make)
			from := w.Network.FromCluster(dst)
			if c.make == nil {
				_, err := from.Route(w.domain, 9200)
				require.NoError(t, err)
			}
			if c.take != nil {
				c.take(w)
			}
			f := w.fault(from, w.domain, 9200)
			require.Equal(t, c.kind, f.Kind)
			require.Equal(t, c.link, f.Link)
			require.NotContains(t, f.Error(), f.Link+" ", "the error tells no more than a real one")
		})
	}
}

func TestBadBackendsAreAvoidedByHealthChecks(t *testing.T) {
	w := newLink(t, func(w *link) { w.ip = "10.2.0.77" })
	from := w.Network.FromCluster(dst)
	require.Equal(t, "address", w.fault(from, w.domain, 9200).Link)
	add := nlb.CreateAddServersToServerGroupRequest()
	add.ServerGroupId = w.group
	add.Servers = &[]nlb.AddServersToServerGroupServers{{ServerType: "Ip", ServerId: w.ES.Instances()[1].Addresses[0].IP.String(), Port: "9200"}}
	require.NoError(t, w.Call("nlb", add, nlb.CreateAddServersToServerGroupResponse()))
	require.Error(t, func() error { _, err := from.Route(w.domain, 9200); return err }(), "Adding")
	w.settle()
	_, err := from.Route(w.domain, 9200)
	require.NoError(t, err)
}

func TestEveryZoneHasItsName(t *testing.T) {
	t.Parallel()
	w := faketest.New(t, 1)
	i, j := netip.MustParseAddr("10.1.1.5"), netip.MustParseAddr("10.1.2.5")
	w.ES.SetAddresses(dst, escluster.Address{ZoneID: faketest.ZoneI, VSwitchID: "vsw-dst-i", IP: i}, escluster.Address{ZoneID: faketest.ZoneJ, VSwitchID: "vsw-dst-j", IP: j})
	from := w.Network.FromVPC("vpc-dst", faketest.Source("dst"))
	found, err := from.LookupHost(t.Context(), dstDomain)
	require.NoError(t, err)
	require.Equal(t, []string{i.String(), j.String()}, found)
	found, err = from.LookupHost(t.Context(), "es-cn-dst000000001-cn-hangzhou-j.elasticsearch.aliyuncs.com")
	require.NoError(t, err)
	require.Equal(t, []string{j.String()}, found)
	_, err = from.LookupHost(t.Context(), srcDomain)
	require.Error(t, err)
}

func TestOnlyTheOwnerSeesTheEndpoint(t *testing.T) {
	w := newLink(t, nil)
	for _, p := range []*network.Place{w.Network.FromCluster(src), w.Network.FromVPC("vpc-dst", faketest.Source("dst")), w.Network.FromVPC("vpc-src", faketest.Source("src"))} {
		require.Equal(t, network.NoSuchHost, w.fault(p, w.domain, 9200).Kind)
	}
	require.Equal(t, network.Refused, w.fault(w.Network.FromCluster(dst), w.domain, 9201).Kind)
	require.Equal(t, network.NoSuchHost, w.fault(w.Network.FromCluster(dst), srcDomain, 9200).Kind, "clusters do not see each other")
}

func TestFunctionsReachTheClustersOfTheirVPC(t *testing.T) {
	t.Parallel()
	w := faketest.New(t, 1)
	inSrc, inDst := w.Network.FromVPC("vpc-src", faketest.Source("src")), w.Network.FromVPC("vpc-dst", faketest.Source("dst"))
	found, err := inSrc.LookupHost(t.Context(), srcDomain)
	require.NoError(t, err)
	require.Equal(t, []string{w.ES.Instances()[1].Addresses[0].IP.String()}, found)
	for _, host := range []string{srcDomain, found[0]} {
		route, err := inSrc.Route(host, 9200)
		require.NoError(t, err)
		require.Equal(t, src, route.InstanceID)
	}
	_, err = inDst.Route(dstDomain, 9200)
	require.NoError(t, err)
	fault := func(kind network.Kind, link string, p *network.Place, host string, port int) {
		t.Helper()
		_, err := p.Route(host, port)
		var f *network.Fault
		require.ErrorAs(t, err, &f)
		require.Equal(t, kind, f.Kind)
		require.Equal(t, link, f.Link)
	}
	fault(network.NoSuchHost, "name", inDst, srcDomain, 9200)
	fault(network.Timeout, "address", inDst, found[0], 9200)
	fault(network.Refused, "port", inSrc, srcDomain, 9300)
	fault(network.Timeout, "whitelist", w.Network.FromVPC("vpc-src", netip.MustParseAddr("10.2.1.9")), srcDomain, 9200)
	w.ES.SetGroup(src, "default", "127.0.0.1") // admits nobody
	fault(network.Timeout, "whitelist", inSrc, srcDomain, 9200)
}

func TestSingleNodeIsAwayWhileItRestarts(t *testing.T) {
	t.Parallel()
	w := faketest.New(t, 1)
	require.NoError(t, w.ES.AddInstance(escluster.Instance{ID: "es-cn-single", VPCID: "vpc-dst", VSwitchID: "vsw-dst", Nodes: 1}))
	from := w.Network.FromVPC("vpc-dst", faketest.Source("dst"))
	for id, want := range map[string]bool{dst: true, "es-cn-single": false} {
		req := elasticsearch.CreateUpdateInstanceSettingsRequest()
		req.InstanceId = id
		faketest.Body(req, `{"esConfig":{"a":"1"}}`)
		require.NoError(t, w.Call("elasticsearch", req, elasticsearch.CreateUpdateInstanceSettingsResponse()))
		_, err := from.Route(id+".elasticsearch.aliyuncs.com", 9200)
		require.Equal(t, want, err == nil)
		w.Advance(time.Hour)
		white := elasticsearch.CreateModifyWhiteIpsRequest()
		white.InstanceId = id
		faketest.Body(white, `{"whiteIpGroup":{"groupName":"g","ips":["10.0.0.1"]}}`)
		require.NoError(t, w.Call("elasticsearch", white, elasticsearch.CreateModifyWhiteIpsResponse()))
		_, err = from.Route(id+".elasticsearch.aliyuncs.com", 9200)
		require.NoError(t, err)
	}
}

func TestErrorsAreThoseOfTheNetPackage(t *testing.T) {
	t.Parallel()
	var name *net.DNSError
	require.ErrorAs(t, &network.Fault{Kind: network.NoSuchHost, Addr: "a:1"}, &name)
	require.True(t, name.IsNotFound)
	require.ErrorIs(t, &network.Fault{Kind: network.Timeout}, os.ErrDeadlineExceeded)
	require.ErrorIs(t, &network.Fault{Kind: network.Refused}, syscall.ECONNREFUSED)
	require.ErrorIs(t, &network.Fault{Kind: network.Closed}, io.EOF)
	var err net.Error = &network.Fault{Kind: network.Timeout}
	require.True(t, err.Timeout())
}

func TestDroppedPacketsCostTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := faketest.New(t, 1)
		from := w.Network.FromVPC("vpc-dst", faketest.Source("dst"))
		client := http.Client{Transport: from}
		get := func(ctx context.Context) (time.Duration, error) {
			start := time.Now()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://10.1.0.77:9200/", nil)
			require.NoError(t, err)
			_, err = client.Do(req)
			return time.Since(start), err
		}
		took, err := get(t.Context())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 127*time.Second, took)
		from.ConnectTimeout = time.Second
		took, _ = get(t.Context())
		require.Equal(t, time.Second, took)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		took, err = get(ctx)
		require.Equal(t, 300*time.Millisecond, took)
		require.Error(t, err)
	})
}

func TestHTTPSNeedsTheRightName(t *testing.T) {
	w := newLink(t, nil)
	require.NoError(t, w.ES.AddInstance(escluster.Instance{ID: "es-cn-tls", Protocol: "HTTPS", VPCID: "vpc-dst", VSwitchID: "vsw-dst"}))
	w.Network.SetServer("es-cn-tls", http.NotFoundHandler())
	from := w.Network.FromVPC("vpc-dst", faketest.Source("dst"))
	client := http.Client{Transport: from}
	_, err := client.Get("http://es-cn-tls.elasticsearch.aliyuncs.com:9200/")
	require.ErrorIs(t, err, io.EOF)
	_, err = client.Get("https://es-cn-tls.elasticsearch.aliyuncs.com:9200/")
	require.NoError(t, err)
	byAddress := "https://" + w.ES.Instances()[2].Addresses[0].IP.String() + ":9200/"
	_, err = client.Get(byAddress)
	require.ErrorContains(t, err, "x509")
	from.AnyName = true
	_, err = client.Get(byAddress)
	require.NoError(t, err)
}

func TestTLSOverSocketsVerifiesTheChain(t *testing.T) {
	t.Parallel()
	w := faketest.New(t, 1)
	server := httptest.NewTLSServer(http.NotFoundHandler()) // for example.com, signed by itself
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	require.NoError(t, w.ES.AddInstance(escluster.Instance{ID: "es-cn-tls", Protocol: "HTTPS", VPCID: "vpc-dst", VSwitchID: "vsw-dst"}))
	roots, addr := x509.NewCertPool(), strings.TrimPrefix(server.URL, "https://")
	roots.AddCert(server.Certificate())
	for _, c := range []struct {
		roots   *x509.CertPool
		anyName bool
		err     any
	}{
		{roots, true, nil},
		{roots, false, new(x509.HostnameError)},
		{x509.NewCertPool(), true, new(x509.UnknownAuthorityError)},
	} {
		w.Network.SetTLSServerAddr("es-cn-tls", addr, c.roots)
		from := w.Network.FromVPC("vpc-dst", faketest.Source("dst"))
		from.AnyName = c.anyName
		client := http.Client{Transport: from}
		_, err := client.Get("http://es-cn-tls.elasticsearch.aliyuncs.com:9200/")
		require.ErrorIs(t, err, io.EOF)
		if _, err = client.Get("https://es-cn-tls.elasticsearch.aliyuncs.com:9200/"); c.err == nil {
			require.NoError(t, err)
		} else {
			require.ErrorAs(t, err, c.err)
		}
	}
}

func TestRouterServesProcesses(t *testing.T) {
	t.Parallel()
	w := faketest.New(t, 1)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "hello "+r.Host) }))
	defer server.Close()
	w.Network.SetServerAddr(dst, strings.TrimPrefix(server.URL, "http://"))
	router, err := w.Network.FromVPC("vpc-dst", faketest.Source("dst")).Listen(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, router.Close()) }()

	ask := func(name string, kind uint16) *dns.Msg {
		reply, err := dns.Exchange(new(dns.Msg).SetQuestion(name+".", kind), router.DNS)
		require.NoError(t, err)
		return reply
	}
	reply := ask("ES-cn-dst000000001.elasticsearch.aliyuncs.com", dns.TypeA)
	require.Len(t, reply.Answer, 1)
	address := reply.Answer[0].(*dns.A).A.String()
	require.Regexp(t, `^10\.1\.0\.\d+$`, address)
	require.Empty(t, ask(dstDomain, dns.TypeAAAA).Answer)
	require.Equal(t, dns.RcodeNameError, ask(srcDomain, dns.TypeA).Rcode)

	dialer, err := proxy.SOCKS5("tcp", router.SOCKS, nil, nil)
	require.NoError(t, err)
	client := http.Client{Transport: &http.Transport{DialContext: dialer.(proxy.ContextDialer).DialContext, DisableKeepAlives: true}}
	for _, host := range []string{address, dstDomain} {
		resp, err := client.Get("http://" + host + ":9200/")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "hello "+host+":9200", string(body))
	}
	_, err = client.Get("http://" + address + ":9300/")
	require.ErrorContains(t, err, "refused")
	_, err = client.Get("http://" + srcDomain + ":9200/")
	require.ErrorContains(t, err, "unreachable")
	var f *network.Fault
	require.False(t, errors.As(err, &f))
}
