package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ram"
	mns "github.com/aliyun/aliyun-mns-go-sdk"
	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/valyala/fasthttp"
)

// Clients are the official SDKs' clients for the three products.
type Clients struct {
	RAM    *ram.Client
	Queues mns.AliQueueManager
	Tables *ots.TableStoreClient
}

// Key signs the calls; Token is empty for an account's own key.
type Key struct{ ID, Secret, Token string }

// Connect returns clients for the public endpoints. For fakes, transport carries RAM and Tablestore, and queues MNS;
// both are nil in the cloud.
func Connect(t Target, k Key, transport http.RoundTripper, queues fasthttp.RoundTripper) (Clients, error) {
	var key auth.Credential = credentials.NewAccessKeyCredential(k.ID, k.Secret)
	if k.Token != "" {
		key = credentials.NewStsTokenCredential(k.ID, k.Secret, k.Token)
	}
	config := sdk.NewConfig().WithScheme("HTTPS").WithAutoRetry(false)
	r := &ram.Client{} // its constructors race on a package variable
	if err := r.InitWithOptions(t.Region, config, key); err != nil {
		return Clients{}, fmt.Errorf("ram client: %w", err)
	}
	r.Domain = "ram.aliyuncs.com"
	if transport != nil {
		r.SetTransport(transport)
	}
	m := mns.NewAliMNSClientWithConfig(mns.AliMNSClientConfig{
		EndPoint:    fmt.Sprintf("https://%s.mns.%s.aliyuncs.com", t.AccountID, t.Region),
		AccessKeyId: k.ID, AccessKeySecret: k.Secret, Token: k.Token})
	if queues != nil {
		m.SetTransport(queues)
	}
	o := ots.NewClientWithConfig(fmt.Sprintf("https://%s.%s.ots.aliyuncs.com", t.TableInstance, t.Region), t.TableInstance,
		k.ID, k.Secret, k.Token, &ots.TableStoreConfig{RetryTimes: 3, Transport: transport})
	return Clients{RAM: r, Queues: mns.NewMNSQueueManager(m), Tables: o}, nil
}

func (c Clients) queue(name string, want Queue) ([]change, error) {
	got, err := c.Queues.GetQueueAttributes(name)
	create := func() error {
		return c.Queues.CreateQueue(name, want.DelaySeconds, want.MaximumMessageSize, want.MessageRetentionPeriod, want.VisibilityTimeout, want.PollingWaitSeconds, 0)
	}
	if mns.ERR_MNS_QUEUE_NOT_EXIST.IsEqual(err) {
		return []change{{"create queue " + name, create}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read queue %s: %w", name, err)
	}
	have := Queue{got.VisibilityTimeout, got.MessageRetentionPeriod, got.MaxMessageSize, got.DelaySeconds, got.PollingWaitSeconds}
	if have == want {
		return nil, nil
	}
	return []change{{fmt.Sprintf("change queue %s from %+v to %+v", name, have, want), func() error {
		return c.Queues.SetQueueAttributes(name, want.DelaySeconds, want.MaximumMessageSize, want.MessageRetentionPeriod, want.VisibilityTimeout, want.PollingWaitSeconds, 0)
	}}}, nil
}

func (c Clients) dropQueue(name string) ([]change, error) {
	_, err := c.Queues.GetQueueAttributes(name)
	if mns.ERR_MNS_QUEUE_NOT_EXIST.IsEqual(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read queue %s: %w", name, err)
	}
	return []change{{"delete queue " + name, func() error { return c.Queues.DeleteQueue(name) }}}, nil
}

func absent(err error) bool {
	var e *ots.OtsError
	return errors.As(err, &e) && e.Code == "OTSObjectNotExist"
}

func (c Clients) table(name string, want Table) ([]change, error) {
	got, err := c.Tables.DescribeTable(&ots.DescribeTableRequest{TableName: name})
	if absent(err) {
		return []change{{"create table " + name, func() error {
			meta := &ots.TableMeta{TableName: name}
			for _, k := range want.PrimaryKey {
				meta.AddPrimaryKeyColumn(k.Name, ots.PrimaryKeyType_STRING)
			}
			_, err := c.Tables.CreateTable(&ots.CreateTableRequest{TableMeta: meta, ReservedThroughput: &ots.ReservedThroughput{},
				TableOption: &ots.TableOption{TimeToAlive: want.TimeToLive, MaxVersion: want.MaxVersions}})
			return err
		}}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, err)
	}
	have := Table{MaxVersions: got.TableOption.MaxVersion, TimeToLive: got.TableOption.TimeToAlive}
	for _, k := range got.TableMeta.SchemaEntry {
		kind := "other"
		if *k.Type == ots.PrimaryKeyType_STRING {
			kind = "string"
		}
		have.PrimaryKey = append(have.PrimaryKey, struct{ Name, Type string }{*k.Name, kind})
	}
	if !reflect.DeepEqual(have, want) {
		return nil, fmt.Errorf("table %s is %+v, want %+v: not ours, or to be changed by hand", name, have, want)
	}
	return nil, nil
}

func (c Clients) dropTable(name string) ([]change, error) {
	_, err := c.Tables.DescribeTable(&ots.DescribeTableRequest{TableName: name})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, err)
	}
	return []change{{"delete table " + name, func() error {
		_, err := c.Tables.DeleteTable(&ots.DeleteTableRequest{TableName: name})
		return err
	}}}, nil
}

func code(err error) string {
	var e *sdkerrors.ServerError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// rpc makes a request ready: POST over HTTPS.
func rpc[R requests.AcsRequest](req R) R {
	req.SetScheme("HTTPS")
	return req
}

// mark is how a role or policy of ours is told from others of the same name.
const mark = "made by eslink; see its .deploy directory"

func (c Clients) role(name, document, trust string) (todo []change, err error) {
	get := rpc(ram.CreateGetRoleRequest())
	get.RoleName = name
	found, err := c.RAM.GetRole(get)
	switch {
	case code(err) == "EntityNotExist.Role":
		todo = append(todo, change{"create role " + name, func() error {
			req := rpc(ram.CreateCreateRoleRequest())
			req.RoleName, req.AssumeRolePolicyDocument, req.Description = name, trust, mark
			_, err := c.RAM.CreateRole(req)
			return err
		}})
	case err != nil:
		return nil, fmt.Errorf("read role %s: %w", name, err)
	case found.Role.Description != mark || !same(found.Role.AssumeRolePolicyDocument, trust):
		return nil, fmt.Errorf("role %s exists and is not ours", name)
	}
	policy := rpc(ram.CreateGetPolicyRequest())
	policy.PolicyName, policy.PolicyType = name, "Custom"
	now, err := c.RAM.GetPolicy(policy)
	switch {
	case code(err) == "EntityNotExist.Policy":
		todo = append(todo, change{"create policy " + name, func() error {
			req := rpc(ram.CreateCreatePolicyRequest())
			req.PolicyName, req.PolicyDocument, req.Description = name, document, mark
			_, err := c.RAM.CreatePolicy(req)
			return err
		}})
	case err != nil:
		return nil, fmt.Errorf("read policy %s: %w", name, err)
	case now.Policy.Description != mark:
		return nil, fmt.Errorf("policy %s exists and is not ours", name)
	case !same(now.DefaultPolicyVersion.PolicyDocument, document):
		todo = append(todo, change{"change policy " + name, func() error {
			req := rpc(ram.CreateCreatePolicyVersionRequest())
			req.PolicyName, req.PolicyDocument, req.SetAsDefault = name, document, requests.NewBoolean(true)
			req.RotateStrategy = "DeleteOldestNonDefaultVersionWhenLimitExceeded"
			_, err := c.RAM.CreatePolicyVersion(req)
			return err
		}})
	}
	attached, err := c.attached(name)
	if err != nil {
		return nil, err
	}
	if !attached {
		todo = append(todo, change{"attach policy " + name, func() error {
			req := rpc(ram.CreateAttachPolicyToRoleRequest())
			req.PolicyName, req.PolicyType, req.RoleName = name, "Custom", name
			_, err := c.RAM.AttachPolicyToRole(req)
			return err
		}})
	}
	return todo, nil
}

// attached says whether a role has the policy of its own name; a role that does not exist has none.
func (c Clients) attached(name string) (bool, error) {
	req := rpc(ram.CreateListPoliciesForRoleRequest())
	req.RoleName = name
	list, err := c.RAM.ListPoliciesForRole(req)
	if code(err) == "EntityNotExist.Role" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list policies of role %s: %w", name, err)
	}
	return slices.ContainsFunc(list.Policies.Policy, func(p ram.Policy) bool { return p.PolicyName == name }), nil
}

func same(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func (c Clients) dropRole(name string) (todo []change, err error) {
	attached, err := c.attached(name)
	if err != nil {
		return nil, err
	}
	if attached {
		todo = append(todo, change{"detach policy " + name, func() error {
			req := rpc(ram.CreateDetachPolicyFromRoleRequest())
			req.PolicyName, req.PolicyType, req.RoleName = name, "Custom", name
			_, err := c.RAM.DetachPolicyFromRole(req)
			return err
		}})
	}
	get := rpc(ram.CreateGetRoleRequest())
	get.RoleName = name
	found, err := c.RAM.GetRole(get)
	switch {
	case code(err) == "EntityNotExist.Role":
	case err != nil:
		return nil, fmt.Errorf("read role %s: %w", name, err)
	case found.Role.Description != mark:
		return nil, fmt.Errorf("role %s is not ours and stays", name)
	default:
		todo = append(todo, change{"delete role " + name, func() error {
			req := rpc(ram.CreateDeleteRoleRequest())
			req.RoleName = name
			_, err := c.RAM.DeleteRole(req)
			return err
		}})
	}
	list := rpc(ram.CreateListPolicyVersionsRequest())
	list.PolicyName, list.PolicyType = name, "Custom"
	versions, err := c.RAM.ListPolicyVersions(list)
	if code(err) == "EntityNotExist.Policy" {
		return todo, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", name, err)
	}
	return append(todo, change{"delete policy " + name, func() error {
		for _, v := range versions.PolicyVersions.PolicyVersion {
			if v.IsDefaultVersion {
				continue
			}
			req := rpc(ram.CreateDeletePolicyVersionRequest())
			req.PolicyName, req.VersionId = name, v.VersionId
			if _, err := c.RAM.DeletePolicyVersion(req); err != nil {
				return err
			}
		}
		req := rpc(ram.CreateDeletePolicyRequest())
		req.PolicyName = name
		_, err := c.RAM.DeletePolicy(req)
		return err
	}}), nil
}
