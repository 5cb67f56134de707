package world

import (
	"encoding/json"
	"fmt"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"

	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/network"
	"eslink/shared/clusters"
)

// CreateInstance creates a third cluster beside ES_1 by the cloud's API, as a
// user of the account would, and returns its ID. Its elastic has the password of
// SecretInstance, which may be sent to any instance from now on. It takes 10 to 60 minutes until it is there; the event of its
// creation reaches the default bus sooner.
func (w *World) CreateInstance(tags map[string]string) (string, error) {
	w.Secrets.Put(SecretInstance, Login("elastic", InstancePassword, Instance, clusters.AnyInstance))
	type tag struct {
		Key   string `json:"tagKey"`
		Value string `json:"tagValue"`
	}
	list := []tag{}
	for k, v := range tags {
		list = append(list, tag{k, v})
	}
	body, err := json.Marshal(map[string]any{
		"nodeAmount": 3, "esVersion": w.Version + "_with_X-Pack", "esAdminPassword": InstancePassword, "paymentType": "postpaid", "instanceCategory": "x-pack",
		"nodeSpec":      map[string]any{"spec": "elasticsearch.sn2ne.large", "disk": 20, "diskType": "cloud_ssd"},
		"networkConfig": map[string]any{"type": "vpc", "vpcId": DestinationVPC, "vswitchId": "vsw-dst-i000000000001", "vsArea": Zone}, "tags": list,
	})
	if err != nil {
		return "", fmt.Errorf("create instance: %w", err)
	}
	key := w.Account.RootKey()
	client, err := sdk.NewClientWithOptions(Region, sdk.NewConfig().WithScheme("HTTPS").WithAutoRetry(false), credentials.NewAccessKeyCredential(key.AccessKeyID, key.AccessKeySecret))
	if err != nil {
		return "", fmt.Errorf("create instance: %w", err)
	}
	client.SetTransport(w.Transport())
	req, resp := elasticsearch.CreateCreateInstanceRequest(), responses.NewCommonResponse()
	req.SetDomain("elasticsearch." + Region + ".aliyuncs.com")
	req.SetContent(body)
	req.SetContentType("application/json")
	if err := client.DoAction(req, resp); err != nil {
		return "", fmt.Errorf("create instance: %w", err)
	}
	var reply struct {
		Result struct{ InstanceID string }
	}
	if err := json.Unmarshal(resp.GetHttpContentBytes(), &reply); err != nil {
		return "", fmt.Errorf("create instance: %w", err)
	}
	return reply.Result.InstanceID, nil
}

// join puts Elasticsearch behind an instance.
func (w *World) join(in escluster.Instance) error {
	place := w.Network.FromCluster(in.ID)
	place.AnyName = in.Config["reindex.ssl.verification_mode"] == "certificate"
	w.mu.Lock()
	w.nodes[in.ID] = place
	w.mu.Unlock()
	s, err := w.start(in)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.Servers[in.ID] = s
	w.mu.Unlock()
	w.Network.SetServer(in.ID, w.record(in.ID, s))
	return nil
}

// server and node are an instance's, which may be new.
func (w *World) server(id string) Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Servers[id]
}

func (w *World) node(id string) *network.Place {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[id]
}

// born puts Elasticsearch behind a new instance before its creation ends.
func (w *World) born(in escluster.Instance, event []byte) {
	if err := w.join(in); err != nil {
		w.Log.Error("a new instance has no Elasticsearch", "instance", in.ID, "err", err)
		return
	}
	if w.greet != nil {
		w.greet(in, event)
	}
}
