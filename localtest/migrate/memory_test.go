//go:build bench && linux

package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/realserver"
	elruntime "eslink/localtest/runtime"
	"eslink/shared/checksum"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
)

// What a reading process is told by its environment.
const (
	readFrom  = "ESLINK_TEST_READ_FROM" // a server's URL
	readIndex = "ESLINK_TEST_READ_INDEX"
)

const (
	few       = 10_000
	huge      = 90 << 20 // bytes of a document: Elasticsearch takes requests of 100 MB
	hugeCount = 4
)

// TestMigrationMemory reads and hashes few documents, all of them, and some huge
// ones, each index by a process of its own, as step digest does and with the memory
// that it has there.
func TestMigrationMemory(t *testing.T) {
	if os.Getenv(readFrom) != "" {
		read(t, os.Getenv(readFrom), os.Getenv(readIndex))
		return
	}
	require.GreaterOrEqual(t, *documents, few)
	project, err := elruntime.Load(func(string) (string, bool) { return "x", true }, "../../s.yaml")
	require.NoError(t, err)
	limit := 0
	for _, f := range project.Functions {
		if f.Name == "eslink-digest" {
			limit = f.MemorySize << 20
		}
	}
	require.Positive(t, limit)

	require.NoError(t, realserver.Check())
	d, err := realserver.Prepare(t.Context(), version, "")
	require.NoError(t, err)
	s, err := realserver.Start(t.Context(), realserver.Options{Distribution: d, Name: "memory", Password: password, Heap: heap})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	p := &bench{pair: pair{t: t, source: s}}
	fill := func(index, mappings string, shards int, bodies [][]byte) {
		p.ask(s, "PUT", "/"+index, fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":0,"refresh_interval":"-1"},"mappings":%s}`, shards, mappings))
		p.bulk(s, index, 2, bodies)
		p.ask(s, "POST", "/"+index+"/_refresh", "")
	}
	fill("few", mappings, shards, bodies(*seed, few, of()))
	fill("all", mappings, shards, bodies(*seed, *documents, of()))
	var large [][]byte
	text := strings.Repeat("wealth management product ", huge/26)
	for i := range hugeCount {
		large = append(large, fmt.Appendf(nil, "{\"index\":{\"_id\":\"%d\"}}\n{\"z\":%d,\"text\":%q}\n", i, i, text))
	}
	fill("huge", `{"enabled":false}`, 2, large)

	loaded := machine()
	peaks := map[string][]float64{}
	for range max(*rounds, 1) {
		for _, index := range []string{"few", "all", "huge"} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMigrationMemory$", "-test.v")
			cmd.Env = append(os.Environ(), readFrom+"="+s.URL(), readIndex+"="+index, fmt.Sprintf("GOMEMLIMIT=%dB", limit/10*9))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			found := regexp.MustCompile(`peak (\d+) kB`).FindSubmatch(out)
			require.NotNil(t, found, "%s", out)
			kB, err := strconv.ParseFloat(string(found[1]), 64)
			require.NoError(t, err)
			peaks[index] = append(peaks[index], kB/1024)
			t.Logf("%s: %s", index, bytes.TrimSpace(regexp.MustCompile(`(?m)^.*peak.*$`).Find(out)))
		}
	}
	fmt.Printf("\nMemory of a process that reads and hashes an index of Elasticsearch %s (VmHWM), with GOMEMLIMIT as step digest's %d MB give it; %s:\n", version, limit>>20, loaded)
	fmt.Println("\n| read and hashed | peak in MB, median | least | most |\n|---|---|---|---|")
	row := func(what string, list []float64) {
		fmt.Printf("| %s | %.0f | %.0f | %.0f |\n", what, middle(list), slices.Min(list), slices.Max(list))
	}
	row(fmt.Sprintf("%d documents", few), peaks["few"])
	row(fmt.Sprintf("%d documents", *documents), peaks["all"])
	row(fmt.Sprintf("%d documents of %d MB", hugeCount, huge>>20), peaks["huge"])
	fmt.Printf("\nRatio of %d to %d documents, aim 1: %.2f\n", *documents, few, middle(over(peaks["all"], peaks["few"])))
	require.Less(t, slices.Max(peaks["huge"]), float64(limit>>20), "the platform would have killed it")
}

// read is what the child does: it sums an index up, invocation by invocation, and
// prints its peak.
func read(t *testing.T, url, index string) {
	c, err := es.New(http.DefaultTransport, url, "elastic", password)
	require.NoError(t, err)
	n, err := c.Count(t.Context(), index, nil)
	require.NoError(t, err)
	stats, err := c.Stats(t.Context(), index)
	require.NoError(t, err)
	r := &run.Run{ID: "0123456789abcdef"}
	r.Facts.Digest = &facts.Digest{Walk: "1"}
	reader := scan.Scan{Reader: c, Rows: encoded{}, Now: time.Now, Run: r, Side: scan.Source, Index: index, Content: true, Bytes: stats.Bytes / n}
	began := time.Now()
	for invocations := 1; ; invocations++ {
		at, err := reader.Sum(t.Context(), checksum.Partitions(n), time.Now().Add(scan.WorkFor))
		require.NoError(t, err)
		if !at.Done {
			continue
		}
		require.Equal(t, n, at.Read)
		status, err := os.ReadFile("/proc/self/status")
		require.NoError(t, err)
		peak := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
		require.NotNil(t, peak)
		t.Logf("peak %s kB: %d documents in %d invocations, %s", peak[1], n, invocations, time.Since(began).Round(time.Millisecond))
		return
	}
}

// encoded is a table: rows as they are sent.
type encoded map[string][]byte

func (e encoded) PutPart(_ context.Context, _, name string, v any) (err error) {
	e[name], err = json.Marshal(v)
	return err
}

func (e encoded) GetPart(_ context.Context, _, name string, v any) error {
	raw, ok := e[name]
	if !ok {
		return run.ErrNotFound
	}
	return json.Unmarshal(raw, v)
}
