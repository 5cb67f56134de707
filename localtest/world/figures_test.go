//go:build bench

package world

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/api"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// What `make bench` prints. Sizes, counts and virtual times are held to their
// aims; real times are only shown, since machines are shared.

const (
	mostZip         = 10 << 20 // bytes
	mostZipOfCheck  = 16 << 20 // it links the SDKs of all clouds
	mostZipOfEC2    = 14 << 20 // the linker keeps all operations of that client
	mostInvocations = 60       // of a run's steps
	mostOverCloud   = 1.10     // a run's time over what the cloud has it wait, median
	seeds           = 1000
)

// walked is what one provisioning walk took.
type walked struct {
	took, cloud, real time.Duration
	invocations       int
}

// walk provisions in a world of its own.
func walk(t *testing.T, seed uint64, around func(engine.Step) engine.Step) (w walked) {
	began := time.Now()
	inWorld(t, Config{Seed: seed}, func(t *testing.T, s *sim) {
		s.Around = around
		waited := s.Account.Waits()
		s.start(t, events.Request{})
		v := s.ends(t, run.Done)
		w = walked{took: last(v).Sub(v.Timeline[0].At), cloud: s.Account.Waits() - waited}
		for function, n := range s.Invocations() {
			if _, ok := stepFunctions[function]; ok {
				w.invocations += n
			}
		}
	})
	w.real = time.Since(began) // by the clock outside the world, which it is made in, too
	return w
}

// last is when the run ended.
func last(v api.View) time.Time { return v.Timeline[len(v.Timeline)-1].At }

// impatient asks every second, whatever its step says.
type impatient struct{ engine.Step }

func (i impatient) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	out, err := i.Step.Up(ctx, r)
	if err == nil && !out.IsDone() && out.Asked() == nil {
		out = engine.Wait(min(out.Delay(), time.Second), out.Reason())
	}
	return out, err
}

// What the cloud is said to have a run wait is what a run that asks every second
// takes.
func TestFiguresOfTheCloudsWaits(t *testing.T) {
	for seed := range uint64(3) {
		w := walk(t, seed, func(s engine.Step) engine.Step { return impatient{s} })
		ratio := w.took.Seconds() / w.cloud.Seconds()
		t.Logf("seed %d: %s asked every second, %s by the cloud's own count: %.3f", seed, w.took, w.cloud, ratio)
		require.InDelta(t, 1, ratio, 0.02)
	}
}

func TestFiguresOfSimulatedRuns(t *testing.T) {
	all := make([]walked, seeds)
	began := time.Now()
	t.Run("runs", func(t *testing.T) {
		next := make(chan int, seeds)
		for i := range seeds {
			next <- i
		}
		close(next)
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for i := range next {
					all[i] = walk(t, uint64(i), nil)
				}
			})
		}
	})
	took := time.Since(began)
	var ratios, speeds []float64
	var invocations []int
	var virtual time.Duration
	for _, w := range all {
		ratios = append(ratios, w.took.Seconds()/w.cloud.Seconds())
		speeds = append(speeds, w.took.Seconds()/w.real.Seconds())
		invocations = append(invocations, w.invocations)
		virtual += w.took
	}
	slices.Sort(ratios)
	slices.Sort(speeds)
	slices.Sort(invocations)
	fmt.Printf("\n%d simulated runs, another cloud each, in %s on %d processors\n\n", seeds, took.Round(time.Second), runtime.GOMAXPROCS(0))
	fmt.Println("| figure | least | median | most |\n|---|---|---|---|")
	fmt.Printf("| invocations of steps per run | %d | %d | %d |\n", invocations[0], invocations[seeds/2], invocations[seeds-1])
	fmt.Printf("| time of a run over the cloud's own waits | %.3f | %.3f | %.3f |\n", ratios[0], ratios[seeds/2], ratios[seeds-1])
	fmt.Printf("| virtual over real time, a run on one processor | %.0f | %.0f | %.0f |\n", speeds[0], speeds[seeds/2], speeds[seeds-1])
	fmt.Printf("\nall together: %.0f virtual seconds a real one\n", virtual.Seconds()/took.Seconds())
	require.LessOrEqual(t, invocations[seeds-1], mostInvocations)
	require.LessOrEqual(t, ratios[seeds/2], mostOverCloud)
}

func TestFiguresOfProcesses(t *testing.T) {
	type figure struct {
		binary, zip, rss int64
		cold             time.Duration
		invocations      int
	}
	figures := map[string]*figure{}
	deployed(t, Config{}, func(t *testing.T, d *Deployment) {
		d.Run()
		var reply api.Reply
		spec := Spec()
		ask(t, d, "eslink-runs", events.Request{Action: "start", Spec: &spec}, &reply)
		comes(t, d, reply.RunID, run.Done)
		for name, binary := range d.Platform.Binaries {
			info, err := os.Stat(binary)
			require.NoError(t, err)
			packed, err := packed(binary)
			require.NoError(t, err)
			figures[name] = &figure{binary: info.Size(), zip: packed}
		}
		d.Close() // an instance's peak is known when it ends
		for name, s := range d.Platform.Stats() {
			f := figures[name]
			f.rss, f.invocations = s.MaxRSS, s.Invocations
			if len(s.Cold) > 0 {
				f.cold = slices.Min(s.Cold)
			}
		}
	})
	var names []string
	for name, f := range figures {
		if f.invocations > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	const mb = 1 << 20
	fmt.Println("\n| function | binary MB | zip MB | cold start ms | peak memory MB | invocations |\n|---|---|---|---|---|---|")
	var colds []time.Duration
	for _, name := range names {
		f := figures[name]
		fmt.Printf("| %s | %.1f | %.1f | %.0f | %.0f | %d |\n", strings.TrimPrefix(name, "eslink-"),
			float64(f.binary)/mb, float64(f.zip)/mb, float64(f.cold.Microseconds())/1000, float64(f.rss)/mb, f.invocations)
		colds = append(colds, f.cold)
	}
	slices.Sort(colds)
	fmt.Printf("\ncold start (exec to the first request for work), median of %d functions: %s\n", len(colds), colds[len(colds)/2].Round(time.Millisecond/10))
	for name, f := range figures {
		most := int64(mostZip)
		switch {
		case name == "eslink-check":
			most = mostZipOfCheck
		case strings.HasPrefix(name, "eslink-aws-"):
			most = mostZipOfEC2
		}
		require.LessOrEqual(t, f.zip, most, name)
	}
}

// packed is the size of a file in a zip, as `s deploy` uploads it.
func packed(file string) (int64, error) {
	var out counter
	z := zip.NewWriter(&out)
	in, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	w, err := z.Create(filepath.Base(file))
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(w, in); err != nil {
		return 0, err
	}
	return int64(out), z.Close()
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }
