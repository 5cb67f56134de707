package world

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"eslink/events"
)

// products are six documents of the kind that a bank's product search holds, in
// the bulk format: the shape of the migration guide's example.
//
//go:embed products.ndjson
var products string

// Spec is the spec of the demo, as README shows it.
//
//go:embed spec.json
var specJSON []byte

// Spec returns the spec of the demo in this world.
func (w *World) Spec() events.Spec {
	s := Spec()
	s.AcceptRisks = w.risks
	return s
}

// Spec returns the demo's spec.
func Spec() (s events.Spec) {
	if err := json.Unmarshal(specJSON, &s); err != nil {
		panic(fmt.Errorf("spec.json: %w", err)) // part of the program
	}
	return s
}

// SeedProducts makes the index product_info at the target and fills it with
// docs, or with the six products if docs is empty.
func (w *World) SeedProducts(docs string) error {
	w.docs = docs
	return w.seed(Target, docs)
}

func (w *World) seed(id, docs string) error {
	const index = `{"settings":{"number_of_shards":5,"number_of_replicas":1},"mappings":{"properties":{
		"productName":{"type":"text","analyzer":"ik_smart"},"annual_rate":{"type":"keyword"},"describe":{"type":"text","analyzer":"ik_smart"}}}}`
	if status, body := w.Ask(id, http.MethodPut, "/product_info", strings.ReplaceAll(index, "ik_smart", w.analyzer)); status != 200 {
		return fmt.Errorf("create product_info: %d %s", status, body)
	}
	if docs == "" {
		docs = products
	}
	return w.fill(id, "product_info", docs)
}
