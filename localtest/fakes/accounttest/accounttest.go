// Package accounttest says how NLB, CLB and PrivateLink behave, as requests and
// replies, and runs them against an account: that of the fakes, or a real one, of
// which it needs endpoints, credentials, a network and a clock.
//
// The cases are text (cases/*.txt), each with its source:
//
//	== name of the case
//	@ where it is said: a document, an SDK, or "assumed"
//	> nlb CreateLoadBalancer form   product and operation; form: the parameters go into the form
//	LoadBalancerName {name}         its parameters, one a line
//	< ok within 10m                 or the code of a refusal; within repeats the call until it ends so and the reply fits
//	{"LoadbalancerId":"<lb>"}       the reply, as a template of package template; RequestId is taken away
//	! nlb DeleteLoadBalancer form   what to call in the end, last first, until it is taken or the thing is gone
//	LoadBalancerId {lb}
//
// {name} and {token} are the case's own; {vpc}, {vswitch1}, {zone1}, {vswitch2},
// {zone2}, {othervswitch}, {host}, {region} and {foreign} are the network's.
package accounttest

import (
	"context"
	"embed"

	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/template"
)

// Account is what the cases run on. They make resources in it and remove them.
type Account struct {
	Region      string
	Credentials auth.Credential                                  // as the V1 SDK takes them
	Endpoint    func(product string) string                      // host of nlb, slb, privatelink
	Transport   http.RoundTripper                                // nil: the SDK's own
	Sleep       func(ctx context.Context, d time.Duration) error // the account's clock
	Network     map[string]string                                // vpc, vswitch1 in zone1, vswitch2 in zone2, othervswitch of another VPC, host (an ECS instance of vpc), foreign (an account)
}

var versions = map[string]string{"nlb": "2022-04-30", "slb": "2014-05-15", "privatelink": "2020-04-15"}

//go:embed cases/*.txt
var files embed.FS

// Case is one story.
type Case struct {
	Name, Source string
	Steps        []Step
}

// Step is a call and how it ends.
type Step struct {
	Line               int
	Product, Operation string
	Form               bool
	Params             [][2]string
	Last               bool   // called in the end
	Ends               string // ok, or a code
	Within             time.Duration
	Reply              string
}

// Run runs the cases of the products, each as a subtest on an account that open gives it.
func Run(t *testing.T, open func(*testing.T) Account, products ...string) {
	for _, product := range products {
		text, err := files.ReadFile(path.Join("cases", product+".txt"))
		require.NoError(t, err)
		cases, err := parse(string(text))
		require.NoError(t, err, product)
		for _, c := range cases {
			t.Run(product+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				c.Run(t, open(t))
			})
		}
	}
}

func parse(text string) (out []Case, err error) {
	reply := false // body lines belong to the reply
	for n, line := range strings.Split(text, "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		wrong := func(what string) error { return fmt.Errorf("line %d: %s", n+1, what) }
		if mark == "==" {
			out = append(out, Case{Name: rest})
			continue
		}
		if mark == "#" || line == "" {
			continue
		}
		if len(out) == 0 {
			return nil, wrong("before the first case")
		}
		c := &out[len(out)-1]
		switch mark {
		case "@":
			c.Source = rest
			continue
		case ">", "!":
			f := strings.Fields(rest)
			if len(f) < 2 || versions[f[0]] == "" {
				return nil, wrong("want a product and an operation")
			}
			c.Steps = append(c.Steps, Step{Line: n + 1, Product: f[0], Operation: f[1], Form: slices.Contains(f[2:], "form"), Last: mark == "!"})
			reply = false
			continue
		}
		if len(c.Steps) == 0 {
			return nil, wrong("before the first call")
		}
		s := &c.Steps[len(c.Steps)-1]
		switch {
		case mark == "<":
			ends, within, waits := strings.Cut(rest, " within ")
			if s.Ends, reply = ends, true; waits {
				if s.Within, err = time.ParseDuration(within); err != nil {
					return nil, wrong(err.Error())
				}
			}
		case reply:
			s.Reply += line
		default:
			s.Params = append(s.Params, [2]string{mark, rest})
		}
	}
	for _, c := range out {
		if c.Source == "" {
			return nil, fmt.Errorf("case %s has no source", c.Name)
		}
	}
	return out, nil
}

// Run plays the case.
func (c Case) Run(t *testing.T, a Account) {
	t.Log("source:", c.Source)
	vars := &template.Vars{Values: map[string]string{"region": a.Region}}
	unique := fmt.Sprintf("eslink-case-%x", time.Now().UnixNano())
	vars.Values["name"], vars.Values["token"] = unique, unique
	for k, v := range a.Network {
		vars.Values[k] = v
	}
	p := player{Account: a, vars: vars}
	defer p.clean(t)
	for _, s := range c.Steps {
		if s.Last {
			p.last = append(p.last, s)
			continue
		}
		require.NoError(t, p.until(t.Context(), s), "line %d: %s %s", s.Line, s.Product, s.Operation)
	}
}

type player struct {
	Account
	vars *template.Vars
	last []Step
}

const pause = 2 * time.Second

// until repeats a call until it ends as the step says, for as long as that allows.
func (p *player) until(ctx context.Context, s Step) error {
	for left := s.Within; ; left -= pause {
		err := p.play(s)
		if err == nil || left <= 0 {
			return err
		}
		if err := p.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// play calls once and compares.
func (p *player) play(s Step) error {
	code, reply, err := p.call(s)
	if err != nil {
		return err
	}
	if code != s.Ends {
		return fmt.Errorf("ended with %s, want %s: %v", code, s.Ends, reply)
	}
	if s.Reply == "" {
		return nil
	}
	want, err := template.Read([]byte(p.vars.Fill(s.Reply)))
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	return p.vars.Fit(want, reply)
}

// call sends the request; code is ok, or that of the refusal.
func (p *player) call(s Step) (code string, reply any, err error) {
	client, err := sdk.NewClientWithOptions(p.Region, sdk.NewConfig().WithScheme("HTTPS").WithAutoRetry(false), p.Credentials)
	if err != nil {
		return "", nil, err
	}
	if p.Transport != nil {
		client.SetTransport(p.Transport)
	}
	r := requests.NewCommonRequest()
	r.Method, r.Scheme, r.Domain, r.Version, r.ApiName = http.MethodPost, "https", p.Endpoint(s.Product), versions[s.Product], s.Operation
	into := r.QueryParams
	if s.Form {
		into = r.FormParams
	}
	for _, param := range s.Params {
		into[param[0]] = p.vars.Fill(param[1])
	}
	resp, err := client.ProcessCommonRequest(r)
	var refusal *sdkerrors.ServerError
	if errors.As(err, &refusal) {
		return refusal.ErrorCode(), refusal.Message(), nil
	}
	if err != nil {
		return "", nil, err
	}
	var body map[string]any
	read, err := template.Read(resp.GetHttpContentBytes())
	if err != nil {
		return "", nil, fmt.Errorf("reply: %w", err)
	}
	if body, _ = read.(map[string]any); body == nil {
		return "", nil, fmt.Errorf("reply is no object: %s", resp.GetHttpContentString())
	}
	delete(body, "RequestId")
	return "ok", body, nil
}

// clean calls what the case leaves to the end, last first.
func (p *player) clean(t *testing.T) {
	for _, s := range slices.Backward(p.last) {
		for left := 20 * time.Minute; ; left -= pause {
			code, reply, err := p.call(s)
			require.NoError(t, err)
			if code == "ok" || strings.Contains(code, "NotFound") || strings.Contains(code, "InvalidParameter") {
				break
			}
			require.Positive(t, left, "line %d: %s %s: %s %v", s.Line, s.Product, s.Operation, code, reply)
			require.NoError(t, p.Sleep(context.WithoutCancel(t.Context()), pause))
		}
	}
}
