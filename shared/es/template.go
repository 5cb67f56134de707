package es

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"eslink/shared/apierr"
)

// TemplateBody is what a template gives an index that matches it.
type TemplateBody struct {
	Settings json.RawMessage            `json:"settings"`
	Mappings json.RawMessage            `json:"mappings"`
	Aliases  map[string]json.RawMessage `json:"aliases"`
}

// IndexTemplate is a composable template.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.17/index-templates.html
type IndexTemplate struct {
	Patterns   []string        `json:"index_patterns"`
	ComposedOf []string        `json:"composed_of"`
	Template   TemplateBody    `json:"template"`
	Priority   int64           `json:"priority"`
	DataStream json.RawMessage `json:"data_stream"`
}

// LegacyTemplate is one of those that composable ones replace.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.17/indices-templates-v1.html
type LegacyTemplate struct {
	Patterns []string `json:"index_patterns"`
	Order    int64    `json:"order"`
	TemplateBody
}

// Templates are all that a cluster has, by name.
type Templates struct {
	Index     map[string]IndexTemplate
	Component map[string]TemplateBody
	Legacy    map[string]LegacyTemplate
}

// Templates reads all templates. A server that does not know composable ones
// (before 7.8) has legacy ones alone.
func (c *Client) Templates(ctx context.Context) (Templates, error) {
	t := Templates{Index: map[string]IndexTemplate{}, Component: map[string]TemplateBody{}}
	if err := c.do(ctx, "read legacy templates", esapi.IndicesGetTemplateRequest{}, &t.Legacy); err != nil {
		return t, err
	}
	var indices struct {
		Templates []struct {
			Name  string
			Index IndexTemplate `json:"index_template"`
		} `json:"index_templates"`
	}
	err := c.do(ctx, "read index templates", esapi.IndicesGetIndexTemplateRequest{}, &indices)
	if IsBadRequest(err) || apierr.IsNotFound(err) || isMethodNotAllowed(err) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	for _, one := range indices.Templates {
		t.Index[one.Name] = one.Index
	}
	var components struct {
		Templates []struct {
			Name      string
			Component struct{ Template TemplateBody } `json:"component_template"`
		} `json:"component_templates"`
	}
	if err := c.do(ctx, "read component templates", esapi.ClusterGetComponentTemplateRequest{}, &components); err != nil {
		return t, err
	}
	for _, one := range components.Templates {
		t.Component[one.Name] = one.Component.Template
	}
	return t, nil
}

func isMethodNotAllowed(err error) bool {
	e := asReply(err)
	return e != nil && e.Status == http.StatusMethodNotAllowed
}

// Simulate has the server judge what would be created by that name, and makes
// nothing. It needs the cluster privilege manage_index_templates. The definition
// is complete: the body takes the place of whichever template matches. Names,
// shard limits, replicas, pipelines, blocks and allocation are not judged.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.17/indices-simulate-index.html
func (c *Client) Simulate(ctx context.Context, index string, priority int64, d Definition) error {
	template := map[string]any{"settings": d.Settings} // never empty: 7.10 answers 500
	if len(d.Mappings) > 0 {
		template["mappings"] = d.Mappings
	}
	if len(d.Aliases) > 0 {
		template["aliases"] = d.Aliases
	}
	reader, err := body(map[string]any{"index_patterns": []string{index}, "priority": priority, "template": template})
	if err != nil {
		return fmt.Errorf("index %s: %w", index, err)
	}
	return c.do(ctx, "simulate index "+index, esapi.IndicesSimulateIndexTemplateRequest{Name: inPath(index), Body: reader}, nil)
}
