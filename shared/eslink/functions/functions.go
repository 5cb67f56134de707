// Package functions calls the deployed functions as a person may from anywhere:
// by InvokeFunction of Function Compute's API (2023-03-30), signed with the
// caller's own credentials. Source: the API document of InvokeFunction and the
// vendor's SDK fc-20230330.
package functions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	fc "github.com/alibabacloud-go/fc-20230330/v4/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/credentials-go/credentials"

	"eslink/events"
)

// Prefix begins the names of all deployed functions.
const Prefix = "eslink-"

// invokeTimeout is longer than the functions' own timeout of 240 s.
const invokeTimeout = 250 * time.Second

// Client calls the functions of one deployment.
type Client struct {
	fc *fc.Client
	// Local says that the deployment is a local one.
	Local bool
}

// Cloud returns a client of the deployment in an account's region. Credentials
// come from the vendor's chain: ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET (and
// _SECURITY_TOKEN), OIDC, ~/.alibabacloud/credentials, an ECS RAM role.
func Cloud(account, region string) (*Client, error) {
	chain, err := credentials.NewCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("find credentials: %w", err)
	}
	return open(&openapi.Config{Credential: chain, RegionId: tea.String(region), Protocol: tea.String("HTTPS"),
		Endpoint: tea.String(account + "." + region + ".fc.aliyuncs.com")}, false)
}

// Local returns a client of the deployment that `localtest serve` keeps up.
func Local(a Address) (*Client, error) {
	scheme, host, found := strings.Cut(a.Endpoint, "://")
	if !found {
		return nil, fmt.Errorf("endpoint %q of the local cloud is not a URL", a.Endpoint)
	}
	return open(&openapi.Config{AccessKeyId: tea.String(a.AccessKeyID), AccessKeySecret: tea.String(a.AccessKeySecret), SecurityToken: tea.String(a.SecurityToken),
		RegionId: tea.String(a.Region), Protocol: tea.String(scheme), Endpoint: tea.String(host)}, true)
}

func open(c *openapi.Config, local bool) (*Client, error) {
	client, err := fc.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("open client of function compute: %w", err)
	}
	return &Client{fc: client, Local: local}, nil
}

// ErrNotReached says that no reply came, so that nothing is known of the call.
var ErrNotReached = errors.New("the functions were not reached")

// Invoke calls the function called name (without Prefix) with payload as JSON and
// decodes its reply into into. A problem document comes back as *events.Problem;
// what the platform refuses names its code; no reply at all is ErrNotReached.
func (c *Client) Invoke(ctx context.Context, name string, payload, into any) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode request to %s: %w", name, err)
	}
	reply, err := c.call(ctx, Prefix+name, body)
	if err != nil {
		return err
	}
	// Called like this a function answers with the body alone, so a problem is told
	// by its type.
	var p events.Problem
	if json.Unmarshal(reply, &p) == nil && strings.HasPrefix(p.Type, "urn:eslink:problem:") {
		return &p
	}
	if err := json.Unmarshal(reply, into); err != nil {
		return fmt.Errorf("decode reply of %s: %w: %.300s", name, err, reply)
	}
	return nil
}

// call runs one invocation. The SDK takes no context: a cancelled one returns at
// once, and the reply is dropped.
func (c *Client) call(ctx context.Context, function string, body []byte) ([]byte, error) {
	type result struct {
		reply []byte
		err   error
	}
	got := make(chan result, 1)
	go func() {
		reply, err := c.invoke(function, body)
		got <- result{reply, err}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("invoke %s: %w", function, ctx.Err())
	case r := <-got:
		return r.reply, r.err
	}
}

func (c *Client) invoke(function string, body []byte) ([]byte, error) {
	options := &util.RuntimeOptions{Autoretry: tea.Bool(false), ConnectTimeout: tea.Int(10_000), ReadTimeout: tea.Int(int(invokeTimeout.Milliseconds()))}
	resp, err := c.fc.InvokeFunctionWithOptions(tea.String(function), &fc.InvokeFunctionRequest{Body: bytes.NewReader(body)}, &fc.InvokeFunctionHeaders{}, options)
	var refused *tea.SDKError
	switch {
	case errors.As(err, &refused) && tea.StringValue(refused.Code) != "":
		return nil, fmt.Errorf("invoke %s: %s: %s", function, tea.StringValue(refused.Code), tea.StringValue(refused.Message))
	case err != nil:
		return nil, fmt.Errorf("invoke %s: %w: %w", function, ErrNotReached, err)
	}
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("invoke %s: %w: %w", function, ErrNotReached, err)
	}
	if kind := header(resp.Headers, "x-fc-error-type"); kind != "" {
		return nil, fmt.Errorf("function %s failed (%s): %.500s", function, kind, reply)
	}
	return reply, nil
}

func header(headers map[string]*string, name string) string {
	for k, v := range headers {
		if strings.EqualFold(k, name) {
			return tea.StringValue(v)
		}
	}
	return ""
}
