package reindex

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

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/search"
	"eslink/localtest/fakes/elastic/store"
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
func bodyFault(raw []byte, name string, cause *esjson.Error) *esjson.Error {
	column := index.Position(raw, name)
	if name == "source" {
		column = endOf(raw, name)
	}
	if name == "dest" {
		column = cause.Column
	}
	e := esjson.Fail(400, "x_content_parse_exception", "[1:%d] [reindex] failed to parse field [%s]", column, name).Because(cause)
	if strings.HasSuffix(cause.Type, "parse_exception") || strings.HasSuffix(cause.Type, "parsing_exception") {
		e.Roots = []*esjson.Error{cause}
	}
	return e
}

// endOf is the column of the last character of a top-level member's value.
func endOf(raw []byte, name string) int {
	dec := json.NewDecoder(bytes.NewReader(esjson.Uncomment(raw)))
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

func readRequest(c *store.Call) (*reindexRequest, *esjson.Error) {
	req := &reindexRequest{size: 1000, sliceID: -1, maxDocs: -1, opType: "index", scroll: 5 * time.Minute, refresh: c.Q.Has("refresh") && c.Q.Get("refresh") != "false"}
	keys, body, err := esjson.Members(c.Body)
	if err != nil {
		return nil, esjson.Fail(400, "x_content_parse_exception", "[1:1] [reindex] %s", err)
	}
	for _, k := range keys {
		var cause *esjson.Error
		switch k {
		case "source":
			cause = req.parseSource(body[k], c)
		case "dest":
			cause = req.parseDest(c.Body, body[k])
		case "max_docs", "size":
			if k == "size" && c.S.Version.AtLeast(8, 0) {
				return nil, esjson.Fail(400, "x_content_parse_exception", "[1:%d] [reindex] unknown field [size]", endOf(c.Body, k))
			}
			n, err := strconv.Atoi(string(body[k]))
			if err != nil || n < 0 {
				cause = esjson.Illegal("[max_docs] parameter cannot be negative, found [%s]", body[k])
			}
			if cause == nil && req.maxDocs >= 0 && req.maxDocs != n {
				cause = esjson.Illegal("[max_docs] set to two different values [%d] and [%d]", req.maxDocs, n)
			}
			req.maxDocs = n
		case "conflicts":
			switch v := string(body[k]); v {
			case `"proceed"`, `"abort"`:
				req.proceed = v == `"proceed"`
			default:
				cause = esjson.Illegal(`conflicts may only be "proceed" or "abort" but was [%s]`, strings.Trim(v, `"`))
			}
		case "script":
			return nil, esjson.Unsupported("scripts")
		default:
			return nil, esjson.Fail(400, "x_content_parse_exception", "[1:%d] [reindex] unknown field [%s]", max(bytes.Index(c.Body, []byte(`"`+k+`"`)), 0)+1, k)
		}
		if cause != nil && cause.Status != 501 {
			return nil, bodyFault(c.Body, k, cause)
		} else if cause != nil {
			return nil, cause
		}
	}
	if e := req.parameters(c); e != nil {
		return nil, e
	}
	return req, req.validate()
}

func (req *reindexRequest) parseSource(raw json.RawMessage, c *store.Call) *esjson.Error {
	_, source, err := esjson.Members(raw)
	if err != nil {
		return esjson.Illegal("%s", err)
	}
	for _, k := range slices.Sorted(maps.Keys(source)) {
		v := source[k]
		var value any
		if err := esjson.Decode(v, &value); err != nil {
			return esjson.Illegal("%s", err)
		}
		switch k {
		case "index":
			for _, name := range esjson.StringList(value) {
				for part := range strings.SplitSeq(name, ",") { // a blank after the comma is part of the name
					if part != "" {
						req.indices = append(req.indices, part)
					}
				}
			}
		case "query":
			if _, ok := value.(map[string]any); !ok && len(source["remote"]) > 0 {
				return esjson.Illegal("Expected [query] to be an object but was [%s]", esjson.JavaString(value))
			} else if !ok {
				return esjson.Fail(400, "parsing_exception", "Unknown key for a START_ARRAY in [query].").With("line", 1, "col", 10)
			}
			req.query = v
		case "size":
			req.size = esjson.Atoi(string(v), 0)
		case "_source":
			if value == false {
				return esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: _source:false is not supported in this context;")
			}
			req.source = v
		case "sort":
			req.sort = sortNames(value)
		case "slice":
			m, _ := value.(map[string]any)
			req.sliceID = esjson.Atoi(fmt.Sprint(m["id"]), 0)
		case "remote":
			r, e := parseRemote(v)
			if e != nil {
				return e
			}
			req.remote = r
		case "type":
			if c.S.Version.AtLeast(8, 0) {
				return esjson.Fail(400, "parsing_exception", "Unknown key for a VALUE_STRING in [type].")
			}
			return esjson.Unsupported("[type] in the source of _reindex")
		default:
			return esjson.Unsupported("[%s] in the source of _reindex", k)
		}
	}
	return nil
}

func sortNames(v any) []string {
	var req search.Request
	if req.SetSort(v) != nil {
		return nil
	}
	var out []string
	for _, by := range req.Sort {
		dir := "asc"
		if by.Desc {
			dir = "desc"
		}
		out = append(out, by.Field+":"+dir)
	}
	return out
}

func (req *reindexRequest) parseDest(body []byte, raw json.RawMessage) *esjson.Error {
	keys, dest, err := esjson.Members(raw)
	if err != nil {
		return esjson.Illegal("%s", err)
	}
	for _, k := range keys {
		column := index.Position(body, "dest."+k)
		wrong := func(format string, args ...any) *esjson.Error {
			e := esjson.Fail(400, "x_content_parse_exception", "[1:%d] [dest] failed to parse field [%s]", column, k).Because(esjson.Illegal(format, args...))
			e.Column = column
			return e
		}
		var v string
		known := slices.Contains([]string{"index", "op_type", "version_type", "routing", "pipeline", "type"}, k)
		if err := esjson.Decode(dest[k], &v); err != nil && known {
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
				return esjson.Unsupported("the pipeline [_none]")
			}
			req.pipeline = v
		case "type":
			return esjson.Unsupported("[%s] in the dest of _reindex", k)
		default:
			hint := ""
			if k == "version" {
				hint = " did you mean [version_type]?"
			}
			e := esjson.Fail(400, "x_content_parse_exception", "[1:%d] [dest] unknown field [%s]%s", column-len(k)-3, k, hint)
			e.Column = column - len(k) - 3
			return e
		}
	}
	return nil
}

// perSecond reads requests_per_second: a positive float, or -1 for no limit.
func perSecond(q url.Values) (float64, *esjson.Error) {
	if !q.Has("requests_per_second") {
		return math.Inf(1), nil
	}
	f, err := strconv.ParseFloat(q.Get("requests_per_second"), 64)
	switch {
	case err == nil && f == -1:
		return math.Inf(1), nil
	case err != nil || f <= 0:
		return 0, esjson.Illegal("[requests_per_second] must be a float greater than 0. Use -1 to disable throttling.")
	}
	return f, nil
}

func (req *reindexRequest) parameters(c *store.Call) *esjson.Error {
	var e *esjson.Error
	if req.perSecond, e = perSecond(c.Q); e != nil {
		return e
	}
	if req.copies, e = c.ActiveShards(); e != nil {
		return e
	}
	if v := c.Q.Get("scroll"); v != "" {
		if req.scroll, e = esjson.ParseTime(v, "scroll"); e != nil {
			return e
		}
	}
	if v := c.Q.Get("max_docs"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return esjson.Illegal("[max_docs] parameter cannot be negative, found [%s]", v)
		}
		if req.maxDocs >= 0 && req.maxDocs != n {
			return esjson.Illegal("[max_docs] set to two different values [%d] and [%d]", req.maxDocs, n)
		}
		req.maxDocs = n
	}
	slices := c.Q.Get("slices")
	n, err := strconv.Atoi(slices)
	switch {
	case slices == "" || slices == "1":
	case slices == "auto" || err == nil && n > 0:
		if req.remote == nil {
			return esjson.Unsupported("slices of a local _reindex")
		}
		return esjson.Validation([]string{fmt.Sprintf("reindex from remote sources doesn't support slices > 1 but was [%d]", n)})
	default:
		return esjson.Illegal("[slices] must be a positive integer or the string \"auto\", but was [%s]", slices)
	}
	if req.maxDocs == 0 {
		return esjson.Illegal("[max_docs] should be >= [slices]")
	}
	return nil
}

func (req *reindexRequest) validate() *esjson.Error {
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
		return esjson.Validation(faults)
	}
	return nil
}

func (req *reindexRequest) describe(v esjson.Version) string {
	from, typ := "", "[_doc]"
	if req.remote != nil {
		from = req.remote.describe(req.query)
	}
	if v.AtLeast(8, 0) {
		typ = ""
	}
	return fmt.Sprintf("reindex from %s[%s] to [%s]%s", from, strings.Join(req.indices, ", "), req.dest, typ)
}
