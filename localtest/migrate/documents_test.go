//go:build (real || bench) && unix

package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

var words = strings.Fields("wealth management product fixed investment days minimum of stable returns available self service message push selection receive income daily 理财 产品 Zürich")

// write appends the i-th document in the form that _bulk takes: mixed sizes, one of
// ten with an integer that no double holds, one of ten with an ID of other letters,
// one of twenty with a routing of its own.
func write(out *bytes.Buffer, seed uint64, i int, s shape) {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	action := map[string]any{"_id": fmt.Sprint(i)}
	if i%10 == 3 {
		action["_id"] = fmt.Sprintf("产品/%d é 🙂", i)
	}
	if i%20 == 7 {
		action["routing"] = fmt.Sprint("customer-", r.IntN(1000))
	}
	length := s.words + r.IntN(3*s.words)
	if i%50 == 0 {
		length *= 20
	}
	var text strings.Builder
	for range length {
		text.WriteString(words[r.IntN(len(words))] + " ")
	}
	big := fmt.Sprint(r.IntN(1 << 40))
	if i%10 == 5 {
		big = fmt.Sprint(1<<53 + 1 + 2*r.Int64N(1<<52)) // odd, so between two doubles
	}
	var items []string
	for range r.IntN(s.items + 1) {
		items = append(items, fmt.Sprintf(`{"sku":"%08x","count":%d}`, r.Uint32(), r.IntN(100)))
	}
	line, err := json.Marshal(map[string]any{"index": action})
	if err != nil {
		panic(err) // strings and a map
	}
	out.Write(line)
	fmt.Fprintf(out, "\n{\"n\":%d,\"big\":%s,\"name\":\"n%d\",\"price\":%d.%d0,\"share\":%de-3,\"at\":\"2026-11-%02dT08:00:00Z\",\"items\":[%s],\"text\":%q}\n",
		i, big, r.IntN(5000), r.IntN(10000), r.IntN(10), 1+r.IntN(999), 1+r.IntN(28), strings.Join(items, ","), text.String())
}

// shape is what most documents have: so many words of text, or up to three times as
// many more, and up to so many nested ones.
type shape struct{ words, items int }

var (
	usual = shape{30, 3}
	plain = shape{16, 0}
	tiny  = shape{2, 3}
)

// bodies are all documents as _bulk takes them, in pages as large as a copy's.
func bodies(seed uint64, n int, s shape) (out [][]byte) {
	const most, bytesMost = 8000, 8 << 20
	var page bytes.Buffer
	in := 0
	for i := range n {
		write(&page, seed, i, s)
		if in++; in == most || page.Len() >= bytesMost || i == n-1 {
			out = append(out, bytes.Clone(page.Bytes()))
			page.Reset()
			in = 0
		}
	}
	return out
}
