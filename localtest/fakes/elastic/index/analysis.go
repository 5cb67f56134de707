package index

import (
	"maps"
	"slices"
	"strings"

	"eslink/localtest/fakes/elastic/analysis"
	"eslink/localtest/fakes/elastic/esjson"
)

// BuildAnalyzers reads index.analysis.*: custom analyzers of the tokenizers
// standard, whitespace and keyword (and those of plugins) with lowercase.
func (ix *Index) BuildAnalyzers() *esjson.Error {
	ix.analyzers = map[string]analysis.Analyzer{}
	for k, file := range ix.Settings { // no node has a file of words
		if strings.HasPrefix(k, "index.analysis.filter.") && strings.HasSuffix(k, "_path") {
			at := "/usr/share/elasticsearch/config/" + file
			return esjson.Illegal("IOException while reading %s: %s", k[strings.LastIndex(k, ".")+1:], at).Because(esjson.Fail(400, "no_such_file_exception", "%s", at))
		}
	}
	names := map[string]bool{}
	for k := range ix.Settings {
		rest, ok := strings.CutPrefix(k, "index.analysis.")
		if !ok {
			continue
		}
		kind, rest, _ := strings.Cut(rest, ".")
		name, _, _ := strings.Cut(rest, ".")
		if kind != "analyzer" {
			return esjson.Unsupported("index setting [%s]", k)
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

func (ix *Index) buildAnalyzer(name string) (analysis.Analyzer, *esjson.Error) {
	get := func(k string) string { return ix.Settings["index.analysis.analyzer."+name+"."+k] }
	typ, tokenizer := get("type"), get("tokenizer")
	if typ != "" && typ != "custom" {
		a, ok := ix.S.Analyzers[typ]
		if !ok || typ == "default" {
			return nil, esjson.Illegal("Unknown analyzer type [%s] for [%s]", typ, name)
		}
		return a, nil
	}
	if tokenizer == "" {
		return nil, esjson.Illegal("analyzer [%s] must specify either an analyzer type, or a tokenizer", name)
	}
	cut, ok := map[string]analysis.Analyzer{"standard": analysis.StandardTokens, "whitespace": ix.S.Analyzers["whitespace"], "keyword": ix.S.Analyzers["keyword"]}[tokenizer]
	if plugin, isPlugin := ix.S.Analyzers[tokenizer]; !ok && isPlugin && ix.S.Added[tokenizer] {
		cut, ok = plugin, true
	}
	if !ok {
		return nil, esjson.Illegal("Custom Analyzer [%s] failed to find tokenizer under name [%s]", name, tokenizer)
	}
	if get("char_filter") != "" {
		return nil, esjson.Unsupported("char_filter of analyzer [%s]", name)
	}
	for _, f := range esjson.SplitList(get("filter")) {
		if f != "lowercase" {
			return nil, esjson.Unsupported("token filter [%s] of analyzer [%s]", f, name)
		}
		inner := cut
		cut = func(s string) []analysis.Token { return analysis.Lower(inner(s)) }
	}
	return cut, nil
}

func (ix *Index) Analyzer(name string) (analysis.Analyzer, bool) {
	if a, ok := ix.analyzers[name]; ok {
		return a, true
	}
	a, ok := ix.S.Analyzers[name]
	return a, ok
}
