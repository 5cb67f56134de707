package world

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// most is how much is sent in one bulk request: 5 MB is what Elastic's guide
// begins with.
const most = 5 << 20

// fill sends documents in the bulk format (an action, then its document, each on
// a line of its own) to an index of a cluster. An error names the line.
func (w *World) fill(id, index, docs string) error {
	var batch strings.Builder
	var lines []int // of the actions in batch
	flush := func() error {
		if len(lines) == 0 {
			return nil
		}
		status, body := w.Ask(id, http.MethodPost, "/"+index+"/_bulk?refresh=true", batch.String())
		var reply struct {
			Items []map[string]struct{ Error json.RawMessage }
		}
		if err := json.Unmarshal(body, &reply); err != nil || status != 200 || len(reply.Items) != len(lines) {
			return fmt.Errorf("documents from line %d on: %d %.500s", lines[0], status, body)
		}
		for i, item := range reply.Items {
			for action, result := range item {
				if result.Error != nil {
					return fmt.Errorf("line %d: %s: %.500s", lines[i], action, result.Error)
				}
			}
		}
		batch.Reset()
		lines = nil
		return nil
	}
	action := "" // whose document comes next
	n := 0
	for line := range strings.Lines(docs) {
		n++
		line = strings.TrimSpace(line)
		if line == "" && action == "" {
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			return fmt.Errorf("line %d is not a JSON object: %w", n, err)
		}
		if action != "" {
			action = ""
		} else {
			if batch.Len() > most {
				if err := flush(); err != nil {
					return err
				}
			}
			var err error
			if action, err = bulkAction(object, index); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
			lines = append(lines, n)
		}
		batch.WriteString(line + "\n")
	}
	if action != "" {
		return fmt.Errorf("line %d: the document of action %s is missing", n+1, action)
	}
	return flush()
}

// bulkAction reads the line before a document.
func bulkAction(object map[string]json.RawMessage, index string) (string, error) {
	for name, raw := range object {
		var target struct {
			Index string `json:"_index"`
		}
		switch err := json.Unmarshal(raw, &target); {
		case len(object) > 1 || !slices.Contains([]string{"index", "create"}, name):
			return "", fmt.Errorf(`an action such as {"index":{"_id":"1"}} is expected here`)
		case err != nil:
			return "", fmt.Errorf("action %s: %w", name, err)
		case target.Index != "" && target.Index != index:
			return "", fmt.Errorf("action %s is for index %s, not %s", name, target.Index, index)
		}
		return name, nil
	}
	return "", fmt.Errorf(`an action such as {"index":{"_id":"1"}} is expected here`)
}
