package deploy

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// logstore is where the functions' output goes, in the deployment's log project.
const logstore = "functions"

// logClient makes the six calls of Simple Log Service that a deployment needs, API version 0.6.0 with signature v1
// (document "Request signature"). The official SDK is not to be had from the module proxy.
type logClient struct {
	key  Key
	host string // <project>.<region>.log.aliyuncs.com
	http *http.Client
	now  func() time.Time
}

// logError is an error of Simple Log Service, with its code.
type logError struct {
	Status  int    `json:"-"`
	Code    string `json:"errorCode"`
	Message string `json:"errorMessage"`
}

// Error implements error.
func (e *logError) Error() string { return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message) }

func (c *logClient) call(ctx context.Context, method, path string, body any) error {
	var content []byte
	header := http.Header{}
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
		header.Set("Content-Type", "application/json")
		header.Set("Content-MD5", fmt.Sprintf("%X", md5.Sum(content)))
	}
	header.Set("Date", c.now().UTC().Format(http.TimeFormat))
	// In alphabetical order, as the signature has them.
	signed := []string{}
	set := func(name, value string) {
		header.Set(name, value)
		signed = append(signed, name+":"+value)
	}
	if c.key.Token != "" {
		set("x-acs-security-token", c.key.Token)
	}
	set("x-log-apiversion", "0.6.0")
	set("x-log-bodyrawsize", fmt.Sprint(len(content)))
	set("x-log-signaturemethod", "hmac-sha1")
	text := strings.Join(append(append([]string{method, header.Get("Content-MD5"), header.Get("Content-Type"), header.Get("Date")}, signed...), path), "\n")
	mac := hmac.New(sha1.New, []byte(c.key.Secret))
	mac.Write([]byte(text))
	header.Set("Authorization", "LOG "+c.key.ID+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.host+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode < 300 {
		return err
	}
	failed := &logError{Status: resp.StatusCode}
	if json.Unmarshal(reply, failed) != nil || failed.Code == "" {
		failed.Code, failed.Message = http.StatusText(resp.StatusCode), string(reply)
	}
	return failed
}

func lacks(err error, code string) bool {
	var e *logError
	return errors.As(err, &e) && e.Code == code
}

// logs looks at project, logstore and index; what is missing is made if create says so, else named.
func (c Clients) logs(ctx context.Context, project string, create bool) (todo []change, err error) {
	calls := map[string][2]string{"ProjectNotExist": {"log:GetProject", "log:CreateProject"}, "LogStoreNotExist": {"log:GetLogStore", "log:CreateLogStore"},
		"IndexConfigNotExist": {"log:GetIndex", "log:CreateIndex"}}
	store, index := "/logstores/"+logstore, "/logstores/"+logstore+"/index"
	missing := func(code, path, what string, body any) (bool, error) {
		err := c.log.call(ctx, http.MethodGet, path, nil)
		switch {
		case lacks(err, "ProjectNotExist") && code != "ProjectNotExist", lacks(err, "LogStoreNotExist") && code == "IndexConfigNotExist":
			// What holds it is made before.
		case lacks(err, code):
		case lacks(err, "ProjectForbidden"):
			return false, fmt.Errorf("log project %s is another account's: choose another ESLINK_LOG_PROJECT", project)
		case err != nil:
			return false, fmt.Errorf("read %s: %w", what, may(calls[code][0], err))
		default:
			return false, nil
		}
		if !create {
			return true, fmt.Errorf("%s is missing: make it, or set ESLINK_CREATE_LOG_PROJECT=true", what)
		}
		todo = append(todo, change{"create " + what, func() error {
			to := strings.TrimSuffix(path, "/"+logstore) // a logstore is posted to their list
			return may(calls[code][1], c.log.call(ctx, http.MethodPost, to, body))
		}})
		return true, nil
	}
	if _, err = missing("ProjectNotExist", "/", "log project "+project, map[string]any{"projectName": project, "description": Mark}); err != nil {
		return nil, err
	}
	if _, err = missing("LogStoreNotExist", store, "logstore "+project+"/"+logstore, map[string]any{"logstoreName": logstore, "ttl": 30, "shardCount": 2}); err != nil {
		return nil, err
	}
	// Without an index, `s logs` finds nothing.
	tokens := []string{",", " ", "'", "\"", ";", "=", "(", ")", "[", "]", "{", "}", "?", "@", "&", "<", ">", "/", ":", "\n", "\t", "\r"}
	_, err = missing("IndexConfigNotExist", index, "index of logstore "+project+"/"+logstore, map[string]any{"line": map[string]any{"token": tokens, "caseSensitive": false}})
	return todo, err
}
