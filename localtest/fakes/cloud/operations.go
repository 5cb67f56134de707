package cloud

import (
	_ "embed"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

//go:embed operations.json
var operationsJSON []byte

// product is what the metadata says of one product's version.
type product struct {
	Version    string                `json:"version"`
	Operations map[string]*operation `json:"operations"`
}

// operation's parameters are named as on the wire, with # for a list index: ZoneMappings.#.VSwitchId.
type operation struct {
	Method   string            `json:"method"` // GET|POST
	Path     string            `json:"path"`   // ROA: /openapi/instances/[InstanceId]
	Write    bool              `json:"write"`
	RAM      string            `json:"ram"`   // the action that RAM knows it by, if that has another name
	JSON     bool              `json:"json"`  // takes a JSON body
	Query    map[string]string `json:"query"` // name to type
	Body     map[string]string `json:"body"`  // form fields
	Required []string          `json:"required"`
}

// metadata decodes the distilled metadata of one product; that of a product unknown to it is nil.
func metadata(name string) *product {
	var file struct {
		Products map[string]*product `json:"products"`
	}
	if err := json.Unmarshal(operationsJSON, &file); err != nil {
		panic("cloud: operations.json: " + err.Error())
	}
	return file.Products[name]
}

// system are the parameters of the V1 RPC protocol itself. RegionId is among them because V1 SDKs add it to every call.
var system = []string{"Action", "Version", "Format", "AccessKeyId", "SecurityToken", "Timestamp",
	"Signature", "SignatureMethod", "SignatureVersion", "SignatureType", "SignatureNonce", "RegionId"}

// check gathers the operation's parameters from query and form and holds them against the metadata.
// A call whose Action is a form field is one whose SDK sends everything as a form (Node's pop-core): there, and only
// there, the cloud takes query parameters from the form.
func (o *operation) check(query, form url.Values) (map[string]string, *Error) {
	params, inForm := map[string]string{}, o.Body
	if form.Has("Action") {
		inForm = map[string]string{}
		maps.Copy(inForm, o.Body)
		maps.Copy(inForm, o.Query)
	}
	for _, side := range []struct {
		in           string
		values       url.Values
		known, other map[string]string
	}{{"query", query, o.Query, o.Body}, {"form", form, inForm, o.Query}} {
		for name, values := range side.values {
			pattern := indexed(name)
			kind, ok := side.known[pattern]
			_, elsewhere := side.other[pattern]
			switch {
			case len(values) > 1:
				return nil, Errorf(400, "InvalidParameter", "The parameter %s is given %d times.", name, len(values))
			case !ok && slices.Contains(system, name):
				if name != "RegionId" {
					continue
				}
			case !ok && elsewhere:
				return nil, Errorf(400, "InvalidParameter.Position", "The parameter %s does not belong into the %s.", name, side.in)
			case !ok:
				return nil, Errorf(400, "InvalidParameter.Unknown", "The parameter %s is not known to this action%s.", name, o.hint(pattern))
			}
			if err := scalar(name, kind, values[0]); err != nil {
				return nil, err
			}
			params[name] = values[0]
		}
	}
	return params, o.complete(params)
}

// complete demands the required parameters, and lists that count from 1 without a gap.
func (o *operation) complete(params map[string]string) *Error {
	names := sorted(params)
	for _, name := range names {
		segments := strings.Split(name, ".")
		for i, s := range segments {
			if n, err := strconv.Atoi(s); err == nil {
				before := strings.Join(segments[:i], ".") + "." + strconv.Itoa(n-1)
				if s != strconv.Itoa(n) || n < 1 || n > 1 && !slices.ContainsFunc(names, func(p string) bool { return p == before || strings.HasPrefix(p, before+".") }) {
					return Errorf(400, "InvalidParameter", "The list of the parameter %s has to count from 1 without a gap.", name)
				}
			}
		}
	}
	for _, required := range o.Required {
		list, field, inList := strings.Cut(required, ".#.")
		if !inList {
			if !slices.ContainsFunc(names, func(p string) bool { return p == list && params[p] != "" || strings.HasPrefix(p, list+".") }) {
				return lacking(required)
			}
			continue
		}
		for _, name := range names {
			if rest, ok := strings.CutPrefix(name, list+"."); ok {
				index, _, _ := strings.Cut(rest, ".")
				if want := list + "." + index + "." + field; params[want] == "" {
					return lacking(want)
				}
			}
		}
	}
	return nil
}

func lacking(name string) *Error {
	return Errorf(400, "MissingParameter", "The input parameter %q that is mandatory for processing this request is not supplied.", name)
}

// hint names a parameter that differs in case only: the usual mistake.
func (o *operation) hint(pattern string) string {
	for _, known := range []map[string]string{o.Query, o.Body} {
		for name := range known {
			if strings.EqualFold(name, pattern) {
				return "; did you mean " + name + "?"
			}
		}
	}
	return ""
}

func scalar(name, kind, value string) *Error {
	var err error
	switch {
	case value == "":
	case kind == "Integer" || kind == "Long":
		_, err = strconv.ParseInt(value, 10, 64)
	case kind == "Boolean":
		_, err = strconv.ParseBool(value)
	}
	if err != nil {
		return Errorf(400, "InvalidParameter", "The specified parameter %s is not valid: %q is no %s.", name, value, kind)
	}
	return nil
}

// indexed turns ZoneMappings.1.VSwitchId into ZoneMappings.#.VSwitchId.
func indexed(name string) string {
	segments := strings.Split(name, ".")
	for i, s := range segments {
		if _, err := strconv.Atoi(s); err == nil && i > 0 {
			segments[i] = "#"
		}
	}
	return strings.Join(segments, ".")
}

// match gives the path parameters if the path fits the operation's.
func (o *operation) match(path string) (map[string]string, bool) {
	want, got := strings.Split(o.Path, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params := map[string]string{}
	for i, w := range want {
		if name, ok := strings.CutPrefix(w, "["); ok && got[i] != "" {
			params[strings.TrimSuffix(name, "]")] = got[i]
		} else if w != got[i] {
			return nil, false
		}
	}
	return params, true
}

func (o *operation) takes(method string) bool {
	return slices.Contains(strings.Split(o.Method, "|"), method)
}

func sorted[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }
