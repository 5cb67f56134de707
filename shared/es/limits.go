package es

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"eslink/shared/apierr"
)

// Limits are settings of a cluster that decide how it can be read by scroll. What is
// not set is 0: Elasticsearch's own hold.
type Limits struct {
	MaxKeepAlive time.Duration // search.max_keep_alive
	MaxScrolls   int           // search.max_open_scroll_context, of a node
}

// Limits reads them from the cluster's settings; monitor suffices.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/cluster-get-settings.html
func (c *Client) Limits(ctx context.Context) (l Limits, err error) {
	var out map[string]map[string]json.RawMessage
	flat := true
	err = c.do(ctx, "read cluster settings", esapi.ClusterGetSettingsRequest{FlatSettings: &flat}, &out)
	if err != nil {
		if e := asReply(err); e != nil && apierr.ClassOf(err) == apierr.Fatal { // a server that does not tell has its own
			return l, nil
		}
		return l, err
	}
	for _, kind := range []string{"persistent", "transient"} { // the latter counts
		set := Settings(out[kind])
		if d, err := time.ParseDuration(set.Text("search.max_keep_alive")); err == nil {
			l.MaxKeepAlive = d
		}
		if n, err := strconv.Atoi(set.Text("search.max_open_scroll_context")); err == nil {
			l.MaxScrolls = n
		}
	}
	return l, nil
}

// MaxPageOf is an index's max_result_window, 0 if it has none of its own.
func MaxPageOf(settings json.RawMessage) (int, error) {
	text, err := Setting(settings, "max_result_window")
	if err != nil || text == "" {
		return 0, err
	}
	return strconv.Atoi(text)
}
