// Package ram is a fake of what a deployment needs of Alibaba Cloud RAM 2015-05-01: roles, custom policies with
// versions, and attachments. What is attached to a role is what the account then allows it. Order is refused as the API
// documents do: a role or policy in use, or a policy with further versions, is not deleted. Beside it are the two calls
// of its neighbours that a deployment makes: CreateServiceLinkedRole of Resource Manager and GetCallerIdentity of STS.
package ram

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"eslink/localtest/fakes/cloud"
)

// limit is the most versions a policy has.
const limit = 5

// Fake is the RAM of an account.
type Fake struct {
	http.Handler
	account *cloud.Account

	mu       sync.Mutex
	roles    map[string]*role
	policies map[string]*policy
	linked   map[string]bool // service-linked roles by the service's name
}

type role struct {
	id, description, trust, created string
	attached                        []string
}

type policy struct {
	description, created string
	versions             []version
	next                 int
}

type version struct {
	id, document, created string
	isDefault             bool
}

// New serves RAM for an account.
func New(a *cloud.Account) *Fake {
	r := &Fake{account: a, roles: map[string]*role{}, policies: map[string]*policy{}, linked: map[string]bool{}}
	r.Handler = a.RPC("ram", "2015-05-01", r.locked(map[string]cloud.Op{
		"CreateRole": r.createRole, "GetRole": r.getRole, "DeleteRole": r.deleteRole,
		"CreatePolicy": r.createPolicy, "GetPolicy": r.getPolicy, "DeletePolicy": r.deletePolicy,
		"CreatePolicyVersion": r.createVersion, "ListPolicyVersions": r.listVersions, "DeletePolicyVersion": r.deleteVersion,
		"AttachPolicyToRole": r.attach, "DetachPolicyFromRole": r.detach, "ListPoliciesForRole": r.listPolicies,
	}))
	return r
}

func (r *Fake) locked(ops map[string]cloud.Op) map[string]cloud.Op {
	out := map[string]cloud.Op{}
	for name, op := range ops {
		out[name] = func(req *cloud.Request) (any, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return op(req)
		}
	}
	return out
}

// services are those that a service-linked role can be made for here, with the role's name.
var services = map[string]string{
	"sendevent-fc.eventbridge.aliyuncs.com":       "AliyunServiceRoleForEventBridgeSendToFC",
	"sendevent-mns.eventbridge.aliyuncs.com":      "AliyunServiceRoleForEventBridgeSendToMNS",
	"source-cms.eventbridge.aliyuncs.com":         "AliyunServiceRoleForEventBridgeSourceCMS",
	"source-actiontrail.eventbridge.aliyuncs.com": "AliyunServiceRoleForEventBridgeSourceActionTrail",
	"nlb.aliyuncs.com":                            "AliyunServiceRoleForNlb",
	"privatelink.aliyuncs.com":                    "AliyunServiceRoleForPrivatelink",
}

// ResourceManager serves CreateServiceLinkedRole.
func (r *Fake) ResourceManager() http.Handler {
	return r.account.RPC("resourcemanager", "2020-03-31", r.locked(map[string]cloud.Op{"CreateServiceLinkedRole": func(req *cloud.Request) (any, error) {
		service := req.Get("ServiceName")
		name, known := services[service]
		if !known {
			return nil, cloud.Errorf(400, "InvalidParameter.ServiceName", "The service %s has no service-linked role.", service)
		}
		if r.linked[service] {
			return nil, cloud.Errorf(409, "EntityAlreadyExists.Role", "The role already exists: %s .", name)
		}
		r.linked[service] = true
		return map[string]any{"Role": map[string]any{"RoleName": name}}, nil
	}}))
}

// STS serves GetCallerIdentity.
func (r *Fake) STS() http.Handler {
	return r.account.RPC("sts", "2015-04-01", map[string]cloud.Op{"GetCallerIdentity": func(req *cloud.Request) (any, error) {
		return map[string]any{"AccountId": r.account.AccountID, "IdentityType": map[bool]string{true: "Account", false: "AssumedRoleUser"}[req.Caller.Role == ""]}, nil
	}})
}

// Linked lists the services that have their role.
func (r *Fake) Linked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.linked))
}

// Link makes service-linked roles, as a deployment before has.
func (r *Fake) Link(names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		r.linked[n] = true
	}
}

// Add makes a role with a policy of its own name attached, as a deployment before has.
func (r *Fake) Add(name, trust, description, policyDocument string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &policy{description: description, created: r.now()}
	p.add(policyDocument, p.created)
	p.versions[0].isDefault = true
	r.policies[name] = p
	r.roles[name] = &role{id: r.account.NewID("3", 17), description: description, trust: trust, created: r.now(), attached: []string{name}}
	return r.allow(name)
}

func (r *Fake) now() string { return r.account.Now().UTC().Format("2006-01-02T15:04:05Z") }

func (r *Fake) role(req *cloud.Request) (*role, error) {
	if x := r.roles[req.Get("RoleName")]; x != nil {
		return x, nil
	}
	return nil, cloud.Errorf(404, "EntityNotExist.Role", "The role not exists: acs:ram::%s:role/%s .", r.account.AccountID, req.Get("RoleName"))
}

func (r *Fake) policy(req *cloud.Request) (*policy, error) {
	if kind := req.Get("PolicyType"); kind != "" && kind != "Custom" {
		return nil, cloud.Errorf(501, "NotImplemented", "This fake has no %s policies.", kind)
	}
	if x := r.policies[req.Get("PolicyName")]; x != nil {
		return x, nil
	}
	return nil, cloud.Errorf(404, "EntityNotExist.Policy", "The policy not exists: %s .", req.Get("PolicyName"))
}

// allow makes the account's rights of a role what is attached to it now.
func (r *Fake) allow(name string) error {
	r.account.RemoveRole(name)
	documents := []string{`{"Version":"1","Statement":[]}`} // a role with nothing attached exists all the same
	for _, p := range r.roles[name].attached {
		v := r.policies[p].versions
		documents = append(documents, v[slices.IndexFunc(v, func(v version) bool { return v.isDefault })].document)
	}
	for _, d := range documents {
		var p cloud.Policy
		if err := json.Unmarshal([]byte(d), &p); err != nil {
			return err
		}
		if err := r.account.AddRole(name, p); err != nil {
			return err
		}
	}
	return nil
}

func (r *Fake) render(name string, x *role) map[string]any {
	return map[string]any{"RoleName": name, "RoleId": x.id, "Arn": fmt.Sprintf("acs:ram::%s:role/%s", r.account.AccountID, strings.ToLower(name)),
		"Description": x.description, "AssumeRolePolicyDocument": x.trust, "CreateDate": x.created}
}

func (r *Fake) createRole(req *cloud.Request) (any, error) {
	name := req.Get("RoleName")
	if r.roles[name] != nil {
		return nil, cloud.Errorf(409, "EntityAlreadyExists.Role", "The role already exists: %s .", name)
	}
	var trust struct {
		Statement []struct{ Principal struct{ Service []string } }
	}
	if json.Unmarshal([]byte(req.Get("AssumeRolePolicyDocument")), &trust) != nil || len(trust.Statement) == 0 {
		return nil, cloud.Errorf(400, "MalformedPolicyDocument", "The AssumeRolePolicyDocument is malformed.")
	}
	x := &role{id: r.account.NewID("3", 17), description: req.Get("Description"), trust: req.Get("AssumeRolePolicyDocument"), created: r.now()}
	r.roles[name] = x
	return map[string]any{"Role": r.render(name, x)}, r.allow(name)
}

func (r *Fake) getRole(req *cloud.Request) (any, error) {
	for service, name := range services {
		if r.linked[service] && name == req.Get("RoleName") {
			return map[string]any{"Role": map[string]any{"RoleName": name}}, nil
		}
	}
	x, err := r.role(req)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Role": r.render(req.Get("RoleName"), x)}, nil
}

func (r *Fake) deleteRole(req *cloud.Request) (any, error) {
	x, err := r.role(req)
	if err != nil {
		return nil, err
	}
	if len(x.attached) > 0 {
		return nil, cloud.Errorf(409, "DeleteConflict.Role.Policy", "The role can not has attached policies.")
	}
	delete(r.roles, req.Get("RoleName"))
	r.account.RemoveRole(req.Get("RoleName"))
	return nil, nil
}

func document(text string) error {
	var p cloud.Policy
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Version != "1" {
		return cloud.Errorf(400, "MalformedPolicyDocument", "The policy document is malformed.")
	}
	if len(text) > 6144 {
		return cloud.Errorf(400, "InvalidParameter.PolicyDocument.Length", "The policy document is longer than 6144 characters.")
	}
	return nil
}

func (p *policy) add(text, now string) version {
	p.next++
	p.versions = append(p.versions, version{id: fmt.Sprintf("v%d", p.next), document: text, created: now})
	return p.versions[len(p.versions)-1]
}

func (v version) render() map[string]any {
	return map[string]any{"VersionId": v.id, "PolicyDocument": v.document, "IsDefaultVersion": v.isDefault, "CreateDate": v.created}
}

func (r *Fake) createPolicy(req *cloud.Request) (any, error) {
	name, text := req.Get("PolicyName"), req.Get("PolicyDocument")
	if r.policies[name] != nil {
		return nil, cloud.Errorf(409, "EntityAlreadyExists.Policy", "The policy already exists: %s .", name)
	}
	if err := document(text); err != nil {
		return nil, err
	}
	p := &policy{description: req.Get("Description"), created: r.now()}
	p.add(text, p.created)
	p.versions[0].isDefault = true
	r.policies[name] = p
	return map[string]any{"Policy": map[string]any{"PolicyName": name, "PolicyType": "Custom", "DefaultVersion": "v1", "CreateDate": p.created}}, nil
}

func (r *Fake) getPolicy(req *cloud.Request) (any, error) {
	p, err := r.policy(req)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.versions, func(v version) bool { return v.isDefault })
	used := len(r.holders(req.Get("PolicyName")))
	return map[string]any{
		"Policy": map[string]any{"PolicyName": req.Get("PolicyName"), "PolicyType": "Custom", "Description": p.description,
			"DefaultVersion": p.versions[i].id, "AttachmentCount": used, "CreateDate": p.created},
		"DefaultPolicyVersion": p.versions[i].render(),
	}, nil
}

// holders are the roles that a policy is attached to.
func (r *Fake) holders(name string) (out []string) {
	for role, x := range r.roles {
		if slices.Contains(x.attached, name) {
			out = append(out, role)
		}
	}
	return out
}

func (r *Fake) deletePolicy(req *cloud.Request) (any, error) {
	p, err := r.policy(req)
	if err != nil {
		return nil, err
	}
	if len(r.holders(req.Get("PolicyName"))) > 0 {
		return nil, cloud.Errorf(409, "DeleteConflict.Policy.Role", "The policy is attached to a role.")
	}
	if len(p.versions) > 1 {
		return nil, cloud.Errorf(409, "DeleteConflict.Policy.Version", "The policy has further versions.")
	}
	delete(r.policies, req.Get("PolicyName"))
	return nil, nil
}

func (r *Fake) createVersion(req *cloud.Request) (any, error) {
	p, err := r.policy(req)
	if err != nil {
		return nil, err
	}
	if err := document(req.Get("PolicyDocument")); err != nil {
		return nil, err
	}
	if len(p.versions) == limit {
		if req.Get("RotateStrategy") != "DeleteOldestNonDefaultVersionWhenLimitExceeded" {
			return nil, cloud.Errorf(409, "LimitExceeded.Policy.Version", "The policy has %d versions.", limit)
		}
		i := slices.IndexFunc(p.versions, func(v version) bool { return !v.isDefault })
		p.versions = slices.Delete(p.versions, i, i+1)
	}
	p.add(req.Get("PolicyDocument"), r.now())
	last := &p.versions[len(p.versions)-1]
	if strings.EqualFold(req.Get("SetAsDefault"), "true") { // the Python SDK writes True
		for i := range p.versions {
			p.versions[i].isDefault = false
		}
		last.isDefault = true
		for _, role := range r.holders(req.Get("PolicyName")) {
			if err := r.allow(role); err != nil {
				return nil, err
			}
		}
	}
	return map[string]any{"PolicyVersion": last.render()}, nil
}

func (r *Fake) listVersions(req *cloud.Request) (any, error) {
	p, err := r.policy(req)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, v := range p.versions {
		out = append(out, v.render())
	}
	return map[string]any{"PolicyVersions": map[string]any{"PolicyVersion": out}}, nil
}

func (r *Fake) deleteVersion(req *cloud.Request) (any, error) {
	p, err := r.policy(req)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.versions, func(v version) bool { return v.id == req.Get("VersionId") })
	switch {
	case i < 0:
		return nil, cloud.Errorf(404, "EntityNotExist.Policy.Version", "The policy version not exists: %s .", req.Get("VersionId"))
	case p.versions[i].isDefault:
		return nil, cloud.Errorf(409, "DeleteConflict.PolicyVersion.Default", "The default version can not be deleted.")
	}
	p.versions = slices.Delete(p.versions, i, i+1)
	return nil, nil
}

func (r *Fake) attach(req *cloud.Request) (any, error) {
	x, err := r.role(req)
	if err != nil {
		return nil, err
	}
	if _, err := r.policy(req); err != nil {
		return nil, err
	}
	if slices.Contains(x.attached, req.Get("PolicyName")) {
		return nil, cloud.Errorf(409, "EntityAlreadyExists.Role.Policy", "The policy is already attached to the role.")
	}
	x.attached = append(x.attached, req.Get("PolicyName"))
	return nil, r.allow(req.Get("RoleName"))
}

func (r *Fake) detach(req *cloud.Request) (any, error) {
	x, err := r.role(req)
	if err != nil {
		return nil, err
	}
	i := slices.Index(x.attached, req.Get("PolicyName"))
	if i < 0 {
		return nil, cloud.Errorf(404, "EntityNotExist.Role.Policy", "The policy is not attached to the role.")
	}
	x.attached = slices.Delete(x.attached, i, i+1)
	return nil, r.allow(req.Get("RoleName"))
}

func (r *Fake) listPolicies(req *cloud.Request) (any, error) {
	x, err := r.role(req)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, name := range x.attached {
		out = append(out, map[string]any{"PolicyName": name, "PolicyType": "Custom"})
	}
	return map[string]any{"Policies": map[string]any{"Policy": out}}, nil
}
