package cloud

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Principal is who calls. Role "" is the account's own key, to which everything is allowed.
type Principal struct{ AccountID, Role string }

// Credentials sign a request. SecurityToken is empty for the account's own key.
type Credentials struct{ AccessKeyID, AccessKeySecret, SecurityToken string }

type key struct {
	Credentials
	principal Principal
	expires   time.Time // zero: never
}

// Policy is a RAM policy document.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement allows or denies actions on resources; both may hold the wildcards * and ?.
type Statement struct {
	Effect           string // Allow or Deny
	Action, Resource Strings
	Condition        map[string]map[string]Strings `json:",omitempty"` // StringEquals or StringLike, by key
}

// Strings is a JSON string or a list of them.
type Strings []string

func (s *Strings) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*s = Strings{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(s))
}

// Attribute is what a condition is judged by, for instance {"ram:ServiceName", "nlb.aliyuncs.com"}.
type Attribute struct{ Key, Value string }

// Grant is one action on one resource that a role's policy allows, and how often that was needed.
type Grant struct {
	Role, Action, Resource string
	Used                   int
}

// Refusal is what a role wanted and was not allowed.
type Refusal struct{ Role, Action, Resource string }

type role struct {
	policies []Policy
	used     map[Grant]int // Grant with Used 0
}

// AddRole adds a role, or a further policy to it. It refuses a policy that it would not judge as RAM does.
func (a *Account) AddRole(name string, policy Policy) error {
	for _, s := range policy.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" || len(s.Action) == 0 || len(s.Resource) == 0 {
			return fmt.Errorf("role %s: statement %+v needs Effect Allow or Deny, Action and Resource", name, s)
		}
		for operator := range s.Condition {
			if operator != "StringEquals" && operator != "StringLike" {
				return fmt.Errorf("role %s: condition operator %s is not implemented", name, operator)
			}
		}
	}
	if policy.Version != "1" {
		return fmt.Errorf("role %s: policy version %q, want 1", name, policy.Version)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.roles[name]
	if r == nil {
		r = &role{used: map[Grant]int{}}
		a.roles[name] = r
	}
	r.policies = append(r.policies, policy)
	return nil
}

// RemoveRole removes a role with its policies and the counts of their use. Its keys are refused from then on.
func (a *Account) RemoveRole(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.roles, name)
}

// AssumeRole issues a key for a role, valid for 36 hours from now. A role that was not added panics.
func (a *Account) AssumeRole(name string, now time.Time) Credentials {
	c := Credentials{AccessKeyID: a.NewID("STS.N", 24), AccessKeySecret: a.NewID("", 44), SecurityToken: a.NewID("CAIS", 96)}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.roles[name] == nil {
		panic("cloud: assume role " + name + ": no such role")
	}
	a.keys[c.AccessKeyID] = key{c, Principal{a.AccountID, name}, now.Add(36 * time.Hour)}
	return c
}

// RootKey is the account's own key.
func (a *Account) RootKey() Credentials { return a.root }

// Secret finds the secret and the caller of an access key, for the fakes that check signatures of their own.
func (a *Account) Secret(accessKeyID, securityToken string) (secret string, p Principal, err *Error) {
	a.mu.Lock()
	k, ok := a.keys[accessKeyID]
	a.mu.Unlock()
	switch {
	case !ok:
		return "", Principal{}, Errorf(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	case k.SecurityToken != "" && securityToken == "":
		return "", Principal{}, Errorf(400, "MissingSecurityToken", "SecurityToken is mandatory for this action.")
	case k.SecurityToken != securityToken:
		return "", Principal{}, Errorf(400, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
	case !k.expires.IsZero() && !a.now().Before(k.expires):
		return "", Principal{}, Errorf(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
	}
	return k.AccessKeySecret, k.principal, nil
}

// Authorize judges an action ("nlb:CreateLoadBalancer") on a resource ("acs:nlb:cn-hangzhou:1234:loadbalancer/*") by
// the policies of the caller's role: a matching Deny refuses, else one matching Allow is needed. The first grant that
// matched is counted as used. The refusal is 403 Forbidden.RAM.
func (a *Account) Authorize(p Principal, action, resource string, context ...Attribute) *Error {
	if p.Role == "" && p.AccountID == a.AccountID {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var grant *Grant
	denied := false
	r := a.roles[p.Role]
	if r != nil && p.AccountID == a.AccountID {
		for _, s := range r.statements() {
			i := slices.IndexFunc(s.Action, func(pattern string) bool { return matches(strings.ToLower(pattern), strings.ToLower(action)) })
			j := slices.IndexFunc(s.Resource, func(pattern string) bool { return matches(pattern, resource) })
			if i < 0 || j < 0 || !s.applies(context) {
				continue
			}
			if s.Effect == "Deny" {
				denied = true
			} else if grant == nil {
				grant = &Grant{Role: p.Role, Action: s.Action[i], Resource: s.Resource[j]}
			}
		}
	}
	if denied || grant == nil {
		a.refusals = append(a.refusals, Refusal{p.Role, action, resource})
		return Errorf(403, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM. (%s on %s)", action, resource)
	}
	r.used[*grant]++
	return nil
}

// Grants lists what the roles' policies allow and how often each was used.
func (a *Account) Grants() []Grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	var grants []Grant
	for name, r := range a.roles {
		for _, s := range r.statements() {
			if s.Effect != "Allow" {
				continue
			}
			for _, action := range s.Action {
				for _, resource := range s.Resource {
					g := Grant{Role: name, Action: action, Resource: resource}
					g.Used = r.used[g]
					grants = append(grants, g)
				}
			}
		}
	}
	slices.SortFunc(grants, func(x, y Grant) int {
		return strings.Compare(x.Role+"\n"+x.Action+"\n"+x.Resource, y.Role+"\n"+y.Action+"\n"+y.Resource)
	})
	return grants
}

// Refusals lists what was refused, in order.
func (a *Account) Refusals() []Refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.refusals)
}

func (r *role) statements() []Statement {
	var all []Statement
	for _, p := range r.policies {
		all = append(all, p.Statement...)
	}
	return all
}

// applies: every key of every operator needs one of its values in the context; a key without an attribute fails.
func (s Statement) applies(context []Attribute) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if !slices.ContainsFunc(context, func(at Attribute) bool {
				return at.Key == key && slices.ContainsFunc(values, func(v string) bool {
					return v == at.Value || operator == "StringLike" && matches(v, at.Value)
				})
			}) {
				return false
			}
		}
	}
	return true
}

// matches compares with RAM's wildcards: * is any run of characters, ? is one.
func matches(pattern, s string) bool {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '*' {
			for j := 0; j <= len(s)-i; j++ {
				if matches(pattern[i+1:], s[i+j:]) {
					return true
				}
			}
			return false
		}
		if i >= len(s) || pattern[i] != '?' && pattern[i] != s[i] {
			return false
		}
	}
	return len(pattern) == len(s)
}
