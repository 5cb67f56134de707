package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/authority"
)

// Agent runs the jobs of a fake's instances; handler is who answers at a host.
type Agent struct {
	Fake    *Fake
	Handler func(host string) http.Handler
}

func (a Agent) look(j Job) Seen {
	port, _ := strconv.Atoi(j.Parameters["Port"])
	return a.Fake.Look(j.Instance, j.Parameters["Host"], port, a.Handler)
}

// Twin is a Runner that prints what the probe's script would, without a process.
// The two are held together by a test.
func (a Agent) Twin(j Job) (string, int) {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("probe=1")
	if tool := a.Fake.Instance(j.Instance).Missing; tool != "" && tool != "aws" {
		say("missing=%s", tool)
		return b.String(), 0
	}
	seen := a.look(j)
	for _, ip := range seen.Addresses {
		say("ip=%s", ip)
	}
	say("port=%s", j.Parameters["Port"])
	curl, verify := exits(seen)
	say("curl=%d", curl)
	if curl == 7 {
		say("connect=refused")
	}
	status := 0
	if curl == 0 {
		status, _ = ask(seen.Handler, j.Parameters["Host"], http.MethodGet, "/", "", "")
	}
	say("http=%03d\nverify=%d\nbody=other\nend=1", status, verify)
	if name := j.Parameters["Parameter"]; name != "" {
		a.login(j, seen, name, curl, say)
		say("loginend=1")
	}
	return b.String(), 0
}

func (a Agent) login(j Job, seen Seen, name string, curl int, say func(string, ...any)) {
	token, ok := a.Fake.Parameter(j.Parameters["Region"], name)
	switch i := a.Fake.Instance(j.Instance); {
	case i.Missing == "aws":
		say("login=missing-aws")
		return
	case i.Profile == "":
		say("login=denied")
		return
	case !ok:
		say("login=no-parameter")
		return
	case token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }):
		say("login=bad-parameter")
		return
	}
	status, body := 0, ""
	if curl == 0 {
		status, body = ask(seen.Handler, j.Parameters["Host"], http.MethodPost, "/v2/vectordb/collections/list", token, "{}")
	}
	say("login=sent\nlogincurl=%d\nloginhttp=%03d", curl, status)
	switch {
	case strings.Contains(body, `"code":0,`):
		_, list, _ := strings.Cut(body, `"data":[`)
		say("loginbody=ok\ncollections=%d", strings.Count(list[:strings.IndexByte(list, ']')], `"`)/2)
	case strings.Contains(body, `"code":`):
		say("loginbody=refused")
	default:
		say("loginbody=other")
	}
}

// exits is curl's exit status and what it says of the certificate.
func exits(s Seen) (curl, verify int) {
	switch {
	case len(s.Addresses) == 0:
		return 6, 0
	case !s.Reached || s.Answer == Silent:
		return 28, 0
	case s.Answer == Refuses:
		return 7, 0
	case s.Answer == Untrusted:
		return 60, 20
	}
	return 0, 0
}

func ask(h http.Handler, host, method, path, token, body string) (int, string) {
	r := httptest.NewRequest(method, "https://"+host+path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// Stubs stand for the tools of the instance that reach out of it. Each one's
// directory comes first in PATH.
var stubs = map[string]string{
	"getent": "#!/bin/sh\nfor a in $STUB_ADDRESSES; do echo \"$a STREAM\"; done\n[ -n \"$STUB_ADDRESSES\" ]\n",
	// The real curl, sent to where the world has the host. Of options given twice
	// the last one counts.
	"curl": "#!/bin/sh\n[ -n \"$STUB_ADDRESSES\" ] || { echo 'curl: (6) Could not resolve host' >&2; exit 6; }\nexec \"$STUB_CURL\" \"$@\" --connect-to \"::127.0.0.1:$STUB_PORT\" --cacert \"$STUB_CA\" --connect-timeout 1 --max-time \"$STUB_TIME\"\n",
	"aws":  "#!/bin/sh\n[ -z \"$STUB_AWS_ERROR\" ] || { echo \"An error occurred ($STUB_AWS_ERROR) when calling the GetParameter operation\" >&2; exit 254; }\nprintf '%s\\n' \"$STUB_TOKEN\"\n",
}

// ErrTools says that this machine cannot run scripts as an instance does.
var ErrTools = errors.New("sh or curl is not here")

// Shell returns a Runner that runs each job's own script with this machine's sh
// and curl.
func (a Agent) Shell() (Runner, error) {
	sh, err1 := exec.LookPath("sh")
	curl, err2 := exec.LookPath("curl")
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTools, err)
	}
	return func(j Job) (string, int) {
		out, code, err := a.shell(j, sh, curl)
		if err != nil {
			panic(fmt.Sprintf("aws: run script: %v", err)) // the machine, not the script
		}
		return out, code
	}, nil
}

const shellTimeout = 30 * time.Second

func (a Agent) shell(j Job, sh, curl string) (string, int, error) {
	dir, err := os.MkdirTemp("", "eslink-instance-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(dir)
	instance, seen := a.Fake.Instance(j.Instance), a.look(j)
	bin, path := filepath.Join(dir, "bin"), os.Getenv("PATH")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", 0, err
	}
	for name, text := range stubs {
		if name == instance.Missing {
			continue
		}
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			return "", 0, err
		}
	}
	if instance.Missing != "" { // only what the script needs, less that
		path = ""
		for _, tool := range []string{"mktemp", "grep", "sort", "head", "sed", "rm"} {
			if where, err := exec.LookPath(tool); err == nil && tool != instance.Missing {
				if err := os.Symlink(where, filepath.Join(bin, tool)); err != nil {
					return "", 0, err
				}
			}
		}
	}
	port, stop, err := listen(seen)
	if err != nil {
		return "", 0, err
	}
	defer stop()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		return "", 0, err
	}
	var addresses []string
	for _, ip := range seen.Addresses {
		addresses = append(addresses, ip.String())
	}
	limit := "10"
	if !seen.Reached || seen.Answer == Silent {
		limit = "1"
	}
	token, known := a.Fake.Parameter(j.Parameters["Region"], j.Parameters["Parameter"])
	failure := ""
	if instance.Profile == "" {
		failure = "AccessDeniedException"
	} else if !known {
		failure = "ParameterNotFound"
	}
	ctx, cancel := context.WithTimeout(context.Background(), shellTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, sh, "-c", j.Script)
	cmd.Env = []string{"PATH=" + strings.TrimSuffix(bin+":"+path, ":"), "TMPDIR=" + dir, "STUB_ADDRESSES=" + strings.Join(addresses, " "), "STUB_CURL=" + curl,
		"STUB_PORT=" + strconv.Itoa(port), "STUB_CA=" + ca, "STUB_TIME=" + limit, "STUB_TOKEN=" + token, "STUB_AWS_ERROR=" + failure}
	var out bytes.Buffer
	cmd.Stdout = &out
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), exit.ExitCode(), nil
	}
	return out.String(), 0, err
}

// listen makes a loopback port behave as the host's does.
func listen(s Seen) (port int, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	port, stop = l.Addr().(*net.TCPAddr).Port, func() { l.Close() }
	switch {
	case !s.Reached || s.Answer == Silent: // nobody ever accepts
	case s.Answer == Refuses:
		l.Close()
	default:
		server := httptest.NewUnstartedServer(s.Handler)
		server.Config.ErrorLog = authority.Quiet
		server.Listener.Close()
		server.Listener, server.TLS = l, authority.Server(s.Answer != Untrusted)
		server.StartTLS()
		stop = server.Close
	}
	return port, stop, nil
}
