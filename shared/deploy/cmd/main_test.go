package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/deploy"
)

var complete = map[string]string{
	"ESLINK_ACCOUNT_ID": "1234567890123456", "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tExample", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "canary",
	"ESLINK_TABLE_INSTANCE": "mine", "ESLINK_LOG_PROJECT": "mine-logs",
	"ESLINK_SOURCE_VPC": "vpc-a", "ESLINK_SOURCE_VSWITCH": "vsw-a", "ESLINK_SOURCE_SECURITY_GROUP": "sg-a",
	"ESLINK_DESTINATION_VPC": "vpc-b", "ESLINK_DESTINATION_VSWITCH": "vsw-b", "ESLINK_DESTINATION_SECURITY_GROUP": "sg-b",
}

func given(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

func dir(t *testing.T, env string) string {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, ".env"), []byte(env), 0o600))
	return root
}

var whole = []deploy.Set{deploy.Common, deploy.Alibaba}

// All that is missing or malformed is said at once, before anything is called.
func TestWhatIsMissingIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	c := command{root: t.TempDir(), getenv: given(nil), out: &bytes.Buffer{}}
	err := c.run(t.Context(), []string{"up"})
	for name := range complete {
		assert.ErrorContains(t, err, name+" is not set")
	}
	_, err = c.environment([]deploy.Set{deploy.Common, deploy.Azure})
	assert.NotContains(t, err.Error(), "VPC", "other clouds' functions need no network")
	for name, value := range map[string]string{"ESLINK_ACCOUNT_ID": "12345", "ESLINK_LOG_PROJECT": "Mine", "ESLINK_TABLE_INSTANCE": "x", "ESLINK_SOURCE_VSWITCH": "vpc-a"} {
		values := maps.Clone(complete)
		values[name] = value
		c.getenv = given(values)
		_, err := c.environment(whole)
		assert.ErrorContains(t, err, name+" is not of the form")
	}
	values := maps.Clone(complete)
	values["ALIBABA_CLOUD_ACCESS_KEY_ID"] = "STS.NExample"
	c.getenv = given(values)
	_, err = c.environment(whole)
	assert.ErrorContains(t, err, "ALIBABA_CLOUD_SECURITY_TOKEN is not set")
}

// What .env says is taken as `s` takes it (its reading of these lines was compared with s 3.1.10), or refused.
func TestDotEnv(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"A=plain": "plain", "A=ab # a comment": "ab", "A='a b # c'": "a b # c", `A="a b # c"`: "a b # c", "A=": "", "A=x=y": "x=y",
	} {
		got, err := readEnv(filepath.Join(dir(t, "# first\n\n"+line+"\n"), ".env"))
		require.NoError(t, err, line)
		assert.Equal(t, map[string]string{"A": want}, got, line)
	}
	got, err := readEnv(filepath.Join(dir(t, "B=x\nA=${B}\n"), ".env"))
	require.NoError(t, err)
	assert.Equal(t, "x", got["A"])
	for _, line := range []string{"A=y$z", "A='q$B'", `A="q$B"`, "A=ab#c d", "A=a b", "A=a\"b", `A=a\b`, "A=`x`", "no assignment", "export A=b", "A ='b'"} {
		_, err := readEnv(filepath.Join(dir(t, line+"\n"), ".env"))
		assert.ErrorContains(t, err, ".env:1", line)
	}
	got, err = readEnv(filepath.Join(t.TempDir(), ".env"))
	require.NoError(t, err)
	assert.Empty(t, got)
}

// fake writes a program in the place of `s`, which notes its arguments and key, and then does as told.
func fake(t *testing.T, root, script string) (program string, calls func() []string) {
	t.Helper()
	program, log := filepath.Join(root, "s"), filepath.Join(root, "calls")
	text := "#!/bin/sh\necho \"$* | $AccountID $AccessKeyID $AccessKeySecret | $ESLINK_serverless_devs_key\" >> " + log + "\n" + script + "\n"
	require.NoError(t, os.WriteFile(program, []byte(text), 0o700))
	return program, func() []string {
		raw, _ := os.ReadFile(log) // not there: not called
		return strings.Split(strings.TrimSpace(string(raw)), "\n")
	}
}

func TestServerlessDevsIsGivenTheKey(t *testing.T) {
	t.Parallel()
	root := dir(t, "ESLINK_TABLE_INSTANCE=mine\n")
	program, calls := fake(t, root, "echo done")
	var out bytes.Buffer
	c := command{root: root, getenv: given(complete), out: &out, s: program}
	e, err := c.environment(whole)
	require.NoError(t, err)
	require.NoError(t, c.deployFunctions(t.Context(), e, whole))
	assert.Equal(t, "deploy -y -t s.yaml | 1234567890123456 LTAI5tExample canary |", strings.TrimSpace(calls()[0]))
	assert.Equal(t, "done\n", out.String())

	e.key = deploy.Key{ID: "STS.NExample", Secret: "canary", Token: "token"}
	require.NoError(t, c.deployFunctions(t.Context(), e, []deploy.Set{deploy.Common, deploy.Azure}))
	require.Len(t, calls(), 3)
	args, key, _ := strings.Cut(calls()[2], " |    | ")
	assert.Equal(t, "deploy -y -t shared/deploy/azure.yaml -a ESLINK_serverless_devs_key", args)
	var got credential
	require.NoError(t, json.Unmarshal([]byte(key), &got))
	assert.Equal(t, credential{"1234567890123456", "STS.NExample", "canary", "token"}, got)

	e.variables = map[string]string{"AccountID": "1"}
	assert.ErrorContains(t, c.deployFunctions(t.Context(), e, whole), "take AccountID out of .env")
}

// A removal that is refused stops undeploy, though `s` exits with 0: the queues and roles stay, and so does the rest.
func TestARefusedRemovalStops(t *testing.T) {
	t.Parallel()
	root := dir(t, "")
	program, calls := fake(t, root, "echo 'eslink-nlb remove error: TriggersExist'")
	var out bytes.Buffer
	c := command{root: root, getenv: given(complete), out: &out, s: program}
	err := c.run(t.Context(), []string{"undeploy", "azure", "common"})
	assert.ErrorContains(t, err, "remove error: TriggersExist")
	assert.ErrorContains(t, err, "queues, roles and table are still there")
	assert.Len(t, calls(), 1, "it stops at once")
	assert.Contains(t, out.String(), "0 changes")

	program, _ = fake(t, root, "echo half; exit 101")
	c.s = program
	assert.ErrorContains(t, c.run(t.Context(), []string{"undeploy"}), "exit status 101")
}

// What `eslink init` writes asks for everything that a deployment needs, and is read.
func TestTheTemplateOfDotEnv(t *testing.T) {
	t.Parallel()
	values, err := readEnv("../../eslink/specs/env")
	require.NoError(t, err)
	for name := range complete {
		assert.Contains(t, values, name)
	}
}
