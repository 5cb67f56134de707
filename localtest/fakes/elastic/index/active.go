package index

import (
	"fmt"
	"strconv"

	"eslink/localtest/fakes/elastic/esjson"
)

// CopiesOf are the copies that a shard of the index has, and those of them that
// are active: each on a node of its own.
func (ix *Index) CopiesOf() (all, active int) {
	all = 1 + esjson.Atoi(ix.Settings["index.number_of_replicas"], 1)
	return all, min(all, ix.S.Nodes)
}

// Needed is how many copies a wait_for_active_shards asks for.
func (ix *Index) Needed(wanted string) int {
	all, _ := ix.CopiesOf()
	switch wanted {
	case "":
		return esjson.Atoi(ix.Settings["index.write.wait_for_active_shards"], 1)
	case "all":
		return all
	}
	return esjson.Atoi(wanted, 1)
}

// EnoughActive refuses a write for which too few copies are active. A real shard
// waits for the timeout first; nothing can change here meanwhile.
func (ix *Index) EnoughActive(w Write, timeout string) *esjson.Error {
	needed := ix.Needed(w.Copies)
	_, active := ix.CopiesOf()
	if needed <= active {
		return nil
	}
	if timeout == "" {
		timeout = "1m"
	}
	shown, what := w.Copies, fmt.Sprintf("%s {[%s][_doc][%s], source[_na_]}", w.Action, ix.Name, w.ID)
	switch shown {
	case "all":
		shown = "ALL"
	case "":
		shown = strconv.Itoa(needed)
	}
	if w.Action == "delete" {
		what = fmt.Sprintf("delete {[%s][_doc][%s]}", ix.Name, w.ID)
	}
	n := ix.ShardOf(w.ID)
	return esjson.Fail(503, "unavailable_shards_exception", "[%s][%d] Not enough active copies to meet shard count of [%s] (have %d, needed %d). Timeout: [%s], request: [BulkShardRequest [[%s][%d]] containing [%s]]",
		ix.Name, n, shown, active, needed, timeout, ix.Name, n, what)
}
