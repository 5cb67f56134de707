package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// bulkLine is the action of a bulk item.
type bulkLine struct {
	Index, ID, Routing string
	Version            json.Number
	VersionType        string
	IfSeq, IfTerm      json.Number
	RequireAlias       *bool
}

func (l *bulkLine) UnmarshalJSON(raw []byte) error {
	keys, values, err := members(raw)
	if err != nil {
		return err
	}
	for _, k := range keys {
		var text string
		if decode(values[k], &text) != nil {
			text = string(values[k])
		}
		switch k {
		case "_index":
			l.Index = text
		case "_id":
			l.ID = text
		case "_type":
		case "routing", "_routing":
			l.Routing = text
		case "version", "_version":
			l.Version = json.Number(text)
		case "version_type", "_version_type":
			l.VersionType = text
		case "if_seq_no":
			l.IfSeq = json.Number(text)
		case "if_primary_term":
			l.IfTerm = json.Number(text)
		case "require_alias":
			yes := text == "true"
			l.RequireAlias = &yes
		default:
			//lint:ignore ST1005 these are Elasticsearch's own words
			return fmt.Errorf("Action/metadata line contains an unknown parameter [%s]", k)
		}
	}
	return nil
}

func (l bulkLine) number(n json.Number, otherwise int64) int64 {
	if v, err := n.Int64(); err == nil {
		return v
	}
	return otherwise
}

// parseBulk reads newline-delimited operations.
func (c *call) parseBulk() ([]write, error) {
	if len(c.body) == 0 {
		return nil, fail(400, "parse_exception", "request body is required")
	}
	if c.body[len(c.body)-1] != '\n' {
		return nil, illegal("The bulk request must be terminated by a newline [\\n]")
	}
	copies, e := c.activeShards()
	if e != nil {
		return nil, e
	}
	var out []write
	lines := bytes.Split(c.body, []byte("\n"))
	for i := 0; i < len(lines); i++ {
		if len(bytes.TrimSpace(lines[i])) == 0 {
			continue
		}
		var head map[string]*bulkLine
		if err := decode(lines[i], &head); err != nil || len(head) != 1 {
			return nil, illegal("Malformed action/metadata line [%d], expected START_OBJECT or one action: %v", i+1, err)
		}
		for action, l := range head {
			if l == nil {
				l = &bulkLine{}
			}
			w := write{action: action, index: l.Index, id: l.ID, routing: l.Routing, versionType: l.VersionType,
				version: l.number(l.Version, 0), copies: copies, ifSeq: l.number(l.IfSeq, -1), ifTerm: l.number(l.IfTerm, -1)}
			if e := w.checkVersion(l.Version != ""); e != nil {
				return nil, e
			}
			if w.requireAlias = c.flag("require_alias", false); l.RequireAlias != nil {
				w.requireAlias = *l.RequireAlias
			}
			if w.index == "" {
				w.index = c.vars["index"]
			}
			if w.routing == "" {
				w.routing = c.q.Get("routing")
			}
			switch {
			case w.index == "":
				return nil, fail(400, "action_request_validation_exception", "Validation Failed: 1: index is missing;")
			case action == "update":
				return nil, unsupported("bulk action [update]")
			case action != "index" && action != "create" && action != "delete" && !c.s.version.atLeast(8, 0):
				i++ // 7.x drops an operation it does not know, and its source, without a word
				continue
			case action != "index" && action != "create" && action != "delete":
				return nil, illegal("Malformed action/metadata line [%d], expected field [create], [delete], [index] or [update] but found [%s]", i+1, action)
			case action != "delete":
				if i++; i >= len(lines) || len(lines[i]) == 0 {
					return nil, fail(400, "action_request_validation_exception", "Validation Failed: 1: source is missing;")
				}
				w.source = lines[i]
			}
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return nil, fail(400, "action_request_validation_exception", "Validation Failed: 1: no requests added;")
	}
	return out, nil
}

// pressure refuses a bulk of more than a tenth of a node's heap, as a whole.
func (s *cluster) pressure(size int64) *Error {
	if limit := s.config.Heap / 10; size > limit {
		return fail(http.StatusTooManyRequests, "es_rejected_execution_exception", "rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0, coordinating_operation_bytes=%d, max_coordinating_and_primary_bytes=%d]", size, limit)
	}
	return nil
}

func (c *call) bulk() (int, any, error) {
	if c.q.Get("pipeline") != "" {
		return 0, nil, unsupported("ingest pipelines")
	}
	writes, err := c.parseBulk()
	if err != nil {
		return 0, nil, err
	}
	if e := c.s.pressure(int64(len(c.body))); e != nil {
		return 0, nil, e
	}
	items, failed := make([]object, 0, len(writes)), false
	touched := map[*index]bool{}
	for _, w := range writes {
		reply, status, err := c.apply(w)
		if err != nil {
			e := err.(*Error)
			failed = true
			items = append(items, obj(w.action, c.s.identity(w.index, w.id).with("status", e.Status, "error", e)))
			continue
		}
		if ix, ok := c.s.indices[w.index]; ok {
			touched[ix] = true
		}
		items = append(items, obj(w.action, reply.with("status", status)))
	}
	for ix := range touched {
		c.refreshAfter(ix)
	}
	return 200, obj("took", 1, "errors", failed, "items", items), nil
}
