// Package sls is a fake of Simple Log Service, API version 0.6.0, as far as a deployment needs it: projects, whose names
// are unique in a region across accounts, logstores and their indexes. It checks the signature of the document "Request
// signature": LOG <key>:<HMAC-SHA1 over method, Content-MD5, Content-Type, Date, x-log- and x-acs- headers, path>.
package sls

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"eslink/localtest/fakes/cloud"
)

// Fake holds the projects of a region.
type Fake struct {
	account *cloud.Account
	mux     *http.ServeMux

	mu       sync.Mutex
	projects map[string]map[string]bool // logstores by project, and whether each has an index; nil: somebody else's
}

// New serves the account's projects. foreign are names that others have taken.
func New(a *cloud.Account, foreign ...string) *Fake {
	f := &Fake{account: a, mux: http.NewServeMux(), projects: map[string]map[string]bool{}}
	for _, name := range foreign {
		f.projects[name] = nil
	}
	f.handle("GET /{$}", "GetProject", f.getProject)
	f.handle("POST /{$}", "CreateProject", f.createProject)
	f.handle("GET /logstores/{store}", "GetLogStore", f.getStore)
	f.handle("POST /logstores", "CreateLogStore", f.createStore)
	f.handle("GET /logstores/{store}/index", "GetIndex", f.getIndex)
	f.handle("POST /logstores/{store}/index", "CreateIndex", f.createIndex)
	return f
}

// Add makes a project of the account, with logstores that have an index.
func (f *Fake) Add(project string, stores ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.projects[project] = map[string]bool{}
	for _, s := range stores {
		f.projects[project][s] = true
	}
}

// Indexed reports whether a logstore is there and has an index.
func (f *Fake) Indexed(project, store string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.projects[project][store]
}

// ServeHTTP answers what is signed, for the project that the host names: <project>.<region>.log.aliyuncs.com.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

type call struct {
	*http.Request
	project string
	body    []byte
}

func (f *Fake) handle(pattern, action string, do func(call) *cloud.Error) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		host, _, _ := strings.Cut(r.Host, ":")
		project, _, _ := strings.Cut(host, ".")
		if net.ParseIP(host) != nil || project == "" {
			project = "" // a host without a project
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		principal, refusal := f.authenticate(r, body)
		if refusal == nil {
			refusal = f.account.Authorize(principal, "log:"+action, fmt.Sprintf("acs:log:%s:%s:project/%s", f.account.Region, f.account.AccountID, project))
			if refusal != nil {
				refusal = cloud.Errorf(401, "Unauthorized", "The caller is not authorized to do log:%s.", action)
			}
		}
		if refusal == nil && r.URL.Path != "/" && f.projects[project] == nil {
			refusal = cloud.Errorf(404, "ProjectNotExist", "The Project does not exist : %s", project)
		}
		if refusal == nil {
			refusal = do(call{r, project, body})
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("x-log-requestid", f.account.NewID("L", 23))
		if refusal != nil {
			w.WriteHeader(refusal.Status)
			_ = json.NewEncoder(w).Encode(map[string]string{"errorCode": refusal.Code, "errorMessage": refusal.Message})
			return
		}
		_, _ = w.Write([]byte("{}"))
	})
}

func (f *Fake) authenticate(r *http.Request, body []byte) (cloud.Principal, *cloud.Error) {
	key, signature, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "LOG "), ":")
	if !ok {
		return cloud.Principal{}, cloud.Errorf(401, "Unauthorized", "No Authorization header.")
	}
	secret, principal, refusal := f.account.Secret(key, r.Header.Get("x-acs-security-token"))
	if refusal != nil {
		return principal, cloud.Errorf(401, "Unauthorized", "The AccessKeyId is not found.")
	}
	if sum := fmt.Sprintf("%X", md5.Sum(body)); len(body) > 0 && r.Header.Get("Content-MD5") != sum {
		return principal, cloud.Errorf(400, "InvalidContentMD5", "Content-MD5 is not that of the body.")
	}
	lines := []string{r.Method, r.Header.Get("Content-MD5"), r.Header.Get("Content-Type"), r.Header.Get("Date")}
	var headers []string
	for name := range r.Header {
		if n := strings.ToLower(name); strings.HasPrefix(n, "x-log-") || strings.HasPrefix(n, "x-acs-") {
			headers = append(headers, n+":"+r.Header.Get(name))
		}
	}
	slices.Sort(headers)
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(strings.Join(slices.Concat(lines, headers, []string{r.URL.Path}), "\n")))
	if base64.StdEncoding.EncodeToString(mac.Sum(nil)) != signature {
		return principal, cloud.Errorf(401, "SignatureNotMatch", "The signature does not match.")
	}
	return principal, nil
}

func (f *Fake) getProject(c call) *cloud.Error {
	stores, taken := f.projects[c.project]
	switch {
	case !taken:
		return cloud.Errorf(404, "ProjectNotExist", "The Project does not exist : %s", c.project)
	case stores == nil:
		return cloud.Errorf(403, "ProjectForbidden", "The project belongs to another account.")
	}
	return nil
}

func (f *Fake) createProject(c call) *cloud.Error {
	var in struct{ ProjectName, Description string }
	if json.Unmarshal(c.body, &in) != nil || in.ProjectName == "" || in.ProjectName != c.project {
		return cloud.Errorf(400, "ParameterInvalid", "The body names no project, or another one than the host.")
	}
	if _, taken := f.projects[in.ProjectName]; taken {
		return cloud.Errorf(400, "ProjectAlreadyExist", "Project %s already exist", in.ProjectName)
	}
	f.projects[in.ProjectName] = map[string]bool{}
	return nil
}

func (f *Fake) getStore(c call) *cloud.Error {
	if _, ok := f.projects[c.project][c.PathValue("store")]; !ok {
		return cloud.Errorf(404, "LogStoreNotExist", "logstore %s does not exist", c.PathValue("store"))
	}
	return nil
}

func (f *Fake) createStore(c call) *cloud.Error {
	var in struct {
		LogstoreName    string
		TTL, ShardCount int
	}
	if json.Unmarshal(c.body, &in) != nil || in.LogstoreName == "" || in.TTL < 1 || in.TTL > 3650 || in.ShardCount < 1 || in.ShardCount > 10 {
		return cloud.Errorf(400, "ParameterInvalid", "logstoreName, ttl (1 to 3650) and shardCount (1 to 10) are needed.")
	}
	if _, there := f.projects[c.project][in.LogstoreName]; there {
		return cloud.Errorf(400, "LogStoreAlreadyExist", "logstore %s already exists", in.LogstoreName)
	}
	f.projects[c.project][in.LogstoreName] = false
	return nil
}

func (f *Fake) getIndex(c call) *cloud.Error {
	if refusal := f.getStore(c); refusal != nil {
		return refusal
	}
	if !f.projects[c.project][c.PathValue("store")] {
		return cloud.Errorf(404, "IndexConfigNotExist", "index config doesn't exist")
	}
	return nil
}

func (f *Fake) createIndex(c call) *cloud.Error {
	if refusal := f.getStore(c); refusal != nil {
		return refusal
	}
	var in struct {
		Line *struct {
			Token []string
		}
	}
	if json.Unmarshal(c.body, &in) != nil || in.Line == nil || len(in.Line.Token) == 0 {
		return cloud.Errorf(400, "ParameterInvalid", "line.token is needed.")
	}
	if f.projects[c.project][c.PathValue("store")] {
		return cloud.Errorf(400, "IndexAlreadyExist", "log store index is already created")
	}
	f.projects[c.project][c.PathValue("store")] = true
	return nil
}
