package store

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/privilege"
)

// ActiveShards reads wait_for_active_shards: "", a number, or "all".
func (c *Call) ActiveShards() (string, *esjson.Error) {
	v := c.Q.Get("wait_for_active_shards")
	n, err := strconv.Atoi(v)
	switch {
	case v == "" || v == "all":
	case err != nil:
		return "", esjson.Illegal("cannot parse ActiveShardCount[%s]", v).Because(esjson.Fail(400, "number_format_exception", "For input string: \"%s\"", v))
	case n < 0:
		return "", esjson.Illegal("shard count cannot be a negative value")
	}
	return v, nil
}

// Call is one request on its way through a handler.
type Call struct {
	S      *Cluster
	R      *http.Request
	User   *privilege.Principal
	Vars   map[string]string
	Q      url.Values
	Body   []byte
	Header http.Header // of the reply
}

// Json decodes the body, if there is one.
func (c *Call) Json(into any) error {
	if len(bytes.TrimSpace(c.Body)) == 0 {
		return nil
	}
	if err := esjson.Decode(c.Body, into); err != nil {
		return esjson.Fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	return nil
}

func (c *Call) Flag(name string, otherwise bool) bool {
	v, given := c.Q[name]
	if !given {
		return otherwise
	}
	return v[0] != "false"
}

func (c *Call) Number(name string, otherwise int) (int, error) {
	v := c.Q.Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, esjson.Illegal("Failed to parse int parameter [%s] with value [%s]", name, v).Because(esjson.Fail(400, "number_format_exception", "For input string: \"%s\"", v))
	}
	return n, nil
}

func (c *Call) SourceParams(f index.SourceFilter) (index.SourceFilter, error) {
	if v := c.Q.Get("_source"); v != "" {
		switch v {
		case "true":
		case "false":
			f.None = true
		default:
			f.Includes = strings.Split(v, ",")
		}
	}
	if v := c.Q.Get("_source_includes"); v != "" {
		f.Includes = strings.Split(v, ",")
	}
	if v := c.Q.Get("_source_excludes"); v != "" {
		f.Excludes = strings.Split(v, ",")
	}
	if c.Q.Get("stored_fields") != "" {
		return f, esjson.Unsupported("query parameter [stored_fields]")
	}
	return f, nil
}
