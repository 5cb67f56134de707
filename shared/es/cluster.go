package es

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"eslink/shared/apierr"
)

// Version returns the server's version, such as 7.10.2.
func (c *Client) Version(ctx context.Context) (string, error) {
	var out struct {
		Version struct{ Number string }
	}
	err := c.do(ctx, "read version", esapi.InfoRequest{}, &out)
	return out.Version.Number, err
}

// Health is the cluster's state: green, yellow or red.
type Health struct {
	Status    string `json:"status"`
	DataNodes int    `json:"number_of_data_nodes"`
	// Shards of open indices, replicas included, by their state.
	Active       int `json:"active_shards"`
	Initializing int `json:"initializing_shards"`
	Unassigned   int `json:"unassigned_shards"`
}

// OpenShards are those that count against cluster.max_shards_per_node.
func (h Health) OpenShards() int { return h.Active + h.Initializing + h.Unassigned }

// Health returns the cluster's health.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var out Health
	err := c.do(ctx, "read health", esapi.ClusterHealthRequest{}, &out)
	return out, err
}

// FreeBytes returns what the data nodes can still store in all.
func (c *Client) FreeBytes(ctx context.Context) (int64, error) {
	var out struct {
		Nodes map[string]struct {
			Roles []string
			FS    struct {
				Total struct {
					Available int64 `json:"available_in_bytes"`
				}
			}
		}
	}
	err := c.do(ctx, "read disk space", esapi.NodesStatsRequest{Metric: []string{"fs"}}, &out)
	var free int64
	for _, n := range out.Nodes {
		if len(n.Roles) == 0 || slices.ContainsFunc(n.Roles, func(r string) bool { return strings.HasPrefix(r, "data") }) {
			free += n.FS.Total.Available
		}
	}
	return free, err
}

// IndexingPressure returns how many bytes of writes the least of the data nodes
// has under way at once before it refuses more: a tenth of its heap. A server
// that does not tell returns 0.
func (c *Client) IndexingPressure(ctx context.Context) (int64, error) {
	var out struct {
		Nodes map[string]struct {
			Pressure struct {
				Memory struct {
					Limit int64 `json:"limit_in_bytes"`
				}
			} `json:"indexing_pressure"`
		}
	}
	err := c.do(ctx, "read indexing pressure", esapi.NodesStatsRequest{Metric: []string{"indexing_pressure"}}, &out)
	var least int64
	for _, n := range out.Nodes {
		if limit := n.Pressure.Memory.Limit; limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	return least, err
}

// Lives names the cluster's nodes and when each began: another text means that
// one of them has restarted, left or come.
func (c *Client) Lives(ctx context.Context) (string, error) {
	var out struct {
		Nodes map[string]struct {
			JVM struct {
				Start int64 `json:"start_time_in_millis"`
			}
		}
	}
	err := c.do(ctx, "read nodes", esapi.NodesInfoRequest{Metric: []string{"jvm"}}, &out)
	var lives []string
	for id, n := range out.Nodes {
		lives = append(lives, fmt.Sprintf("%s@%d", id, n.JVM.Start))
	}
	slices.Sort(lives)
	return strings.Join(lives, " "), err
}

// ClusterSettings returns what is set of the whole cluster, by flat key: transient
// settings over persistent ones. Defaults and the nodes' own files are not among
// them.
func (c *Client) ClusterSettings(ctx context.Context) (Settings, error) {
	var out struct{ Persistent, Transient Settings }
	flat := true
	if err := c.do(ctx, "read cluster settings", esapi.ClusterGetSettingsRequest{FlatSettings: &flat}, &out); err != nil {
		return nil, err
	}
	all := Settings{}
	maps.Copy(all, out.Persistent)
	maps.Copy(all, out.Transient)
	return all, nil
}

// DataNode is a node that may hold shards, by what allocation rules compare.
type DataNode map[string]string // _name, _id, _ip, _host and its own attributes

// DataNodes lists the nodes that may hold shards.
func (c *Client) DataNodes(ctx context.Context) ([]DataNode, error) {
	var out struct {
		Nodes map[string]struct {
			Name, Host, IP string
			Roles          []string
			Attributes     map[string]string
		}
	}
	if err := c.do(ctx, "read nodes", esapi.NodesInfoRequest{Metric: []string{"settings"}}, &out); err != nil {
		return nil, err
	}
	var nodes []DataNode
	for id, n := range out.Nodes {
		if len(n.Roles) > 0 && !slices.ContainsFunc(n.Roles, func(r string) bool { return strings.HasPrefix(r, "data") }) {
			continue
		}
		node := DataNode{"_id": id, "_name": n.Name, "_host": n.Host, "_ip": n.IP}
		maps.Copy(node, n.Attributes)
		nodes = append(nodes, node)
	}
	return nodes, nil
}

// HasPipeline reports whether the cluster has an ingest pipeline by that name. It
// needs the cluster privilege manage or manage_ingest_pipelines.
func (c *Client) HasPipeline(ctx context.Context, name string) (bool, error) {
	err := c.do(ctx, "read pipeline "+name, esapi.IngestGetPipelineRequest{PipelineID: inPath(name)}, nil)
	if apierr.IsNotFound(err) || isNoPipeline(err) {
		return false, nil
	}
	return err == nil, err
}

// isNoPipeline is how a missing pipeline is answered: 404 without an error.
func isNoPipeline(err error) bool {
	e := asReply(err)
	return e != nil && e.Status == 404
}

// Settings are what a node was started with, by flat key.
type Settings map[string]json.RawMessage

// NodeSettings returns the settings of each node, by the node's name.
func (c *Client) NodeSettings(ctx context.Context) (map[string]Settings, error) {
	var out struct {
		Nodes map[string]struct {
			Name     string
			Settings Settings
		}
	}
	flat := true
	req := esapi.NodesInfoRequest{Metric: []string{"settings"}, FlatSettings: &flat}
	if err := c.do(ctx, "read node settings", req, &out); err != nil {
		return nil, err
	}
	nodes := map[string]Settings{}
	for id, n := range out.Nodes {
		nodes[cmp.Or(n.Name, id)] = n.Settings
	}
	return nodes, nil
}

// Text returns a setting of one value, or "".
func (s Settings) Text(key string) string {
	var text string
	if json.Unmarshal(s[key], &text) != nil {
		return string(s[key])
	}
	return text
}

// List returns a setting that is a list, which may be printed as one string.
func (s Settings) List(key string) []string {
	var list []string
	if json.Unmarshal(s[key], &list) == nil {
		return list
	}
	for part := range strings.SplitSeq(s.Text(key), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// Needs are privileges that a user must have.
type Needs struct {
	Cluster []string
	// Index names privileges by index.
	Index map[string][]string
}

// Missing returns those of the needed privileges that the client's user lacks,
// as "monitor" or "read on orders". Every user may ask this.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/security-api-has-privileges.html
func (c *Client) Missing(ctx context.Context, n Needs) ([]string, error) {
	type indexNeeds struct {
		Names      []string `json:"names"`
		Privileges []string `json:"privileges"`
	}
	ask := struct {
		Cluster []string     `json:"cluster,omitempty"`
		Index   []indexNeeds `json:"index,omitempty"`
	}{Cluster: n.Cluster}
	for name, privileges := range n.Index {
		ask.Index = append(ask.Index, indexNeeds{[]string{name}, privileges})
	}
	reader, err := body(ask)
	if err != nil {
		return nil, err
	}
	var out struct {
		Cluster map[string]bool
		Index   map[string]map[string]bool
	}
	if err := c.do(ctx, "ask for privileges", esapi.SecurityHasPrivilegesRequest{Body: reader}, &out); err != nil {
		return nil, err
	}
	var missing []string
	for p, ok := range out.Cluster {
		if !ok {
			missing = append(missing, p)
		}
	}
	for name, privileges := range out.Index {
		for p, ok := range privileges {
			if !ok {
				missing = append(missing, p+" on "+name)
			}
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// HasAnalyzer reports whether the cluster knows an analyzer by that name.
func (c *Client) HasAnalyzer(ctx context.Context, name string) (bool, error) {
	reader, err := body(map[string]string{"analyzer": name, "text": "eslink"})
	if err != nil {
		return false, err
	}
	err = c.do(ctx, "try analyzer "+name, esapi.IndicesAnalyzeRequest{Body: reader}, nil)
	if e := asReply(err); e != nil && e.Status == 400 {
		return false, nil
	}
	return err == nil, err
}

// WithoutReplica lists the open indices that have no replica: while a node that
// holds them restarts they are gone, and the cluster is red.
func (c *Client) WithoutReplica(ctx context.Context) ([]string, error) {
	var out map[string]struct {
		Settings struct {
			Index struct {
				Replicas string `json:"number_of_replicas"`
			}
		}
	}
	req := esapi.IndicesGetSettingsRequest{Index: []string{"*"}, Name: []string{"index.number_of_replicas"}, ExpandWildcards: "open"}
	if err := c.do(ctx, "read replicas", req, &out); err != nil {
		return nil, err
	}
	var names []string
	for name, ix := range out {
		if ix.Settings.Index.Replicas == "0" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
