// Package kms is a fake of Alibaba Cloud KMS as far as reading generic secrets goes: GetSecretValue of API version
// 2016-01-20. Who may read which secret is judged per acs:kms:REGION:ACCOUNT:secret/NAME.
package kms

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Secrets serves the API.
type Secrets struct {
	http.Handler
	account *cloud.Account

	mu      sync.Mutex
	secrets map[string][]version // by name; the last version is ACSCurrent, the one before ACSPrevious
}

type version struct {
	data string
	at   time.Time
}

// New makes an empty store.
func New(a *cloud.Account) *Secrets {
	s := &Secrets{account: a, secrets: map[string][]version{}}
	s.Handler = a.RPC("kms", "2016-01-20", map[string]cloud.Op{"GetSecretValue": s.get})
	return s
}

// Put stores a value as the current version of a secret. The account's call log will not show it, nor a password, a
// client's secret or a key in it.
func (s *Secrets) Put(name, value string) {
	var login struct{ Password, ClientSecret, APIKey string }
	if json.Unmarshal([]byte(value), &login) == nil {
		s.account.Hide(login.Password, login.ClientSecret, login.APIKey)
	}
	s.account.Hide(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[name] = append(s.secrets[name], version{value, s.account.Now()})
}

func (s *Secrets) get(r *cloud.Request) (any, error) {
	if err := r.Only("SecretName", "VersionId", "VersionStage"); err != nil {
		return nil, err
	}
	name := r.Get("SecretName")
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := s.secrets[name]
	stage := cmp.Or(r.Get("VersionStage"), "ACSCurrent")
	for i, v := range versions {
		id, labels := "v"+strconv.Itoa(i+1), stages(i, len(versions))
		if want := r.Get("VersionId"); want == id || want == "" && slices.Contains(labels, stage) {
			return map[string]any{
				"SecretName": name, "SecretData": v.data, "SecretDataType": "text", "SecretType": "Generic",
				"VersionId": id, "VersionStages": map[string]any{"VersionStage": labels},
				"CreateTime": v.at.UTC().Format(time.RFC3339), "AutomaticRotation": "Disabled",
			}, nil
		}
	}
	return nil, cloud.Errorf(http.StatusNotFound, "Forbidden.ResourceNotFound", "Resource not found.")
}

// stages are the labels of version i of n.
func stages(i, n int) []string {
	switch n - i {
	case 1:
		return []string{"ACSCurrent"}
	case 2:
		return []string{"ACSPrevious"}
	}
	return []string{}
}
