package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reindexRequest is the body and the parameters of POST /_reindex.
type reindexRequest struct {
	remote  *remote // nil: from this cluster
	indices []string
	query   json.RawMessage
	source  json.RawMessage // the _source filter as given
	sort    []string
	size    int
	sliceID int // -1: none; a remote source ignores it but for this

	dest, opType, versionType, routing string
	pipeline                           string // the name of one that there is not
	maxDocs                            int    // -1: all
	proceed                            bool
	perSecond                          float64
	scroll                             time.Duration
	refresh                            bool
	copies                             string // that must be active for a write
}

// bodyFault is a fault inside a field of the body, at the column where its
// parser stood: the end of source, which is read first and looked at later, or
// the value itself. What a parser said already is the root.
func bodyFault(raw []byte, name string, cause *Error) *Error {
	column := position(raw, name)
	if name == "source" {
		column = endOf(raw, name)
	}
	if name == "dest" {
		column = cause.column
	}
	e := fail(400, "x_content_parse_exception", "[1:%d] [reindex] failed to parse field [%s]", column, name).because(cause)
	if strings.HasSuffix(cause.Type, "parse_exception") || strings.HasSuffix(cause.Type, "parsing_exception") {
		e.roots = []*Error{cause}
	}
	return e
}

// endOf is the column of the last character of a top-level member's value.
func endOf(raw []byte, name string) int {
	dec := json.NewDecoder(bytes.NewReader(uncomment(raw)))
	if _, err := dec.Token(); err != nil {
		return 1
	}
	for dec.More() {
		k, err := dec.Token()
		var v json.RawMessage
		if err != nil || dec.Decode(&v) != nil {
			return 1
		}
		if k == name {
			return int(dec.InputOffset())
		}
	}
	return 1
}

func (c *call) reindexRequest() (*reindexRequest, *Error) {
	req := &reindexRequest{size: 1000, sliceID: -1, maxDocs: -1, opType: "index", scroll: 5 * time.Minute, refresh: c.q.Has("refresh") && c.q.Get("refresh") != "false"}
	keys, body, err := members(c.body)
	if err != nil {
		return nil, fail(400, "x_content_parse_exception", "[1:1] [reindex] %s", err)
	}
	for _, k := range keys {
		var cause *Error
		switch k {
		case "source":
			cause = req.parseSource(body[k], c)
		case "dest":
			cause = req.parseDest(c.body, body[k])
		case "max_docs", "size":
			if k == "size" && c.s.version.atLeast(8, 0) {
				return nil, fail(400, "x_content_parse_exception", "[1:%d] [reindex] unknown field [size]", endOf(c.body, k))
			}
			n, err := strconv.Atoi(string(body[k]))
			if err != nil || n < 0 {
				cause = illegal("[max_docs] parameter cannot be negative, found [%s]", body[k])
			}
			if cause == nil && req.maxDocs >= 0 && req.maxDocs != n {
				cause = illegal("[max_docs] set to two different values [%d] and [%d]", req.maxDocs, n)
			}
			req.maxDocs = n
		case "conflicts":
			switch v := string(body[k]); v {
			case `"proceed"`, `"abort"`:
				req.proceed = v == `"proceed"`
			default:
				cause = illegal(`conflicts may only be "proceed" or "abort" but was [%s]`, strings.Trim(v, `"`))
			}
		case "script":
			return nil, unsupported("scripts")
		default:
			return nil, fail(400, "x_content_parse_exception", "[1:%d] [reindex] unknown field [%s]", max(bytes.Index(c.body, []byte(`"`+k+`"`)), 0)+1, k)
		}
		if cause != nil && cause.Status != 501 {
			return nil, bodyFault(c.body, k, cause)
		} else if cause != nil {
			return nil, cause
		}
	}
	if e := req.parameters(c); e != nil {
		return nil, e
	}
	return req, req.validate()
}

func (req *reindexRequest) parseSource(raw json.RawMessage, c *call) *Error {
	_, source, err := members(raw)
	if err != nil {
		return illegal("%s", err)
	}
	for _, k := range slices.Sorted(maps.Keys(source)) {
		v := source[k]
		var value any
		if err := decode(v, &value); err != nil {
			return illegal("%s", err)
		}
		switch k {
		case "index":
			for _, name := range stringList(value) {
				for part := range strings.SplitSeq(name, ",") { // a blank after the comma is part of the name
					if part != "" {
						req.indices = append(req.indices, part)
					}
				}
			}
		case "query":
			if _, ok := value.(map[string]any); !ok && len(source["remote"]) > 0 {
				return illegal("Expected [query] to be an object but was [%s]", javaString(value))
			} else if !ok {
				return fail(400, "parsing_exception", "Unknown key for a START_ARRAY in [query].").with("line", 1, "col", 10)
			}
			req.query = v
		case "size":
			req.size = atoi(string(v), 0)
		case "_source":
			if value == false {
				return fail(400, "action_request_validation_exception", "Validation Failed: 1: _source:false is not supported in this context;")
			}
			req.source = v
		case "sort":
			req.sort = sortNames(value)
		case "slice":
			m, _ := value.(map[string]any)
			req.sliceID = atoi(fmt.Sprint(m["id"]), 0)
		case "remote":
			r, e := parseRemote(v)
			if e != nil {
				return e
			}
			req.remote = r
		case "type":
			if c.s.version.atLeast(8, 0) {
				return fail(400, "parsing_exception", "Unknown key for a VALUE_STRING in [type].")
			}
			return unsupported("[type] in the source of _reindex")
		default:
			return unsupported("[%s] in the source of _reindex", k)
		}
	}
	return nil
}

func sortNames(v any) []string {
	var req request
	if req.setSort(v) != nil {
		return nil
	}
	var out []string
	for _, by := range req.sort {
		dir := "asc"
		if by.desc {
			dir = "desc"
		}
		out = append(out, by.field+":"+dir)
	}
	return out
}

func (req *reindexRequest) parseDest(body []byte, raw json.RawMessage) *Error {
	keys, dest, err := members(raw)
	if err != nil {
		return illegal("%s", err)
	}
	for _, k := range keys {
		column := position(body, "dest."+k)
		wrong := func(format string, args ...any) *Error {
			e := fail(400, "x_content_parse_exception", "[1:%d] [dest] failed to parse field [%s]", column, k).because(illegal(format, args...))
			e.column = column
			return e
		}
		var v string
		known := slices.Contains([]string{"index", "op_type", "version_type", "routing", "pipeline", "type"}, k)
		if err := decode(dest[k], &v); err != nil && known {
			return wrong("%s doesn't support values of type: %s", k, dest[k])
		}
		switch k {
		case "index":
			req.dest = v
		case "op_type":
			if v != "index" && v != "create" {
				return wrong("opType must be 'create' or 'index', found: [%s]", v)
			}
			req.opType = v
		case "version_type":
			if !slices.Contains([]string{"internal", "external", "external_gt", "external_gte"}, v) {
				return wrong("No version type match [%s]", v)
			}
			req.versionType = v
		case "routing":
			req.routing = v
		case "pipeline":
			if v == "_none" {
				return unsupported("the pipeline [_none]")
			}
			req.pipeline = v
		case "type":
			return unsupported("[%s] in the dest of _reindex", k)
		default:
			hint := ""
			if k == "version" {
				hint = " did you mean [version_type]?"
			}
			e := fail(400, "x_content_parse_exception", "[1:%d] [dest] unknown field [%s]%s", column-len(k)-3, k, hint)
			e.column = column - len(k) - 3
			return e
		}
	}
	return nil
}

// perSecond reads requests_per_second: a positive float, or -1 for no limit.
func perSecond(q url.Values) (float64, *Error) {
	if !q.Has("requests_per_second") {
		return math.Inf(1), nil
	}
	f, err := strconv.ParseFloat(q.Get("requests_per_second"), 64)
	switch {
	case err == nil && f == -1:
		return math.Inf(1), nil
	case err != nil || f <= 0:
		return 0, illegal("[requests_per_second] must be a float greater than 0. Use -1 to disable throttling.")
	}
	return f, nil
}

func (req *reindexRequest) parameters(c *call) *Error {
	var e *Error
	if req.perSecond, e = perSecond(c.q); e != nil {
		return e
	}
	if req.copies, e = c.activeShards(); e != nil {
		return e
	}
	if v := c.q.Get("scroll"); v != "" {
		if req.scroll, e = parseTime(v, "scroll"); e != nil {
			return e
		}
	}
	if v := c.q.Get("max_docs"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return illegal("[max_docs] parameter cannot be negative, found [%s]", v)
		}
		if req.maxDocs >= 0 && req.maxDocs != n {
			return illegal("[max_docs] set to two different values [%d] and [%d]", req.maxDocs, n)
		}
		req.maxDocs = n
	}
	slices := c.q.Get("slices")
	n, err := strconv.Atoi(slices)
	switch {
	case slices == "" || slices == "1":
	case slices == "auto" || err == nil && n > 0:
		if req.remote == nil {
			return unsupported("slices of a local _reindex")
		}
		return validation([]string{fmt.Sprintf("reindex from remote sources doesn't support slices > 1 but was [%d]", n)})
	default:
		return illegal("[slices] must be a positive integer or the string \"auto\", but was [%s]", slices)
	}
	if req.maxDocs == 0 {
		return illegal("[max_docs] should be >= [slices]")
	}
	return nil
}

func (req *reindexRequest) validate() *Error {
	var faults []string
	if len(req.indices) == 0 {
		faults = append(faults, "use _all if you really want to copy from all existing indexes")
	}
	if req.size == 0 {
		faults = append(faults, "[size] cannot be [0] in a scroll context")
	}
	if req.dest == "" {
		faults = append(faults, "index must be specified")
	}
	if r := req.routing; r != "" && r != "keep" && r != "discard" && !strings.HasPrefix(r, "=") {
		faults = append(faults, "routing must be unset, [keep], [discard] or [=<some new value>]")
	}
	if len(faults) > 0 {
		return validation(faults)
	}
	return nil
}

func (req *reindexRequest) describe(v version) string {
	from, typ := "", "[_doc]"
	if req.remote != nil {
		from = req.remote.describe(req.query)
	}
	if v.atLeast(8, 0) {
		typ = ""
	}
	return fmt.Sprintf("reindex from %s[%s] to [%s]%s", from, strings.Join(req.indices, ", "), req.dest, typ)
}
