package events

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed schema/*.json
var schemaFiles embed.FS

// Schema returns a schema as it is shipped, for editors and other tools.
func Schema(name string) ([]byte, error) { return schemaFiles.ReadFile("schema/" + name) }

// schemas compiles the embedded schemas once; they are part of the program, so
// a fault in them is a fault of the program.
var schemas = sync.OnceValue(func() map[string]*jsonschema.Schema {
	compiler := jsonschema.NewCompiler()
	docs := schemaDocs()
	for name, doc := range docs {
		if err := compiler.AddResource(schemaURL+name, doc); err != nil {
			panic(err)
		}
	}
	out := map[string]*jsonschema.Schema{}
	for name := range docs {
		out[name] = compiler.MustCompile(schemaURL + name)
	}
	out[indexName] = compiler.MustCompile(schemaURL + indexName)
	return out
})

// indexName is the part of a schema that says how an index may be called.
const indexName = "spec.schema.json#/$defs/index"

const schemaURL = "file:///schema/"

var schemaDocs = sync.OnceValue(func() map[string]any {
	files, err := schemaFiles.ReadDir("schema")
	if err != nil {
		panic(err)
	}
	docs := map[string]any{}
	for _, f := range files {
		raw, err := schemaFiles.ReadFile("schema/" + f.Name())
		if err != nil {
			panic(err)
		}
		if docs[f.Name()], err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
			panic(fmt.Errorf("%s: %w", f.Name(), err))
		}
	}
	return docs
})

// decode validates raw and reads it into a struct, or returns a *Problem with
// one finding per fault.
func decode(schema string, raw []byte, into any) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw)) // one value, and nothing behind it
	if err != nil {
		return invalid(Finding{Message: "it is not JSON: " + err.Error(), Remedy: "send one JSON object"})
	}
	if field, ok := duplicate(raw); ok {
		return invalid(Finding{Field: field, Message: "it is given twice", Remedy: "give it once"})
	}
	if err := validate(schema, doc); err != nil {
		return err
	}
	// What is read is what was validated.
	plain, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	err = json.Unmarshal(plain, into)
	var odd *json.UnmarshalTypeError
	switch {
	case errors.As(err, &odd):
		return invalid(Finding{Field: odd.Field, Message: "it is given as a " + odd.Value, Remedy: "write whole numbers plainly, such as 1000"})
	case err != nil:
		return fmt.Errorf("decode request: %w", err)
	}
	return nil
}

// duplicate returns the path of a key that one object has twice, of which
// encoding/json would take the last without a word. raw is JSON.
func duplicate(raw []byte) (path string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	var value func(path string) (string, bool)
	value = func(path string) (string, bool) {
		token, err := d.Token()
		if err != nil {
			return "", false
		}
		delim, _ := token.(json.Delim)
		seen := map[string]bool{}
		for i := 0; delim != 0 && d.More(); i++ {
			at := fmt.Sprintf("%s[%d]", path, i)
			if delim == '{' {
				key, err := d.Token()
				name, _ := key.(string)
				if at = strings.TrimPrefix(path+"."+name, "."); err != nil || seen[name] {
					return at, err == nil
				}
				seen[name] = true
			}
			if found, ok := value(at); ok {
				return found, true
			}
		}
		if delim != 0 {
			_, _ = d.Token() // its end
		}
		return "", false
	}
	return value("")
}

func invalid(fs ...Finding) error {
	return NewProblem(400, "invalid-request", "the request is invalid; nothing was called or written", fs...)
}

func validate(schema string, doc any) error {
	err := schemas()[schema].Validate(doc)
	var wrong *jsonschema.ValidationError
	if err == nil || !errors.As(err, &wrong) {
		return err
	}
	var fs Findings
	collect(wrong, &fs)
	slices.SortFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	return invalid(slices.Compact(fs)...)
}

// collect turns the leaves of a validation error into findings. A choice that
// failed as a whole (anyOf, oneOf) is one finding, with its own remedy, rather
// than one for each alternative.
func collect(e *jsonschema.ValidationError, fs *Findings) {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			fs.Add(field(e.InstanceLocation, name), "it is missing", remedyOf(e.SchemaURL, name))
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			fs.Add(field(e.InstanceLocation, name), "there is no such field", "remove it, or check its spelling")
		}
		return
	case *kind.Pattern:
		// Without the value, which may be a password in the place of its name, and
		// without the pattern: the remedy says the form.
		fs.Add(field(e.InstanceLocation), "its form is wrong", remedyOf(e.SchemaURL, ""))
		return
	case *kind.FalseSchema:
		fs.Add(field(e.InstanceLocation), "it does not belong here", "remove it, or check the action, the scenario and the kind")
		return
	case *kind.Not:
		fs.Add(field(e.InstanceLocation), "it is not supported", remedyOf(e.SchemaURL, ""))
		return
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			fs.Add(field(e.InstanceLocation, name), "it is missing, and "+k.Prop+" needs it", remedyOf(e.SchemaURL, name))
		}
		return
	case *kind.AnyOf, *kind.OneOf:
		fs.Add(field(e.InstanceLocation), "it is none of the alternatives", remedyOf(e.SchemaURL, ""))
		return
	}
	if len(e.Causes) == 0 {
		fs.Add(field(e.InstanceLocation), e.ErrorKind.LocalizedString(message.NewPrinter(language.English)), remedyOf(e.SchemaURL, ""))
		return
	}
	for _, c := range e.Causes {
		collect(c, fs)
	}
}

// field writes a JSON location as users write it: indices[0].dest.
func field(location []string, more ...string) string {
	var b strings.Builder
	for _, part := range slices.Concat(location, more) {
		switch {
		case part != "" && strings.Trim(part, "0123456789") == "":
			fmt.Fprintf(&b, "[%s]", part)
		case b.Len() > 0:
			b.WriteString("." + part)
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}

// remedyOf looks up the "remedy" beside the keyword that failed. property names
// a property whose remedy is meant: of that schema or, if the keyword is in a
// condition, of its file's root.
func remedyOf(url, property string) string {
	file, pointer, _ := strings.Cut(strings.TrimPrefix(url, schemaURL), "#")
	node := resolve(file, pointer)
	if property == "" {
		s, _ := node["remedy"].(string)
		return s
	}
	for _, owner := range []map[string]any{node, resolve(file, "")} {
		properties, _ := owner["properties"].(map[string]any)
		of, _ := properties[property].(map[string]any)
		if s, ok := of["remedy"].(string); ok {
			return s
		}
		if ref, ok := of["$ref"].(string); ok {
			other, fragment, _ := strings.Cut(ref, "#")
			return remedyOf(schemaURL+cmp.Or(other, file)+"#"+fragment, "")
		}
	}
	return ""
}

// resolve follows a JSON pointer through a schema; nil if it leads nowhere.
func resolve(file, pointer string) map[string]any {
	node := schemaDocs()[file]
	for part := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
		switch n := node.(type) {
		case map[string]any:
			if part != "" {
				node = n[part]
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n) {
				return nil
			}
			node = n[i]
		}
	}
	m, _ := node.(map[string]any)
	return m
}
