package es

import (
	"context"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// Tokens returns what an analyzer makes of a text.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/indices-analyze.html
func (c *Client) Tokens(ctx context.Context, analyzer, text string) ([]string, error) {
	reader, err := body(map[string]string{"analyzer": analyzer, "text": text})
	if err != nil {
		return nil, err
	}
	var out struct {
		Tokens []struct{ Token string }
	}
	if err := c.do(ctx, "try analyzer "+analyzer, esapi.IndicesAnalyzeRequest{Body: reader}, &out); err != nil {
		return nil, err
	}
	tokens := []string{}
	for _, t := range out.Tokens {
		tokens = append(tokens, t.Token)
	}
	return tokens, nil
}

// Whole reports whether an analyzer has left a word as it is.
func Whole(tokens []string, word string) bool {
	return len(tokens) == 1 && strings.EqualFold(tokens[0], word)
}
