package store

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
)

func (c *Call) Main() (int, any, error) {
	s := c.S
	type release struct{ hash, date, lucene, wire, index string }
	r := release{"580aff1a0064ce4c93293aaab6fcc55e22c10d1c", "2025-06-19T01:37:57.847711500Z", "8.11.3", "6.8.0", "6.0.0-beta1"}
	switch {
	case s.Version.AtLeast(8, 0):
		r = release{"253e8544a65ad44581194068936f2a5d57c2c051", "2024-09-02T22:04:47.310170297Z", "9.11.1", "7.17.0", "7.0.0"}
	case !s.Version.AtLeast(7, 11):
		r = release{"747e1cc71def077253878a59143c1f785afa92b9", "2021-01-13T00:42:12.435326Z", "8.7.0", "6.8.0", "6.0.0-beta1"}
	}
	return 200, esjson.Obj("name", s.NodeName(0), "cluster_name", s.Config.Name, "cluster_uuid", s.ID("cluster", 0), "version", esjson.Obj(
		"number", s.Config.Version, "build_flavor", "default", "build_type", "tar", "build_hash", r.hash, "build_date", r.date, "build_snapshot", false,
		"lucene_version", r.lucene, "minimum_wire_compatibility_version", r.wire, "minimum_index_compatibility_version", r.index),
		"tagline", "You Know, for Search"), nil
}

// Health counts shards: a replica needs a node of its own.
func (c *Call) Health() (int, any, error) {
	list, err := c.Named("cluster:monitor/health")
	missing := false // an index that is not there is waited for
	if e, ok := err.(*esjson.Error); ok && e.Type == "index_not_found_exception" {
		missing = true
	} else if err != nil {
		return 0, nil, err
	}
	if c.Vars["index"] == "" {
		list = slices.Collect(maps.Values(c.S.Indices))
	}
	h := c.S.health(list)
	if missing {
		h.status = "red"
	}
	primaries, active, unassigned, status, percent := h.primaries, h.active, h.unassigned, h.status, h.percent()
	late, e := c.tooLate(h)
	if e != nil {
		return 0, nil, e
	}
	late = late || missing
	code := 200
	if late {
		code = 408
	}
	return code, esjson.Obj("cluster_name", c.S.Config.Name, "status", status, "timed_out", late, "number_of_nodes", c.S.Config.Nodes, "number_of_data_nodes", c.S.Config.Nodes,
		"active_primary_shards", primaries, "active_shards", active, "relocating_shards", 0, "initializing_shards", 0, "unassigned_shards", unassigned,
		"delayed_unassigned_shards", 0, "number_of_pending_tasks", 0, "number_of_in_flight_fetch", 0, "task_max_waiting_in_queue_millis", 0,
		"active_shards_percent_as_number", esjson.JavaFloat(percent)), nil
}

type healthOf struct {
	primaries, active, unassigned int
	status                        string
}

func (s *Cluster) health(list []*index.Index) healthOf {
	h := healthOf{status: "green"}
	for _, ix := range list {
		all, active := ix.CopiesOf()
		n := len(ix.Shards)
		h.primaries, h.active, h.unassigned = h.primaries+n, h.active+n*active, h.unassigned+n*(all-active)
	}
	if h.unassigned > 0 {
		h.status = "yellow"
	}
	return h
}

func (h healthOf) percent() float64 {
	if h.unassigned == 0 {
		return 100
	}
	return 100 * float64(h.active) / float64(h.active+h.unassigned)
}

// tooLate tells whether what health is asked to wait for is not there: nothing
// changes here while it waits.
func (c *Call) tooLate(h healthOf) (bool, *esjson.Error) {
	rank := map[string]int{"": 0, "red": 0, "yellow": 1, "green": 2}
	status := strings.ToLower(c.Q.Get("wait_for_status"))
	if _, is := rank[status]; !is {
		return false, esjson.Illegal("unknown cluster health status [%s]", status)
	}
	late := rank[h.status] < rank[status]
	wanted, e := c.ActiveShards()
	switch {
	case e != nil:
		return false, e
	case wanted == "all":
		late = late || h.unassigned > 0
	case wanted != "":
		late = late || h.active < esjson.Atoi(wanted, 0)
	}
	nodes := c.Q.Get("wait_for_nodes")
	n := esjson.Atoi(strings.TrimLeft(nodes, "<>="), 0)
	switch op := strings.TrimRight(nodes, "0123456789"); op {
	case "":
		late = late || nodes != "" && c.S.Config.Nodes != n
	case ">=":
		late = late || c.S.Config.Nodes < n
	case "<=":
		late = late || c.S.Config.Nodes > n
	case ">":
		late = late || c.S.Config.Nodes <= n
	case "<":
		late = late || c.S.Config.Nodes >= n
	default:
		return false, esjson.Unsupported("wait_for_nodes [%s]", nodes)
	}
	return late, nil
}

func (s *Cluster) NodeHead(n int) esjson.Object {
	address := fmt.Sprintf("127.0.0.1:%d", 9300+n)
	o := esjson.Obj("name", s.NodeName(n), "transport_address", address, "host", "127.0.0.1", "ip", "127.0.0.1")
	return o
}

var Roles = []string{"data", "ingest", "master", "remote_cluster_client"}

// eachNode answers for the nodes and metrics a path names.
func (c *Call) eachNode(metrics map[string]func(n int) (string, any)) (int, any, error) {
	wanted := esjson.SplitList(c.Vars["metric"])
	picked := func(n int) bool { return true }
	if spec, ok := c.Vars["node"]; ok {
		picked = func(n int) bool {
			return slices.ContainsFunc(esjson.SplitList(spec), func(p string) bool {
				return p == "_all" || (p == "_local" || p == "_master") && n == 0 || esjson.Wild(p, c.S.NodeID(n)) || esjson.Wild(p, c.S.NodeName(n))
			})
		}
	}
	for _, m := range wanted {
		if _, ok := metrics[m]; !ok && m != "_all" {
			if c.Vars["node"] == "" && len(wanted) == 1 && c.Vars["metric"] == m {
				for n := range c.S.Config.Nodes { // _nodes/{node}
					if m == c.S.NodeID(n) || m == c.S.NodeName(n) || m == "_local" {
						c.Vars = map[string]string{"node": m}
						return c.eachNode(metrics)
					}
				}
			}
			return 0, nil, esjson.Unsupported("node metric [%s]", m)
		}
	}
	nodes, count := esjson.Obj(), 0
	for n := range c.S.Config.Nodes {
		if !picked(n) {
			continue
		}
		count++
		node := c.S.NodeHead(n).With("version", c.S.Config.Version, "roles", Roles)
		for _, m := range slices.Sorted(maps.Keys(metrics)) {
			if len(wanted) == 0 || slices.Contains(wanted, m) || slices.Contains(wanted, "_all") {
				node = node.With(esjson.Pairs(esjson.Object{keyed(metrics[m](n))})...)
			}
		}
		nodes = nodes.With(c.S.NodeID(n), node)
	}
	return 200, esjson.Obj("_nodes", esjson.Obj("total", count, "successful", count, "failed", 0), "cluster_name", c.S.Config.Name, "nodes", nodes), nil
}

func keyed(k string, v any) esjson.Member { return esjson.Member{Key: k, Value: v} }

func (c *Call) Nodes() (int, any, error) {
	s := c.S
	return c.eachNode(map[string]func(int) (string, any){
		"settings": func(n int) (string, any) {
			flat := maps.Clone(s.Settings)
			if flat == nil {
				flat = map[string]string{}
			}
			maps.DeleteFunc(flat, func(k, _ string) bool { return secretive(k) })
			maps.Copy(flat, map[string]string{"cluster.name": s.Config.Name, "node.name": s.NodeName(n)})
			return "settings", esjson.SettingsReply(flat, c.Flag("flat_settings", false))
		},
		"plugins": func(int) (string, any) {
			plugins := []esjson.Object{}
			if slices.ContainsFunc(s.Config.Analyzers, func(a string) bool { return strings.HasPrefix(a, "ik_") }) {
				plugins = append(plugins, esjson.Obj("name", "analysis-ik", "version", s.Config.Version, "elasticsearch_version", s.Config.Version,
					"java_version", "1.8", "description", "IK Analyzer for Elasticsearch", "classname", "org.elasticsearch.plugin.analysis.ik.AnalysisIkPlugin"))
			}
			for _, p := range s.Config.Plugins {
				plugins = append(plugins, esjson.Obj("name", p.Name, "version", s.Config.Version, "elasticsearch_version", s.Config.Version))
			}
			return "plugins", plugins
		},
		"jvm": func(int) (string, any) {
			return "jvm", esjson.Obj("pid", 1, "version", "17.0.15", "start_time_in_millis", s.Started.UnixMilli(), "mem", esjson.Obj("heap_max_in_bytes", s.Config.Heap))
		},
		"http": func(n int) (string, any) {
			return "http", esjson.Obj("publish_address", fmt.Sprintf("127.0.0.1:%d", 9200+n), "max_content_length_in_bytes", 104857600)
		},
	})
}

func (c *Call) NodesStats() (int, any, error) {
	s := c.S
	return c.eachNode(map[string]func(int) (string, any){
		"fs": func(int) (string, any) {
			disk := esjson.Obj("total_in_bytes", s.Config.DiskTotal, "free_in_bytes", s.Config.DiskFree, "available_in_bytes", s.Config.DiskFree)
			return "fs", esjson.Obj("timestamp", s.Config.Now().UnixMilli(), "total", disk)
		},
		"jvm": func(int) (string, any) {
			return "jvm", esjson.Obj("uptime_in_millis", s.Config.Now().Sub(s.Started).Milliseconds(), "mem", esjson.Obj("heap_used_in_bytes", s.Config.Heap/2, "heap_max_in_bytes", s.Config.Heap))
		},
		"indexing_pressure": func(int) (string, any) {
			zero := esjson.Obj("combined_coordinating_and_primary_in_bytes", 0, "coordinating_in_bytes", 0, "primary_in_bytes", 0, "replica_in_bytes", 0, "all_in_bytes", 0)
			return "indexing_pressure", esjson.Obj("memory", esjson.Obj("current", zero, "limit_in_bytes", s.Config.Heap/10))
		},
		"indices": func(n int) (string, any) {
			open := 0
			if n == 0 {
				open = s.OpenContexts()
			}
			return "indices", esjson.Obj("search", esjson.Obj("open_contexts", open))
		},
	})
}

// Stats gives documents and size; with level=shards also the sequence numbers.
func (c *Call) Stats() (int, any, error) {
	for _, m := range esjson.SplitList(c.Vars["metric"]) {
		if !slices.Contains([]string{"docs", "store", "_all"}, m) {
			return 0, nil, esjson.Unsupported("index statistic [%s]", m)
		}
	}
	list, err := c.Named("indices:monitor/stats")
	if err != nil {
		return 0, nil, err
	}
	indices, shards, copies := esjson.Obj(), 0, 0
	var all, allCopies [2]int
	for _, ix := range list {
		ix.CatchUp()
		var sum [2]int
		replicas := min(esjson.Atoi(ix.Settings["index.number_of_replicas"], 1), c.S.Config.Nodes-1)
		byShard := esjson.Obj()
		for n, sh := range ix.Shards {
			docs, size := len(sh.Counted), 0
			for _, d := range sh.Counted {
				size += len(d.Source)
			}
			sum[0], sum[1] = sum[0]+docs, sum[1]+size
			var group []esjson.Object
			for copy := range replicas + 1 {
				group = append(group, esjson.Obj("routing", esjson.Obj("state", "STARTED", "primary", copy == 0, "node", c.S.NodeID((n+copy)%c.S.Config.Nodes), "relocating_node", nil),
					"docs", esjson.Obj("count", docs, "deleted", 0), "store", esjson.Obj("size_in_bytes", size, "reserved_in_bytes", 0),
					"seq_no", esjson.Obj("max_seq_no", sh.Next-1, "local_checkpoint", sh.Next-1, "global_checkpoint", sh.Next-1)))
			}
			byShard = byShard.With(strconv.Itoa(n), group)
		}
		shards, copies = shards+len(ix.Shards)*(1+replicas), copies+replicas
		total := [2]int{sum[0] * (1 + replicas), sum[1] * (1 + replicas)}
		all, allCopies = [2]int{all[0] + sum[0], all[1] + sum[1]}, [2]int{allCopies[0] + total[0], allCopies[1] + total[1]}
		o := esjson.Obj("uuid", ix.UUID, "primaries", statsReply(sum), "total", statsReply(total))
		if c.Q.Get("level") == "shards" {
			o = o.With("shards", byShard)
		}
		indices = indices.With(ix.Name, o)
	}
	return 200, esjson.Obj("_shards", esjson.Obj("total", shards, "successful", shards, "failed", 0),
		"_all", esjson.Obj("primaries", statsReply(all), "total", statsReply(allCopies)), "indices", indices), nil
}

func statsReply(v [2]int) esjson.Object {
	return esjson.Obj("docs", esjson.Obj("count", v[0], "deleted", 0), "store", esjson.Obj("size_in_bytes", v[1], "reserved_in_bytes", 0))
}
