// Package ots is a fake of Tablestore's control plane, API version 2016-06-20: instances, whose names are unique in a
// region across accounts. Tables are in package tablestore.
package ots

import (
	"net/http"
	"regexp"
	"sync"

	"eslink/localtest/fakes/cloud"
)

// Fake holds the instances of a region.
type Fake struct {
	http.Handler
	mu        sync.Mutex
	instances map[string]bool // true: the account's own
}

// New serves the control plane for an account. foreign are instances of others.
func New(a *cloud.Account, foreign ...string) *Fake {
	f := &Fake{instances: map[string]bool{}}
	for _, name := range foreign {
		f.instances[name] = false
	}
	f.Handler = a.RPC("ots", "2016-06-20", map[string]cloud.Op{"GetInstance": f.get, "InsertInstance": f.insert})
	return f
}

// Add makes an instance of the account.
func (f *Fake) Add(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instances[name] = true
}

// Has reports whether the account has an instance.
func (f *Fake) Has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.instances[name]
}

func (f *Fake) get(req *cloud.Request) (any, error) {
	if !f.Has(req.Get("InstanceName")) {
		return nil, cloud.Errorf(404, "NotFound", "Instance %s not found.", req.Get("InstanceName"))
	}
	return map[string]any{"InstanceInfo": map[string]any{"InstanceName": req.Get("InstanceName"), "Status": 1}}, nil
}

// Letters, digits and hyphens, 3 to 16 of them, beginning with a letter (page "Create an instance").
var name = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,14}[a-zA-Z0-9]$`)

func (f *Fake) insert(req *cloud.Request) (any, error) {
	n := req.Get("InstanceName")
	if !name.MatchString(n) {
		return nil, cloud.Errorf(400, "InvalidParameter", "The instance name %q is not valid.", n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.instances[n]; taken {
		return nil, cloud.Errorf(409, "ResourceAlreadyExist", "Instance %s already exists.", n)
	}
	f.instances[n] = true
	return map[string]any{}, nil
}
