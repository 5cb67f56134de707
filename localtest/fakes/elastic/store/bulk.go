package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
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
	keys, values, err := esjson.Members(raw)
	if err != nil {
		return err
	}
	for _, k := range keys {
		var text string
		if esjson.Decode(values[k], &text) != nil {
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

// bulkWrite is one operation without its source.
func (c *Call) bulkWrite(action string, l *bulkLine) (index.Write, *esjson.Error) {
	if l == nil {
		l = &bulkLine{}
	}
	w := index.Write{Action: action, Index: l.Index, ID: l.ID, Routing: l.Routing, VersionType: l.VersionType,
		Version: l.number(l.Version, 0), IfSeq: l.number(l.IfSeq, -1), IfTerm: l.number(l.IfTerm, -1)}
	if w.RequireAlias = c.Flag("require_alias", false); l.RequireAlias != nil {
		w.RequireAlias = *l.RequireAlias
	}
	if w.Index == "" {
		w.Index = c.Vars["index"]
	}
	if w.Routing == "" {
		w.Routing = c.Q.Get("routing")
	}
	return w, w.CheckVersion(l.Version != "")
}

// parseBulk reads newline-delimited operations.
func (c *Call) parseBulk() ([]index.Write, error) {
	if len(c.Body) == 0 {
		return nil, esjson.Fail(400, "parse_exception", "request body is required")
	}
	if c.Body[len(c.Body)-1] != '\n' {
		return nil, esjson.Illegal("The bulk request must be terminated by a newline [\\n]")
	}
	copies, e := c.ActiveShards()
	if e != nil {
		return nil, e
	}
	var out []index.Write
	lines := bytes.Split(c.Body, []byte("\n"))
	for i := 0; i < len(lines); i++ {
		if len(bytes.TrimSpace(lines[i])) == 0 {
			continue
		}
		var head map[string]*bulkLine
		if err := esjson.Decode(lines[i], &head); err != nil || len(head) != 1 {
			return nil, esjson.Illegal("Malformed action/metadata line [%d], expected START_OBJECT or one action: %v", i+1, err)
		}
		for action, l := range head {
			w, e := c.bulkWrite(action, l)
			if e != nil {
				return nil, e
			}
			w.Copies = copies
			switch {
			case w.Index == "":
				return nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: index is missing;")
			case action == "update":
				return nil, esjson.Unsupported("bulk action [update]")
			case action != "index" && action != "create" && action != "delete" && !c.S.Version.AtLeast(8, 0):
				i++ // 7.x drops an operation it does not know, and its source, without a word
				continue
			case action != "index" && action != "create" && action != "delete":
				return nil, esjson.Illegal("Malformed action/metadata line [%d], expected field [create], [delete], [index] or [update] but found [%s]", i+1, action)
			case action != "delete":
				if i++; i >= len(lines) || len(lines[i]) == 0 {
					return nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: source is missing;")
				}
				w.Source = lines[i]
			}
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: no requests added;")
	}
	return out, nil
}

// Pressure refuses a bulk of more than a tenth of a node's heap, as a whole.
func (s *Cluster) Pressure(size int64) *esjson.Error {
	if limit := s.Config.Heap / 10; size > limit {
		return esjson.Fail(http.StatusTooManyRequests, "es_rejected_execution_exception", "rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0, coordinating_operation_bytes=%d, max_coordinating_and_primary_bytes=%d]", size, limit)
	}
	return nil
}

func (c *Call) Bulk() (int, any, error) {
	if c.Q.Get("pipeline") != "" {
		return 0, nil, esjson.Unsupported("ingest pipelines")
	}
	writes, err := c.parseBulk()
	if err != nil {
		return 0, nil, err
	}
	if e := c.S.Pressure(int64(len(c.Body))); e != nil {
		return 0, nil, e
	}
	items, failed := make([]esjson.Object, 0, len(writes)), false
	touched := map[*index.Index]bool{}
	for _, w := range writes {
		reply, status, err := c.Apply(w)
		if err != nil {
			e := err.(*esjson.Error)
			failed = true
			items = append(items, esjson.Obj(w.Action, c.S.Identity(w.Index, w.ID).With("status", e.Status, "error", e)))
			continue
		}
		if ix, ok := c.S.Indices[w.Index]; ok {
			touched[ix] = true
		}
		items = append(items, esjson.Obj(w.Action, reply.With("status", status)))
	}
	for ix := range touched {
		c.refreshAfter(ix)
	}
	return 200, esjson.Obj("took", 1, "errors", failed, "items", items), nil
}
