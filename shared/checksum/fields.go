package checksum

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strconv"
)

// maxFields bounds how many fields of a document are told apart; of one that
// has more, only those of the top are.
const maxFields = 300

// fields returns the digests of a document's fields by path: those of objects,
// and of objects in arrays, each by itself; an array of plain values as one. The
// document was printed before, and so is an object, and not too deep.
func (h *Hasher) fields(routing string, source []byte) (map[string]Field, error) {
	w := walker{found: map[string]Field{}, deep: true}
	err := w.walk(source)
	if len(w.found) > maxFields {
		w = walker{found: map[string]Field{}}
		err = w.walk(source)
	}
	maps.Copy(w.found, h.meta(routing))
	return w.found, err
}

// meta are a document's routing and version as fields, if it has them.
func (h *Hasher) meta(routing string) map[string]Field {
	out := map[string]Field{}
	if routing != "" {
		sum := sha256.Sum256([]byte(routing))
		out["_routing"] = Field{Exact: sum[:fieldBytes]}
	}
	if h.Version != 0 {
		sum := sha256.Sum256(strconv.AppendInt(nil, h.Version, 10))
		out["_version"] = Field{Exact: sum[:fieldBytes]}
	}
	return out
}

// fieldBytes is how much of a field's digest is kept: the document's own has
// said already that it differs.
const fieldBytes = 6

type walker struct {
	p     printer // steps through the document
	found map[string]Field
	deep  bool
	one   printer // prints one field
}

func (w *walker) walk(source []byte) error {
	w.p.reset(source, false)
	w.p.space()
	return w.object("", 0)
}

func (w *walker) object(path string, depth int) error {
	return w.p.open(depth, func(key []byte) error {
		name := string(key)
		if path != "" {
			name = path + "." + name
		}
		return w.field(name, depth+1)
	})
}

func (w *walker) field(path string, depth int) error {
	b := w.p.peek()
	switch {
	case len(w.found) > maxFields && w.deep:
		return w.skip()
	case w.deep && b == '{' && !w.empty('}'):
		return w.object(path, depth)
	case w.deep && b == '[' && w.ofObjects():
		w.p.at++
		for i := 0; w.p.peek() != ']'; i++ {
			if i > 0 {
				w.p.at++ // the comma: the document was read before
			}
			if err := w.field(fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
				return err
			}
		}
		w.p.at++
		return nil
	}
	start := w.p.at
	if err := w.skip(); err != nil {
		return err
	}
	raw := w.p.in[start:w.p.at]
	f := Field{}
	w.one.reset(raw, false)
	if err := w.one.document(); err != nil {
		return err
	}
	sum := sha256.Sum256(w.one.out)
	f.Exact = append(f.Exact, sum[:fieldBytes]...)
	if w.one.lossy {
		w.one.reset(raw, true)
		if err := w.one.document(); err != nil {
			return err
		}
		sum = sha256.Sum256(w.one.out)
		f.Cut = append(f.Cut, sum[:fieldBytes]...)
	}
	w.found[path] = f
	return nil
}

// skip passes over a value.
func (w *walker) skip() error {
	n := len(w.p.out)
	err := w.p.value(0)
	w.p.out = w.p.out[:n]
	return err
}

// empty reports whether the object or array that begins here ends at once.
func (w *walker) empty(end byte) bool {
	at := w.p.at
	defer func() { w.p.at = at }()
	w.p.at++
	return w.p.peek() == end
}

func (w *walker) ofObjects() bool {
	return w.empty('{')
}
