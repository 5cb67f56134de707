package checksum

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// printer writes JSON in the one form that all spellings of a value share: no
// white space, keys in order, strings without escapes but those of " and \,
// numbers as their digits and a power of ten (1.10 and 11e-1 are "11e-1"; -0 is
// "0").
type printer struct {
	in  []byte
	at  int
	out []byte
	// cut prints decimals as the double that Elasticsearch makes of them on their
	// way through _reindex.
	cut bool
	// lossy says that a decimal was met that this changes.
	lossy   bool
	members []member
	scratch []byte
}

// member is one of an object's, from key to end in out; the value begins at
// value.
type member struct{ key, value, end int }

// maxDepth bounds recursion; Elasticsearch's own parser stops at 1,000.
const maxDepth = 10_000

// spare is how large a buffer may be to be kept for the next document: one may
// have 100 MB, and most have a thousandth of that.
const spare = 1 << 20

// rest lets go of the document and of large buffers.
func (p *printer) rest() {
	p.in = nil
	if cap(p.out) > spare {
		p.out = nil
	}
	if cap(p.scratch) > spare {
		p.scratch = nil
	}
}

func (p *printer) reset(in []byte, cut bool) {
	p.in, p.at, p.out, p.cut, p.lossy, p.members = in, 0, slices.Grow(p.out[:0], len(in)), cut, false, p.members[:0]
}

// document prints all of in.
func (p *printer) document() error {
	if err := p.value(0); err != nil {
		return err
	}
	if p.space(); p.at < len(p.in) {
		return p.fault("more than one value")
	}
	return nil
}

func (p *printer) fault(what string) error {
	return fmt.Errorf("JSON at byte %d: %s", p.at, what)
}

// space skips what stands between tokens: Elasticsearch takes comments there, too, and
// keeps them in what a document says.
func (p *printer) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		case byteOrderMark[0]:
			if !bytes.HasPrefix(p.in[p.at:], byteOrderMark) {
				return
			}
			p.at += len(byteOrderMark)
		case '/':
			n := comment(p.in[p.at:])
			if n == 0 {
				return
			}
			p.at += n
		default:
			return
		}
	}
}

// byteOrderMark is U+FEFF, which Elasticsearch takes before a document and keeps.
var byteOrderMark = []byte("\uFEFF")

// comment is how long the comment is that in begins with, 0 if it begins with none
// that ends.
func comment(in []byte) int {
	switch {
	case bytes.HasPrefix(in, []byte("/*")):
		if end := bytes.Index(in[2:], []byte("*/")); end >= 0 {
			return end + 4
		}
	case bytes.HasPrefix(in, []byte("//")):
		if end := bytes.IndexAny(in, "\r\n"); end >= 0 {
			return end
		}
		return len(in)
	}
	return 0
}

// peek is the next byte that is no white space, 0 at the end.
func (p *printer) peek() byte {
	if p.space(); p.at < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

func (p *printer) value(depth int) error {
	if depth > maxDepth {
		return p.fault("nested too deeply")
	}
	switch b := p.peek(); {
	case b == '{':
		return p.object(depth)
	case b == '[':
		return p.array(depth)
	case b == '"':
		return p.text()
	case b == '-' || b >= '0' && b <= '9':
		return p.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(p.in[p.at:], []byte(word)) {
			p.at += len(word)
			p.out = append(p.out, word...)
			return nil
		}
	}
	return p.fault("no value")
}

func (p *printer) array(depth int) error {
	p.at++
	p.out = append(p.out, '[')
	for first := true; p.peek() != ']'; first = false {
		if !first {
			if p.peek() != ',' {
				return p.fault("no comma in an array")
			}
			p.at++
			p.out = append(p.out, ',')
		}
		if err := p.value(depth + 1); err != nil {
			return err
		}
	}
	p.at++
	p.out = append(p.out, ']')
	return nil
}

func (p *printer) object(depth int) error {
	start, base := len(p.out), len(p.members)
	if err := p.open(depth, nil); err != nil {
		return err
	}
	ms := p.members[base:]
	order := func(a, b member) int {
		return bytes.Compare(p.out[a.key:a.value], p.out[b.key:b.value])
	}
	if !slices.IsSortedFunc(ms, order) {
		slices.SortStableFunc(ms, order)
		p.scratch = p.scratch[:0]
		for _, m := range ms {
			p.scratch = append(p.scratch, p.out[m.key:m.end]...)
		}
		copy(p.out[start+1:], p.scratch)
	}
	p.members = p.members[:base]
	p.out = append(p.out, '}')
	return nil
}

// open prints an object's members as they come, each with a comma behind it, and
// notes where each is. If each is not nil it is called in place of printing a
// value.
func (p *printer) open(depth int, each func(key []byte) error) error {
	p.at++
	p.out = append(p.out, '{')
	for first := true; p.peek() != '}'; first = false {
		if !first {
			if p.peek() != ',' {
				return p.fault("no comma in an object")
			}
			p.at++
		}
		m := member{key: len(p.out)}
		if p.peek() != '"' {
			return p.fault("no key")
		}
		if err := p.text(); err != nil {
			return err
		}
		if p.peek() != ':' {
			return p.fault("no colon after a key")
		}
		p.at++
		p.out = append(p.out, ':')
		m.value = len(p.out)
		if each != nil {
			if err := each(p.out[m.key+1 : m.value-2]); err != nil {
				return err
			}
			p.out = p.out[:m.key]
			continue
		}
		if err := p.value(depth + 1); err != nil {
			return err
		}
		p.out = append(p.out, ',')
		m.end = len(p.out)
		p.members = append(p.members, m)
	}
	p.at++
	return nil
}

func (p *printer) text() error {
	p.at++
	p.out = append(p.out, '"')
	for {
		n := bytes.IndexAny(p.in[p.at:], `"\`)
		if n < 0 {
			return p.fault("a string without an end")
		}
		if part := p.in[p.at : p.at+n]; utf8.Valid(part) {
			p.out = append(p.out, part...)
		} else {
			p.out = appendLoose(p.out, part)
		}
		p.at += n
		if p.in[p.at] == '"' {
			p.at++
			p.out = append(p.out, '"')
			return nil
		}
		if err := p.escape(); err != nil {
			return err
		}
	}
}

// appendLoose prints text that is no UTF-8 as Elasticsearch's parser reads it, which
// takes longer forms of a character than there need be, and halves of a pair: \xc0\x80
// is U+0000, and a pair in two times three bytes the character that they stand for.
func appendLoose(out, in []byte) []byte {
	var units []uint16
	for len(in) > 0 {
		r, size := utf8.DecodeRune(in)
		if r == utf8.RuneError && size <= 1 {
			switch {
			case in[0]&0xE0 == 0xC0 && len(in) > 1:
				r, size = rune(in[0]&0x1F)<<6|rune(in[1]&0x3F), 2
			case in[0]&0xF0 == 0xE0 && len(in) > 2:
				r, size = rune(in[0]&0x0F)<<12|rune(in[1]&0x3F)<<6|rune(in[2]&0x3F), 3
			}
		}
		in = in[max(size, 1):]
		if utf16.IsSurrogate(r) {
			units = append(units, uint16(r))
		} else {
			units = utf16.AppendRune(units, r)
		}
	}
	for len(units) > 0 {
		r := rune(units[0])
		units = units[1:]
		if utf16.IsSurrogate(r) && len(units) > 0 {
			if full := utf16.DecodeRune(r, rune(units[0])); full != utf8.RuneError {
				r, units = full, units[1:]
			}
		}
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		default:
			out = appendHalf(out, r)
		}
	}
	return out
}

// appendHalf prints a character, or half of a pair as it is, or two of them would be
// the same.
func appendHalf(out []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(out, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0xBF, 0x80|byte(r)&0xBF)
	}
	return utf8.AppendRune(out, r)
}

var errEscape = errors.New("an escape that JSON does not know")

func (p *printer) escape() error {
	if p.at+1 >= len(p.in) {
		return p.fault("a string without an end")
	}
	b := p.in[p.at+1]
	p.at += 2
	switch b {
	case '"', '\\':
		p.out = append(p.out, '\\', b)
	case '/':
		p.out = append(p.out, '/')
	case 'b', 'f', 'n', 'r', 't':
		p.out = append(p.out, map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[b])
	case 'u':
		r, err := p.unit()
		if err != nil {
			return err
		}
		if utf16.IsSurrogate(r) && bytes.HasPrefix(p.in[p.at:], []byte(`\u`)) {
			back := p.at
			p.at += 2
			low, err := p.unit()
			if err != nil {
				return err
			}
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				r = full
			} else {
				p.at = back
			}
		}
		switch {
		case r == '"' || r == '\\':
			p.out = append(p.out, '\\', byte(r))
		default:
			p.out = appendHalf(p.out, r)
		}
	default:
		return errEscape
	}
	return nil
}

// unit reads the four digits of a \u.
func (p *printer) unit() (rune, error) {
	if p.at+4 > len(p.in) {
		return 0, errEscape
	}
	n, err := strconv.ParseUint(string(p.in[p.at:p.at+4]), 16, 16)
	if err != nil {
		return 0, errEscape
	}
	p.at += 4
	return rune(n), nil
}

func (p *printer) number() error {
	start := p.at
	decimal := false
	for ; p.at < len(p.in); p.at++ {
		switch b := p.in[p.at]; {
		case b >= '0' && b <= '9' || b == '-' || b == '+':
			continue
		case b == '.' || b == 'e' || b == 'E':
			decimal = true
			continue
		}
		break
	}
	token := p.in[start:p.at]
	from := len(p.out)
	var ok bool
	if p.out, ok = appendNumber(p.out, token); !ok {
		return p.fault("no number")
	}
	if !decimal {
		return nil
	}
	// Only to see what Elasticsearch makes of it: the exact form above is what
	// documents are compared by. What is beyond a double becomes a text there,
	// and differs.
	f, err := strconv.ParseFloat(string(token), 64)
	if err != nil || math.IsInf(f, 0) {
		return nil
	}
	var buf [32]byte
	exact := len(p.out)
	p.out, _ = appendNumber(p.out, strconv.AppendFloat(buf[:0], f, 'e', -1, 64))
	if bytes.Equal(p.out[from:exact], p.out[exact:]) {
		p.out = p.out[:exact]
		return nil
	}
	p.lossy = true
	if p.cut {
		p.out = append(p.out[:from], p.out[exact:]...)
		return nil
	}
	p.out = p.out[:exact]
	return nil
}

// appendNumber prints a JSON number as its significant digits and a power of
// ten.
func appendNumber(out, token []byte) ([]byte, bool) {
	rest, negative := bytes.CutPrefix(token, []byte("-"))
	mantissa, exponent := rest, []byte("0")
	if i := bytes.IndexAny(rest, "eE"); i >= 0 {
		mantissa, exponent = rest[:i], bytes.TrimPrefix(rest[i+1:], []byte("+"))
	}
	whole, fraction, dotted := bytes.Cut(mantissa, []byte("."))
	if len(whole) == 0 || dotted && len(fraction) == 0 || !digits(whole) || !digits(fraction) ||
		!digits(bytes.TrimPrefix(exponent, []byte("-"))) || len(bytes.TrimPrefix(exponent, []byte("-"))) == 0 {
		return out, false
	}
	from := len(out)
	if negative {
		out = append(out, '-')
	}
	first := len(out)
	out = append(append(out, whole...), fraction...)
	zeros := 0
	for zeros < len(out)-first && out[first+zeros] == '0' {
		zeros++
	}
	out = append(out[:first], out[first+zeros:]...)
	last := len(out)
	for last > first && out[last-1] == '0' {
		last--
	}
	shift := int64(len(out) - last - len(fraction))
	out = out[:last]
	if last == first {
		return append(out[:from], '0'), true
	}
	if len(exponent) < 18 {
		e, _ := strconv.ParseInt(string(exponent), 10, 64) // digits
		if shift += e; shift != 0 {
			out = strconv.AppendInt(append(out, 'e'), shift, 10)
		}
		return out, true
	}
	e, _ := new(big.Int).SetString(string(exponent), 10) // digits
	if e.Add(e, big.NewInt(shift)); e.Sign() != 0 {
		out = e.Append(append(out, 'e'), 10)
	}
	return out, true
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
