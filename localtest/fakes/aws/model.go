package aws

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"eslink/localtest/fakes/cloud"
)

//go:embed operations.json
var operationsJSON []byte

// model is what the vendor's model says of a service.
type model struct {
	Version    string               `json:"version"`
	Target     string               `json:"target"`
	Operations map[string]operation `json:"operations"`
}

// operation lists the parameters of one. N stands for the index of a list, *
// for the key of a map; name=a|b names the values of an enumeration.
type operation struct {
	Params   []string `json:"params"`
	Required []string `json:"required"`
	HTTP     string   `json:"http"`
	Query    []string `json:"query"`
}

// operations are the models by service.
var operations = func() map[string]*model {
	var file map[string]json.RawMessage
	if err := json.Unmarshal(operationsJSON, &file); err != nil {
		panic("aws: operations.json: " + err.Error())
	}
	out := map[string]*model{}
	for name, raw := range file {
		if name == "source" {
			continue
		}
		out[name] = &model{}
		if err := json.Unmarshal(raw, out[name]); err != nil {
			panic("aws: operations.json: " + name + ": " + err.Error())
		}
	}
	return out
}()

var index = regexp.MustCompile(`\.[0-9]+(\.|$)`)

// check refuses parameters that the operation does not have, and the lack of
// those that it needs.
func (o operation) check(r *request) *cloud.Error {
	given := map[string]bool{}
	for name, value := range r.params {
		plain := name
		for index.MatchString(plain) {
			plain = index.ReplaceAllString(plain, ".N$1")
		}
		given[strings.SplitN(plain, ".", 2)[0]] = true
		if !o.knows(plain, value) {
			return cloud.Errorf(400, "UnknownParameter", "The parameter %s with value %q is not recognized by %s.", name, value, r.action)
		}
	}
	for _, name := range o.Required {
		if !given[name] {
			return cloud.Errorf(400, "MissingParameter", "The request must contain the parameter %s.", name)
		}
	}
	return nil
}

func (o operation) knows(name, value string) bool {
	if slices.Contains(o.Query, name) {
		return true
	}
	for _, p := range o.Params {
		path, values, enum := strings.Cut(p, "=")
		if prefix, ok := strings.CutSuffix(path, "*"); ok && strings.HasPrefix(name, prefix) {
			return true
		}
		if path != name {
			continue
		}
		return !enum || slices.Contains(strings.Split(values, "|"), value)
	}
	return false
}

// route finds the operation of a REST service by method and path.
func (m *model) route(r *request, h *http.Request) *cloud.Error {
	for name, o := range m.Operations {
		method, pattern, _ := strings.Cut(o.HTTP, " ")
		if path, ok := match(pattern, h.URL.Path); ok && method == h.Method {
			r.action, r.path, r.params = name, path, params{}
		}
	}
	if r.action == "" {
		return cloud.Errorf(404, "UnknownOperationException", "There is no %s %s.", h.Method, h.URL.Path)
	}
	for k, v := range h.URL.Query() {
		r.params[k] = v[0]
	}
	return flattenXML(r.body, r.params)
}

// match compares a path with a pattern such as /a/{Id}/b.
func match(pattern, path string) (map[string]string, bool) {
	want, have := strings.Split(strings.Trim(pattern, "/"), "/"), strings.Split(strings.Trim(path, "/"), "/")
	if len(want) != len(have) {
		return nil, false
	}
	out := map[string]string{}
	for i, w := range want {
		if strings.HasPrefix(w, "{") {
			out[strings.Trim(w, "{}")] = have[i]
		} else if w != have[i] {
			return nil, false
		}
	}
	return out, true
}

// flattenXML writes the texts of a document's elements under their paths, less
// the root.
func flattenXML(raw []byte, into params) *cloud.Error {
	d := xml.NewDecoder(bytes.NewReader(raw))
	var path []string
	text := ""
	for {
		t, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return cloud.Errorf(400, "MalformedInput", "%s", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			path, text = append(path, t.Name.Local), ""
		case xml.CharData:
			text += string(t)
		case xml.EndElement:
			if strings.TrimSpace(text) != "" {
				into[strings.Join(path[1:], ".")] = strings.TrimSpace(text)
			}
			path, text = path[:len(path)-1], ""
		}
	}
}

// flattenJSON does the same for JSON; items of a list share a name, with an
// index after it where they are scalars.
func flattenJSON(raw []byte, into params) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, inner := range v {
				walk(strings.TrimPrefix(prefix+"."+k, "."), inner)
			}
		case []any:
			for _, inner := range v {
				walk(prefix, inner)
			}
		case string:
			into[prefix] = v
		case float64:
			into[prefix] = strconv.FormatFloat(v, 'f', -1, 64)
		case bool:
			into[prefix] = strconv.FormatBool(v)
		}
	}
	walk("", v)
	return nil
}
