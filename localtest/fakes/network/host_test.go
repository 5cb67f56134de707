package network_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/slb"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/proxy"

	"eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/faketest"
	"eslink/localtest/fakes/network"
)

// hostLink is the whole chain from Dst to port 8080 of Host, made by the products' own calls.
type hostLink struct {
	*link
	proxied bool
}

func newHostLink(t *testing.T, w *faketest.World, change func(*hostLink)) *hostLink {
	h := &hostLink{link: &link{World: w, port: "8080"}}
	if change != nil {
		change(h)
	}
	lb, lbResp := slb.CreateCreateLoadBalancerRequest(), slb.CreateCreateLoadBalancerResponse()
	lb.AddressType, lb.VpcId, lb.VSwitchId, lb.MasterZoneId, lb.InstanceChargeType = "intranet", "vpc-src", "vsw-src-i", faketest.ZoneI, "PayByCLCU"
	require.NoError(t, w.Call("slb", lb, lbResp))
	h.balancer = lbResp.LoadBalancerId
	h.settle()

	g, gResp := slb.CreateCreateVServerGroupRequest(), slb.CreateCreateVServerGroupResponse()
	g.LoadBalancerId, g.BackendServers = h.balancer, `[{"ServerId":"`+faketest.Host+`","Port":"`+h.port+`","Type":"ecs"}]`
	require.NoError(t, w.Call("slb", g, gResp))
	h.group = gResp.VServerGroupId
	h.settle()

	l := slb.CreateCreateLoadBalancerTCPListenerRequest()
	l.LoadBalancerId, l.VServerGroupId, l.ListenerPort, l.Bandwidth, l.ProxyProtocolV2Enabled = h.balancer, h.group, "8080", "-1", requests.NewBoolean(h.proxied)
	require.NoError(t, w.Call("slb", l, slb.CreateCreateLoadBalancerTCPListenerResponse()))
	h.settle()
	start := slb.CreateStartLoadBalancerListenerRequest()
	start.LoadBalancerId, start.ListenerPort = h.balancer, "8080"
	require.NoError(t, w.Call("slb", start, slb.CreateStartLoadBalancerListenerResponse()))

	s, sResp := privatelink.CreateCreateVpcEndpointServiceRequest(), privatelink.CreateCreateVpcEndpointServiceResponse()
	s.RegionId, s.ServiceResourceType = faketest.Region, "slb"
	s.Resource = &[]privatelink.CreateVpcEndpointServiceResource{{ResourceType: "slb", ResourceId: h.balancer, ZoneId: faketest.ZoneI}}
	require.NoError(t, w.Call("privatelink", s, sResp))
	h.service = sResp.ServiceId
	h.settle()

	e, eResp := elasticsearch.CreateCreateVpcEndpointRequest(), elasticsearch.CreateCreateVpcEndpointResponse()
	e.InstanceId = dst
	faketest.Body(e, `{"serviceId":"`+h.service+`","zoneId":"`+faketest.ZoneI+`"}`)
	require.NoError(t, w.Call("elasticsearch", e, eResp))
	h.endpoint, h.domain = eResp.Result.EndpointId, eResp.Result.EndpointDomain
	h.settle()
	if !h.withoutAccept {
		require.NoError(t, h.accept())
		h.settle()
	}
	for _, cidr := range []string{"100.64.0.0/10", "10.2.1.0/24"} {
		h.admit(cidr, 8080)
	}
	w.Network.SetService(faketest.Host, 8080, network.Service{Handler: http.HandlerFunc(echo)})
	return h
}

func echo(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	io.WriteString(rw, r.Method+" "+r.URL.Path+" "+string(body))
}

func (h *hostLink) admit(cidr string, port int) {
	h.ECS.AddRule(faketest.SecurityGroup, ecs.Rule{From: port, To: port, Source: netip.MustParsePrefix(cidr)})
}

// removeRules removes those that admit a network, or all.
func (h *hostLink) removeRules(cidr string) {
	h.ECS.RemoveRules(faketest.SecurityGroup, func(r ecs.Rule) bool { return cidr == "" || r.Source.String() == cidr })
}

// Each link of the chain, taken away or made wrong, fails the connection in its own way.
func TestEachMissingLinkToAHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		link string
		kind network.Kind
		make func(*hostLink)
		take func(*hostLink)
	}{
		{link: "name", kind: network.NoSuchHost, take: func(h *hostLink) { h.Link.Remove(h.endpoint) }},
		{link: "connection", kind: network.Timeout, make: func(h *hostLink) { h.withoutAccept = true }},
		{link: "connection", kind: network.Timeout, take: func(h *hostLink) {
			req := privatelink.CreateDisableVpcEndpointConnectionRequest()
			req.RegionId, req.ServiceId, req.EndpointId = faketest.Region, h.service, h.endpoint
			require.NoError(h, h.Call("privatelink", req, privatelink.CreateDisableVpcEndpointConnectionResponse()))
		}},
		{link: "connection", kind: network.Timeout, take: func(h *hostLink) { h.Link.Remove(h.service) }},
		{link: "balancer", kind: network.Timeout, take: func(h *hostLink) { h.CLB.Remove(h.balancer) }},
		{link: "balancer", kind: network.Timeout, take: func(h *hostLink) { h.CLB.SetStatus(h.balancer, "inactive") }},
		{link: "listener", kind: network.Refused, take: func(h *hostLink) { h.CLB.RemoveListener(h.balancer, 8080) }},
		{link: "listener", kind: network.Refused, take: func(h *hostLink) { h.CLB.SetListener(h.balancer, 8080, "stopped") }},
		{link: "server group", kind: network.Timeout, take: func(h *hostLink) { h.CLB.Remove(h.group) }},
		{link: "backend", kind: network.Refused, take: func(h *hostLink) {
			req := slb.CreateRemoveVServerGroupBackendServersRequest()
			req.VServerGroupId, req.BackendServers = h.group, `[{"ServerId":"`+faketest.Host+`","Port":"8080"}]`
			require.NoError(h, h.Call("slb", req, slb.CreateRemoveVServerGroupBackendServersResponse()))
		}},
		{link: "proxy protocol", kind: network.Closed, make: func(h *hostLink) { h.proxied = true }},
		{link: "host", kind: network.Timeout, take: func(h *hostLink) { h.ECS.SetStatus(faketest.Host, "Stopped") }},
		{link: "host", kind: network.Timeout, take: func(h *hostLink) { h.ECS.Remove(faketest.Host) }},
		{link: "security group", kind: network.Timeout, take: func(h *hostLink) { h.removeRules("") }},
		{link: "security group", kind: network.Timeout, take: func(h *hostLink) { h.removeRules("100.64.0.0/10") }}, // health checks
		{link: "security group", kind: network.Timeout, take: func(h *hostLink) { h.removeRules("10.2.1.0/24") }},   // what comes through
		{link: "security group", kind: network.Timeout, take: func(h *hostLink) {
			h.ECS.AddRule(faketest.SecurityGroup, ecs.Rule{Drop: true, From: 1, To: 65535, Source: netip.MustParsePrefix("100.64.0.0/10")})
		}},
		{link: "security group", kind: network.Timeout, make: func(h *hostLink) { h.port = "8081" }}, // the wrong port of the backend
		{link: "service", kind: network.Refused, take: func(h *hostLink) { h.Network.SetService(faketest.Host, 8080, network.Service{}) }},
		{link: "service", kind: network.Refused, take: func(h *hostLink) {
			h.Network.SetService(faketest.Host, 8080, network.Service{Handler: http.HandlerFunc(echo), Loopback: true})
		}},
	} {
		t.Run(c.link, func(t *testing.T) {
			t.Parallel()
			h := newHostLink(t, faketest.New(t, 5), c.make)
			from := h.Network.FromCluster(dst)
			if c.make == nil {
				_, err := from.Route(h.domain, 8080)
				require.NoError(t, err)
			}
			if c.take != nil {
				c.take(h)
			}
			f := h.fault(from, h.domain, 8080)
			require.Equal(t, c.kind, f.Kind)
			require.Equal(t, c.link, f.Link)
		})
	}
}

func TestHostAnswersThroughTheLinkAndInItsVPC(t *testing.T) {
	t.Parallel()
	h := newHostLink(t, faketest.New(t, 5), nil)
	h.admit("10.2.0.0/24", 8080)
	ip := h.ECS.Instances()[0].IP.String()
	for from, place := range map[string]*network.Place{h.domain: h.Network.FromCluster(dst), ip: h.Network.FromVPC("vpc-src", faketest.Source("src"))} {
		resp, err := (&http.Client{Transport: place}).Post("http://"+from+":8080/hook", "text/plain", strings.NewReader("hello"))
		require.NoError(t, err, from)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "POST /hook hello", string(body))
	}
	require.Equal(t, network.Refused, h.fault(h.Network.FromCluster(dst), h.domain, 8081).Kind, "no listener")
	require.Equal(t, network.Timeout, h.fault(h.Network.FromVPC("vpc-src", netip.MustParseAddr("10.2.2.9")), ip, 8080).Kind, "not admitted")
	require.Equal(t, network.Timeout, h.fault(h.Network.FromVPC("vpc-dst", faketest.Source("dst")), ip, 8080).Kind, "another VPC")
}

// lines answers one line with another: no HTTP.
func lines(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(conn, "you said "+line)
	}
}

func say(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	r := bufio.NewReader(conn)
	for range 2 { // it stays open
		_, err := io.WriteString(conn, "bind\n")
		require.NoError(t, err)
		got, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "you said bind\n", got)
	}
}

func TestWhatIsNotHTTPPassesInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHostLink(t, faketest.New(t, 5), nil)
		from := h.Network.FromCluster(dst)
		h.Network.SetService(faketest.Host, 8080, network.Service{Serve: lines})
		conn, err := from.DialContext(t.Context(), "tcp", h.domain+":8080")
		require.NoError(t, err)
		say(t, conn)
		// An HTTP handler too is reached by a connection.
		h.Network.SetService(faketest.Host, 8080, network.Service{Handler: http.HandlerFunc(echo)})
		client := http.Client{Transport: &http.Transport{DialContext: from.DialContext, DisableKeepAlives: true}}
		resp, err := client.Get("http://" + h.domain + ":8080/hook")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "GET /hook ", string(body))

		h.Network.SetService(faketest.Host, 8080, network.Service{Serve: lines, Loopback: true})
		_, err = from.DialContext(t.Context(), "tcp", h.domain+":8080")
		require.ErrorContains(t, err, "refused")
		h.removeRules("")
		from.ConnectTimeout = time.Second
		began := time.Now()
		_, err = from.DialContext(t.Context(), "tcp", h.domain+":8080")
		require.ErrorContains(t, err, "timeout")
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestWhatIsNotHTTPPassesOverSockets(t *testing.T) {
	t.Parallel()
	h := newHostLink(t, faketest.New(t, 5), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go lines(conn)
		}
	}()
	router, err := h.Network.FromCluster(dst).Listen(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, router.Close()) }()
	dialer, err := proxy.SOCKS5("tcp", router.SOCKS, nil, nil)
	require.NoError(t, err)
	for _, s := range []network.Service{{Addr: l.Addr().String()}, {Serve: lines}} {
		h.Network.SetService(faketest.Host, 8080, s)
		conn, err := dialer.Dial("tcp", h.domain+":8080")
		require.NoError(t, err)
		say(t, conn)
	}
	h.CLB.SetListener(h.balancer, 8080, "stopped")
	_, err = dialer.(proxy.ContextDialer).DialContext(context.Background(), "tcp", h.domain+":8080")
	require.ErrorContains(t, err, "refused")
}

func TestHTTPSOnAHost(t *testing.T) {
	t.Parallel()
	h := newHostLink(t, faketest.New(t, 5), nil)
	server := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer server.Close()
	from := h.Network.FromCluster(dst)
	from.AnyName = true
	h.Network.SetService(faketest.Host, 8080, network.Service{Addr: strings.TrimPrefix(server.URL, "https://"), TLS: true, Roots: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	client := http.Client{Transport: from}
	resp, err := client.Get("https://" + h.domain + ":8080/hook")
	require.NoError(t, err)
	resp.Body.Close()
	_, err = client.Get("http://" + h.domain + ":8080/hook")
	require.ErrorIs(t, err, io.EOF)
}
