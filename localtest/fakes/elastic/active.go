package elastic

import (
	"fmt"
	"strconv"
)

// activeShards reads wait_for_active_shards: "", a number, or "all".
func (c *call) activeShards() (string, *Error) {
	v := c.q.Get("wait_for_active_shards")
	n, err := strconv.Atoi(v)
	switch {
	case v == "" || v == "all":
	case err != nil:
		return "", illegal("cannot parse ActiveShardCount[%s]", v).because(fail(400, "number_format_exception", "For input string: \"%s\"", v))
	case n < 0:
		return "", illegal("shard count cannot be a negative value")
	}
	return v, nil
}

// copiesOf are the copies that a shard of the index has, and those of them that
// are active: each on a node of its own.
func (ix *index) copiesOf() (all, active int) {
	all = 1 + atoi(ix.settings["index.number_of_replicas"], 1)
	return all, min(all, ix.s.nodes)
}

// needed is how many copies a wait_for_active_shards asks for.
func (ix *index) needed(wanted string) int {
	all, _ := ix.copiesOf()
	switch wanted {
	case "":
		return atoi(ix.settings["index.write.wait_for_active_shards"], 1)
	case "all":
		return all
	}
	return atoi(wanted, 1)
}

// enoughActive refuses a write for which too few copies are active. A real shard
// waits for the timeout first; nothing can change here meanwhile.
func (ix *index) enoughActive(w write, timeout string) *Error {
	needed := ix.needed(w.copies)
	_, active := ix.copiesOf()
	if needed <= active {
		return nil
	}
	if timeout == "" {
		timeout = "1m"
	}
	shown, what := w.copies, fmt.Sprintf("%s {[%s][_doc][%s], source[_na_]}", w.action, ix.name, w.id)
	switch shown {
	case "all":
		shown = "ALL"
	case "":
		shown = strconv.Itoa(needed)
	}
	if w.action == "delete" {
		what = fmt.Sprintf("delete {[%s][_doc][%s]}", ix.name, w.id)
	}
	n := ix.shardOf(w.id)
	return fail(503, "unavailable_shards_exception", "[%s][%d] Not enough active copies to meet shard count of [%s] (have %d, needed %d). Timeout: [%s], request: [BulkShardRequest [[%s][%d]] containing [%s]]",
		ix.name, n, shown, active, needed, timeout, ix.name, n, what)
}
