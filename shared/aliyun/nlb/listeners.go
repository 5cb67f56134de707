package nlb

import (
	"context"
	"fmt"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"

	"eslink/shared/aliyun"
)

// States of a listener; it can be Provisioning, Configuring and Deleting too.
const (
	Running  = "Running"
	Starting = "Starting"
	Stopping = "Stopping"
	Stopped  = "Stopped"
	Deleted  = "Deleted"
)

// Listener is a port of a balancer.
type Listener struct {
	ID             string `json:"ListenerId"` // such as lsn-…@9200
	LoadBalancerID string `json:"LoadBalancerId"`
	ServerGroupID  string `json:"ServerGroupId"`
	Protocol       string `json:"ListenerProtocol"` // TCP, UDP or TCPSSL
	Port           int    `json:"ListenerPort"`
	ProxyProtocol  bool   `json:"ProxyProtocolEnabled"`
	Status         string `json:"ListenerStatus"`
}

// CreateListener creates a TCP listener, which starts by itself, and returns
// its ID and the job's. TLS passes through it: PrivateLink cannot reach a
// listener of type TCPSSL. It sends no Proxy Protocol, which Elasticsearch
// would not understand.
func (c *Client) CreateListener(ctx context.Context, loadBalancerID, groupID string, port int, token string) (id, job string, err error) {
	req := sdk.CreateCreateListenerRequest()
	req.LoadBalancerId, req.ServerGroupId, req.ClientToken = loadBalancerID, groupID, token
	req.ListenerProtocol, req.ListenerPort, req.ProxyProtocolEnabled = "TCP", requests.NewInteger(port), requests.NewBoolean(false)
	out, err := aliyun.Call[struct{ ListenerID, JobID string }](ctx, c.c, product, req, codes)
	if err == nil && out.ListenerID == "" {
		err = errNoID
	}
	if err != nil {
		return "", "", fmt.Errorf("create listener %d of nlb %s: %w", port, loadBalancerID, err)
	}
	return out.ListenerID, out.JobID, nil
}

// Listener returns a listener; GetListenerAttribute.
func (c *Client) Listener(ctx context.Context, id string) (Listener, error) {
	req := sdk.CreateGetListenerAttributeRequest()
	req.ListenerId = id
	out, err := aliyun.Call[Listener](ctx, c.c, product, req, codes)
	if err != nil {
		return Listener{}, fmt.Errorf("get listener %s: %w", id, err)
	}
	return out, nil
}

// Listeners lists a balancer's listeners; ListListeners.
func (c *Client) Listeners(ctx context.Context, loadBalancerID string) ([]Listener, error) {
	out, err := pages(func(next string) ([]Listener, string, error) {
		req := sdk.CreateListListenersRequest()
		req.LoadBalancerIds, req.NextToken, req.MaxResults = &[]string{loadBalancerID}, next, pageSize
		out, err := aliyun.Call[struct {
			Listeners []Listener
			NextToken string
		}](ctx, c.c, product, req, codes)
		return out.Listeners, out.NextToken, err
	})
	if err != nil {
		return nil, fmt.Errorf("list listeners of nlb %s: %w", loadBalancerID, err)
	}
	return out, nil
}

// DeleteListener deletes a listener and returns the job's ID.
func (c *Client) DeleteListener(ctx context.Context, id string) (string, error) {
	req := sdk.CreateDeleteListenerRequest()
	req.ListenerId = id
	return c.job(ctx, req, "delete listener "+id)
}

// Abnormal is a server that does not pass a listener's health check.
type Abnormal struct {
	IP     string `json:"ServerIp"`
	Port   int    `json:"Port"`
	Status string `json:"Status"` // Initial, Unhealthy or Unavailable
	Reason struct {
		Code string `json:"ReasonCode"` // such as CONNECT_TIMEOUT or CONNECT_FAILED
	} `json:"Reason"`
}

// Abnormal lists the servers behind a listener that are not healthy, those not
// yet checked among them; GetListenerHealthStatus. None means all is well.
func (c *Client) Abnormal(ctx context.Context, listenerID string) ([]Abnormal, error) {
	// One page: the API's metadata knows no paging here, and our listeners have a
	// handful of backends.
	req := sdk.CreateGetListenerHealthStatusRequest()
	req.ListenerId = listenerID
	found, err := aliyun.Call[struct {
		ListenerHealthStatus []struct {
			ServerGroupInfos []struct{ NonNormalServers []Abnormal }
		}
	}](ctx, c.c, product, req, codes)
	if err != nil {
		return nil, fmt.Errorf("get health of listener %s: %w", listenerID, err)
	}
	var out []Abnormal
	for _, s := range found.ListenerHealthStatus {
		for _, g := range s.ServerGroupInfos {
			out = append(out, g.NonNormalServers...)
		}
	}
	return out, nil
}
