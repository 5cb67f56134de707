package store

import (
	"slices"

	"eslink/localtest/fakes/elastic/esjson"
)

func (c *Call) Analyze() (int, any, error) {
	var body map[string]any
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	for k := range body {
		if !slices.Contains([]string{"analyzer", "text", "field"}, k) {
			return 0, nil, esjson.Unsupported("_analyze with [%s]", k)
		}
	}
	texts := esjson.StringList(body["text"])
	if len(texts) == 0 {
		return 0, nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: text is missing;")
	}
	name, named := body["analyzer"].(string)
	if !named {
		name = "standard"
	}
	a, ok := c.S.Analyzers[name]
	if c.Vars["index"] != "" {
		list, err := c.Named("indices:admin/analyze")
		if err != nil {
			return 0, nil, err
		}
		if f, isField := body["field"].(string); isField && !named {
			if fd := list[0].Mapping.Lookup(f); fd != nil && fd.Param("analyzer") != "" {
				name = fd.Param("analyzer")
			}
		}
		if a, ok = list[0].Analyzer(name); !ok {
			return 0, nil, esjson.Illegal("failed to find analyzer [%s]", name)
		}
	}
	if !ok {
		return 0, nil, esjson.Illegal("failed to find global analyzer [%s]", name)
	}
	tokens, position := []esjson.Object{}, 0
	for _, text := range texts {
		for _, t := range a(text) {
			tokens = append(tokens, esjson.Obj("token", t.Text, "start_offset", t.Start, "end_offset", t.End, "type", t.Kind, "position", position))
			position++
		}
		position += 100
	}
	return 200, esjson.Obj("tokens", tokens), nil
}
