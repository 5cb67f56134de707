package elastic

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func (c *call) main() (int, any, error) {
	s := c.s
	type release struct{ hash, date, lucene, wire, index string }
	r := release{"580aff1a0064ce4c93293aaab6fcc55e22c10d1c", "2025-06-19T01:37:57.847711500Z", "8.11.3", "6.8.0", "6.0.0-beta1"}
	switch {
	case s.version.atLeast(8, 0):
		r = release{"253e8544a65ad44581194068936f2a5d57c2c051", "2024-09-02T22:04:47.310170297Z", "9.11.1", "7.17.0", "7.0.0"}
	case !s.version.atLeast(7, 11):
		r = release{"747e1cc71def077253878a59143c1f785afa92b9", "2021-01-13T00:42:12.435326Z", "8.7.0", "6.8.0", "6.0.0-beta1"}
	}
	return 200, obj("name", s.nodeName(0), "cluster_name", s.config.Name, "cluster_uuid", s.id("cluster", 0), "version", obj(
		"number", s.config.Version, "build_flavor", "default", "build_type", "tar", "build_hash", r.hash, "build_date", r.date, "build_snapshot", false,
		"lucene_version", r.lucene, "minimum_wire_compatibility_version", r.wire, "minimum_index_compatibility_version", r.index),
		"tagline", "You Know, for Search"), nil
}

// health counts shards: a replica needs a node of its own.
func (c *call) health() (int, any, error) {
	list, err := c.named("cluster:monitor/health")
	missing := false // an index that is not there is waited for
	if e, ok := err.(*Error); ok && e.Type == "index_not_found_exception" {
		missing = true
	} else if err != nil {
		return 0, nil, err
	}
	if c.vars["index"] == "" {
		list = slices.Collect(maps.Values(c.s.indices))
	}
	h := c.s.health(list)
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
	return code, obj("cluster_name", c.s.config.Name, "status", status, "timed_out", late, "number_of_nodes", c.s.config.Nodes, "number_of_data_nodes", c.s.config.Nodes,
		"active_primary_shards", primaries, "active_shards", active, "relocating_shards", 0, "initializing_shards", 0, "unassigned_shards", unassigned,
		"delayed_unassigned_shards", 0, "number_of_pending_tasks", 0, "number_of_in_flight_fetch", 0, "task_max_waiting_in_queue_millis", 0,
		"active_shards_percent_as_number", javaFloat(percent)), nil
}

type healthOf struct {
	primaries, active, unassigned int
	status                        string
}

func (s *cluster) health(list []*index) healthOf {
	h := healthOf{status: "green"}
	for _, ix := range list {
		all, active := ix.copiesOf()
		n := len(ix.shards)
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
func (c *call) tooLate(h healthOf) (bool, *Error) {
	rank := map[string]int{"": 0, "red": 0, "yellow": 1, "green": 2}
	status := strings.ToLower(c.q.Get("wait_for_status"))
	if _, is := rank[status]; !is {
		return false, illegal("unknown cluster health status [%s]", status)
	}
	late := rank[h.status] < rank[status]
	wanted, e := c.activeShards()
	switch {
	case e != nil:
		return false, e
	case wanted == "all":
		late = late || h.unassigned > 0
	case wanted != "":
		late = late || h.active < atoi(wanted, 0)
	}
	nodes := c.q.Get("wait_for_nodes")
	n := atoi(strings.TrimLeft(nodes, "<>="), 0)
	switch op := strings.TrimRight(nodes, "0123456789"); op {
	case "":
		late = late || nodes != "" && c.s.config.Nodes != n
	case ">=":
		late = late || c.s.config.Nodes < n
	case "<=":
		late = late || c.s.config.Nodes > n
	case ">":
		late = late || c.s.config.Nodes <= n
	case "<":
		late = late || c.s.config.Nodes >= n
	default:
		return false, unsupported("wait_for_nodes [%s]", nodes)
	}
	return late, nil
}

func (s *cluster) nodeHead(n int) object {
	address := fmt.Sprintf("127.0.0.1:%d", 9300+n)
	o := obj("name", s.nodeName(n), "transport_address", address, "host", "127.0.0.1", "ip", "127.0.0.1")
	return o
}

var roles = []string{"data", "ingest", "master", "remote_cluster_client"}

// eachNode answers for the nodes and metrics a path names.
func (c *call) eachNode(metrics map[string]func(n int) (string, any)) (int, any, error) {
	wanted := splitList(c.vars["metric"])
	picked := func(n int) bool { return true }
	if spec, ok := c.vars["node"]; ok {
		picked = func(n int) bool {
			return slices.ContainsFunc(splitList(spec), func(p string) bool {
				return p == "_all" || (p == "_local" || p == "_master") && n == 0 || wild(p, c.s.nodeID(n)) || wild(p, c.s.nodeName(n))
			})
		}
	}
	for _, m := range wanted {
		if _, ok := metrics[m]; !ok && m != "_all" {
			if c.vars["node"] == "" && len(wanted) == 1 && c.vars["metric"] == m {
				for n := range c.s.config.Nodes { // _nodes/{node}
					if m == c.s.nodeID(n) || m == c.s.nodeName(n) || m == "_local" {
						c.vars = map[string]string{"node": m}
						return c.eachNode(metrics)
					}
				}
			}
			return 0, nil, unsupported("node metric [%s]", m)
		}
	}
	nodes, count := obj(), 0
	for n := range c.s.config.Nodes {
		if !picked(n) {
			continue
		}
		count++
		node := c.s.nodeHead(n).with("version", c.s.config.Version, "roles", roles)
		for _, m := range slices.Sorted(maps.Keys(metrics)) {
			if len(wanted) == 0 || slices.Contains(wanted, m) || slices.Contains(wanted, "_all") {
				node = node.with(pairs(object{keyed(metrics[m](n))})...)
			}
		}
		nodes = nodes.with(c.s.nodeID(n), node)
	}
	return 200, obj("_nodes", obj("total", count, "successful", count, "failed", 0), "cluster_name", c.s.config.Name, "nodes", nodes), nil
}

func keyed(k string, v any) member { return member{k, v} }

func (c *call) nodes() (int, any, error) {
	s := c.s
	return c.eachNode(map[string]func(int) (string, any){
		"settings": func(n int) (string, any) {
			flat := maps.Clone(s.settings)
			if flat == nil {
				flat = map[string]string{}
			}
			maps.DeleteFunc(flat, func(k, _ string) bool { return secretive(k) })
			maps.Copy(flat, map[string]string{"cluster.name": s.config.Name, "node.name": s.nodeName(n)})
			return "settings", settingsReply(flat, c.flag("flat_settings", false))
		},
		"plugins": func(int) (string, any) {
			plugins := []object{}
			if slices.ContainsFunc(s.config.Analyzers, func(a string) bool { return strings.HasPrefix(a, "ik_") }) {
				plugins = append(plugins, obj("name", "analysis-ik", "version", s.config.Version, "elasticsearch_version", s.config.Version,
					"java_version", "1.8", "description", "IK Analyzer for Elasticsearch", "classname", "org.elasticsearch.plugin.analysis.ik.AnalysisIkPlugin"))
			}
			for _, p := range s.config.Plugins {
				plugins = append(plugins, obj("name", p.Name, "version", s.config.Version, "elasticsearch_version", s.config.Version))
			}
			return "plugins", plugins
		},
		"jvm": func(int) (string, any) {
			return "jvm", obj("pid", 1, "version", "17.0.15", "start_time_in_millis", s.started.UnixMilli(), "mem", obj("heap_max_in_bytes", s.config.Heap))
		},
		"http": func(n int) (string, any) {
			return "http", obj("publish_address", fmt.Sprintf("127.0.0.1:%d", 9200+n), "max_content_length_in_bytes", 104857600)
		},
	})
}

func (c *call) nodesStats() (int, any, error) {
	s := c.s
	return c.eachNode(map[string]func(int) (string, any){
		"fs": func(int) (string, any) {
			disk := obj("total_in_bytes", s.config.DiskTotal, "free_in_bytes", s.config.DiskFree, "available_in_bytes", s.config.DiskFree)
			return "fs", obj("timestamp", s.config.Now().UnixMilli(), "total", disk)
		},
		"jvm": func(int) (string, any) {
			return "jvm", obj("uptime_in_millis", s.config.Now().Sub(s.started).Milliseconds(), "mem", obj("heap_used_in_bytes", s.config.Heap/2, "heap_max_in_bytes", s.config.Heap))
		},
		"indexing_pressure": func(int) (string, any) {
			zero := obj("combined_coordinating_and_primary_in_bytes", 0, "coordinating_in_bytes", 0, "primary_in_bytes", 0, "replica_in_bytes", 0, "all_in_bytes", 0)
			return "indexing_pressure", obj("memory", obj("current", zero, "limit_in_bytes", s.config.Heap/10))
		},
		"indices": func(n int) (string, any) {
			open := 0
			if n == 0 {
				open = s.openContexts()
			}
			return "indices", obj("search", obj("open_contexts", open))
		},
	})
}

// stats gives documents and size; with level=shards also the sequence numbers.
func (c *call) stats() (int, any, error) {
	for _, m := range splitList(c.vars["metric"]) {
		if !slices.Contains([]string{"docs", "store", "_all"}, m) {
			return 0, nil, unsupported("index statistic [%s]", m)
		}
	}
	list, err := c.named("indices:monitor/stats")
	if err != nil {
		return 0, nil, err
	}
	indices, shards, copies := obj(), 0, 0
	var all, allCopies [2]int
	for _, ix := range list {
		ix.catchUp()
		var sum [2]int
		replicas := min(atoi(ix.settings["index.number_of_replicas"], 1), c.s.config.Nodes-1)
		byShard := obj()
		for n, sh := range ix.shards {
			docs, size := len(sh.counted), 0
			for _, d := range sh.counted {
				size += len(d.source)
			}
			sum[0], sum[1] = sum[0]+docs, sum[1]+size
			var group []object
			for copy := range replicas + 1 {
				group = append(group, obj("routing", obj("state", "STARTED", "primary", copy == 0, "node", c.s.nodeID((n+copy)%c.s.config.Nodes), "relocating_node", nil),
					"docs", obj("count", docs, "deleted", 0), "store", obj("size_in_bytes", size, "reserved_in_bytes", 0),
					"seq_no", obj("max_seq_no", sh.next-1, "local_checkpoint", sh.next-1, "global_checkpoint", sh.next-1)))
			}
			byShard = byShard.with(strconv.Itoa(n), group)
		}
		shards, copies = shards+len(ix.shards)*(1+replicas), copies+replicas
		total := [2]int{sum[0] * (1 + replicas), sum[1] * (1 + replicas)}
		all, allCopies = [2]int{all[0] + sum[0], all[1] + sum[1]}, [2]int{allCopies[0] + total[0], allCopies[1] + total[1]}
		o := obj("uuid", ix.uuid, "primaries", statsReply(sum), "total", statsReply(total))
		if c.q.Get("level") == "shards" {
			o = o.with("shards", byShard)
		}
		indices = indices.with(ix.name, o)
	}
	return 200, obj("_shards", obj("total", shards, "successful", shards, "failed", 0),
		"_all", obj("primaries", statsReply(all), "total", statsReply(allCopies)), "indices", indices), nil
}

func statsReply(v [2]int) object {
	return obj("docs", obj("count", v[0], "deleted", 0), "store", obj("size_in_bytes", v[1], "reserved_in_bytes", 0))
}
