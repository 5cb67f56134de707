package es

import (
	"context"
	"fmt"
)

// Searchable returns the highest sequence number that searches of each shard of an
// index show, -1 if they show nothing. Where it is the shard's own highest (Stats),
// the newest write is visible; where it is lower, writes wait for a refresh, or the
// newest operations are deletes, which searches never show. The statistics' count of
// documents tells less: it follows internal refreshes, as after a realtime get.
// (Measured on 7.10.2 and 7.17.29.)
func (c *Client) Searchable(ctx context.Context, index string, shards int) ([]int64, error) {
	out := make([]int64, shards)
	for n := range out {
		reader, err := body(map[string]any{"sort": []any{map[string]string{"_seq_no": "desc"}}})
		if err != nil {
			return nil, err
		}
		req := search(index, reader, 1, false)
		req.Preference = fmt.Sprintf("_shards:%d", n)
		docs, err := c.documents(ctx, "read the newest document of index "+index, req, 1)
		if err != nil {
			return nil, err
		}
		if out[n] = -1; len(docs) > 0 {
			out[n] = docs[0].SeqNo
		}
	}
	return out, nil
}
