package tablestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// PlainBuffer is how Tablestore writes rows inside its protobuf messages:
// little-endian, tagged, every cell and row with a CRC-8 (polynomial 0x07).
// The layout is that of the official SDKs.
const (
	header = 0x75

	tagRowPK         = 0x1
	tagRowData       = 0x2
	tagCell          = 0x3
	tagCellName      = 0x4
	tagCellValue     = 0x5
	tagCellType      = 0x6
	tagCellTimestamp = 0x7
	tagDeleteMarker  = 0x8
	tagRowChecksum   = 0x9
	tagCellChecksum  = 0xA

	typeInteger = 0x0
	typeDouble  = 0x1
	typeBoolean = 0x2
	typeString  = 0x3
	typeBlob    = 0x7
	typeInfMin  = 0x9
	typeInfMax  = 0xA

	opDeleteAll = 0x1
	opDeleteOne = 0x3
	opIncrement = 0x4
)

// infinity is an end of the key space, for ranges only: -1 or 1.
type infinity int

// A cell is a primary key column or an attribute. A value is an int64, float64,
// bool, string, []byte or infinity; nil where the cell only deletes.
type cell struct {
	name  string
	value any
	op    byte // 0: put
	at    *int64
}

type row struct {
	key     []cell
	cells   []cell
	deleted bool
}

// crcOf is the CRC of each single byte: documents are megabytes.
var crcOf = func() (table [256]byte) {
	for i := range table {
		crc := byte(i)
		for range 8 {
			if crc&0x80 != 0 {
				crc = crc<<1 ^ 0x07
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

func crc8(crc byte, data ...byte) byte {
	for _, b := range data {
		crc = crcOf[crc^b]
	}
	return crc
}

// variant encodes a value with its type in front.
func variant(value any) []byte {
	le := binary.LittleEndian
	switch v := value.(type) {
	case int64:
		return le.AppendUint64([]byte{typeInteger}, uint64(v))
	case float64:
		return le.AppendUint64([]byte{typeDouble}, math.Float64bits(v))
	case bool:
		if v {
			return []byte{typeBoolean, 1}
		}
		return []byte{typeBoolean, 0}
	case string:
		return append(le.AppendUint32([]byte{typeString}, uint32(len(v))), v...)
	case []byte:
		return append(le.AppendUint32([]byte{typeBlob}, uint32(len(v))), v...)
	case infinity:
		if v < 0 {
			return []byte{typeInfMin}
		}
		return []byte{typeInfMax}
	}
	panic(fmt.Sprintf("tablestore: no variant of %T", value))
}

func (c cell) checksum() byte {
	crc := crc8(0, []byte(c.name)...)
	if c.value != nil {
		crc = crc8(crc, variant(c.value)...)
	}
	if c.at != nil {
		crc = crc8(crc, binary.LittleEndian.AppendUint64(nil, uint64(*c.at))...)
	}
	if c.op != 0 {
		crc = crc8(crc, c.op)
	}
	return crc
}

func (r row) checksum() (crc byte) {
	for _, c := range r.key {
		crc = crc8(crc, c.checksum())
	}
	for _, c := range r.cells {
		crc = crc8(crc, c.checksum())
	}
	if r.deleted {
		return crc8(crc, 1)
	}
	return crc8(crc, 0)
}

// encode writes rows behind one header; no rows are no bytes.
func encode(rows ...row) []byte {
	if len(rows) == 0 {
		return []byte{}
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, header)
	cells := func(tag byte, list []cell) {
		if len(list) == 0 {
			return
		}
		b = append(b, tag)
		for _, c := range list {
			b = le.AppendUint32(append(b, tagCell, tagCellName), uint32(len(c.name)))
			v := variant(c.value)
			b = le.AppendUint32(append(append(b, c.name...), tagCellValue), uint32(len(v)))
			b = append(b, v...)
			if c.at != nil {
				b = le.AppendUint64(append(b, tagCellTimestamp), uint64(*c.at))
			}
			b = append(b, tagCellChecksum, c.checksum())
		}
	}
	for _, r := range rows {
		cells(tagRowPK, r.key)
		cells(tagRowData, r.cells)
		b = append(b, tagRowChecksum, r.checksum())
	}
	return b
}

var errMalformed = errors.New("malformed plain buffer")

// reader reads and remembers the first failure.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.err = errMalformed
		return make([]byte, max(0, min(n, 8)))
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint32() int    { return int(binary.LittleEndian.Uint32(r.take(4))) }
func (r *reader) uint64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

// next consumes the tag if it comes next.
func (r *reader) next(tag byte) bool {
	if r.err != nil || len(r.b) == 0 || r.b[0] != tag {
		return false
	}
	r.b = r.b[1:]
	return true
}

func (r *reader) need(tag byte) {
	if !r.next(tag) {
		r.err = errMalformed
	}
}

func (r *reader) variant() any {
	switch r.byte() {
	case typeInteger:
		return int64(r.uint64())
	case typeDouble:
		return math.Float64frombits(r.uint64())
	case typeBoolean:
		return r.byte() != 0
	case typeString:
		s := string(r.take(r.uint32()))
		if !utf8.ValidString(s) {
			r.err = errMalformed
		}
		return s
	case typeBlob:
		return r.take(r.uint32())
	case typeInfMin:
		return infinity(-1)
	case typeInfMax:
		return infinity(1)
	}
	r.err = errMalformed
	return nil
}

func (r *reader) cells() (out []cell) {
	for r.next(tagCell) {
		var c cell
		r.need(tagCellName)
		c.name = string(r.take(r.uint32()))
		if r.next(tagCellValue) {
			r.uint32() // the length, which the type says too
			c.value = r.variant()
		}
		if r.next(tagCellType) {
			c.op = r.byte()
		}
		if r.next(tagCellTimestamp) {
			at := int64(r.uint64())
			c.at = &at
		}
		r.need(tagCellChecksum)
		if sum := r.byte(); r.err == nil && sum != c.checksum() {
			r.err = fmt.Errorf("%w: checksum of cell %s", errMalformed, c.name)
		}
		out = append(out, c)
	}
	return out
}

// decode reads exactly one row.
func decode(b []byte) (row, error) {
	r := &reader{b: b}
	if r.uint32() != header {
		return row{}, errMalformed
	}
	var out row
	r.need(tagRowPK)
	if out.key = r.cells(); len(out.key) == 0 {
		r.err = errMalformed
	}
	if r.next(tagRowData) {
		out.cells = r.cells()
	}
	out.deleted = r.next(tagDeleteMarker)
	r.need(tagRowChecksum)
	if sum := r.byte(); r.err == nil && (sum != out.checksum() || len(r.b) > 0) {
		r.err = fmt.Errorf("%w: checksum of the row", errMalformed)
	}
	return out, r.err
}

// decodeVariant reads a value that stands alone, as in a condition.
func decodeVariant(b []byte) (any, error) {
	r := &reader{b: b}
	v := r.variant()
	if r.err == nil && len(r.b) > 0 {
		r.err = errMalformed
	}
	return v, r.err
}
