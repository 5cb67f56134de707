package elastic

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

type token struct {
	text, kind string
	start, end int // in UTF-16 units would be exact; these are characters
}

type analyzer func(string) []token

// builtinAnalyzers are the global ones plus those of plugins. ik_smart and
// ik_max_word need a dictionary: here they cut as standard does.
func builtinAnalyzers(plugins []string) map[string]analyzer {
	out := map[string]analyzer{
		"standard": standard, "default": standard,
		"simple":     func(s string) []token { return runs(strings.ToLower(s), unicode.IsLetter) },
		"whitespace": func(s string) []token { return runs(s, func(r rune) bool { return !unicode.IsSpace(r) }) },
		"keyword":    func(s string) []token { return []token{{s, "word", 0, len([]rune(s))}} },
	}
	for _, name := range plugins {
		out[name] = standard
	}
	return out
}

func standard(s string) []token { return lower(standardTokens(s)) }

func lower(tokens []token) []token {
	for i := range tokens {
		tokens[i].text = strings.ToLower(tokens[i].text)
	}
	return tokens
}

func runs(s string, part func(rune) bool) []token {
	var out []token
	text, start := []rune(s), -1
	for i := 0; i <= len(text); i++ {
		if in := i < len(text) && part(text[i]); in && start < 0 {
			start = i
		} else if !in && start >= 0 {
			out = append(out, token{string(text[start:i]), "word", start, i})
			start = -1
		}
	}
	return out
}

// standardTokens cuts words as Unicode's UAX 29 does for common text: letters and
// digits stick together, also across . and , between digits and . and ' between
// letters; ideographs stand alone.
func standardTokens(s string) []token {
	var out []token
	text := []rune(s)
	word := func(r rune) bool {
		return (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_') && !ideograph(r)
	}
	for i := 0; i < len(text); {
		if ideograph(text[i]) {
			out = append(out, token{string(text[i]), "<IDEOGRAPHIC>", i, i + 1})
			i++
			continue
		}
		if !word(text[i]) {
			i++
			continue
		}
		start, kind := i, "<NUM>"
		for i < len(text) {
			joins := i+1 < len(text) && i > start &&
				(strings.ContainsRune(".'’:", text[i]) && unicode.IsLetter(text[i-1]) && unicode.IsLetter(text[i+1]) && !ideograph(text[i+1]) ||
					strings.ContainsRune(".,;'’", text[i]) && unicode.IsDigit(text[i-1]) && unicode.IsDigit(text[i+1]))
			if !word(text[i]) && !joins {
				break
			}
			if unicode.IsLetter(text[i]) {
				kind = "<ALPHANUM>"
			}
			i++
		}
		out = append(out, token{string(text[start:i]), kind, start, i})
	}
	return out
}

func ideograph(r rune) bool { return unicode.In(r, unicode.Han, unicode.Hiragana) }

// buildAnalyzers reads index.analysis.*: custom analyzers of the tokenizers
// standard, whitespace and keyword (and those of plugins) with lowercase.
func (ix *index) buildAnalyzers() *Error {
	ix.analyzers = map[string]analyzer{}
	for k, file := range ix.settings { // no node has a file of words
		if strings.HasPrefix(k, "index.analysis.filter.") && strings.HasSuffix(k, "_path") {
			at := "/usr/share/elasticsearch/config/" + file
			return illegal("IOException while reading %s: %s", k[strings.LastIndex(k, ".")+1:], at).because(fail(400, "no_such_file_exception", "%s", at))
		}
	}
	names := map[string]bool{}
	for k := range ix.settings {
		rest, ok := strings.CutPrefix(k, "index.analysis.")
		if !ok {
			continue
		}
		kind, rest, _ := strings.Cut(rest, ".")
		name, _, _ := strings.Cut(rest, ".")
		if kind != "analyzer" {
			return unsupported("index setting [%s]", k)
		}
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, e := ix.buildAnalyzer(name)
		if e != nil {
			return e
		}
		ix.analyzers[name] = a
	}
	return nil
}

func (ix *index) buildAnalyzer(name string) (analyzer, *Error) {
	get := func(k string) string { return ix.settings["index.analysis.analyzer."+name+"."+k] }
	typ, tokenizer := get("type"), get("tokenizer")
	if typ != "" && typ != "custom" {
		a, ok := ix.s.analyzers[typ]
		if !ok || typ == "default" {
			return nil, illegal("Unknown analyzer type [%s] for [%s]", typ, name)
		}
		return a, nil
	}
	if tokenizer == "" {
		return nil, illegal("analyzer [%s] must specify either an analyzer type, or a tokenizer", name)
	}
	cut, ok := map[string]analyzer{"standard": standardTokens, "whitespace": ix.s.analyzers["whitespace"], "keyword": ix.s.analyzers["keyword"]}[tokenizer]
	if plugin, isPlugin := ix.s.analyzers[tokenizer]; !ok && isPlugin && ix.s.added[tokenizer] {
		cut, ok = plugin, true
	}
	if !ok {
		return nil, illegal("Custom Analyzer [%s] failed to find tokenizer under name [%s]", name, tokenizer)
	}
	if get("char_filter") != "" {
		return nil, unsupported("char_filter of analyzer [%s]", name)
	}
	for _, f := range splitList(get("filter")) {
		if f != "lowercase" {
			return nil, unsupported("token filter [%s] of analyzer [%s]", f, name)
		}
		inner := cut
		cut = func(s string) []token { return lower(inner(s)) }
	}
	return cut, nil
}

func (ix *index) analyzer(name string) (analyzer, bool) {
	if a, ok := ix.analyzers[name]; ok {
		return a, true
	}
	a, ok := ix.s.analyzers[name]
	return a, ok
}

func (c *call) analyze() (int, any, error) {
	var body map[string]any
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	for k := range body {
		if !slices.Contains([]string{"analyzer", "text", "field"}, k) {
			return 0, nil, unsupported("_analyze with [%s]", k)
		}
	}
	texts := stringList(body["text"])
	if len(texts) == 0 {
		return 0, nil, fail(400, "action_request_validation_exception", "Validation Failed: 1: text is missing;")
	}
	name, named := body["analyzer"].(string)
	if !named {
		name = "standard"
	}
	a, ok := c.s.analyzers[name]
	if c.vars["index"] != "" {
		list, err := c.named("indices:admin/analyze")
		if err != nil {
			return 0, nil, err
		}
		if f, isField := body["field"].(string); isField && !named {
			if fd := list[0].mapping.lookup(f); fd != nil && fd.param("analyzer") != "" {
				name = fd.param("analyzer")
			}
		}
		if a, ok = list[0].analyzer(name); !ok {
			return 0, nil, illegal("failed to find analyzer [%s]", name)
		}
	}
	if !ok {
		return 0, nil, illegal("failed to find global analyzer [%s]", name)
	}
	tokens, position := []object{}, 0
	for _, text := range texts {
		for _, t := range a(text) {
			tokens = append(tokens, obj("token", t.text, "start_offset", t.start, "end_offset", t.end, "type", t.kind, "position", position))
			position++
		}
		position += 100
	}
	return 200, obj("tokens", tokens), nil
}
