package slb

import (
	"context"
	"fmt"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/slb"

	"eslink/shared/aliyun"
)

// States of a listener. It can be starting, stopping and configuring too.
const (
	Running = "running"
	Stopped = "stopped"
)

// Listener is a TCP port of a balancer.
type Listener struct {
	Port          int    `json:"ListenerPort"`
	GroupID       string `json:"VServerGroupId"`
	Status        string `json:"Status"`
	HealthCheck   string `json:"HealthCheck"` // on or off
	ProxyProtocol bool   `json:"ProxyProtocolV2Enabled"`
}

// CreateListener creates a TCP listener, which is stopped at first;
// CreateLoadBalancerTCPListener. There is no token, but one listener a port. Its
// servers are checked by connecting to their port, 2 s apart; two of a kind
// decide.
func (c *Client) CreateListener(ctx context.Context, loadBalancerID, groupID string, port int) error {
	req := sdk.CreateCreateLoadBalancerTCPListenerRequest()
	req.LoadBalancerId, req.VServerGroupId = loadBalancerID, groupID
	req.ListenerPort, req.Bandwidth, req.Scheduler = requests.NewInteger(port), requests.NewInteger(-1), "wrr"
	req.HealthCheckSwitch, req.HealthCheckType, req.HealthCheckConnectTimeout, req.HealthCheckInterval = "on", "tcp", "5", "2"
	req.HealthyThreshold, req.UnhealthyThreshold = "2", "2"
	req.ProxyProtocolV2Enabled = requests.NewBoolean(false)
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("create listener %d of clb %s: %w", port, loadBalancerID, err)
	}
	return nil
}

// Listener returns a listener; DescribeLoadBalancerTCPListenerAttribute.
func (c *Client) Listener(ctx context.Context, loadBalancerID string, port int) (Listener, error) {
	req := sdk.CreateDescribeLoadBalancerTCPListenerAttributeRequest()
	req.LoadBalancerId, req.ListenerPort = loadBalancerID, requests.NewInteger(port)
	out, err := aliyun.Call[Listener](ctx, c.c, product, req, named)
	if err != nil {
		return Listener{}, fmt.Errorf("get listener %d of clb %s: %w", port, loadBalancerID, err)
	}
	return out, nil
}

// StartListener starts a stopped listener; StartLoadBalancerListener.
func (c *Client) StartListener(ctx context.Context, loadBalancerID string, port int) error {
	req := sdk.CreateStartLoadBalancerListenerRequest()
	req.LoadBalancerId, req.ListenerPort, req.ListenerProtocol = loadBalancerID, requests.NewInteger(port), "tcp"
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("start listener %d of clb %s: %w", port, loadBalancerID, err)
	}
	return nil
}

// DeleteListener deletes a listener, running or stopped;
// DeleteLoadBalancerListener.
func (c *Client) DeleteListener(ctx context.Context, loadBalancerID string, port int) error {
	req := sdk.CreateDeleteLoadBalancerListenerRequest()
	req.LoadBalancerId, req.ListenerPort, req.ListenerProtocol = loadBalancerID, requests.NewInteger(port), "tcp"
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, named); err != nil {
		return fmt.Errorf("delete listener %d of clb %s: %w", port, loadBalancerID, err)
	}
	return nil
}

// What a health check finds. A server is Unavailable while its listener does
// not run or nothing has been checked yet.
const (
	Normal      = "normal"
	Abnormal    = "abnormal"
	Unavailable = "unavailable"
)

// Health is how a server fares.
type Health struct {
	Server
	Status string `json:"ServerHealthStatus"`
}

// Health tells how the servers behind a listener fare; DescribeHealthStatus.
func (c *Client) Health(ctx context.Context, loadBalancerID string, port int) ([]Health, error) {
	req := sdk.CreateDescribeHealthStatusRequest()
	req.LoadBalancerId, req.ListenerPort, req.ListenerProtocol = loadBalancerID, requests.NewInteger(port), "tcp"
	out, err := aliyun.Call[struct {
		BackendServers struct{ BackendServer []Health }
	}](ctx, c.c, product, req, named)
	if err != nil {
		return nil, fmt.Errorf("get health of listener %d of clb %s: %w", port, loadBalancerID, err)
	}
	return out.BackendServers.BackendServer, nil
}
