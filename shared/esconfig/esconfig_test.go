package esconfig_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"eslink/shared/esconfig"
	"eslink/shared/run"
)

const entry = "ep-a1.epsrv-b2.cn-hangzhou.privatelink.aliyuncs.com:9200"

// with adds an entry, by itself or with the way in which certificates are
// checked.
func with(config map[string]string, entry, tls string) (map[string]string, []run.Change, esconfig.Ours, error) {
	want := esconfig.Want{Entry: entry}
	if tls != "" {
		want.Settings = map[string]string{esconfig.Verification: tls}
	}
	next, ours, err := esconfig.Merge(config, esconfig.Ours{}, want)
	return next, esconfig.Difference(config, next), ours, err
}

// without takes out what is ours.
func without(config map[string]string, ours esconfig.Ours) (map[string]string, []run.Change, error) {
	next, left, err := esconfig.Merge(config, ours, esconfig.Want{})
	if err == nil && len(left.Entries)+len(left.Settings) > 0 {
		err = fmt.Errorf("%v is left", left)
	}
	return next, esconfig.Difference(config, next), err
}

var entryOnly = esconfig.Ours{Entries: []string{entry}}

func has(config map[string]string, entry string) bool {
	_, diff, _, err := with(config, entry, "")
	return err == nil && len(diff) == 0
}

func TestWithEntryKeepsTheFormOfTheValue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after string }{
		"empty":             {"", "E"},
		"one":               {"a:9200", "a:9200,E"},
		"comma list":        {"a:9200,b:9200", "a:9200,b:9200,E"},
		"with blanks":       {"a:9200, b:9200", "a:9200, b:9200, E"},
		"blanks at the end": {" a:9200 ", " a:9200,E "},
		"patterns":          {"127.0.10.*:9200,localhost:*", "127.0.10.*:9200,localhost:*,E"},
		"IPv6 first":        {"[::1]:9200", "[::1]:9200,E"},
		"yaml list":         {`["a:9200"]`, `["a:9200","E"]`},
		"yaml, blanks":      {`[ "a:9200", "b:9200" ]`, `[ "a:9200", "b:9200", "E" ]`},
		"yaml, single":      {`['a:9200']`, `['a:9200','E']`},
		"yaml, bare":        {`[a:9200]`, `[a:9200,"E"]`},
		"yaml, empty":       {`[]`, `["E"]`},
		"there already":     {"E,a:9200", "E,a:9200"},
		"there, in yaml":    {`["E"]`, `["E"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := strings.ReplaceAll(c.before, "E", entry), strings.ReplaceAll(c.after, "E", entry)
			config := map[string]string{esconfig.Whitelist: before, "xpack.watcher.enabled": "false"}
			next, diff, ours, err := with(config, entry, "")
			require.NoError(t, err)
			assert.Equal(t, after, next[esconfig.Whitelist])
			assert.Equal(t, "false", next["xpack.watcher.enabled"])
			assert.Equal(t, before, config[esconfig.Whitelist], "the input is not touched")
			assert.True(t, has(next, entry))
			if before == after {
				assert.Empty(t, diff)
				assert.Empty(t, ours.Entries, "what was there is not ours")
				return
			}
			assert.Equal(t, entryOnly.Entries, ours.Entries)
			assert.Equal(t, []run.Change{{Key: esconfig.Whitelist, Before: before, After: after}}, diff)
			back, _, err := without(next, entryOnly)
			require.NoError(t, err)
			assert.Equal(t, before, back[esconfig.Whitelist])
		})
	}
}

func TestWithEntryRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ value, entry string }{
		"wildcard host":            {"", "*:9200"},
		"wildcard port":            {"", "a:*"},
		"wildcard within":          {"", "a*.example.com:9200"},
		"no port":                  {"", "a"},
		"a second entry":           {"", "a:9200,b:9200"},
		"newline":                  {"", "a:9200\nxpack.security.enabled: false"},
		"trailing newline":         {"", "a:9200\n"},
		"quotation mark":           {"", `a":9200`},
		"value of lines":           {"- a:9200\n- b:9200", entry},
		"value with a NUL":         {"a:9200\x00", entry},
		"value with blank entries": {"a:9200,,b:9200", entry},
		"open list":                {`["a:9200"`, entry},
		"list in a list":           {`[["a:9200"]]`, entry},
		"mapping":                  {`{a: b}`, entry},
		"quotes outside a list":    {`"a:9200"`, entry},
		"comment":                  {"a:9200 # mine", entry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := with(map[string]string{esconfig.Whitelist: c.value}, c.entry, "")
			assert.Error(t, err)
			_, _, err = without(map[string]string{esconfig.Whitelist: c.value}, esconfig.Ours{Entries: []string{c.entry}})
			assert.Error(t, err)
		})
	}
}

func TestWithoutEntryLeavesOtherEntries(t *testing.T) {
	t.Parallel()
	for before, after := range map[string]string{
		"E,a:9200":         "a:9200",
		"a:9200,E,b:9200":  "a:9200,b:9200",
		"a:9200, E":        "a:9200",
		"E,a:9200,E":       "a:9200",
		`["E"]`:            `[]`,
		`[ "E", "a:9200"]`: `[ "a:9200"]`,
		"aE":               "aE", // another name that ends like ours
	} {
		config := map[string]string{esconfig.Whitelist: strings.ReplaceAll(before, "E", entry)}
		next, _, err := without(config, entryOnly)
		require.NoError(t, err)
		assert.Equal(t, strings.ReplaceAll(after, "E", entry), next[esconfig.Whitelist], before)
	}
	next, diff, err := without(map[string]string{esconfig.Whitelist: entry}, entryOnly)
	require.NoError(t, err)
	assert.Empty(t, next, "a list without entries is no setting")
	assert.Len(t, diff, 1)
}

func TestCertificateVerificationGoesAsItCame(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]map[string]string{
		"unset": {"a": "b"},
		"full":  {esconfig.Verification: "full"},
		"same":  {esconfig.Verification: esconfig.Certificate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next, diff, ours, err := with(before, entry, esconfig.Certificate)
			require.NoError(t, err)
			assert.Equal(t, esconfig.Certificate, next[esconfig.Verification])
			assert.Equal(t, name == "same", len(diff) == 1)
			back, _, err := without(next, ours)
			require.NoError(t, err)
			assert.Equal(t, before, back)
		})
	}
	_, _, ours, err := with(map[string]string{}, entry, esconfig.Certificate)
	require.NoError(t, err)
	next, _, err := without(map[string]string{esconfig.Verification: "none", esconfig.Whitelist: entry}, ours)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{esconfig.Verification: "none"}, next, "somebody else's value stays")
}

// Whatever is accepted changes that one key, holds the entry once, keeps every
// other entry in its place and can be taken back.
func TestOnlyOneKeyEverChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		config := rapid.MapOf(rapid.StringMatching(`[a-z.]{1,12}`), rapid.String()).Draw(t, "config")
		items := rapid.SliceOfN(rapid.StringMatching(` ?(["']?)[a-z0-9.*-]{1,8}:[0-9*]{1,5}(["']?) ?`), 0, 4).Draw(t, "items")
		value := strings.Join(items, ",")
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			value = "[" + value + "]"
		case 1:
			value = rapid.String().Draw(t, "any value")
		}
		config[esconfig.Whitelist] = value
		next, diff, _, err := with(config, entry, "")
		if err != nil {
			return
		}
		for _, c := range diff {
			assert.Equal(t, esconfig.Whitelist, c.Key)
		}
		changed := maps.Clone(next)
		changed[esconfig.Whitelist] = value
		assert.Equal(t, config, changed)
		assert.Equal(t, 1, strings.Count(next[esconfig.Whitelist], entry))
		assert.NotContains(t, next[esconfig.Whitelist], "\n")

		again, diff, _, err := with(next, entry, "")
		require.NoError(t, err)
		assert.Empty(t, diff)
		assert.Equal(t, next, again)

		back, _, err := without(next, entryOnly)
		require.NoError(t, err)
		if strings.Trim(value, " ") == "" {
			delete(config, esconfig.Whitelist) // "" and no value mean the same
		}
		assert.Equal(t, config, back)
	})
}
