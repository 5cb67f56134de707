package checksum_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"eslink/shared/checksum"
)

func content(t require.TestingT, source string) checksum.Content {
	var h checksum.Hasher
	c, err := h.Content("1", "", []byte(source))
	require.NoError(t, err, source)
	return c
}

func TestWhatIsTheSame(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{`{"a":1.10}`, `{"a":1.1}`},
		{`{"a":1e3}`, `{"a":1000.0}`},
		{`{"a":1e3}`, `{"a":1000}`},
		{`{"a":5e-1}`, `{"a":0.5}`},
		{`{"a":-0}`, `{"a":0.0}`},
		{`{"a":1E+2}`, `{"a":1.0E2}`},
		{`{"a":0e99999999999999999999}`, `{"a":0}`},
		{`{"a":10e99999999999999999999}`, `{"a":1e100000000000000000000}`},
		{`{"a":1e000000000000000000000}`, `{"a":1}`},
		{`{"a":1,"b":{"d":2,"c":3}}`, ` { "b" : {"c":3, "d":2}, "a": 1 } `},
		{`{"a":[1,2]}`, "\t{\r\n\"a\"\t:\r[\n1\t,\r2\n]\t}\r"},
		{`{"a":"\u00e9\/\ud83d\ude00\n"}`, "{\"a\":\"é/😀\\u000A\"}"},
		{`{"\u0061":"\u0022\u005c"}`, `{"a":"\"\\"}`},
		{`{"a":123456789012345678901234567890}`, `{"a":123456789012345678901234567890.0}`},
	} {
		assert.Equal(t, content(t, pair[0]).Exact, content(t, pair[1]).Exact, "%v", pair)
	}
}

func TestWhatIsNotTheSame(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`},
		{`{"a":18446744073709551615}`, `{"a":18446744073709551616}`},
		{`{"a":1}`, `{"a":"1"}`},
		{`{"a":1}`, `{"a":-1}`},
		{`{"a":[1,2]}`, `{"a":[2,1]}`},
		{`{"a":[[1],[2]]}`, `{"a":[[1,2]]}`},
		{`{"a":[1,2]}`, `{"a":[12]}`},
		{`{"a":null}`, `{}`},
		{`{"a":[]}`, `{"a":{}}`},
		{`{"a":true}`, `{"a":false}`},
		{`{"a":{"b":1}}`, `{"a.b":1}`},
		{`{"a":"b,c"}`, `{"a":["b","c"]}`},
		{`{"a":"\ud83d"}`, `{"a":"\ud83e"}`},
		{`{"a":"\"}"}`, `{"a":"}"}`},
		{`{"a":1E400}`, `{"a":"Infinity"}`},
		{`{"a":1e18446744073709551617}`, `{"a":10}`},
	} {
		a, b := content(t, pair[0]), content(t, pair[1])
		assert.NotEqual(t, a.Exact, b.Exact, "%v", pair)
		assert.NotEqual(t, a.Cut, b.Cut, "%v", pair)
	}
	var h checksum.Hasher
	same := map[checksum.Hash]string{}
	for _, id := range [][3]string{{"1", "", `{}`}, {"2", "", `{}`}, {"1", "1", `{}`}, {"1", "2", `{}`}, {"", "1", `{}`}, {"11", "", `{}`}, {"", "11", `{}`},
		{"a", "b\x00", `{}`}, {"a\x02b", "", `{}`}, {"a", "1", `1`}, {"a", "", `11`}, {"1"}, {"1", "1"}, {"2"}} {
		source := []byte(id[2])
		if id[2] == "" {
			source = nil // the ID alone
		}
		c, err := h.Content(id[0], id[1], source)
		require.NoError(t, err)
		assert.Empty(t, same[c.Exact])
		same[c.Exact] = fmt.Sprintf("%q", id)
	}
}

// What Elasticsearch makes of decimals (seen on 7.17.29 and 7.10.2) is told from
// an edit.
func TestDigitsThatElasticsearchCuts(t *testing.T) {
	t.Parallel()
	for source, dest := range map[string]string{
		`{"a":0.1234567890123456789}`:       `{"a":0.12345678901234568}`,
		`{"a":100000000000000000000000.0}`:  `{"a":9.999999999999999E22}`,
		`{"a":5e-324}`:                      `{"a":4.9E-324}`,
		`{"a":5.684341886080802E-14,"b":1}`: `{"b":1,"a":5.6843418860808015E-14}`,
	} {
		a, b := content(t, source), content(t, dest)
		assert.NotEqual(t, a.Exact, b.Exact, source)
		assert.Equal(t, a.Cut, b.Cut, source)
	}
	a, b := content(t, `{"a":0.1234567890123456789}`), content(t, `{"a":0.12345678901234569}`)
	assert.NotEqual(t, a.Cut, b.Cut)
}

func TestWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	var h checksum.Hasher
	for _, source := range []string{``, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}{}`, `[1 2]`, `[1,]`, `{"a":tru}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"`, `{"a":1-2}`, `{"a":-}`, `{"a":[1 22]}`, `{"a":1x"b":2}`, `{"a":"\`, `{"a":"\u1`, `{"a":"\u12zz"}`, `{"a":1.2.3}`, `{"a":1e2-3}`, `{"a":1e2.5}`,
		`{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e-}`, `{a:1}`, strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)} {
		_, err := h.Content("1", "", []byte(source))
		assert.Error(t, err, source)
		_, err = h.List("1", "", []byte(source), true)
		assert.Error(t, err, source)
	}
}

// values draws a JSON value of any shape, numbers as text.
func values() *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), toAny[bool]), rapid.Map(rapid.String(), toAny[string]),
		rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`), func(s string) any { return json.Number(s) }),
	)
	var value *rapid.Generator[any]
	value = rapid.OneOf(leaf, rapid.Deferred(func() *rapid.Generator[any] {
		return rapid.OneOf(rapid.Map(rapid.SliceOfN(value, 0, 3), toAny[[]any]), rapid.Map(rapid.MapOfN(rapid.String(), value, 0, 4), toAny[map[string]any]))
	}))
	return value
}

func toAny[T any](v T) any { return v }

func documents() *rapid.Generator[map[string]any] {
	return rapid.MapOfN(rapid.String(), values(), 0, 5)
}

// spell writes a value with other white space, order of keys, escapes and
// spellings of numbers each time.
func spell(r *rand.Rand, v any) string {
	space := strings.Repeat(" ", r.IntN(2))
	switch v := v.(type) {
	case map[string]any:
		var items []string
		for _, k := range shuffled(r, v) {
			items = append(items, spell(r, k)+space+":"+spell(r, v[k]))
		}
		return space + "{" + strings.Join(items, ",") + space + "}"
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, spell(r, item))
		}
		return "[" + strings.Join(items, space+",") + "]" + space
	case string:
		var out strings.Builder
		for _, c := range v {
			switch {
			case r.IntN(3) == 0 && c < 0x10000:
				fmt.Fprintf(&out, "\\u%04x", c)
			default:
				raw, _ := json.Marshal(string(c))
				out.Write(raw[1 : len(raw)-1])
			}
		}
		return `"` + out.String() + `"`
	case json.Number:
		if r.IntN(2) == 0 {
			return string(v)
		}
		mantissa, exponent, _ := strings.Cut(strings.ToLower(string(v)), "e")
		e, _ := strconv.Atoi(exponent)
		whole, fraction, _ := strings.Cut(mantissa, ".")
		zeros := strings.Repeat("0", r.IntN(4))
		return fmt.Sprintf("%s%s%sE%d", whole, fraction, zeros, e-len(fraction)-len(zeros))
	}
	raw, _ := json.Marshal(v)
	return string(raw)
}

func shuffled(r *rand.Rand, m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}

func TestSpellingDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		doc := documents().Draw(t, "document")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		a, b := spell(r, doc), spell(r, doc)
		if content(t, a).Exact != content(t, b).Exact {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

// Exactness is judged by big.Rat, which no digit escapes.
func TestNumbersAreComparedByValue(t *testing.T) {
	t.Parallel()
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		a := number.Draw(t, "a")
		b := rapid.OneOf(number, rapid.Just(a+"0"), rapid.Just(strings.Replace(a, ".", "0.", 1))).Draw(t, "b")
		x, ok := new(big.Rat).SetString(a)
		y, ok2 := new(big.Rat).SetString(b)
		if !ok || !ok2 {
			t.Skip()
		}
		same := content(t, `{"n":`+a+`}`).Exact == content(t, `{"n":`+b+`}`).Exact
		if same != (x.Cmp(y) == 0) {
			t.Fatalf("%s and %s: same digest %v", a, b, same)
		}
	})
}

func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.String(), 1, 40, rapid.ID).Draw(t, "ids")
		n := checksum.Partitions(rapid.Int64Range(0, 5000).Draw(t, "documents"))
		split := rapid.IntRange(0, len(ids)).Draw(t, "split")
		var h checksum.Hasher
		add := func(s checksum.Sums, ids []string) {
			for _, id := range ids {
				c, err := h.Content(id, "", []byte(`{"n":1}`))
				require.NoError(t, err)
				s.Add(id, c)
			}
		}
		a, b, c := make(checksum.Sums, n), make(checksum.Sums, n), make(checksum.Sums, n)
		add(a, ids)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		add(b, ids[:split])
		add(c, ids[split:])
		b.Merge(c)
		require.Equal(t, a, b)
		require.Empty(t, checksum.Unequal(a, b))
		require.EqualValues(t, len(ids), a.Documents())
		raw, err := json.Marshal(a)
		require.NoError(t, err)
		var back checksum.Sums
		require.NoError(t, json.Unmarshal(raw, &back))
		require.Equal(t, a, back)
		require.Error(t, json.Unmarshal([]byte(`"AAAA"`), &back))
		require.Error(t, json.Unmarshal([]byte(`5`), &back))

		// One document more, less or other is found, in its own partition.
		changed, err := h.Content(ids[0], "", []byte(`{"n":2}`))
		require.NoError(t, err)
		a.Add(ids[0], changed)
		require.Equal(t, []int{checksum.Partition(ids[0], n)}, checksum.Unequal(a, b))
	})
}

// Sums are of 128 bits, whatever carries over, and of all that they are made of.
func TestSums(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var want, cut big.Int
		s := make(checksum.Sums, 1)
		for _, b := range rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7F, 0xFF}), 16, 16), 2, 5).Draw(t, "hashes") {
			c := checksum.Content{Exact: checksum.Hash(b)}
			copy(c.Cut[:], c.Exact[8:])
			s.Add("1", c)
			want.Add(&want, new(big.Int).SetBytes(c.Exact[:]))
			cut.Add(&cut, new(big.Int).SetBytes(c.Cut[:]))
		}
		mask := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
		require.Zero(t, new(big.Int).SetBytes(s[0].Exact[:]).Cmp(want.And(&want, mask)))
		require.Zero(t, new(big.Int).SetBytes(s[0].Cut[:]).Cmp(cut.And(&cut, mask)))
	})
	// More than digits comes first, and a partition that only lacks digits is one.
	sum := func(n int64, exact, cut byte) checksum.Sum {
		return checksum.Sum{Documents: n, Content: checksum.Content{Exact: checksum.Hash{exact}, Cut: checksum.Hash{cut}}}
	}
	a := checksum.Sums{sum(1, 1, 1), sum(1, 1, 9), sum(1, 1, 1), sum(1, 1, 1), sum(2, 1, 1), sum(1, 1, 1)}
	b := checksum.Sums{sum(1, 1, 1), sum(1, 2, 9), sum(1, 2, 2), sum(2, 1, 1), sum(1, 2, 1), sum(1, 2, 1)}
	assert.Equal(t, []int{2, 3, 4, 1, 5}, checksum.Unequal(a, b))
}

// Both sides must agree on this in every release.
func TestPartitions(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []int{1, 1, 2, 1 << 14, 1 << 14}, []int{checksum.Partitions(0), checksum.Partitions(64), checksum.Partitions(65), checksum.Partitions(1 << 20), checksum.Partitions(1 << 40)})
	assert.Equal(t, []int{12586, 13696, 9437}, []int{checksum.Partition("", 1<<14), checksum.Partition("1", 1<<14), checksum.Partition("product-7", 1<<14)})
	filled := map[int]int{}
	for i := range 64_000 {
		filled[checksum.Partition(strconv.Itoa(i), 1000)]++
	}
	assert.Len(t, filled, 1000)
	for _, n := range filled {
		assert.Less(t, n, 128)
	}
}

func TestDiffNamesIDsAndFields(t *testing.T) {
	t.Parallel()
	var h checksum.Hasher
	list := func(docs map[string]string, late ...string) (out []checksum.Document) {
		for id, source := range docs {
			d, err := h.List(id, "r", []byte(source), true)
			require.NoError(t, err)
			for _, l := range late {
				d.Late = d.Late || l == id
			}
			out = append(out, d)
		}
		return out
	}
	source := list(map[string]string{
		"same":    `{"a":1}`,
		"missing": `{"a":1}`,
		"edited":  `{"a":1,"deep":{"b":[{"c":1},{"c":2}],"d":[1,2]},"gone":null,"empty":{}}`,
		"cut":     `{"a":0.1234567890123456789,"b":1}`,
		"late":    `{"a":2}`,
		"both":    `{"a":0.1234567890123456789,"b":1}`,
	}, "late")
	dest := list(map[string]string{
		"same":   `{"a":1.0}`,
		"extra":  `{}`,
		"edited": `{"a":1,"deep":{"b":[{"c":1},{"c":3}],"d":[2,1]},"new":1,"empty":{}}`,
		"cut":    `{"a":0.12345678901234568,"b":1}`,
		"late":   `{"a":1}`,
		"both":   `{"a":0.12345678901234568,"b":2}`,
	})
	assert.Equal(t, []checksum.Difference{
		{ID: "both", Class: checksum.Differs, Fields: []string{"b"}},
		{ID: "cut", Class: checksum.Precision, Fields: []string{"a"}},
		{ID: "edited", Class: checksum.Differs, Fields: []string{"deep.b[1].c", "deep.d", "gone", "new"}},
		{ID: "extra", Class: checksum.Extra},
		{ID: "late", Class: checksum.Differs, Fields: []string{"a"}, Late: true},
		{ID: "missing", Class: checksum.Missing},
	}, checksum.Diff(source, dest))

	// Written again while it was listed, and copied so.
	older, newer := list(map[string]string{"1": `{"a":1}`}), list(map[string]string{"1": `{"a":2}`})
	older[0].Shard, newer[0].Shard = 3, 3
	assert.Empty(t, checksum.Diff(append(older, newer...), newer))
	// In another shard it is another document, and of an unknown one it may be.
	for _, shard := range []int{1, 0} {
		older[0].Shard = shard
		newer[0].Shard = 3 * min(shard, 1)
		both := append(slices.Clone(older), newer...)
		assert.Equal(t, []checksum.Difference{{ID: "1", Class: checksum.Missing}}, checksum.Diff(both, newer))
		assert.Equal(t, []checksum.Difference{{ID: "1", Class: checksum.Extra}}, checksum.Diff(older, both))
		assert.Empty(t, checksum.Diff(both, append(slices.Clone(newer), older...)), "in any order")
	}

	// What was written late is said of every class; and what was not asked for, of none.
	plain, err := h.List("cut", "r", []byte(`{"a":0.5}`), false)
	require.NoError(t, err)
	assert.Nil(t, plain.Fields)
	assert.Nil(t, plain.Cut)
	for want, dest := range map[string]map[string]string{checksum.Missing: {}, checksum.Precision: {"cut": `{"a":0.12345678901234568,"b":1}`}, checksum.Differs: {"cut": `{}`}} {
		found := checksum.Diff(list(map[string]string{"cut": `{"a":0.1234567890123456789,"b":1}`}, "cut"), list(dest))
		assert.Equal(t, want, found[0].Class)
		assert.True(t, found[0].Late, want)
	}
	// Nothing is not an empty object, and an ID is not alone: it has a routing.
	found := checksum.Diff(list(map[string]string{"1": `{"x":{},"y":1}`}), list(map[string]string{"1": `{"y":1}`}))
	assert.Equal(t, []string{"x"}, found[0].Fields)
	alone, err := h.List("1", "", nil, false)
	require.NoError(t, err)
	with, err := h.List("1", "r", nil, false)
	require.NoError(t, err)
	assert.Empty(t, checksum.Diff([]checksum.Document{alone}, []checksum.Document{alone}))
	assert.Empty(t, checksum.Diff([]checksum.Document{with}, []checksum.Document{with}))
	assert.Equal(t, []checksum.Difference{{ID: "1", Class: checksum.Differs, Fields: []string{"_routing"}}}, checksum.Diff([]checksum.Document{alone}, []checksum.Document{with}))

	moved, err := h.List("same", "elsewhere", []byte(`{"a":1}`), true)
	require.NoError(t, err)
	assert.Equal(t, []string{"_routing"}, checksum.Diff(list(map[string]string{"same": `{"a":1}`}), []checksum.Document{moved})[0].Fields)
}

// A document of very many fields has only those of its top told apart.
func TestFieldsAreBounded(t *testing.T) {
	t.Parallel()
	wide := func(last int) []byte {
		inner := map[string]int{"last": last}
		for i := range 5000 {
			inner[strconv.Itoa(i)] = i
		}
		raw, err := json.Marshal(map[string]any{"top": inner, "other": 1})
		require.NoError(t, err)
		return raw
	}
	var h checksum.Hasher
	a, err := h.List("1", "", wide(1), true)
	require.NoError(t, err)
	b, err := h.List("1", "", wide(2), true)
	require.NoError(t, err)
	assert.Len(t, a.Fields, 2)
	assert.Equal(t, []string{"top"}, checksum.Diff([]checksum.Document{a}, []checksum.Document{b})[0].Fields)

	// An array is one then, too, and those of the top are told however many.
	flat := map[string]any{"list": slices.Repeat([]any{map[string]int{"a": 1}}, 400)}
	for i := range 400 {
		flat[strconv.Itoa(i)] = i
	}
	raw, err := json.Marshal(flat)
	require.NoError(t, err)
	a, err = h.List("1", "", raw, true)
	require.NoError(t, err)
	assert.Len(t, a.Fields, 401)
}

// Every leaf of a document is among its fields: an edit anywhere is named.
func TestEveryEditIsNamed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		doc := documents().Draw(t, "document")
		before, err := json.Marshal(doc)
		require.NoError(t, err)
		key := rapid.String().Draw(t, "key")
		doc[key] = map[string]any{"edited": "here"}
		after, err := json.Marshal(doc)
		require.NoError(t, err)
		var h checksum.Hasher
		a, err := h.List("1", "", before, true)
		require.NoError(t, err)
		b, err := h.List("1", "", after, true)
		require.NoError(t, err)
		found := checksum.Diff([]checksum.Document{a}, []checksum.Document{b})
		require.Len(t, found, 1)
		require.NotEmpty(t, found[0].Fields)
	})
}

// What a large document took is given back before the next one comes: a reading
// has several hashers, and in an hour many such documents. Not parallel: the
// whole heap is counted.
func TestLargeDocumentsAreLetGo(t *testing.T) {
	const size = 32 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var h checksum.Hasher
	before := heap()
	_, err := h.Content("1", "", []byte(`{"z":1,"a":{"z":0.12345678901234567890,"a":"`+strings.Repeat("x", size)+`"}}`))
	require.NoError(t, err)
	require.Less(t, heap()-before, int64(size/8))
	runtime.KeepAlive(&h)
}

func BenchmarkContent(b *testing.B) {
	doc := []byte(`{"productName":"wealth management product A","annual_rate":"3.2200%","describe":"A 180-day wealth management product with a minimum investment of 20,000 yuan, recommended to you.",` +
		`"id":9007199254740993,"price":1234.5678,"tags":["a","b","c"],"nested":{"x":1,"y":2.5,"z":[1,2,3]},"text":"` + strings.Repeat("lorem ipsum dolor sit amet ", 10) + `"}`)
	var h checksum.Hasher
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := h.Content("product-1", "", doc); err != nil {
			b.Fatal(err)
		}
	}
}

// What Elasticsearch takes beyond JSON is compared as it reads it.
func TestWhatElasticsearchTakes(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]string{
		"a comment":           {`{"n":1 /* set by hand */, "s":"x"}`, `{"n":1,"s":"x"}`},
		"to the line's end":   {"{\"n\":1 // by hand\n}", `{"n":1}`},
		"behind it":           {`{"n":1} /* x */`, `{"n":1}`},
		"at the end":          {`{"n":1} // x`, `{"n":1}`},
		"in a string":         {`{"s":"a /* b */ // c"}`, `{"s":"a /* b */ // c"}`},
		"a byte order mark":   {"\xef\xbb\xbf{\"n\":1}", `{"n":1}`},
		"a long form":         {"{\"s\":\"a\xc0\x80b\"}", `{"s":"a\u0000b"}`},
		"half a pair":         {"{\"s\":\"\xed\xa0\x80\"}", `{"s":"\ud800"}`},
		"a pair as two":       {"{\"s\":\"\xed\xa0\xbd\xed\xb8\x80é\"}", `{"s":"😀é"}`},
		"a long form's quote": {"{\"s\":\"\xc0\xa2\"}", `{"s":"\""}`},
	} {
		var h checksum.Hasher
		a, err := h.Content("1", "", []byte(pair[0]))
		require.NoError(t, err, name)
		b, err := h.Content("1", "", []byte(pair[1]))
		require.NoError(t, err, name)
		require.Equal(t, b, a, name)
	}
	for _, odd := range []string{`{"n":1 / 2}`, `{"n":1 /* open`, `{"n":}`} {
		_, err := new(checksum.Hasher).Content("1", "", []byte(odd))
		require.Error(t, err, odd)
	}
}
