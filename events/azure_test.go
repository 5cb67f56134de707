package events_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
)

// Each fault of a spec of elastic-azure is named by its field.
func TestEachFaultOfAnAzureSpecIsNamed(t *testing.T) {
	t.Parallel()
	good := string(files(t, "requests/start-elastic-azure.json")["start-elastic-azure"])
	for name, c := range map[string]struct {
		alter func(spec map[string]any)
		field string
	}{
		"no subscription":          {func(s map[string]any) { delete(part(s, "azure"), "subscriptionId") }, "spec.azure.subscriptionId"},
		"no deployments":           {func(s map[string]any) { part(s, "elastic")["deploymentIds"] = []any{} }, "spec.elastic.deploymentIds"},
		"a deployment by its name": {func(s map[string]any) { part(s, "elastic")["deploymentIds"] = []any{"search"} }, "spec.elastic.deploymentIds[0]"},
		"the same network twice": {func(s map[string]any) {
			part(s, "azure")["moreVirtualNetworkIds"] = []any{"/subscriptions/33333333-3333-4333-8333-333333333333/resourceGroups/RG-NET/providers/Microsoft.Network/virtualNetworks/VNET1"}
		}, "spec.azure.moreVirtualNetworkIds[0]"},
		"no machine":                 {func(s map[string]any) { delete(s, "vantage") }, "spec.vantage"},
		"a machine that is a script": {func(s map[string]any) { part(s, "vantage")["vm"] = "rg/a;touch x" }, "spec.vantage.vm"},
		"no login for the probe":     {func(s map[string]any) { delete(part(s, "secrets"), "target") }, "spec.secrets.target"},
		"no key":                     {func(s map[string]any) { delete(part(s, "secrets"), "elastic") }, "spec.secrets.elastic"},
		"serverless": {func(s map[string]any) {
			part(s, "elastic")["service"] = map[string]any{"alias": "eastus-prod-privatelink-serverless.x.eastus.azure.privatelinkservice", "zone": "private.eastus.azure.elastic.cloud"}
		}, "spec.elastic.service"},
		"by default without association": {func(s map[string]any) {
			part(s, "elastic")["associate"], part(s, "elastic")["applyByDefault"] = false, true
		}, "spec.elastic.applyByDefault"},
		"indices": {func(s map[string]any) { s["indices"] = []any{map[string]any{"source": "a"}} }, "spec.indices"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var doc map[string]any
			require.NoError(t, json.Unmarshal([]byte(good), &doc))
			c.alter(part(doc, "spec"))
			raw, err := json.Marshal(doc)
			require.NoError(t, err)
			_, err = events.ParseRequest(raw)
			var p *events.Problem
			require.ErrorAs(t, err, &p)
			var fields []string
			for _, f := range p.Errors {
				fields = append(fields, f.Field)
				assert.NotEmpty(t, f.Remedy)
			}
			assert.Contains(t, fields, c.field)
		})
	}
}

func part(m map[string]any, name string) map[string]any { return m[name].(map[string]any) }
