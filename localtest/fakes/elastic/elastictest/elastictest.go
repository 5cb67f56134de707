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
// In a template "<any>" fits every value, "<name>" every value and keeps it for
// later as {name}, "<~regexp>" a string or number, the member "…": true further
// members. A key may end in a condition, "cancelled@>=7.17", and an object of
// conditions only, {"@<8": …, "@": …}, stands for the first that holds. Numbers
// compare as text. {i} is a name of the case's own: its indices begin with it and
// are deleted at the end.
package elastictest

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	p := player{w: w, vars: map[string]string{
		"i": "case-" + fmt.Sprintf("%x", time.Now().UnixNano()), "src": "http://" + w.SourceHost, "srchost": w.SourceHost,
		"refused": w.Refused, "auth": "",
	}}
	if w.Source.Username != "" {
		p.vars["auth"] = fmt.Sprintf(`,"username":"%s","password":"%s"`, w.Source.Username, w.Source.Password)
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
		return holds(need, w.Version)
	}
	return slices.Contains(w.Can, need)
}

// holds compares versions: ">=7.17", "<8".
func holds(condition, version string) bool {
	op := strings.TrimRight(condition, "0123456789.")
	var want, have [3]int
	for v, into := range map[string]*[3]int{strings.TrimPrefix(condition, op): &want, version: &have} {
		for i, part := range strings.Split(v, ".") {
			_, _ = fmt.Sscan(part, &into[i]) // a part that is no number counts as 0
		}
	}
	switch n := slices.Compare(have[:], want[:]); op {
	case ">=":
		return n >= 0
	case "<":
		return n < 0
	}
	return false
}

type player struct {
	w    World
	vars map[string]string
}

var variable = regexp.MustCompile(`\{[a-z]+\}`)

func (p *player) fill(s string) string {
	return variable.ReplaceAllStringFunc(s, func(v string) string {
		if value, ok := p.vars[v[1:len(v)-1]]; ok {
			return value
		}
		return v
	})
}

func (p *player) send(s Step) (int, []byte, error) {
	cl := p.w.Dest
	if s.Source {
		cl = p.w.Source
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, s.Method, cl.URL+p.fill(s.Path), strings.NewReader(p.fill(s.Body)))
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
		if !conditional || holds(condition, p.w.Version) {
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
		if want, have := table(p.fill(s.Reply)), table(string(body)); want != have {
			return fmt.Errorf("want\n%s\nhave\n%s", want, have)
		}
		return nil
	}
	template, err := read([]byte(p.fill(s.Reply)))
	if err != nil {
		return fmt.Errorf("template: %w in %s", err, p.fill(s.Reply))
	}
	have, err := read(body)
	if err != nil {
		return fmt.Errorf("reply: %w: %s", err, body)
	}
	if err := p.fits("", template, have); err != nil {
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

func read(raw []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// fits says where a reply leaves its template.
func (p *player) fits(at string, want, have any) error {
	switch w := want.(type) {
	case string:
		inner, opens := strings.CutPrefix(w, "<")
		inner, closes := strings.CutSuffix(inner, ">")
		if !opens || !closes || w == "<<>>" {
			break
		}
		text := fmt.Sprint(have)
		switch expr, isExpr := strings.CutPrefix(inner, "~"); {
		case inner == "any":
			return nil
		case isExpr:
			if !regexp.MustCompile("(?s)^(?:" + expr + ")$").MatchString(text) {
				return fmt.Errorf("%s: %q does not match %s", at, text, expr)
			}
			return nil
		}
		p.vars[inner] = text
		return nil
	case []any:
		list, ok := have.([]any)
		if !ok || len(list) != len(w) {
			return fmt.Errorf("%s: want %d items, have %v", at, len(w), have)
		}
		for i := range w {
			if err := p.fits(fmt.Sprintf("%s[%d]", at, i), w[i], list[i]); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		return p.fitsObject(at, w, have)
	}
	if want != have {
		return fmt.Errorf("%s: want %v, have %v", at, want, have)
	}
	return nil
}

func (p *player) fitsObject(at string, want map[string]any, have any) error {
	choice, chosen := want["@"], len(want) > 0
	for k, v := range want {
		condition, isChoice := strings.CutPrefix(k, "@")
		if chosen = chosen && isChoice; isChoice && condition != "" && holds(condition, p.w.Version) {
			choice = v
		}
	}
	if chosen {
		return p.fits(at, choice, have)
	}
	o, ok := have.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: want an object, have %v", at, have)
	}
	seen := map[string]bool{}
	for k, v := range want {
		key, condition, conditional := strings.Cut(k, "@")
		if key == "…" || conditional && !holds(condition, p.w.Version) {
			continue
		}
		seen[key] = true
		value, ok := o[key]
		if !ok {
			return fmt.Errorf("%s: no member %s", at, key)
		}
		if err := p.fits(at+"."+key, v, value); err != nil {
			return err
		}
	}
	for k := range o {
		if _, open := want["…"]; !open && !seen[k] {
			return fmt.Errorf("%s: unexpected member %s", at, k)
		}
	}
	return nil
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
