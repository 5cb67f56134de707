package survey

import (
	"context"
	"slices"
	"strings"

	"eslink/shared/es"
	"eslink/shared/facts"
)

// show has the searches of an index show all that it holds, if the login may refresh
// it, and notes otherwise whether they may lack something. Where an index refreshes
// itself often, the copy waits for that.
func show(ctx context.Context, c *es.Client, found *facts.SurveyedIndex) error {
	if !found.Lags() {
		return nil
	}
	if found.Refreshable {
		return c.Refresh(ctx, found.Source)
	}
	seen, err := c.Searchable(ctx, found.Source, len(found.ShardSeqNos))
	found.Unseen = !slices.Equal(seen, found.ShardSeqNos)
	return err
}

// refreshing is the privilege to refresh an index. A reader need not have it.
const refreshing = "maintenance"

// optional takes the privileges out of missing that are not needed, and returns the
// names for which they are missing.
func optional(missing []string) (needed, unrefreshable []string) {
	for _, m := range missing {
		if name, ok := strings.CutPrefix(m, refreshing+" on "); ok {
			unrefreshable = append(unrefreshable, name)
		} else {
			needed = append(needed, m)
		}
	}
	return needed, unrefreshable
}
