package es

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// IsAlias reports whether err says that a name is an alias.
func IsAlias(err error) bool { return errors.Is(err, ErrAlias) }

// IsBadRequest reports whether the server refused what a request says.
func IsBadRequest(err error) bool {
	e := asReply(err)
	return e != nil && e.Status == http.StatusBadRequest
}

// IsNotImplemented reports whether the server does not do what a request asks for.
func IsNotImplemented(err error) bool {
	e := asReply(err)
	return e != nil && e.Status == http.StatusNotImplemented
}

// Exists reports whether err says that an index is there already.
func Exists(err error) bool {
	e := asReply(err)
	return e != nil && e.Code == "resource_already_exists_exception"
}

// IsClosed reports whether err says that an index is closed.
func IsClosed(err error) bool {
	e := asReply(err)
	return e != nil && e.Code == "index_closed_exception"
}

// Reason returns the server's own words for an error.
func Reason(err error) string {
	if e := asReply(err); e != nil {
		return e.Message
	}
	return err.Error()
}

// RootReason is the innermost cause of a server's error, in its own words.
func RootReason(err error) string {
	reason := Reason(err)
	if i := strings.LastIndex(reason, "; caused by "); i >= 0 {
		reason = reason[i+len("; caused by "):]
		if _, text, ok := strings.Cut(reason, ": "); ok {
			reason = text
		}
	}
	if _, inner, ok := strings.Cut(reason, "invalid, cause ["); ok { // of a template that was only tried
		reason = strings.TrimSuffix(inner, "]")
	}
	return reason
}

// SourceIncomplete says in which way an index does not keep whole documents, or
// "" if it does.
func SourceIncomplete(mappings json.RawMessage) string {
	var m struct {
		Source struct {
			Enabled            *bool
			Includes, Excludes []string
		} `json:"_source"`
	}
	switch err := json.Unmarshal(mappings, &m); {
	case err != nil:
		return "has mappings that cannot be read"
	case m.Source.Enabled != nil && !*m.Source.Enabled:
		return "has _source disabled"
	case len(m.Source.Includes)+len(m.Source.Excludes) > 0:
		return "keeps only part of the fields in _source"
	}
	return ""
}

// Setting is what an index's own settings say under a name, without "index.", as
// they say it, or "".
func Setting(settings json.RawMessage, name string) (string, error) {
	flat := map[string]json.RawMessage{}
	if err := flattenInto(flat, settings); err != nil {
		return "", err
	}
	var text string
	if raw, ok := flat[name]; ok && json.Unmarshal(raw, &text) != nil {
		return string(raw), nil // a number
	}
	return text, nil
}

// builtIn are analyzers that every distribution has and mappings often name;
// the others, plugins' or not, are tried.
var builtIn = []string{"standard", "simple", "whitespace", "stop", "keyword", "pattern", "fingerprint", "default"}

// ForeignAnalyzers lists the analyzers that a definition needs and does not
// define: those that mappings name, and those that its own analyzers are
// variants of. A plugin's, such as ik_smart, is not everywhere. Settings may be
// spelt in any way that Flatten takes.
func ForeignAnalyzers(mappings, settings json.RawMessage) ([]string, error) {
	flat := map[string]json.RawMessage{}
	if err := flattenInto(flat, settings); err != nil {
		return nil, err
	}
	var tree map[string]any
	if len(mappings) > 0 {
		if err := json.Unmarshal(mappings, &tree); err != nil {
			return nil, fmt.Errorf("mappings: %w", err)
		}
	}
	delete(tree, "_meta") // the user's own notes
	found, bases, own := map[string]bool{}, map[string]bool{}, map[string]bool{}
	walkAnalyzers(tree, found)
	for key, v := range flat {
		name, ok := strings.CutPrefix(key, "analysis.analyzer.")
		if !ok {
			continue
		}
		name, property, _ := strings.Cut(name, ".")
		own[name] = true
		var base string
		if property == "type" && json.Unmarshal(v, &base) == nil && base != "custom" {
			bases[base] = true
		}
	}
	maps.DeleteFunc(found, func(name string, _ bool) bool { return own[name] })
	maps.Copy(found, bases) // which may have the name of its own variant
	maps.DeleteFunc(found, func(name string, _ bool) bool { return slices.Contains(builtIn, name) })
	return slices.Sorted(maps.Keys(found)), nil
}

func walkAnalyzers(node any, found map[string]bool) {
	switch node := node.(type) {
	case []any: // dynamic_templates
		for _, v := range node {
			walkAnalyzers(v, found)
		}
	case map[string]any:
		for key, v := range node {
			name, ok := v.(string)
			switch key {
			case "analyzer", "search_analyzer", "search_quote_analyzer":
				if ok {
					found[name] = true
				}
			}
			walkAnalyzers(v, found) // a field may be called analyzer
		}
	}
}

// written are settings, or groups of them, that Elasticsearch writes by itself:
// they are neither copied nor compared. README lists them.
var written = []string{
	"creation_date", "creation_date_string", "history.uuid", "provided_name", "resize", "routing.allocation.include._tier_preference",
	"routing.allocation.initial_recovery", "shrink", "split", "uuid", "verified_before_close", "version",
}

// Written lists what Elasticsearch writes by itself, by flat key or by its first
// parts.
func Written() []string { return slices.Clone(written) }

// Exempt reports whether Elasticsearch writes a setting by itself; key is flat,
// without "index.".
func Exempt(key string) bool {
	return slices.ContainsFunc(written, func(w string) bool { return key == w || strings.HasPrefix(key, w+".") })
}

// Flatten returns settings under their dotted names, without "index.". They may
// be spelt nested, dotted or both, with or without "index".
func Flatten(settings json.RawMessage) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	err := flattenInto(out, settings)
	return out, err
}

// flattenInto adds settings under their dotted names, without "index.".
func flattenInto(out map[string]json.RawMessage, settings json.RawMessage) error {
	if len(settings) == 0 {
		return nil
	}
	var walk func(prefix string, node map[string]json.RawMessage)
	walk = func(prefix string, node map[string]json.RawMessage) {
		for key, v := range node {
			var inner map[string]json.RawMessage
			if name := prefix + key; json.Unmarshal(v, &inner) == nil && inner != nil {
				walk(name+".", inner)
			} else {
				out[strings.TrimPrefix(name, "index.")] = v
			}
		}
	}
	var root map[string]json.RawMessage
	if err := json.Unmarshal(settings, &root); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	walk("", root)
	return nil
}
