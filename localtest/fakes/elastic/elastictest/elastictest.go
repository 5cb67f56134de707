// Package elastictest says how an Elasticsearch cluster behaves, as requests and
// replies that were seen on real 7.17.29 and 7.10.2 servers, and runs them against
// any pair of clusters: the embedded one, or real processes.
//
// The cases are text (cases/*.txt), so that a reply stands as it was on the wire:
//
//	== name of the case
//	? >=7.17 security           what it needs: versions, capabilities of the World
//	> PUT /{i}-a                the request; "src" before the method sends it to the source, "as NAME" (or NAME:PASSWORD) logs in as that user
//	+ X-Opaque-Id: op-1         a header
//	{"settings": …}             the body, to the next line that starts with < or >
//	< 200                       the status; "text": a reply that is no JSON, which is compared but for blanks; "within 5s" repeats the request until the reply fits
//	{"acknowledged": true, …}   the reply, as a template
//
// Replies are templates of package template; {i} is a name of the case's own: its indices begin with it and
// are deleted at the end.
package elastictest

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/template"
)

// Cluster is one side of the world, with a superuser's login.
type Cluster struct {
	URL                string // as the test reaches it, without a trailing slash
	HTTP               http.RoundTripper
	Username, Password string // "": security is off
}

// World is a destination that may pull from a source. The destination's
// whitelist holds SourceHost, Refused and nosuch.invalid:*, which does not
// resolve, and not badremote:9200. One that can "directory" has Realms, and at
// ldap.example:389 and ad.example:389 an OpenLDAP and a domain controller with
// directorytest.People.
type World struct {
	Version      string // of both
	Dest, Source Cluster
	SourceHost   string // host:port of the source as the destination's nodes reach it
	Refused      string // host:port that refuses connections, whitelisted; "": no such thing
	Users        bool   // both clusters have the accounts of Users
	Can          []string
}

// Account is a user that the cases log in as; its password is its name and
// "-password".
type Account struct {
	Cluster    []string
	Names      []string // of indices
	Privileges []string
}

// Users are the accounts a World with Users has, each with a role of its name.
var Users = map[string]Account{
	"nothing": {},
	"reader":  {Cluster: []string{"monitor"}, Names: []string{"*"}, Privileges: []string{"read"}},
	"writer":  {Names: []string{"*"}, Privileges: []string{"write"}},
	"indexer": {Names: []string{"*"}, Privileges: []string{"index"}},
	"planner": {Cluster: []string{"monitor", "manage_index_templates"}},
	"mover":   {Cluster: []string{"monitor", "manage"}, Names: []string{"*"}, Privileges: []string{"read", "write", "create_index", "maintenance"}},
}

// Realms are settings of a destination that can "directory": file and native
// realms first, then OpenLDAP, then Active Directory.
var Realms = map[string]string{
	"xpack.security.authc.realms.file.f1.order":                                 "0",
	"xpack.security.authc.realms.native.n1.order":                               "1",
	"xpack.security.authc.realms.ldap.ldap1.order":                              "2",
	"xpack.security.authc.realms.ldap.ldap1.url":                                "ldap://ldap.example:389",
	"xpack.security.authc.realms.ldap.ldap1.user_dn_templates":                  `["cn={0},ou=people,dc=corp,dc=example,dc=org"]`,
	"xpack.security.authc.realms.ldap.ldap1.group_search.base_dn":               "dc=corp,dc=example,dc=org",
	"xpack.security.authc.realms.active_directory.ad1.order":                    "3",
	"xpack.security.authc.realms.active_directory.ad1.url":                      "ldap://ad.example:389",
	"xpack.security.authc.realms.active_directory.ad1.domain_name":              "corp.example.org",
	"xpack.security.authc.realms.active_directory.ad1.unmapped_groups_as_roles": "true",
}

// PasswordOf is the password of one of Users, and of the directories' users.
func PasswordOf(name string) string { return name + "-password" }

//go:embed cases/*.txt
var files embed.FS

// Case is one story of requests and replies.
type Case struct {
	Name  string
	Needs []string
	Steps []Step
}

// Step is a request and what fits as its reply.
type Step struct {
	Line         int
	Source       bool
	As           string
	Method, Path string
	Header       http.Header
	Body         string
	Status       string
	Text         bool // the reply is text
	Within       time.Duration
	Reply        string
}

// Run runs every case that the world can show, each as a subtest on a world that
// open gives it (the same one, or a new one), and logs the others by name.
func Run(t *testing.T, open func(*testing.T) World) {
	cases, err := Load()
	require.NoError(t, err)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, open(t)) })
	}
}

// Load reads all cases.
func Load() ([]Case, error) {
	names, err := files.ReadDir("cases")
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, n := range names {
		text, err := files.ReadFile("cases/" + n.Name())
		if err != nil {
			return nil, err
		}
		cases, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Name(), err)
		}
		for _, c := range cases {
			c.Name = strings.TrimSuffix(n.Name(), path.Ext(n.Name())) + "/" + c.Name
			out = append(out, c)
		}
	}
	return out, nil
}

func parse(text string) ([]Case, error) {
	var out []Case
	var part *string // where body lines go
	for n, line := range strings.Split(text, "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		var step *Step
		if len(out) > 0 && len(out[len(out)-1].Steps) > 0 {
			c := &out[len(out)-1]
			step = &c.Steps[len(c.Steps)-1]
		}
		switch {
		case mark == "==":
			out, part = append(out, Case{Name: rest}), nil
		case mark == "#" || line == "" && part == nil:
		case len(out) == 0:
			return nil, fmt.Errorf("line %d: before the first case", n+1)
		case mark == "?":
			out[len(out)-1].Needs = strings.Fields(rest)
		case mark == ">":
			s := Step{Line: n + 1, Header: http.Header{}}
			f := strings.Fields(rest)
			if s.Source = f[0] == "src"; s.Source {
				f = f[1:]
			}
			if f[0] == "as" {
				s.As, f = f[1], f[2:]
			}
			if len(f) != 2 {
				return nil, fmt.Errorf("line %d: want a method and a path", n+1)
			}
			s.Method, s.Path = f[0], f[1]
			c := &out[len(out)-1]
			c.Steps = append(c.Steps, s)
			part = &c.Steps[len(c.Steps)-1].Body
		case step == nil:
			return nil, fmt.Errorf("line %d: before the first request", n+1)
		case mark == "+":
			k, v, _ := strings.Cut(rest, ": ")
			step.Header.Set(k, v)
		case mark == "<":
			status, within, waits := strings.Cut(rest, " within ")
			step.Status, step.Text = strings.CutSuffix(status, " text")
			part = &step.Reply
			if waits {
				d, err := time.ParseDuration(within)
				if err != nil {
					return nil, fmt.Errorf("line %d: %w", n+1, err)
				}
				step.Within = d
			}
		case line != "":
			*part += line + "\n"
		}
	}
	return out, nil
}

// Run plays the case, if the world has what it needs.
func (c Case) Run(t *testing.T, w World) {
	for _, need := range c.Needs {
		if !w.has(need) {
			t.Logf("not shown by this world: it needs %s", need)
			return
		}
	}
	p := player{w: w, vars: &template.Vars{Version: w.Version, Values: map[string]string{
		"i": "case-" + fmt.Sprintf("%x", time.Now().UnixNano()), "src": "http://" + w.SourceHost, "srchost": w.SourceHost,
		"refused": w.Refused, "auth": "",
	}}}
	if w.Source.Username != "" {
		p.vars.Values["auth"] = fmt.Sprintf(`,"username":"%s","password":"%s"`, w.Source.Username, w.Source.Password)
	}
	defer p.clean(t)
	for _, s := range c.Steps {
		deadline := time.Now().Add(s.Within)
		for {
			err := p.play(s)
			if err == nil {
				break
			}
			if !time.Now().Before(deadline) {
				require.NoError(t, err, "line %d: %s %s", s.Line, s.Method, s.Path)
			}
			time.Sleep(20 * time.Millisecond) // of virtual time in a bubble
		}
	}
}

func (w World) has(need string) bool {
	switch {
	case need == "security":
		return w.Dest.Username != ""
	case need == "users":
		return w.Users
	case need == "refused":
		return w.Refused != ""
	case strings.ContainsAny(need[:1], "<>="):
		return template.Holds(need, w.Version)
	}
	return slices.Contains(w.Can, need)
}

type player struct {
	w    World
	vars *template.Vars
}

func (p *player) send(s Step) (int, []byte, error) {
	cl := p.w.Dest
	if s.Source {
		cl = p.w.Source
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, s.Method, cl.URL+p.vars.Fill(s.Path), strings.NewReader(p.vars.Fill(s.Body)))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "_bulk") {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	for k := range s.Header {
		r.Header.Set(k, s.Header.Get(k))
	}
	switch {
	case s.As == "nobody":
	case s.As != "":
		name, password, given := strings.Cut(s.As, ":")
		if !given {
			password = PasswordOf(name)
		}
		r.SetBasicAuth(name, password)
	case cl.Username != "":
		r.SetBasicAuth(cl.Username, cl.Password)
	}
	resp, err := cl.HTTP.RoundTrip(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if id := r.Header.Get("X-Opaque-Id"); id != resp.Header.Get("X-Opaque-Id") {
		return 0, nil, fmt.Errorf("X-Opaque-Id %q came back as %q", id, resp.Header.Get("X-Opaque-Id"))
	}
	return resp.StatusCode, body, err
}

func (p *player) play(s Step) error {
	status, body, err := p.send(s)
	if err != nil {
		return err
	}
	want := s.Status
	for alternative := range strings.FieldsSeq(s.Status) { // "400@<8 404"
		value, condition, conditional := strings.Cut(alternative, "@")
		if !conditional || template.Holds(condition, p.w.Version) {
			want = value
			break
		}
	}
	if fmt.Sprint(status) != want {
		return fmt.Errorf("status %d, want %s: %s", status, want, body)
	}
	if s.Reply == "" {
		return nil
	}
	if s.Text {
		if want, have := table(p.vars.Fill(s.Reply)), table(string(body)); want != have {
			return fmt.Errorf("want\n%s\nhave\n%s", want, have)
		}
		return nil
	}
	want2, err := template.Read([]byte(p.vars.Fill(s.Reply)))
	if err != nil {
		return fmt.Errorf("template: %w in %s", err, p.vars.Fill(s.Reply))
	}
	have, err := template.Read(body)
	if err != nil {
		return fmt.Errorf("reply: %w: %s", err, body)
	}
	if err := p.vars.Fit(want2, have); err != nil {
		return fmt.Errorf("%w\nin %s", err, body)
	}
	return nil
}

// table is text with one blank between columns.
func table(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}

// clean deletes the indices and templates of the case on both clusters.
func (p *player) clean(t *testing.T) {
	for _, source := range []bool{false, true} {
		_, body, err := p.send(Step{Source: source, Method: "GET", Path: "/{i}*/_settings"})
		require.NoError(t, err)
		var found map[string]any
		require.NoError(t, json.Unmarshal(body, &found))
		for name := range found {
			_, _, err := p.send(Step{Source: source, Method: "DELETE", Path: "/" + name})
			require.NoError(t, err)
		}
		for _, kind := range []string{"_index_template", "_component_template", "_template"} {
			_, _, err := p.send(Step{Source: source, Method: "DELETE", Path: "/" + kind + "/{i}*"}) // 404 where there is none
			require.NoError(t, err)
		}
	}
}
