package store

import (
	"net/http"
	"slices"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
)

// target finds the index an operation writes to, and makes it if that is allowed.
func (c *Call) target(w index.Write) (*index.Index, error) {
	if e := c.Permit("indices:data/write/bulk[s]", w.Index); e != nil {
		return nil, e
	}
	if ix, ok := c.S.Indices[w.Index]; ok && !w.RequireAlias {
		return ix, nil
	}
	behind := c.S.behind(w.Index)
	switch one := index.WriteIndex(behind, w.Index); {
	case one != nil:
		return one, nil
	case len(behind) > 0:
		return nil, esjson.Illegal("no write index is defined for alias [%s]. The write index may be explicitly disabled using is_write_index=false or the alias points to multiple indices without one being designated as a write index", w.Index)
	case w.RequireAlias:
		e := esjson.Fail(http.StatusNotFound, "index_not_found_exception", "no such index [%s] and [require_alias] request flag is [true] and [%s] is not an alias", w.Index, w.Index)
		return nil, e.With("index_uuid", "_na_", "index", w.Index)
	case w.Action == "delete":
		return nil, esjson.NoSuchIndex(w.Index)
	}
	if e := c.Permit("indices:admin/auto_create", w.Index); e != nil {
		return nil, e
	}
	return c.S.autoCreate(w.Index)
}

// Apply does one operation and describes it as Elasticsearch does.
func (c *Call) Apply(w index.Write) (esjson.Object, int, error) {
	ix, err := c.target(w)
	if err != nil {
		return nil, 0, err
	}
	if e := c.S.readOnly(); e != nil {
		return nil, 0, e
	}
	if e := ix.Blocked("write"); e != nil {
		return nil, 0, e
	}
	if w.ID == "" {
		w.ID = c.S.NewID("doc")[:20]
	}
	if len(w.ID) > 512 {
		return nil, 0, esjson.Illegal("id is too long, must be no longer than 512 bytes but was: %d", len(w.ID))
	}
	if e := ix.EnoughActive(w, c.Q.Get("timeout")); e != nil {
		return nil, 0, e
	}
	var e *esjson.Error
	if w.Routing, e = ix.Routed(w.Index, w.ID, w.Routing); e != nil {
		return nil, 0, e
	}
	if ix.Mapping.Routing && w.Routing == "" {
		return nil, 0, esjson.Fail(400, "routing_missing_exception", "routing is required for [%s]/[_doc]/[%s]", ix.Name, w.ID).With("index_uuid", "_na_", "index", ix.Name)
	}
	d, result, err := ix.Apply(w)
	if err != nil {
		return nil, 0, err
	}
	status := map[string]int{"created": 201, "updated": 200, "deleted": 200, "not_found": 404}[result]
	copies := 1 + esjson.Atoi(ix.Settings["index.number_of_replicas"], 1)
	reply := c.Identity(d).With("_version", d.Version, "result", result)
	if v := c.Q["refresh"]; len(v) > 0 && (v[0] == "" || v[0] == "true") {
		reply = reply.With("forced_refresh", true)
	}
	reply = reply.With("_shards", esjson.Obj("total", copies, "successful", min(copies, c.S.Config.Nodes), "failed", 0), "_seq_no", d.Seq, "_primary_term", d.Term)
	return reply, status, nil
}

// Identity starts every description of a document; 7.x has types.
func (c *Call) Identity(d *index.Doc) esjson.Object { return c.S.Identity(d.Ix.Name, d.ID) }

// refreshAfter obeys ?refresh. wait_for refreshes at once here.
func (c *Call) refreshAfter(ix *index.Index) {
	if v, given := c.Q["refresh"]; given && v[0] != "false" {
		ix.Refresh()
	}
}

func (c *Call) IndexDoc() (int, any, error) {
	action := "index"
	if c.Q.Get("op_type") == "create" {
		action = "create"
	}
	return c.single(action)
}

func (c *Call) CreateDoc() (int, any, error) { return c.single("create") }

func (c *Call) DeleteDoc() (int, any, error) { return c.single("delete") }

func (c *Call) single(action string) (int, any, error) {
	w := index.Write{Action: action, Index: c.Vars["index"], ID: c.Vars["id"], Routing: c.Q.Get("routing"), Source: c.Body, VersionType: c.Q.Get("version_type"),
		RequireAlias: c.Flag("require_alias", false)}
	for name, into := range map[string]*int64{"version": &w.Version, "if_seq_no": &w.IfSeq, "if_primary_term": &w.IfTerm} {
		n, err := c.Number(name, -1)
		if err != nil {
			return 0, nil, err
		}
		*into = int64(n)
	}
	if e := w.CheckVersion(c.Q.Has("version")); e != nil {
		return 0, nil, e
	}
	var e *esjson.Error
	if w.Copies, e = c.ActiveShards(); e != nil {
		return 0, nil, e
	}
	if len(c.Body) == 0 && action != "delete" {
		return 0, nil, esjson.Fail(400, "parse_exception", "request body is required")
	}
	reply, status, err := c.Apply(w)
	if err != nil {
		return 0, nil, err
	}
	if ix, ok := c.S.Indices[w.Index]; ok {
		c.refreshAfter(ix)
	}
	return status, reply, nil
}

// fetch finds a document by id, with realtime also one that no refresh has shown yet.
func (c *Call) fetch(name, id, routing string) (*index.Doc, error) {
	if e := c.Permit("indices:data/read/get", name); e != nil {
		return nil, e
	}
	list, _, err := c.Resolve(name, "indices:data/read/get")
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, esjson.Illegal("alias [%s] has more than one index associated with it, can't execute a single index op", name)
	}
	ix := list[0]
	if e := ix.Blocked("read"); e != nil {
		return nil, e
	}
	routing, e := ix.Routed(name, id, routing)
	if e != nil {
		return nil, e
	}
	if routing == "" {
		if ix.Mapping.Routing {
			return nil, esjson.Fail(400, "routing_missing_exception", "routing is required for [%s]/[_doc]/[%s]", ix.Name, id).With("index_uuid", "_na_", "index", ix.Name)
		}
		routing = id
	}
	d := c.readOne(ix, ix.Shards[ix.ShardOf(routing)], id)
	if d == nil || d.Deleted {
		return nil, nil
	}
	hide, err := c.Hidden(ix)
	if err != nil {
		return nil, err
	}
	if hide != nil {
		if _, seen := hide(d); !seen {
			return nil, nil
		}
	}
	return d, nil
}

// readOne reads one document: the newest version, for which a shard refreshes itself
// inside, or with realtime=false what a search would see.
func (c *Call) readOne(ix *index.Index, sh *index.Shard, id string) *index.Doc {
	if c.Flag("refresh", false) {
		sh.Refresh()
	}
	if c.Flag("realtime", true) {
		if sh.Stale && sh.Docs[id] != nil && !slices.Contains(sh.Counted, sh.Docs[id]) {
			sh.RefreshInside()
		}
		return sh.Docs[id]
	}
	ix.CatchUp()
	for _, d := range sh.Visible {
		if d.ID == id {
			return d
		}
	}
	return nil
}

func (c *Call) found(d *index.Doc, name, id string, show index.SourceFilter) esjson.Object {
	if d == nil {
		return c.S.Identity(name, id).With("found", false)
	}
	reply := c.Identity(d).With("_version", d.Version, "_seq_no", d.Seq, "_primary_term", d.Term)
	if d.Routing != "" {
		reply = reply.With("_routing", d.Routing)
	}
	reply = reply.With("found", true)
	if raw := show.Of(d); raw != nil {
		reply = reply.With("_source", raw)
	}
	return reply
}

func (c *Call) GetDoc() (int, any, error) {
	show, err := c.SourceParams(index.SourceFilter{})
	if err != nil {
		return 0, nil, err
	}
	d, err := c.fetch(c.Vars["index"], c.Vars["id"], c.Q.Get("routing"))
	if err != nil {
		return 0, nil, err
	}
	status := 200
	if d == nil {
		status = 404
	}
	return status, c.found(d, c.Vars["index"], c.Vars["id"], show), nil
}

func (c *Call) Mget() (int, any, error) {
	var body struct {
		IDs  []string         `json:"ids"`
		Docs []map[string]any `json:"docs"`
	}
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	for _, id := range body.IDs {
		body.Docs = append(body.Docs, map[string]any{"_id": id})
	}
	if len(body.Docs) == 0 {
		return 0, nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: no documents to get;")
	}
	common, err := c.SourceParams(index.SourceFilter{})
	if err != nil {
		return 0, nil, err
	}
	docs := []esjson.Object{}
	for _, want := range body.Docs {
		name, _ := want["_index"].(string)
		if name == "" {
			name = c.Vars["index"]
		}
		id, _ := want["_id"].(string)
		routing, _ := want["routing"].(string)
		show := common
		for k, v := range want {
			switch k {
			case "_index", "_id", "_type", "routing":
			case "_source":
				if show, err = index.ParseSource(v); err != nil {
					return 0, nil, err
				}
			default:
				return 0, nil, esjson.Unsupported("_mget with [%s]", k)
			}
		}
		d, err := c.fetch(name, id, routing)
		if err != nil {
			docs = append(docs, c.S.Identity(name, id).With("error", esjson.Obj("root_cause", []esjson.Object{err.(*esjson.Error).Head()}).With(esjson.Pairs(err.(*esjson.Error).Object())...)))
			continue
		}
		docs = append(docs, c.found(d, name, id, show))
	}
	return 200, esjson.Obj("docs", docs), nil
}
