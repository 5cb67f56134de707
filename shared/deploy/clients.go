package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

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

// Clients call the products that a deployment is prepared with.
type Clients struct {
	RAM    *ram.Client
	Queues mns.AliQueueManager
	Tables *ots.TableStoreClient

	rpc    *sdk.Client // what has few calls: STS, Resource Manager, Tablestore's instances, EventBridge
	log    *logClient
	region string
}

// Key signs the calls; Token is empty for an account's own key.
type Key struct{ ID, Secret, Token string }

// Seam sends the calls elsewhere, to fakes: Transport those of all products but MNS, whose SDK has a transport and an
// endpoint of its own. The zero value is the cloud.
type Seam struct {
	Transport http.RoundTripper
	Queues    fasthttp.RoundTripper
	MNS       string
}

// Connect returns clients for a target.
func Connect(t Target, k Key, seam Seam) (Clients, error) {
	var key auth.Credential = credentials.NewAccessKeyCredential(k.ID, k.Secret)
	if k.Token != "" {
		key = credentials.NewStsTokenCredential(k.ID, k.Secret, k.Token)
	}
	config := sdk.NewConfig().WithScheme("HTTPS").WithAutoRetry(false)
	r := &ram.Client{} // its constructors race on a package variable
	c := Clients{RAM: r, rpc: &sdk.Client{}, region: t.Region}
	if err := errors.Join(r.InitWithOptions(t.Region, config, key), c.rpc.InitWithOptions(t.Region, config, key)); err != nil {
		return Clients{}, fmt.Errorf("client: %w", err)
	}
	r.Domain = "ram.aliyuncs.com"
	if seam.Transport != nil {
		r.SetTransport(seam.Transport)
		c.rpc.SetTransport(seam.Transport)
	}
	c.log = &logClient{key: k, host: fmt.Sprintf("%s.%s.log.aliyuncs.com", t.LogProject, t.Region), http: &http.Client{Transport: seam.Transport, Timeout: time.Minute}, now: time.Now}
	m := mns.NewAliMNSClientWithConfig(mns.AliMNSClientConfig{
		EndPoint:    cmp.Or(seam.MNS, fmt.Sprintf("https://%s.mns.%s.aliyuncs.com", t.AccountID, t.Region)),
		AccessKeyId: k.ID, AccessKeySecret: k.Secret, Token: k.Token})
	if seam.Queues != nil {
		m.SetTransport(seam.Queues)
	}
	c.Queues = mns.NewMNSQueueManager(m)
	c.Tables = ots.NewClientWithConfig(fmt.Sprintf("https://%s.%s.ots.aliyuncs.com", t.TableInstance, t.Region), t.TableInstance,
		k.ID, k.Secret, k.Token, &ots.TableStoreConfig{RetryTimes: 3, Transport: seam.Transport})
	return c, nil
}

// call makes one call of an RPC product, with its parameters in the query; form has them in the body.
func (c Clients) call(ctx context.Context, host, version, action string, params map[string]string, into any) error {
	return c.process(ctx, host, version, action, into, func(req *requests.CommonRequest) { req.QueryParams = params })
}

func (c Clients) form(ctx context.Context, host, version, action string, params map[string]string, into any) error {
	return c.process(ctx, host, version, action, into, func(req *requests.CommonRequest) { req.FormParams = params })
}

func (c Clients) process(ctx context.Context, host, version, action string, into any, fill func(*requests.CommonRequest)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	req := requests.NewCommonRequest()
	req.Domain, req.Version, req.ApiName, req.Scheme, req.Method = host, version, action, "HTTPS", "POST"
	fill(req)
	if req.QueryParams == nil {
		req.QueryParams = map[string]string{}
	}
	resp, err := c.rpc.ProcessCommonRequest(req)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(resp.GetHttpContentBytes(), into)
}

func (c Clients) queue(name string, want Queue) ([]change, error) {
	got, err := c.Queues.GetQueueAttributes(name)
	create := func() error {
		return may("mns:CreateQueue", c.Queues.CreateQueue(name, want.DelaySeconds, want.MaximumMessageSize, want.MessageRetentionPeriod, want.VisibilityTimeout, want.PollingWaitSeconds, 0))
	}
	if mns.ERR_MNS_QUEUE_NOT_EXIST.IsEqual(err) {
		return []change{{"create queue " + name, create}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read queue %s: %w", name, may("mns:GetQueueAttributes", err))
	}
	have := Queue{got.VisibilityTimeout, got.MessageRetentionPeriod, got.MaxMessageSize, got.DelaySeconds, got.PollingWaitSeconds}
	if have == want {
		return nil, nil
	}
	return []change{{fmt.Sprintf("change queue %s from %+v to %+v", name, have, want), func() error {
		return may("mns:SetQueueAttributes", c.Queues.SetQueueAttributes(name, want.DelaySeconds, want.MaximumMessageSize, want.MessageRetentionPeriod, want.VisibilityTimeout, want.PollingWaitSeconds, 0))
	}}}, nil
}

func (c Clients) dropQueue(name string) ([]change, error) {
	_, err := c.Queues.GetQueueAttributes(name)
	if mns.ERR_MNS_QUEUE_NOT_EXIST.IsEqual(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read queue %s: %w", name, may("mns:GetQueueAttributes", err))
	}
	return []change{{"delete queue " + name, func() error { return may("mns:DeleteQueue", c.Queues.DeleteQueue(name)) }}}, nil
}

func absent(err error) bool {
	var e *ots.OtsError
	return errors.As(err, &e) && e.Code == "OTSObjectNotExist"
}

func (c Clients) table(name string, want Table) ([]change, error) {
	got, err := c.Tables.DescribeTable(&ots.DescribeTableRequest{TableName: name})
	if absent(err) {
		return []change{c.newTable(name, want)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, may("ots:DescribeTable", err))
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

func (c Clients) newTable(name string, want Table) change {
	return change{"create table " + name, func() error {
		meta := &ots.TableMeta{TableName: name}
		for _, k := range want.PrimaryKey {
			meta.AddPrimaryKeyColumn(k.Name, ots.PrimaryKeyType_STRING)
		}
		_, err := c.Tables.CreateTable(&ots.CreateTableRequest{TableMeta: meta, ReservedThroughput: &ots.ReservedThroughput{},
			TableOption: &ots.TableOption{TimeToAlive: want.TimeToLive, MaxVersion: want.MaxVersions}})
		return may("ots:CreateTable", err)
	}}
}

func (c Clients) dropTable(name string) ([]change, error) {
	_, err := c.Tables.DescribeTable(&ots.DescribeTableRequest{TableName: name})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, may("ots:DescribeTable", err))
	}
	return []change{{"delete table " + name, func() error {
		_, err := c.Tables.DeleteTable(&ots.DeleteTableRequest{TableName: name})
		return may("ots:DeleteTable", err)
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

// Mark is how a role or policy of ours is told from others of the same name.
const Mark = "made by eslink; see its shared/deploy"

func (c Clients) role(name, document, trust string) (todo []change, err error) {
	get := rpc(ram.CreateGetRoleRequest())
	get.RoleName = name
	found, err := c.RAM.GetRole(get)
	switch {
	case code(err) == "EntityNotExist.Role":
		todo = append(todo, change{"create role " + name, func() error {
			req := rpc(ram.CreateCreateRoleRequest())
			req.RoleName, req.AssumeRolePolicyDocument, req.Description = name, trust, Mark
			_, err := c.RAM.CreateRole(req)
			return may("ram:CreateRole", err)
		}})
	case err != nil:
		return nil, fmt.Errorf("read role %s: %w", name, may("ram:GetRole", err))
	case found.Role.Description != Mark || !same(found.Role.AssumeRolePolicyDocument, trust):
		return nil, fmt.Errorf("role %s exists and is not ours", name)
	}
	policy := rpc(ram.CreateGetPolicyRequest())
	policy.PolicyName, policy.PolicyType = name, "Custom"
	now, err := c.RAM.GetPolicy(policy)
	switch {
	case code(err) == "EntityNotExist.Policy":
		todo = append(todo, change{"create policy " + name, func() error {
			req := rpc(ram.CreateCreatePolicyRequest())
			req.PolicyName, req.PolicyDocument, req.Description = name, document, Mark
			_, err := c.RAM.CreatePolicy(req)
			return may("ram:CreatePolicy", err)
		}})
	case err != nil:
		return nil, fmt.Errorf("read policy %s: %w", name, may("ram:GetPolicy", err))
	case now.Policy.Description != Mark:
		return nil, fmt.Errorf("policy %s exists and is not ours", name)
	case !same(now.DefaultPolicyVersion.PolicyDocument, document):
		todo = append(todo, change{"change policy " + name, func() error {
			req := rpc(ram.CreateCreatePolicyVersionRequest())
			req.PolicyName, req.PolicyDocument, req.SetAsDefault = name, document, requests.NewBoolean(true)
			req.RotateStrategy = "DeleteOldestNonDefaultVersionWhenLimitExceeded"
			_, err := c.RAM.CreatePolicyVersion(req)
			return may("ram:CreatePolicyVersion", err)
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
			return may("ram:AttachPolicyToRole", err)
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
		return false, fmt.Errorf("list policies of role %s: %w", name, may("ram:ListPoliciesForRole", err))
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
			return may("ram:DetachPolicyFromRole", err)
		}})
	}
	get := rpc(ram.CreateGetRoleRequest())
	get.RoleName = name
	found, err := c.RAM.GetRole(get)
	switch {
	case code(err) == "EntityNotExist.Role":
	case err != nil:
		return nil, fmt.Errorf("read role %s: %w", name, may("ram:GetRole", err))
	case found.Role.Description != Mark:
		return nil, fmt.Errorf("role %s is not ours and stays", name)
	default:
		todo = append(todo, change{"delete role " + name, func() error {
			req := rpc(ram.CreateDeleteRoleRequest())
			req.RoleName = name
			_, err := c.RAM.DeleteRole(req)
			return may("ram:DeleteRole", err)
		}})
	}
	list := rpc(ram.CreateListPolicyVersionsRequest())
	list.PolicyName, list.PolicyType = name, "Custom"
	versions, err := c.RAM.ListPolicyVersions(list)
	if code(err) == "EntityNotExist.Policy" {
		return todo, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", name, may("ram:GetPolicy", err))
	}
	return append(todo, change{"delete policy " + name, func() error {
		for _, v := range versions.PolicyVersions.PolicyVersion {
			if v.IsDefaultVersion {
				continue
			}
			req := rpc(ram.CreateDeletePolicyVersionRequest())
			req.PolicyName, req.VersionId = name, v.VersionId
			if _, err := c.RAM.DeletePolicyVersion(req); err != nil {
				return may("ram:DeletePolicyVersion", err)
			}
		}
		req := rpc(ram.CreateDeletePolicyRequest())
		req.PolicyName = name
		_, err := c.RAM.DeletePolicy(req)
		return may("ram:DeletePolicy", err)
	}}), nil
}
