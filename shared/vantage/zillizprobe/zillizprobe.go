// Package zillizprobe is the probe of a Zilliz Cloud cluster from an EC2 instance:
// the text of the Systems Manager document that runs it, what may enter it, and
// what its output means.
//
// The document is fixed and its parameters match patterns, so that the right to
// send a command is the right to ask this and nothing else. An administrator
// creates it once from eslink-probe.json.
package zillizprobe

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"eslink/shared/vantage"
)

//go:embed login.sh
var login string

// Document is the name of the Systems Manager document.
const Document = "eslink-probe"

// Patterns of the document's parameters. What does not match is refused by
// Systems Manager and, before that, by Parameters.
const (
	hostPattern      = `^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	portPattern      = `^[0-9]{1,5}$`
	parameterPattern = `^((/[A-Za-z0-9_.-]+)+)?$`
	regionPattern    = `^[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`
)

// scriptTimeout is how long the script may run, in seconds: the probe of one port
// takes 28 at most, the login as much.
const scriptTimeout = "90"

// Text is the document's content, in JSON.
func Text() string {
	prelude := []string{"ESLINK_HOST='{{ Host }}'", "ESLINK_PORTS='{{ Port }}'", "ESLINK_PARAMETER='{{ Parameter }}'", "ESLINK_REGION='{{ Region }}'"}
	script := strings.Split(strings.TrimRight(vantage.Probe()+login, "\n"), "\n")
	type parameter struct {
		Type           string `json:"type"`
		Description    string `json:"description"`
		AllowedPattern string `json:"allowedPattern"`
		Default        string `json:"default,omitempty"`
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(map[string]any{
		"schemaVersion": "2.2",
		"description":   "eslink: does a Zilliz Cloud cluster answer, seen from this instance?",
		"parameters": map[string]parameter{
			"Host":      {"String", "the cluster's private host", hostPattern, ""},
			"Port":      {"String", "its port", portPattern, ""},
			"Parameter": {"String", "the name of a SecureString with a data-plane credential, if the login is to be tested", parameterPattern, ""},
			"Region":    {"String", "the region of that parameter", regionPattern, ""},
		},
		"mainSteps": []any{map[string]any{
			"action": "aws:runShellScript", "name": "probe",
			"precondition": map[string]any{"StringEquals": []string{"platformType", "Linux"}},
			"inputs":       map[string]any{"timeoutSeconds": scriptTimeout, "runCommand": append(prelude, script...)},
		}},
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return b.String()
}

// Same reports whether a document's content is Text, however it is spelled in
// JSON.
func Same(content string) bool {
	var have, want any
	if json.Unmarshal([]byte(content), &have) != nil || json.Unmarshal([]byte(Text()), &want) != nil {
		return false
	}
	a, _ := json.Marshal(have)
	b, _ := json.Marshal(want)
	return bytes.Equal(a, b)
}

// Target is what a probe asks.
type Target struct {
	Host string
	Port int
	// Parameter names the credential to log in with; "" leaves the login out.
	Parameter string
	Region    string
}

var patterns = map[string]*regexp.Regexp{
	"Host": regexp.MustCompile(hostPattern), "Port": regexp.MustCompile(portPattern),
	"Parameter": regexp.MustCompile(parameterPattern), "Region": regexp.MustCompile(regionPattern),
}

// Parameters are the document's parameters for a target, or an error if one may
// not enter a script.
func (t Target) Parameters() (map[string]string, error) {
	if err := (vantage.Target{Host: t.Host, Ports: []int{t.Port}}).Check(); err != nil {
		return nil, err
	}
	p := map[string]string{"Host": t.Host, "Port": strconv.Itoa(t.Port), "Parameter": t.Parameter, "Region": t.Region}
	for name, value := range p {
		if !patterns[name].MatchString(value) {
			return nil, fmt.Errorf("%s %.80q may not enter the probe's script", strings.ToLower(name), value)
		}
	}
	return p, nil
}

// What became of the login, by Output.Login.
const (
	Sent         = "sent"
	MissingAWS   = "missing-aws"
	NoParameter  = "no-parameter"
	Denied       = "denied"
	Unreadable   = "unreadable"
	BadParameter = "bad-parameter"
)

// Who answered the login, by Output.LoginBody.
const (
	LoginOK      = "ok"
	LoginRefused = "refused"
)

// Output is what the probe saw: what vantage knows, and the login.
type Output struct {
	vantage.Output
	Login       string // "" if none was asked for
	LoginCurl   int
	LoginHTTP   int
	LoginBody   string
	Collections int
}

// ErrCut says that the login's part of the output is not whole.
var ErrCut = errors.New("the machine's output ends within the login: it is cut off")

// maxLine bounds a line that is looked at, in bytes.
const maxLine = 64

// Parse reads the output of a probe that was asked with a login or without.
func Parse(text string, withLogin bool) (Output, error) {
	base, err := vantage.Parse(text)
	if err != nil {
		return Output{}, err
	}
	o := Output{Output: base}
	if !withLogin || o.Missing != "" {
		return o, nil
	}
	ended := false
	for line := range strings.SplitSeq(text, "\n") {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r"), "=")
		if !ok || len(line) > maxLine {
			continue
		}
		switch key {
		case "login":
			o.Login = oneOf(value, Sent, MissingAWS, NoParameter, Denied, BadParameter)
		case "logincurl":
			o.LoginCurl = number(value)
		case "loginhttp":
			o.LoginHTTP = number(value)
		case "loginbody":
			o.LoginBody = oneOf(value, LoginOK, LoginRefused)
		case "collections":
			o.Collections = number(value)
		case "loginend":
			ended = true
		}
	}
	if !ended || o.Login == "" {
		return Output{}, ErrCut
	}
	return o, nil
}

func oneOf(value string, words ...string) string {
	for _, w := range words {
		if value == w {
			return w
		}
	}
	return Unreadable
}

func number(s string) int {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return -1
	}
	return int(n)
}
