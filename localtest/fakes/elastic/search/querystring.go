package search

import (
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/store"
)

// queryString makes a query of the parameter q, of which it knows what a person
// types: words, field:word, field:prefix*, *, *:*, joined by blanks, AND, OR and
// NOT (or + and -) without parentheses.
func queryString(c *store.Call) (index.Query, error) {
	for _, k := range []string{"analyzer", "analyze_wildcard", "lenient"} {
		if c.Q.Has(k) {
			return index.Query{}, esjson.Unsupported("query parameter [%s]", k)
		}
	}
	var must, mustNot, should []esjson.Object
	operator := strings.ToUpper(c.Q.Get("default_operator"))
	words := strings.Fields(c.Q.Get("q"))
	for i := 0; i < len(words); i++ {
		word, and, not := words[i], operator == "AND", false
		if i > 0 && words[i-1] == "AND" || i+1 < len(words) && words[i+1] == "AND" {
			and = true
		}
		switch {
		case word == "AND" || word == "OR":
			continue
		case word == "NOT" && i+1 < len(words):
			i++
			word, not = words[i], true
		case strings.HasPrefix(word, "-"):
			word, not = word[1:], true
		case strings.HasPrefix(word, "+"):
			word, and = word[1:], true
		}
		if strings.ContainsAny(word, `()[]{}"~^?/\\!<>&|`) {
			return index.Query{}, esjson.Unsupported("the query string [%s]: words, field:word, AND, OR and NOT only", c.Q.Get("q"))
		}
		clause, e := wordClause(c, word)
		switch {
		case e != nil:
			return index.Query{}, e
		case not:
			mustNot = append(mustNot, clause)
		case and:
			must = append(must, clause)
		default:
			should = append(should, clause)
		}
	}
	body := esjson.Obj("match_none", esjson.Obj())
	if len(must)+len(should)+len(mustNot) > 0 {
		body = esjson.Obj("bool", esjson.Obj("must", must, "should", should, "must_not", mustNot))
	}
	return index.Query{Raw: esjson.EncodeJSON(body)}, nil
}

// wordClause is the clause of one word.
func wordClause(c *store.Call, word string) (esjson.Object, *esjson.Error) {
	field, value, fielded := strings.Cut(word, ":")
	if !fielded {
		field, value = c.Q.Get("df"), word
	}
	switch {
	case value == "*" && (field == "*" || field == ""):
		return esjson.Obj("match_all", esjson.Obj()), nil
	case value == "*":
		return esjson.Obj("exists", esjson.Obj("field", field)), nil
	case field == "_exists_":
		return esjson.Obj("exists", esjson.Obj("field", value)), nil
	case field == "":
		return anywhere(c, value), nil
	case strings.HasSuffix(value, "*") && strings.Count(value, "*") == 1:
		return esjson.Obj("prefix", esjson.Obj(field, strings.ToLower(strings.TrimSuffix(value, "*")))), nil
	case strings.Contains(value, "*"):
		return nil, esjson.Unsupported("a wildcard inside [%s]", word)
	}
	return esjson.Obj("match", esjson.Obj(field, value)), nil
}

// anywhere matches a word in any text or keyword field of the indices asked.
func anywhere(c *store.Call, word string) esjson.Object {
	seen, any := map[string]bool{}, []esjson.Object{}
	var visit func(path string, f *index.Field)
	visit = func(path string, f *index.Field) {
		if f.Props == nil && (f.Typ == "text" || f.Typ == "keyword") && !seen[path] {
			seen[path] = true
			any = append(any, esjson.Obj("match", esjson.Obj(path, word)))
		}
		for name, p := range f.Props {
			visit(esjson.Join(path, name), p)
		}
	}
	if list, err := c.Named("indices:data/read/search"); err == nil {
		for _, ix := range list {
			visit("", ix.Mapping.Root)
		}
	}
	if len(any) == 0 {
		return esjson.Obj("match_none", esjson.Obj())
	}
	return esjson.Obj("bool", esjson.Obj("should", any))
}
