//go:build browser

package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eslink/shared/eslink/page"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser is a Chromium on the page of a served cloud.
type browser struct {
	t       *testing.T
	address string
	run     func(actions ...chromedp.Action) error
}

// onPage starts `eslink ui` and a browser on the address that it prints.
func onPage(t *testing.T, eslink command, args ...string) browser {
	t.Helper()
	ui := eslink.prepare(t, "", append([]string{"ui"}, args...)...)
	out, err := ui.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, ui.Start())
	t.Cleanup(func() { ui.Process.Kill(); ui.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "Open ")
	require.True(t, ok, line)
	return browse(t, address)
}

// browse starts a browser on an address.
func browse(t *testing.T, address string) browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(alloc)
	t.Cleanup(func() { chromedp.Cancel(ctx); end() })
	require.NoError(t, chromedp.Run(ctx)) // which starts the browser
	b := browser{t: t, address: address, run: func(actions ...chromedp.Action) error {
		bounded, stop := context.WithTimeout(ctx, 30*time.Second)
		defer stop()
		return chromedp.Run(bounded, actions...)
	}}
	require.NoError(t, b.run(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(address)))
	return b
}

// sees waits until the page shows a text.
func (b browser) sees(text string) {
	b.t.Helper()
	var seen string
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		require.NoError(b.t, b.run(chromedp.Evaluate(`document.body.innerText`, &seen)))
		if strings.Contains(seen, text) {
			return
		}
		require.NoError(b.t, b.run(chromedp.Sleep(200*time.Millisecond)))
	}
	require.Contains(b.t, seen, text)
}

func (b browser) clicks(button string) {
	b.t.Helper()
	require.NoError(b.t, b.run(chromedp.Click(fmt.Sprintf(`//button[normalize-space()=%q]`, button), chromedp.BySearch, chromedp.NodeVisible)))
}

// asked clicks a button that asks first, and gives the answer. A page that is drawn
// again in that moment may swallow a click, as it does a person's.
func (b browser) asked(button, answer string) {
	b.t.Helper()
	open := false
	for end := time.Now().Add(30 * time.Second); !open && time.Now().Before(end); {
		b.clicks(button)
		require.NoError(b.t, b.run(chromedp.Sleep(200*time.Millisecond), chromedp.Evaluate(`document.getElementById("ask").open`, &open)))
	}
	require.True(b.t, open, "%s asks", button)
	for end := time.Now().Add(30 * time.Second); open && time.Now().Before(end); {
		b.clicks(answer)
		require.NoError(b.t, b.run(chromedp.Sleep(200*time.Millisecond), chromedp.Evaluate(`document.getElementById("ask").open`, &open)))
	}
	require.False(b.t, open, "%s is an answer", answer)
}

// pictures keeps what a person sees, on a phone and on a desk, by day and by night.
func (b browser) pictures(name string) {
	b.t.Helper()
	dir := "../../.build/page"
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{390, 1440} {
			var shot []byte
			var overflow int64
			require.NoError(b.t, b.run(
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
				chromedp.EmulateViewport(width, 900),
				chromedp.Evaluate(`document.documentElement.scrollWidth - document.documentElement.clientWidth`, &overflow),
				chromedp.FullScreenshot(&shot, 100)))
			require.Zero(b.t, overflow, "%s at %d pixels is wider than the window", name, width)
			require.NoError(b.t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), shot, 0o644))
		}
	}
	require.NoError(b.t, b.run(emulation.SetEmulatedMedia(), chromedp.EmulateViewport(1440, 900)))
}

// TestALifeOnThePage clicks through a run, from its start to its removal.
func TestALifeOnThePage(t *testing.T) {
	t.Parallel()
	d, eslink := served(t, 120)
	_, code := eslink.run(t, "", "init", "es-to-es")
	require.Zero(t, code)
	b := onPage(t, eslink)
	b.sees("There are no runs")
	_, code = eslink.run(t, "", "start", "-f", "es-to-es.yaml")
	require.Zero(t, code)
	b.sees("orders")
	b.pictures("list")
	require.NoError(t, b.run(chromedp.Click(`//a[.="orders"]`, chromedp.BySearch)))
	b.sees("This plan waits for your approval")
	b.sees("CNY 156.24 a month")
	b.pictures("plan")

	b.asked("Approve…", "Leave it")
	require.Empty(t, d.Left(), "nothing was approved")
	b.asked("Approve…", "Approve")
	b.sees("being made")
	b.pictures("moving")
	b.sees("no difference found")
	b.pictures("done")
	b.clicks("Check the link")
	b.sees("Checks, asked just now")

	b.asked("Tear down…", "Tear down")
	b.sees("This plan waits for your approval")
	b.asked("Approve…", "Approve")
	b.sees("removed")
	for end := time.Now().Add(60 * time.Second); len(d.Left()) > 0 && time.Now().Before(end); {
		require.NoError(t, b.run(chromedp.Sleep(200*time.Millisecond)))
	}
	require.Empty(t, d.Left(), "what is left of ours")
	b.pictures("removed")
}

// Whoever guesses the port has no token.
func TestWithoutItsTokenThePageShowsNothing(t *testing.T) {
	t.Parallel()
	_, eslink := served(t, 120)
	b := onPage(t, eslink)
	b.sees("There are no runs")
	bare, _, _ := strings.Cut(b.address, "#")
	require.NoError(t, b.run(chromedp.Evaluate(`sessionStorage.clear()`, nil), chromedp.Navigate("about:blank"), chromedp.Navigate(bare)))
	b.sees("it carries a token")
}

// told answers every status with a text of somebody else's.
type told string

func (s told) Invoke(_ context.Context, _ string, payload, into any) error {
	if _, one := payload.(map[string]string); one {
		return json.Unmarshal([]byte(s), into)
	}
	return json.Unmarshal([]byte(`{"runs": [`+string(s)+`]}`), into)
}

// What comes from a cluster or a spec is text, whatever it looks like.
func TestMarkupStaysText(t *testing.T) {
	t.Parallel()
	const markup = `<img src=x onerror=\"window.entered=1\"><script>window.entered=1</script>`
	view := `{"runId": "0b", "name": "` + markup + `", "scenario": "es-to-es", "status": "failed", "step": "verify", "direction": "up", "generation": 1,
		"reason": "` + markup + `", "next": "` + markup + `", "timeline": [{"step": "preflight", "what": "start"}, {"step": "` + markup + `", "what": "` + markup + `", "reason": "` + markup + `"}],
		"problem": {"type": "x", "title": "` + markup + `", "status": 409, "errors": [{"field": "` + markup + `", "message": "` + markup + `", "remedy": "` + markup + `"}]},
		"progress": {"documents": 1, "total": 2, "percent": 50, "indices": [{"dest": "` + markup + `"}, {"dest": "b"}]},
		"plan": {"planId": "p", "creates": ["` + markup + `"], "difference": [{"key": "` + markup + `", "before": "` + markup + `", "after": "x"}], "later": "` + markup + `"},
		"facts": {"verify": {"level": "content", "checks": [{"name": "link", "detail": "` + markup + `", "remedy": "` + markup + `"}], "differences": ["` + markup + `"],
			"indices": [{"dest": "` + markup + `", "differences": {"` + markup + `": 1}}]}}}`
	l, err := page.Listen(0)
	require.NoError(t, err)
	p := &page.Page{Functions: told(view), Host: l.Addr().String(), Token: page.NewToken(), Where: markup}
	go p.Serve(t.Context(), l)
	b := browse(t, p.Address())
	b.sees("<img src=x")
	require.NoError(t, b.run(chromedp.Click(`td a`, chromedp.ByQuery)))
	b.sees("Comparison of source and destination")
	var entered bool
	require.NoError(t, b.run(chromedp.Evaluate(`window.entered !== undefined || document.querySelector("img, main script") !== null`, &entered)))
	require.False(t, entered)
	b.pictures("markup")
}

// A list of a thousand runs is shown by the page.
func TestAThousandRuns(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf(`{"runId": "%04x", "name": "run-%04d", "scenario": "es-to-es", "status": "done", "step": "verify"}`, i, i))
	}
	l, err := page.Listen(0)
	require.NoError(t, err)
	p := &page.Page{Functions: told(strings.Join(all, ",")), Host: l.Addr().String(), Token: page.NewToken()}
	go p.Serve(t.Context(), l)
	b := browse(t, p.Address())
	b.sees("page 1 of 20, 1000 runs")
	require.NoError(t, b.run(chromedp.Click(`//a[contains(., "later")]`, chromedp.BySearch)))
	b.sees("run-0050")
	b.pictures("thousand")
}
