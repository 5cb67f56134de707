package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"

	"eslink/shared/deploy"
)

// environment is what a deployment is told: by variables, or by .env, which `s` reads, too.
type environment struct {
	target deploy.Target
	key    deploy.Key
	seam   deploy.Seam
	// variables are those of .env that the environment does not have; `s` is given them, so that both have the same.
	variables map[string]string
}

// needed are the variables that have no default, with the form of their values.
var needed = []struct {
	name   string
	form   *regexp.Regexp
	remedy string
}{
	{"ESLINK_ACCOUNT_ID", regexp.MustCompile(`^[0-9]{16}$`), "16 digits, as the console shows them at the avatar"},
	{"ALIBABA_CLOUD_ACCESS_KEY_ID", regexp.MustCompile(`^\S+$`), "an access key that has the rights of shared/deploy/deployer.json"},
	{"ALIBABA_CLOUD_ACCESS_KEY_SECRET", regexp.MustCompile(`^\S+$`), "its secret"},
	{"ESLINK_TABLE_INSTANCE", regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,14}[a-zA-Z0-9]$`), "a Tablestore instance: 3 to 16 letters, digits and hyphens; no other account in the region may have one of that name"},
	{"ESLINK_LOG_PROJECT", regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`), "a log project: 3 to 63 small letters, digits and hyphens; no other account in the region may have one of that name"},
}

// networks are those of the two sides.
var networks = []struct{ name, prefix, remedy string }{
	{"VPC", "vpc-", "the VPC where the functions of the side run"},
	{"VSWITCH", "vsw-", "a vSwitch in it, which the cluster's whitelist admits"},
	{"SECURITY_GROUP", "sg-", "a security group in it that lets the functions out"},
}

// environment reads and checks all of it, before anything is made.
func (c command) environment(sets []deploy.Set) (environment, error) {
	e := environment{}
	var err error
	if e.variables, err = readEnv(filepath.Join(c.root, ".env")); err != nil {
		return e, err
	}
	for name := range e.variables {
		if _, ok := c.getenv(name); ok {
			delete(e.variables, name)
		}
	}
	get := func(name string) string {
		if v, ok := c.getenv(name); ok {
			return v
		}
		return e.variables[name]
	}
	var errs []error
	want := func(name string, form *regexp.Regexp, remedy string) {
		if v := get(name); v == "" {
			errs = append(errs, fmt.Errorf("%s is not set: %s", name, remedy))
		} else if !form.MatchString(v) {
			errs = append(errs, fmt.Errorf("%s is not of the form %s: %s", name, form, remedy))
		}
	}
	for _, n := range needed {
		want(n.name, n.form, n.remedy)
	}
	for _, s := range sets {
		for _, n := range networks {
			if s == deploy.Alibaba {
				for _, side := range []string{"SOURCE", "DESTINATION"} {
					want("ESLINK_"+side+"_"+n.name, regexp.MustCompile("^"+n.prefix+"[a-z0-9-]+$"), n.remedy)
				}
			}
		}
	}
	or := func(name, otherwise string) string {
		if v := get(name); v != "" {
			return v
		}
		return otherwise
	}
	e.target = deploy.Target{Region: or("ESLINK_REGION", "cn-hangzhou"), AccountID: get("ESLINK_ACCOUNT_ID"), TableInstance: get("ESLINK_TABLE_INSTANCE"),
		Table: or("ESLINK_TABLE", "eslink"), LogProject: get("ESLINK_LOG_PROJECT"),
		CreateTableInstance: get("ESLINK_CREATE_TABLE_INSTANCE") == "true", CreateLogProject: get("ESLINK_CREATE_LOG_PROJECT") == "true"}
	e.key = deploy.Key{ID: get("ALIBABA_CLOUD_ACCESS_KEY_ID"), Secret: get("ALIBABA_CLOUD_ACCESS_KEY_SECRET"), Token: get("ALIBABA_CLOUD_SECURITY_TOKEN")}
	if strings.HasPrefix(e.key.ID, "STS.") && e.key.Token == "" {
		errs = append(errs, errors.New("ALIBABA_CLOUD_SECURITY_TOKEN is not set: a temporary key needs its token"))
	}
	e.seam = seam(get)
	return e, errors.Join(errs...)
}

var (
	variable  = regexp.MustCompile(`^\w+$`)
	unquoted  = regexp.MustCompile(`^[^'"\x60\s#$\\]*$`)
	quoted    = regexp.MustCompile(`^(?:'[^'$\\]*'|"[^"$\\]*")$`)
	reference = regexp.MustCompile(`^\$\{[A-Z_a-z0-9]+\}$`)
	comment   = regexp.MustCompile(`\s+#.*$`)
)

// readEnv reads .env as `s` does. A line that another reader may take otherwise is refused: `s` puts variables for
// every $, also between single quotes, and a # ends a value that is not quoted.
func readEnv(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if value = strings.TrimSpace(value); !quoted.MatchString(value) {
			value = comment.ReplaceAllString(value, "")
		}
		if !ok || !variable.MatchString(name) || !unquoted.MatchString(value) && !quoted.MatchString(value) && !reference.MatchString(value) {
			errs = append(errs, fmt.Errorf("%s:%d: %s: write NAME=value, with quotes around a value with blanks or #, without $, backslashes and backticks (${NAME} alone is read)", file, i+1, name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	values, err := godotenv.Unmarshal(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return values, nil
}

// access is the name under which `s` is given a temporary key: it reads <name> of the environment. It takes no token
// beside AccountID, AccessKeyID and AccessKeySecret, which an AccessKey pair is given as, and which win.
const access = "ESLINK_serverless_devs_key"

// credential is a key in the form of `s`.
type credential struct{ AccountID, AccessKeyID, AccessKeySecret, SecurityToken string }

// serverless is what `s` is started with: its environment, and further arguments.
func (e environment) serverless(base []string) (environ, args []string, err error) {
	own := []string{"AccountID", "AccessKeyID", "AccessKeySecret", "SecurityToken"}
	for _, v := range base {
		if name, _, _ := strings.Cut(v, "="); !slices.Contains(own, name) {
			environ = append(environ, v)
		}
	}
	for name, value := range e.variables {
		if !slices.Contains(own, name) {
			environ = append(environ, name+"="+value)
		} else if e.key.Token != "" {
			return nil, nil, fmt.Errorf("take %s out of .env: with it, s drops the token of a temporary key", name)
		}
	}
	if e.key.Token == "" {
		return append(environ, "AccountID="+e.target.AccountID, "AccessKeyID="+e.key.ID, "AccessKeySecret="+e.key.Secret), nil, nil
	}
	key, err := json.Marshal(credential{e.target.AccountID, e.key.ID, e.key.Secret, e.key.Token})
	return append(environ, access+"="+string(key)), []string{"-a", access}, err
}

// seam reads where localtest's fakes are, if it says so: ESLINK_ENDPOINT_<PRODUCT>, as for the functions.
func seam(get func(string) string) deploy.Seam {
	ends := map[string]*url.URL{}
	for _, p := range []string{"ram", "sts", "resourcemanager", "eventbridge", "ots", "log", "tablestore", "fc"} {
		if u, err := url.Parse(get("ESLINK_ENDPOINT_" + strings.ToUpper(p))); err == nil && u.Host != "" {
			ends[p] = u
		}
	}
	s := deploy.Seam{MNS: get("ESLINK_ENDPOINT_MNS")}
	if len(ends) > 0 {
		s.Transport = redirect{ends}
	}
	return s
}

// redirect sends a product's calls to its fake, with the host that they are for in the Host header.
type redirect struct{ ends map[string]*url.URL }

// RoundTrip implements http.RoundTripper.
func (t redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	if end := t.ends[product(host)]; end != nil {
		req = req.Clone(req.Context())
		req.URL.Scheme, req.URL.Host, req.Host = end.Scheme, end.Host, host
	}
	return http.DefaultTransport.RoundTrip(req)
}

func product(host string) string {
	first, _, _ := strings.Cut(host, ".")
	switch {
	case strings.Contains(host, ".log."):
		return "log"
	case strings.Contains(host, ".ots."):
		return "tablestore"
	case first == "eventbridge-console":
		return "eventbridge"
	}
	return first
}
