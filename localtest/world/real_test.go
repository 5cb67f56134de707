//go:build real && linux

package world

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/network"
	directories "eslink/localtest/realserver/directory"
	"eslink/localtest/runtime"
	"eslink/localtest/services"
	"eslink/shared/api"
	"eslink/shared/api/check"
	"eslink/shared/run"
)

// TestRealDirectoriesThroughTheLink provisions both directory use cases with the compiled functions: a real 7.17.29 applies the realms that configure writes, secrets and
// all, and logs users in at a real OpenLDAP and a real domain controller, through balancer, endpoint and security group. Teardown puts its settings back.
func TestRealDirectoriesThroughTheLink(t *testing.T) {
	w, release, err := NewReal(t.Context(), Config{Root: "../..", Clock: runtime.Clock{Epoch: time.Now(), Rate: 20}}, t.Output())
	require.NoError(t, err)
	defer release()
	for port, d := range map[int]struct {
		kind   services.Kind
		people services.People
	}{389: {services.OpenLDAP, people}, 3268: {services.ActiveDirectory, staff}} {
		s, err := directories.Start(t.Context(), d.kind, d.people)
		require.NoError(t, err)
		defer func() { assert.NoError(t, s.Stop()) }()
		w.Network.SetService(Host, port, network.Service{Addr: s.Addr()})
	}
	for name, password := range map[string]string{"zhang": "canary-zhang", "wang": "canary-wang"} {
		w.Secrets.Put("eslink/"+name, login(name, password))
	}
	w.Secrets.Put("eslink/reader", login("reader", "canary-reader"))
	w.Clusters.AllowKeystore(Instance, false)
	w.Clusters.SetRestart(Instance, 2*time.Minute)
	before := w.Clusters.Instances()[0].Config

	d, err := Deploy(t.Context(), w, t.Output())
	require.NoError(t, err)
	defer d.Close()
	d.Run()
	spec := needing(events.LDAP, events.ActiveDirectory)
	spec.AcceptRisks = w.Spec().AcceptRisks
	ldap := spec.UseCases[0].LDAP
	ldap.RoleMappings, ldap.UnmappedGroupsAsRoles = nil, true // this server cannot store role mappings: realserver's package comment
	ldap.UserDNTemplates, ldap.UserSearch = nil, &events.Search{BaseDN: people.Suffix, Filter: "(cn={0})"}
	ldap.BindDN, ldap.BindSecret = people.UserDN(services.OpenLDAP, "reader"), "eslink/reader"
	var reply api.Reply
	ask(t, d, "eslink-runs", events.Request{Action: "start", Spec: &spec}, &reply)
	comes(t, d, reply.RunID, run.Done)
	require.Len(t, w.Clusters.Secure(Instance), 1)

	for user, want := range map[string]string{"zhang:canary-zhang": `"roles":["analysts"]`, "wang:canary-wang": `"name":"ad1","type":"active_directory"`} {
		require.Contains(t, whoIs(t, w, user), want)
	}
	var checked check.Reply
	ask(t, d, "eslink-check", events.CheckRequest{RunID: reply.RunID}, &checked)
	require.True(t, checked.OK, "%+v", checked)

	ask(t, d, "eslink-runs", events.Request{Action: "teardown", RunID: reply.RunID}, &reply)
	comes(t, d, reply.RunID, run.Removed)
	require.Equal(t, before, w.Clusters.Instances()[0].Config)
	require.Empty(t, w.Clusters.Secure(Instance))
	require.Contains(t, whoIs(t, w, "zhang:canary-zhang"), "unable to authenticate user [zhang]")
}

func whoIs(t *testing.T, w *World, user string) string {
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://es/_security/_authenticate", nil)
	require.NoError(t, err)
	name, password, _ := strings.Cut(user, ":")
	r.SetBasicAuth(name, password)
	resp, err := w.Servers[Instance].RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}
