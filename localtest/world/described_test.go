package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/deploy"
	"eslink/shared/run"
)

// description is what events/openapi.yaml says: by function and status the schemas
// of its answers, by media type.
type description struct {
	methods map[string]string
	answers map[string]map[string]map[string]*jsonschema.Schema
}

// described reads the description. Its schemas are files beside it, or inline.
func described(t *testing.T) description {
	raw, err := os.ReadFile("../../events/openapi.yaml")
	require.NoError(t, err)
	raw, err = yaml.YAMLToJSON(raw)
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("file:///events/openapi.yaml", doc))
	schemas, err := os.ReadDir("../../events/schema")
	require.NoError(t, err)
	for _, f := range schemas {
		text, err := os.ReadFile("../../events/schema/" + f.Name())
		require.NoError(t, err)
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		require.NoError(t, compiler.AddResource("file:///events/schema/"+f.Name(), schema))
	}
	d := description{methods: map[string]string{}, answers: map[string]map[string]map[string]*jsonschema.Schema{}}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for path, methods := range doc.(map[string]any)["paths"].(map[string]any) {
		name := strings.TrimPrefix(path, "/")
		d.answers[name] = map[string]map[string]*jsonschema.Schema{}
		for method, operation := range methods.(map[string]any) {
			d.methods[name] = strings.ToUpper(method)
			for status, answer := range operation.(map[string]any)["responses"].(map[string]any) {
				at := fmt.Sprintf("#/paths/%s/%s/responses/%s/content", escape.Replace(path), method, status)
				answer := answer.(map[string]any)
				if ref, ok := answer["$ref"].(string); ok {
					at = ref + "/content"
					answer = doc.(map[string]any)["components"].(map[string]any)["responses"].(map[string]any)["problem"].(map[string]any)
				}
				d.answers[name][status] = map[string]*jsonschema.Schema{}
				for media := range answer["content"].(map[string]any) {
					schema, err := compiler.Compile("file:///events/openapi.yaml" + at + "/" + escape.Replace(media) + "/schema")
					require.NoError(t, err, "%s %s", path, status)
					d.answers[name][status][media] = schema
				}
			}
		}
	}
	return d
}

// TestAnswersAreAsDescribed holds every answer of a life, good and bad, through the
// HTTP triggers' form, against events/openapi.yaml.
func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	d := described(t)
	for _, f := range deploy.Functions() {
		if f.Trigger == deploy.POST || f.Trigger == deploy.GET {
			require.Equal(t, string(f.Trigger), d.methods[f.Name], f.Name)
		}
	}
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		seen := map[string]bool{}
		call := func(function, method, query, body string) {
			t.Helper()
			event := map[string]any{"version": "v1", "rawPath": "/", "body": body, "isBase64Encoded": false, "headers": map[string]string{}, "queryParameters": map[string]string{},
				"requestContext": map[string]any{"http": map[string]string{"method": method, "path": "/"}}}
			if name, value, ok := strings.Cut(query, "="); ok {
				event["queryParameters"] = map[string]string{name: value}
			}
			payload, err := json.Marshal(event)
			require.NoError(t, err)
			result, err := s.Invoke(context.Background(), function, payload)
			require.NoError(t, err)
			var reply struct {
				StatusCode int
				Headers    map[string]string
				Body       string
			}
			require.NoError(t, json.Unmarshal(result.Body, &reply))
			status, media := fmt.Sprint(reply.StatusCode), reply.Headers["Content-Type"]
			schema := d.answers[function][status][media]
			require.NotNil(t, schema, "%s answers %s with %s, which is not described: %s", function, status, media, reply.Body)
			document, err := jsonschema.UnmarshalJSON(strings.NewReader(reply.Body))
			require.NoError(t, err)
			require.NoError(t, schema.Validate(document), "%s %s: %s", function, status, reply.Body)
			seen[function+" "+status] = true
		}
		look := func() { call("status", "GET", "runId="+s.id, "") }
		spec := s.Spec()
		spec.Approve = "manual"
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.WaitingApproval)
		look()
		call("approve", "POST", "", `{"runId":"`+s.id+`","planId":"0000000000000000"}`)
		call("approve", "POST", "", `{"runId":"`+s.id+`","planId":"`+v.Plan.ID+`"}`)
		for range 200 {
			look()
			time.Sleep(30 * time.Second)
		}
		s.ends(t, run.Done)
		look()
		call("status", "GET", "", "")
		call("status", "GET", "runId=ffffffffffffffff", "")
		call("check", "POST", "", `{"runId":"`+s.id+`"}`)
		call("check", "POST", "", `{"runId":"ffffffffffffffff"}`)
		call("check", "POST", "", `{}`)
		call("runs", "POST", "", `{"action":"profiles"}`)
		call("runs", "POST", "", `{"action":"retry","runId":"`+s.id+`"}`)
		call("runs", "POST", "", `{"action":"approve","runId":"`+s.id+`","planId":"0000000000000000"}`)
		call("runs", "POST", "", `no JSON`)
		call("runs", "POST", "", `{"action":"cancel","runId":"ffffffffffffffff"}`)
		for _, function := range []string{"runs", "approve", "status", "check"} {
			call(function, "PUT", "", "{}")
		}
		s.do(t, events.Request{Action: "teardown", KeepConfig: true})
		s.ends(t, run.Removed)
		look()
		for _, want := range []string{"runs 200", "runs 400", "runs 403", "runs 404", "runs 405", "runs 409", "approve 200", "approve 409", "status 200", "status 404", "check 200", "check 400", "check 404"} {
			require.True(t, seen[want], "%s was not met: %v", want, slices.Sorted(maps.Keys(seen)))
		}
	})
}
