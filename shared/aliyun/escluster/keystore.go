package escluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"

	"eslink/shared/aliyun"
)

// keystoreRequest is a request to a cluster's keystore, which the V1 SDK does
// not have: GetKeystores and UpdateKeystores, as in ES-SDK 6.3.2.
type keystoreRequest struct {
	*requests.RoaRequest
	InstanceID string `position:"Path" name:"InstanceId"`
}

func newKeystoreRequest(action, method, id string) *keystoreRequest {
	req := &keystoreRequest{&requests.RoaRequest{}, id}
	req.InitWithApiInfo(product, "2017-06-13", action, "/openapi/instances/[InstanceId]/keystores", product, "openAPI")
	req.Method = method
	return req
}

// Keystore lists the secure settings that a cluster's nodes have, by name:
// nobody can read their values. Cloud-native clusters on an allowlist have one;
// what others answer is documented nowhere. GetKeystores.
func (c *Client) Keystore(ctx context.Context, id string) ([]string, error) {
	out, err := aliyun.Call[struct{ Result json.RawMessage }](ctx, c.c, product, newKeystoreRequest("GetKeystores", requests.GET, id), codes)
	if err != nil {
		return nil, fmt.Errorf("list keystore of %s: %w", id, err)
	}
	// The names come as a list, or as the keys of an object.
	var names []string
	var object map[string]any
	switch {
	case json.Unmarshal(out.Result, &names) == nil:
	case json.Unmarshal(out.Result, &object) == nil:
		names = slices.Sorted(maps.Keys(object))
	default:
		return nil, fmt.Errorf("list keystore of %s: the reply names no settings", id)
	}
	return names, nil
}

// SetKeystore gives secure settings their values and removes others. Whether it
// restarts the nodes is documented nowhere. There is no token: it may be
// repeated. Errors never show a value. UpdateKeystores.
func (c *Client) SetKeystore(ctx context.Context, id string, update map[string]string, remove []string) error {
	req := newKeystoreRequest("UpdateKeystores", requests.POST, id)
	b := map[string]any{}
	if len(update) > 0 {
		b["update"] = update
	}
	if len(remove) > 0 {
		b["remove"] = remove
	}
	body(req.RoaRequest, b)
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("set keystore of %s: %w", id, err)
	}
	return nil
}

// Interrupt suspends the change that an instance is carrying out, so that
// another can be asked for; InterruptElasticsearchTask.
func (c *Client) Interrupt(ctx context.Context, id, token string) error {
	req := sdk.CreateInterruptElasticsearchTaskRequest()
	req.InstanceId, req.ClientToken = id, token
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("interrupt the change of %s: %w", id, err)
	}
	return nil
}
