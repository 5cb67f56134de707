//go:build real && unix

package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/realserver"
	"eslink/shared/aliyun/kms"
	"eslink/shared/copyjob"
	"eslink/shared/run"
)

const (
	orders      = "orders"
	few         = "few"
	many        = 100_000
	shardsOfDay = 3
)

// definition is that of the sources: with settings that those for the load are
// unlike, and few fields, since it is not indexing that is shown.
const definition = `{"settings":{"number_of_shards":3,"number_of_replicas":1,"refresh_interval":"1s"},
	"mappings":{"dynamic":false,"properties":{"n":{"type":"long"},"name":{"type":"keyword"},"price":{"type":"double"}}}}`

// windows are so many that some are done, some run and some are to come.
var windows = copyjob.Split{From: 1, Each: 16_000, Most: 32}

// The documents of odd, by ID, do not fit where when is a date.
var odd = map[string]string{"odd-1": `{"n":1,"when":"not a date"}`, "odd-2": `{"n":2,"when":"no date either"}`}

// TestRealBadDays has a migration meet what a bad day has in store, one after the
// other, and sees each end as it should: by the run's own word, and by every
// document of both sides.
func TestRealBadDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, "", map[string]string{"resource.reload.interval.high": "1s"}, nil)
	w.t = t
	w.ask(w.source, "PUT", "/"+orders, definition)
	all := bodies(7, many, tiny)
	for i, page := range [][][]byte{all[:1], all[1 : len(all)/2], all[len(all)/2:]} {
		w.bulk(w.source, orders, 2, page)
		if id := fmt.Sprint("odd-", i+1); odd[id] != "" {
			w.ask(w.source, "PUT", "/"+orders+"/_doc/"+id, odd[id]) // others come after it
		}
	}
	w.ask(w.source, "POST", "/"+orders+"/_flush", "")
	source := w.list(w.source, orders, 5000)
	require.Equal(t, many+len(odd), len(source))
	w.ask(w.source, "PUT", "/"+few, definition) // for what is refused before it is copied
	w.bulk(w.source, few, 1, bodies(5, 1000, tiny))
	fewer := w.list(w.source, few, 5000)

	// slow has a copy take its time: so many documents a second of all windows.
	slow := func(d *day, perSecond float64) *day {
		d.spec.Reindex = events.Reindex{Size: 500, RequestsPerSecond: &perSecond, SocketTimeout: "3s", ConnectTimeout: "3s"}
		return d
	}
	start := events.Request{Action: "start"}
	retry := events.Request{Action: "retry"}

	t.Run("the destination is killed", func(t *testing.T) {
		d := slow(w.day(t, "dest-killed", orders, windows), 25_000)
		d.amid(1, func() error { return d.killed(d.dest, w.settings) })
		d.do(start)
		d.rests(run.Done)
		require.True(t, d.met && d.loaded)
		d.equals(source)
		d.leaves(true)
	})

	t.Run("the source is killed", func(t *testing.T) {
		d := slow(w.day(t, "source-killed", orders, windows), 25_000)
		d.amid(1, func() error { return d.killed(d.source, map[string]string{"resource.reload.interval.high": "1s"}) })
		d.do(start)
		d.rests(run.Done)
		require.True(t, d.met && d.loaded)
		d.equals(source)
		d.leaves(true)
	})

	for _, state := range []string{cut, dark} {
		t.Run("the link is "+state, func(t *testing.T) {
			d := slow(w.day(t, "link-"+state, orders, windows), 25_000)
			d.amid(0, func() error {
				d.clock.hurry(slowly)
				w.link.set(state)
				time.Sleep(5 * time.Second)
				w.link.set(up)
				d.clock.hurry(usually)
				return nil
			})
			d.do(start)
			d.rests(run.Done)
			require.True(t, d.met && d.loaded)
			d.equals(source)
			d.leaves(true)
		})
	}

	t.Run("the link is cut for hours", func(t *testing.T) {
		d := slow(w.day(t, "link-gone", orders, windows), 25_000)
		d.amid(0, func() error {
			d.clock.hurry(1000)
			w.link.set(cut)
			return nil
		})
		d.do(start)
		d.stops("", "exception")
		require.True(t, d.met && d.loaded)
		require.Contains(t, d.run().Problem.Title, "was lost")
		require.NotEqual(t, "-1", d.setting("link-gone", "refresh_interval"), "it may take a person days to come")
		w.link.set(up)
		d.clock.hurry(usually)
		d.do(retry)
		d.rests(run.Done)
		d.equals(source)
		d.leaves(true)
	})

	t.Run("the function is killed after a kick-off", func(t *testing.T) {
		d := slow(w.day(t, "function-killed", orders, windows), 8_000)
		var killed, lost bool
		d.table.dies = func() bool {
			if killed || d.plane.kicked.Load() == 0 {
				return false
			}
			killed = true
			return true
		}
		d.plane.lose = func(q *http.Request) bool { // later, of a window whose turn comes
			lose := !lost && q.URL.Path == "/_reindex" && d.plane.kicked.Load() == copyjob.Parallel+1
			lost = lost || lose
			return lose
		}
		d.do(start)
		d.rests(run.Done)
		require.True(t, killed && lost)
		d.equals(source)
		d.leaves(false)
		tasks := d.run().Facts.Reindex.Tasks
		require.EqualValues(t, len(tasks), d.plane.kicked.Load(), "each once: %s", d.told())
	})

	t.Run("the source is written to", func(t *testing.T) {
		const n = 30_000
		w.ask(w.source, "PUT", "/live", definition)
		w.bulk(w.source, "live", 2, bodies(8, n, tiny))
		w.ask(w.source, "POST", "/live/_refresh", "") // the survey counts what it sees
		d := slow(w.day(t, "written-to", "live", copyjob.Split{From: 1, Each: 5_000, Most: 32}), 8_000)
		d.amid(0, func() error { return d.write("live", 0, n) })
		// And once more when all is copied, and nothing is proved yet.
		d.before("digest", func() { require.NoError(t, d.write("live", 1, n)) })
		d.do(start)
		d.rests(run.DoneDifferences)
		require.True(t, d.met && d.loaded)
		want := d.list(w.source, "live", 5000).differs(d.list(w.dest, "written-to", 5000))
		require.NotEmpty(t, want.missing)
		require.NotEmpty(t, want.extra)
		require.NotEmpty(t, want.other)
		require.Equal(t, want, d.found())
		d.leaves(false)
		d.do(events.Request{Action: "start", Again: true})
		d.rests(run.DoneDifferences)
		now := d.list(w.source, "live", 5000).differs(d.list(w.dest, "written-to", 5000))
		require.Equal(t, difference{extra: want.extra}, now, "a copy deletes nothing")
		require.Equal(t, now, d.found())
		d.leaves(false)
	})

	t.Run("documents do not fit", func(t *testing.T) {
		w.ask(w.dest, "PUT", "/misfits", strings.Replace(definition, `"n":`, `"when":{"type":"date"},"n":`, 1))
		d := w.day(t, "misfits", orders, windows)
		d.do(start)
		r := d.rests(run.DoneDifferences)
		want := difference{}
		for id := range odd {
			want.missing = append(want.missing, id)
			require.Contains(t, strings.Join(r.Facts.Verify.Differences, "\n"), "document "+id+" in misfits: mapper_parsing_exception: failed to parse field [when]")
		}
		got := source.differs(d.list(d.dest, "misfits", 5000))
		require.ElementsMatch(t, want.missing, got.missing)
		require.Empty(t, append(got.extra, got.other...))
		require.Equal(t, got, d.found())
		d.leaves(false)
	})

	t.Run("writes are blocked", func(t *testing.T) {
		d := slow(w.day(t, "blocked", orders, windows), 25_000)
		d.amid(0, func() error { return d.block("index.blocks.write", "true") })
		d.do(start)
		d.stops("indices[0].dest", "index [blocked] blocked by: [FORBIDDEN/8/index write (api)]")
		require.True(t, d.met && d.loaded)
		require.NotEqual(t, "-1", d.setting("blocked", "refresh_interval"))
		require.NoError(t, d.block("index.blocks.write", "null"))
		d.do(retry)
		d.rests(run.Done)
		d.equals(source)
		d.leaves(false)
	})

	t.Run("the source's user lacks a privilege", func(t *testing.T) {
		d := w.day(t, "blind", few, windows)
		d.secret("eslink/es2-reader", kms.Login{Username: blind, Password: password})
		d.do(start)
		d.stops("secrets.target", "the user of secret eslink/es2-reader lacks the privilege view_index_metadata on few")
		require.Equal(t, "survey", d.run().Cursor.Step)
		status, _, err := d.tell(d.dest, "HEAD", "/blind", nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, status)
		d.secret("eslink/es2-reader", kms.Login{Username: reader, Password: password})
		d.do(retry)
		d.rests(run.Done)
		d.equals(fewer)
		d.leaves(false)
	})

	t.Run("the source's password changes", func(t *testing.T) {
		const other = "secret-2"
		d := slow(w.day(t, "password", orders, windows), 10_000)
		t.Cleanup(func() { // for the next days
			require.NoError(t, w.source.SetFileUsers(users(password)))
			require.Eventually(t, func() bool { return d.refused(other) }, time.Minute, 50*time.Millisecond)
		})
		d.amid(0, func() error {
			if err := w.source.SetFileUsers(users(other)); err != nil {
				return err
			}
			for range 600 {
				time.Sleep(50 * time.Millisecond)
				if d.refused(password) {
					tasks, err := d.tasks()
					if err == nil && len(tasks) == 0 {
						err = errors.New("everything was copied with the old password")
					}
					return err
				}
			}
			return errors.New("the old password is still good")
		})
		d.do(start)
		d.stops("secrets.target", "the source refuses the login of secret eslink/es2-reader, seen from "+instance)
		require.True(t, d.met && d.loaded)
		require.NotEqual(t, "-1", d.setting("password", "refresh_interval"))
		d.secret("eslink/es2-reader", kms.Login{Username: reader, Password: other})
		d.do(retry)
		d.do(events.Request{Action: "throttle", RequestsPerSecond: 1e6})
		d.rests(run.Done)
		d.equals(source)
		d.leaves(true)
	})

	t.Run("the destination is an alias", func(t *testing.T) {
		w.ask(w.dest, "PUT", "/behind", `{"aliases":{"alias":{}}}`)
		w.ask(w.dest, "PUT", "/behind/_doc/1?refresh", `{"kept":true}`)
		d := w.day(t, "alias", few, windows)
		d.do(start)
		d.stops("indices[0].dest", "alias is an alias at the destination")
		require.Equal(t, "plan", d.run().Cursor.Step)

		// One that was made since the plan.
		d = w.day(t, "later", few, windows)
		d.before("destination", func() {
			d.ask(d.dest, "POST", "/_aliases", `{"actions":[{"add":{"index":"behind","alias":"later"}}]}`)
		})
		d.do(start)
		d.stops("indices[0].dest", "later is an alias")
		require.Equal(t, "destination", d.run().Cursor.Step)
		require.Len(t, d.list(d.dest, "behind", 10), 1)

		// The person takes it away, and has an index instead.
		w.ask(w.dest, "POST", "/_aliases", `{"actions":[{"remove":{"index":"behind","alias":"later"}}]}`)
		d.do(retry)
		d.rests(run.Done)
		d.equals(fewer)
		d.leaves(false)
		require.Len(t, d.list(d.dest, "behind", 10), 1)
	})

	t.Run("a window has two million documents", func(t *testing.T) {
		const n = 2_000_000
		w.ask(w.source, "PUT", "/tiny", strings.Replace(definition, `"number_of_replicas":1`, `"number_of_replicas":1,"translog.durability":"async"`, 1))
		var tiny [][]byte
		for from := 0; from < n; from += 20_000 {
			var page bytes.Buffer
			for i := from; i < from+20_000; i++ {
				fmt.Fprintf(&page, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", i, i)
			}
			tiny = append(tiny, page.Bytes())
		}
		began := time.Now()
		w.bulk(w.source, "tiny", 2, tiny)
		w.ask(w.source, "POST", "/tiny/_refresh", "")
		t.Logf("written in %s", time.Since(began))
		began = time.Now()
		d := w.day(t, "tiny", "tiny", copyjob.Split{From: n + 1, Each: n, Most: 1})
		d.do(start)
		r := d.rests(run.Done)
		t.Logf("copied and proven in %s", time.Since(began))
		require.Len(t, r.Facts.Reindex.Tasks, 1)
		require.EqualValues(t, n, r.Facts.Verify.Indices[0].Documents)
		began = time.Now()
		tinies := d.list(w.source, "tiny", 10_000)
		require.Equal(t, n, len(tinies))
		d.equals(tinies)
		t.Logf("compared in %s", time.Since(began))
	})
}

// killed ends a server as kill -9 does, and brings it back.
func (d *day) killed(s *realserver.Server, settings map[string]string) error {
	d.clock.hurry(slowly)
	defer d.clock.hurry(usually)
	s.Kill()
	return s.Restart(d.t.Context(), settings)
}

// refused reports whether the source refuses a reader's password.
func (d *day) refused(password string) bool {
	req, err := http.NewRequestWithContext(d.world.t.Context(), http.MethodGet, d.source.URL(), nil)
	if err != nil {
		return false
	}
	req.SetBasicAuth(reader, password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusUnauthorized
}

// block sets or lifts a block of the destination's index.
func (d *day) block(name, value string) error {
	status, raw, err := d.tell(d.dest, "PUT", "/"+d.spec.Indices[0].Dest+"/_settings", fmt.Appendf(nil, `{%q:%s}`, name, value))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", name, status, raw)
	}
	return err
}

// write updates, deletes and adds documents of the source, others in each round.
func (d *day) write(index string, round, n int) error {
	var body bytes.Buffer
	for i := 100 * round; i < n; i += n / 10 { // IDs that end so are plain, and have no routing
		fmt.Fprintf(&body, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"round\":%d}\n", i, i, round)
		fmt.Fprintf(&body, "{\"delete\":{\"_id\":\"%d\"}}\n", i+10)
		fmt.Fprintf(&body, "{\"index\":{\"_id\":\"new-%d-%d\"}}\n{\"n\":%d}\n", round, i, i)
	}
	status, raw, err := d.tell(d.source, "POST", "/"+index+"/_bulk?refresh&filter_path=errors", body.Bytes())
	var reply struct{ Errors bool }
	if err == nil && (status != http.StatusOK || json.Unmarshal(raw, &reply) != nil || reply.Errors) {
		err = fmt.Errorf("write: %d %s", status, raw)
	}
	return err
}
