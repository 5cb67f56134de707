package escluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
)

// createInstance is the action by which clusters come to be.
const createInstance = "createInstance"

// born is a new instance that OnCreate has not been told of.
type born struct {
	Instance
	event []byte
}

// OnCreate sets what is told of an instance that createInstance made: its nodes are to be there when its creation ends.
// The event is the one that ActionTrail puts on EventBridge's default bus.
func (f *Fake) OnCreate(tell func(in Instance, event []byte)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onCreate = tell
}

// SetTags changes an instance's tags.
func (f *Fake) SetTags(id string, tags map[string]string) {
	f.set(id, func(i *instance) { i.Tags = tags })
}

// RemoveInstance deletes an instance.
func (f *Fake) RemoveInstance(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instances = slices.DeleteFunc(f.instances, func(i *instance) bool { return i.ID == id })
}

// CreatedAt is when an instance's creation began.
func (f *Fake) CreatedAt(id string) (at time.Time) {
	f.with(id, func(i *instance) { at = i.created })
	return at
}

// announce tells of new instances, without the lock.
func (f *Fake) announce() {
	f.mu.Lock()
	all, tell := f.born, f.onCreate
	f.born = nil
	f.mu.Unlock()
	for _, b := range all {
		tell(b.Instance, b.event)
	}
}

func (f *Fake) createInstance(r *cloud.Request) (any, error) {
	var body struct {
		NodeAmount                              int
		EsVersion, EsAdminPassword, Description string
		PaymentType, InstanceCategory           string
		NodeSpec                                struct {
			Spec, DiskType string
			Disk           int
		}
		NetworkConfig struct {
			Type, VpcID, VswitchID, VsArea      string
			LoadBalanceConfig, WhiteIPGroupList []any // empty: so the Python SDK sends them
		}
		ZoneCount int
		Tags      []struct{ TagKey, TagValue string }
	}
	if err := decode(r, &body, "nodeAmount", "esVersion", "esAdminPassword", "description", "paymentType", "instanceCategory", "nodeSpec", "networkConfig", "zoneCount", "tags"); err != nil {
		return nil, err
	}
	v, ok := f.network.VSwitch(body.NetworkConfig.VswitchID)
	switch {
	case body.NodeAmount < 2 || body.NodeAmount > 50:
		return nil, invalid("nodeAmount %d is not in 2 to 50", body.NodeAmount)
	case body.EsVersion == "":
		return nil, cloud.Errorf(400, "MissingParameter", "esVersion is missing.")
	case !strong(body.EsAdminPassword):
		return nil, invalid("esAdminPassword: 8 to 32 characters, of three kinds")
	case body.NetworkConfig.Type != "vpc" || !ok || v.VpcID != body.NetworkConfig.VpcID:
		return nil, invalid("networkConfig")
	case len(body.NetworkConfig.LoadBalanceConfig)+len(body.NetworkConfig.WhiteIPGroupList) > 0:
		return nil, cloud.Errorf(501, "NotImplemented", "The fake creates instances without whitelists and balancers of their own.")
	case body.ZoneCount > 1:
		return nil, cloud.Errorf(501, "NotImplemented", "The fake creates instances in one zone only.")
	}
	in := Instance{ID: f.account.NewID("es-cn-", 15), Description: body.Description, Version: body.EsVersion, VPCID: v.VpcID, VSwitchID: v.ID, Nodes: body.NodeAmount,
		Password: body.EsAdminPassword, Tags: map[string]string{}, Creating: f.account.Between(10*time.Minute, time.Hour),
		Config: map[string]string{"action.auto_create_index": "+.*,-*", "action.destructive_requires_name": "true", "xpack.watcher.enabled": "false"}}
	for _, t := range body.Tags {
		in.Tags[t.TagKey] = t.TagValue
	}
	i, err := f.add(in, r)
	if err != nil {
		return nil, err
	}
	// Reads by ID know it a little later, lists later still (assumptions).
	i.known, i.lag = f.account.Now().Add(f.account.Between(0, 20*time.Second)), resource.Born(f.account)
	f.born = append(f.born, born{i.Instance, f.event(i, r)})
	return map[string]any{"Result": map[string]any{"instanceId": i.ID}}, nil
}

// strong holds a password against the document of createInstance.
func strong(password string) bool {
	kinds := 0
	for _, kind := range []string{"abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "!@#$%^&*()_+-="} {
		if strings.ContainsAny(password, kind) {
			kinds++
		}
	}
	return len(password) >= 8 && len(password) <= 32 && kinds >= 3
}

// event is what ActionTrail says of a creation, in the shape of events/samples/created/api.json.
func (f *Fake) event(i *instance, r *cloud.Request) []byte {
	now := f.account.Now().UTC()
	subject := fmt.Sprintf("acs:elasticsearch:%s:%s:instances/%s", f.account.Region, f.account.AccountID, i.ID)
	raw, err := json.Marshal(map[string]any{
		"id": f.account.NewID("", 32), "source": "acs.elasticsearch", "specversion": "1.0", "type": "elasticsearch:ActionTrail:ApiCall",
		"datacontenttype": "application/json;charset=utf-8", "subject": subject, "time": now.Format(time.RFC3339), "aliyunaccountid": f.account.AccountID,
		"aliyunpublishtime": now.Format(time.RFC3339), "aliyuneventbusname": "default", "aliyunregionid": f.account.Region, "aliyunpublishaddr": "127.0.0.1",
		"data": map[string]any{
			"eventId": f.account.NewID("", 32), "eventVersion": 1, "eventRW": "Write", "eventType": "ApiCall", "eventName": createInstance,
			"serviceName": "Elasticsearch", "acsRegion": f.account.Region, "requestId": r.ID, "eventTime": now.Format(time.RFC3339), "isGlobal": false,
			"userIdentity":        map[string]any{"type": "root-account", "accountId": r.Caller.AccountID},
			"requestParameters":   map[string]any{"body": map[string]any{"esVersion": i.Version, "nodeAmount": i.Nodes, "tags": resource.TagList(i.Tags, "tagKey", "tagValue")}},
			"responseElements":    map[string]any{"RequestId": r.ID, "Result": map[string]any{"instanceId": i.ID}},
			"referencedResources": map[string]any{"ACS::Elasticsearch::Instance": []string{i.ID}},
		},
	})
	if err != nil {
		panic("fake: " + err.Error())
	}
	return raw
}
