package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/world"
	"eslink/shared/deploy"
)

// TestPreparingAnAccount types README's commands that come before and after `s
// deploy`, against the account of serve.
func TestPreparingAnAccount(t *testing.T) {
	t.Parallel()
	d, _ := served(t, 60)
	key, err := guest(d)
	require.NoError(t, err)
	dir := t.TempDir()
	lines := []string{"ESLINK_ACCOUNT_ID=" + world.AccountID, "ALIBABA_CLOUD_ACCESS_KEY_ID=" + key.AccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" + key.AccessKeySecret,
		"ALIBABA_CLOUD_SECURITY_TOKEN='" + key.SecurityToken + "' # a temporary key", "ESLINK_TABLE_INSTANCE=eslink", "ESLINK_LOG_PROJECT=eslink",
		"ESLINK_SOURCE_VPC=" + world.SourceVPC, "ESLINK_SOURCE_VSWITCH=" + world.SourceVSwitch, "ESLINK_SOURCE_SECURITY_GROUP=sg-src000000000000001",
		"ESLINK_DESTINATION_VPC=" + world.DestinationVPC, "ESLINK_DESTINATION_VSWITCH=" + world.DestinationVSwitch, "ESLINK_DESTINATION_SECURITY_GROUP=sg-dst000000000000001"}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	binary := filepath.Join(t.TempDir(), "deploy")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../shared/deploy/cmd").CombinedOutput()
	require.NoError(t, err, string(built))
	run := func(more []string, args ...string) (out string, code int) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), more...)
		for product, url := range d.Endpoints {
			cmd.Env = append(cmd.Env, "ESLINK_ENDPOINT_"+strings.ToUpper(product)+"="+url)
		}
		raw, _ := cmd.CombinedOutput()
		return string(raw), cmd.ProcessState.ExitCode()
	}
	sets := []string{}
	for _, s := range deploy.Sets() {
		sets = append(sets, string(s))
	}
	changes := func(command string) int {
		t.Helper()
		out, code := run(nil, append([]string{command}, sets...)...)
		require.Zero(t, code, out)
		n := 0
		last := regexp.MustCompile(`(\d+) changes\n$`).FindStringSubmatch(out)
		require.NotNil(t, last, out)
		_, err := fmt.Sscan(last[1], &n)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, changes("plan"), "what localtest deploys is what up makes")
	taken := changes("down")
	require.Greater(t, taken, 100)
	require.Zero(t, changes("down"), "again: there is nothing left")
	require.Equal(t, taken, changes("plan"))
	require.Equal(t, taken, changes("up"))
	require.Zero(t, changes("up"), "again: nothing differs")

	// Half of it: one cloud's functions go, the others' queues and roles stay.
	out, code := run(nil, "down", "azure")
	require.Zero(t, code, out)
	require.Contains(t, out, "delete queue eslink-azure-dns")
	require.NotContains(t, out, "eslink-nlb")
	require.NotContains(t, out, "eslink-dead", "other sets' dead letters go there")
	require.Positive(t, changes("up"))

	// What is missing or wrong is said before anything is made.
	for want, more := range map[string][]string{
		"log project other is missing":                {"ESLINK_LOG_PROJECT=other"},
		"tablestore instance other is missing":        {"ESLINK_TABLE_INSTANCE=other"},
		"ESLINK_ACCOUNT_ID is not of the form":        {"ESLINK_ACCOUNT_ID=1"},
		"and ESLINK_ACCOUNT_ID says 9999999999999999": {"ESLINK_ACCOUNT_ID=9999999999999999"},
		"InvalidAccessKeyId":                          {"ALIBABA_CLOUD_ACCESS_KEY_ID=LTAInobody", "ALIBABA_CLOUD_SECURITY_TOKEN="},
		"the limit is 50":                             nil,
	} {
		args := []string{"up"}
		if more == nil {
			for i := range 60 {
				d.Streams.Add(fmt.Sprint("theirs-", i))
			}
			out, code = run(nil, "up", "-streams", "200")
			require.Zero(t, code, out)
		}
		before := writes(d)
		out, code := run(more, args...)
		require.NotZero(t, code, want)
		require.Contains(t, out, want)
		require.Equal(t, before, writes(d), "%s: nothing is made", want)
	}
}

// writes counts the calls that changed the account, but for those of functions:
// their timer goes on.
func writes(d *world.Deployment) (n int) {
	for _, e := range d.Account.Exchanges() {
		if e.Write && (e.Product == "ram" || e.Product == "mns" && e.Action == "CreateQueue" || e.Product == "ots" && e.Action == "CreateTable") {
			n++
		}
	}
	return n
}
