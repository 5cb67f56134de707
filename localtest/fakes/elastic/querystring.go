package elastic

import (
	"strings"
)

// queryString makes a query of the parameter q, of which it knows what a person
// types: words, field:word, field:prefix*, *, *:*, joined by blanks, AND, OR and
// NOT (or + and -) without parentheses.
func (c *call) queryString() (query, error) {
	for _, k := range []string{"analyzer", "analyze_wildcard", "lenient"} {
		if c.q.Has(k) {
			return query{}, unsupported("query parameter [%s]", k)
		}
	}
	var must, mustNot, should []object
	operator := strings.ToUpper(c.q.Get("default_operator"))
	words := strings.Fields(c.q.Get("q"))
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
			return query{}, unsupported("the query string [%s]: words, field:word, AND, OR and NOT only", c.q.Get("q"))
		}
		clause, e := c.word(word)
		switch {
		case e != nil:
			return query{}, e
		case not:
			mustNot = append(mustNot, clause)
		case and:
			must = append(must, clause)
		default:
			should = append(should, clause)
		}
	}
	body := obj("match_none", obj())
	if len(must)+len(should)+len(mustNot) > 0 {
		body = obj("bool", obj("must", must, "should", should, "must_not", mustNot))
	}
	return query{raw: encodeJSON(body)}, nil
}

// word is the clause of one word.
func (c *call) word(word string) (object, *Error) {
	field, value, fielded := strings.Cut(word, ":")
	if !fielded {
		field, value = c.q.Get("df"), word
	}
	switch {
	case value == "*" && (field == "*" || field == ""):
		return obj("match_all", obj()), nil
	case value == "*":
		return obj("exists", obj("field", field)), nil
	case field == "_exists_":
		return obj("exists", obj("field", value)), nil
	case field == "":
		return c.anywhere(value), nil
	case strings.HasSuffix(value, "*") && strings.Count(value, "*") == 1:
		return obj("prefix", obj(field, strings.ToLower(strings.TrimSuffix(value, "*")))), nil
	case strings.Contains(value, "*"):
		return nil, unsupported("a wildcard inside [%s]", word)
	}
	return obj("match", obj(field, value)), nil
}

// anywhere matches a word in any text or keyword field of the indices asked.
func (c *call) anywhere(word string) object {
	seen, any := map[string]bool{}, []object{}
	var visit func(path string, f *field)
	visit = func(path string, f *field) {
		if f.props == nil && (f.typ == "text" || f.typ == "keyword") && !seen[path] {
			seen[path] = true
			any = append(any, obj("match", obj(path, word)))
		}
		for name, p := range f.props {
			visit(join(path, name), p)
		}
	}
	if list, err := c.named("indices:data/read/search"); err == nil {
		for _, ix := range list {
			visit("", ix.mapping.root)
		}
	}
	if len(any) == 0 {
		return obj("match_none", obj())
	}
	return obj("bool", obj("should", any))
}
