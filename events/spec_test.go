package events_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
)

// start is the sample request with edits, each of a dotted path; nil deletes.
func start(t testing.TB, edits map[string]any) []byte { return sample(t, "start", edits) }

// sample is start of another sample.
func sample(t testing.TB, name string, edits map[string]any) []byte {
	raw, err := os.ReadFile("samples/requests/" + name + ".json")
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(raw, &doc))
	for _, path := range slices.Sorted(maps.Keys(edits)) {
		v := edits[path]
		node, parts := any(doc), strings.Split(path, ".")
		for _, part := range parts[:len(parts)-1] {
			if list, ok := node.([]any); ok {
				node = list[0]
			} else if list, ok := node.(map[string]any)[part].([]any); ok {
				node = list
			} else {
				node = node.(map[string]any)[part]
			}
		}
		last := parts[len(parts)-1]
		if v == nil {
			delete(node.(map[string]any), last)
		} else {
			node.(map[string]any)[last] = v
		}
	}
	raw, err = json.Marshal(doc)
	require.NoError(t, err)
	return raw
}

func fields(p *events.Problem) (out []string) {
	for _, f := range p.Errors {
		out = append(out, f.Field)
	}
	return out
}

var (
	null = json.RawMessage("null")
	raw  = func(s string) json.RawMessage { return json.RawMessage(s) }
)

func TestEachFaultIsNamedByItsField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 300)
	// Of each path, in the request, what must be refused with that path alone.
	for path, bad := range map[string][]any{
		"action":                               {"", "Start", "delete", 5, null, raw("[]")},
		"spec":                                 {nil, null, "orders", 5, raw("[]")},
		"plan":                                 {"yes", 1, null},
		"again":                                {"yes", 0, null},
		"spec.name":                            {nil, null, "", "Orders", "1st", "a b", "a_b", "a\n", strings.Repeat("a", 33), 5},
		"spec.scenario":                        {nil, null, "", "es-to-azure", "ES-TO-ES", 5},
		"spec.region":                          {nil, null, "", "hangzhou", "cn-hangzhou/../x", "CN-HANGZHOU", "cn-" + long, 5},
		"spec.zone":                            {null, "", "i", "cn-hangzhou", "cn-beijing-a", "cn-hangzhou-I", 5},
		"spec.instanceId":                      {nil, null, "", "dst", "es-cn-", "es-cn-dst000000001\n", "es-cn-../../x", "es-cn-" + long, "i-bp1234567890", 5},
		"spec.target":                          {nil, null, "es-cn-src000000002", raw("[]")},
		"spec.target.instanceId":               {nil, null, "", "10.0.0.1", "es-cn-dst000000001", 5},
		"spec.target.port":                     {null, 22, 9300, 0, -1, 65536, "9200", 9200.5, raw("1e1000000000")},
		"spec.target.protocol":                 {null, "HTTP", "tcp", "", 5},
		"spec.target.tls":                      {null, "none", "full", true, "certificate"}, // the last because of http
		"spec.target.host":                     {"10.0.0.1"},
		"spec.secrets":                         {nil, null, "x", raw("[]")},
		"spec.secrets.instance":                {nil, null, "", "es1", "other/es1", "eslink/", "eslink/a b", "eslink/" + long, 5},
		"spec.secrets.target":                  {nil, null, "", "hunter2", raw(`{"username":"a","password":"b"}`)},
		"spec.secrets.password":                {"x"},
		"spec.indices":                         {nil, null, raw("[]"), raw("{}"), "product_info"},
		"spec.indices[0]":                      {null, "product_info", raw("[]")},
		"spec.indices[0].source":               {nil, null, "", "Orders", ".kibana", "a*", "a,b", "-a", "_all", "a/b", "a?b", "a b", "a:b", "a\nb", long, 5},
		"spec.indices[0].dest":                 {null, "", ".security", ".kibana_1", "_x", "+a", "A", "a|b", "..", 5},
		"spec.indices[0].query":                {null, "match_all", raw("[]"), raw("{}"), 5},
		"spec.indices[0].existing":             {null, "", "replace", true},
		"spec.indices[0].shards":               {5},
		"spec.reindex":                         {null, "fast", raw("[]")},
		"spec.reindex.size":                    {null, 0, -1, 10001, "1000", 10.5, raw("1e400")},
		"spec.reindex.tasks":                   {null, 0, -1, 5, "2", 1.5},
		"spec.reindex.conflicts":               {null, "ignore", "", true},
		"spec.reindex.slices":                  {5},
		"spec.reindex.wait":                    {true},
		"spec.approve":                         {null, "", "yes", true},
		"spec.acceptRisks":                     {null, "not-green", raw("{}"), raw(`["single-node","single-node"]`)},
		"spec.acceptRisks[0]":                  {raw(`["anything"]`), raw("[5]"), raw("[null]")},
		"spec.proof":                           {null, "", "hashes", 5},
		"spec.whatever":                        {1, null},
		"spec.esConfig":                        {raw("{}")},
		"runId":                                {"fd5dc36da1e3cf09"},
		"planId":                               {"0c5f1d7a9b3e2846"},
		"keepConfig":                           {true},
		"deleteDestination":                    {true},
		"requestsPerSecond":                    {5},
		"callback":                             {"http://10.0.0.1"},
		"spec.reindex.socketTimeout":           {null, "", "30", "0s", "-1s", "1h", "30 s", "1e3s", 30},
		"spec.reindex.connectTimeout":          {null, "ten", "10S", 10},
		"spec.reindex.requestsPerSecond":       {null, 0, -2, "5", "unlimited"},
		"spec.indices[0].destination":          {null, "dest", raw("[]")},
		"spec.indices[0].destination.settings": {null, "x", raw("[]")},
		"spec.indices[0].destination.mappings": {null, "copy", raw("[]"), 5},
		"spec.indices[0].destination.aliases":  {null, "", "some", raw("{}")},
		"spec.indices[0].destination.shards":   {raw("{}")},
	} {
		for _, v := range bad {
			at := strings.NewReplacer("indices[0]", "indices.0", "acceptRisks[0]", "acceptRisks").Replace(path)
			if path == "spec.indices[0]" {
				at, v = "spec.indices", []any{v}
			}
			_, err := events.ParseRequest(start(t, map[string]any{at: v}))
			if !assert.Error(t, err, "%s: %v", path, v) {
				continue
			}
			assert.Equal(t, []string{path}, fields(problem(t, err)), "%v: %v", v, err)
		}
	}
}

func TestEachActionTakesItsFieldsAndNoOthers(t *testing.T) {
	t.Parallel()
	run := `"runId":"fd5dc36da1e3cf09"`
	for body, want := range map[string][]string{
		`{}`:                                                                              {"action"},
		`{"action":"cancel"}`:                                                             {"runId"},
		`{"action":"retry"}`:                                                              {"runId"},
		`{"action":"teardown"}`:                                                           {"runId"},
		`{"action":"approve",` + run + `}`:                                                {"planId"},
		`{"action":"throttle",` + run + `}`:                                               {"requestsPerSecond"},
		`{"action":"approve"}`:                                                            {"planId", "runId"},
		`{"action":"cancel","runId":"x"}`:                                                 {"runId"},
		`{"action":"cancel","runId":"FD5DC36DA1E3CF09"}`:                                  {"runId"},
		`{"action":"approve",` + run + `,"planId":"latest"}`:                              {"planId"},
		`{"action":"throttle",` + run + `,"requestsPerSecond":0}`:                         {"requestsPerSecond"},
		`{"action":"throttle",` + run + `,"requestsPerSecond":-1}`:                        {"requestsPerSecond"},
		`{"action":"teardown",` + run + `,"keepConfig":"yes"}`:                            {"keepConfig"},
		`{"action":"teardown",` + run + `,"deleteDestination":1}`:                         {"deleteDestination"},
		`{"action":"retry",` + run + `,"plan":true,"again":true,"keepConfig":true}`:       {"again", "keepConfig", "plan"},
		`{"action":"cancel",` + run + `,"planId":"0c5f1d7a9b3e2846","spec":{"name":"a"}}`: {"planId", "spec", "spec.region", "spec.scenario"},
		`{"action":"profiles","spec":{}}`:                                                 {"spec", "spec.name", "spec.region", "spec.scenario"},
		`{"action":"profiles","profile":"orders"}`:                                        {"profile"},
		`{"action":"profiles",` + run + `}`:                                               {"runId"},
		`{"action":"put-profile"}`:                                                        {"profile", "spec"},
		`{"action":"delete-profile"}`:                                                     {"profile"},
		`{"action":"delete-profile","profile":"Orders"}`:                                  {"profile"},
		`{"action":"cancel",` + run + `,"profile":"orders"}`:                              {"profile"},
	} {
		_, err := events.ParseRequest([]byte(body))
		if assert.Error(t, err, body) {
			assert.Equal(t, want, fields(problem(t, err)), "%s: %v", body, err)
		}
	}
}

// A profile is a spec without its instance, of a scenario that asks before it
// writes.
func TestProfiles(t *testing.T) {
	t.Parallel()
	profile := map[string]any{"action": "put-profile", "profile": "orders", "spec.instanceId": nil}
	with := func(edits map[string]any) []byte {
		all := maps.Clone(profile)
		maps.Copy(all, edits)
		return start(t, all)
	}
	r, err := events.ParseRequest(with(nil))
	require.NoError(t, err)
	assert.Equal(t, "orders", r.Profile)
	assert.Empty(t, r.Spec.InstanceID)
	assert.Equal(t, "dest", r.Spec.Indices[0].Dest, "what is left out is filled in as in a spec")
	for field, edits := range map[string]map[string]any{
		"spec.instanceId": {"spec.instanceId": "es-cn-dst000000001"}, "profile": {"profile": "no/slash"}, "spec.zone": {"spec.zone": "cn-beijing-a"},
		"spec.indices[0].source": {"spec.indices.0.source": ".kibana"}, "plan": {"plan": true}, "spec.target.tls": {"spec.target.tls": "certificate"},
	} {
		_, err := events.ParseRequest(with(edits))
		assert.Equal(t, []string{field}, fields(problem(t, err)), "%v", err)
	}
	_, err = events.ParseRequest([]byte(`{"action":"put-profile","profile":"a","spec":{"name":"a","scenario":"private-whitelist","region":"cn-hangzhou","whitelist":{"ips":["10.0.0.1"]}}}`))
	assert.Equal(t, []string{"spec.scenario"}, fields(problem(t, err)), "it would change a cluster unasked")

	s, err := r.Spec.For("es-cn-new000000001")
	require.NoError(t, err)
	assert.Equal(t, "es-cn-new000000001", s.InstanceID)
	assert.Empty(t, r.Spec.InstanceID)
	_, err = r.Spec.For("es-cn-src000000002")
	assert.Equal(t, []string{"spec.target.instanceId"}, fields(problem(t, err)), "a cluster is not copied to itself")
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := events.ParseRequest(start(t, map[string]any{"spec.name": "Orders!", "spec.target.port": 22, "spec.indices.0.query": "x",
		"spec.secrets.target": nil, "spec.reindex.size": 0, "spec.colour": "red", "runId": "x"}))
	assert.Equal(t, []string{"runId", "runId", "spec.colour", "spec.indices[0].query", "spec.name", "spec.reindex.size", "spec.secrets.target", "spec.target.port"},
		fields(problem(t, err)))
	_, err = events.ParseRequest(start(t, map[string]any{"spec.zone": "cn-beijing-a", "spec.target.tls": "certificate", "spec.target.instanceId": "es-cn-dst000000001",
		"spec.indices": raw(`[{"source":"a"},{"source":"b","dest":"a"},{"source":"a"}]`)}))
	assert.ElementsMatch(t, []string{"spec.target.instanceId", "spec.target.tls", "spec.zone", "spec.indices[1].dest", "spec.indices[2].dest"},
		fields(problem(t, err)), "what a schema cannot say, too")
}

func TestWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	good := string(start(t, nil))
	for name, body := range map[string]string{
		"nothing": "", "null": "null", "a string": `"start"`, "an array": "[" + good + "]", "not JSON": "{action: start}",
		"trailing garbage": good + "x", "a bracket too many": good + "}", "two": good + good, "cut off": good[:len(good)-5],
		"64 KB and a byte": good + strings.Repeat(" ", events.MaxSpecBytes-len(good)+1),
	} {
		_, err := events.ParseRequest([]byte(body))
		if assert.Error(t, err, name) {
			assert.Equal(t, []string{""}, fields(problem(t, err)), name)
		}
		_, err = events.ParseCheck([]byte(body))
		assert.Error(t, err, name)
	}
	_, err := events.ParseRequest([]byte(good + strings.Repeat(" ", events.MaxSpecBytes-len(good))))
	assert.NoError(t, err, "64 KB exactly")
}

func TestLeftOutFieldsAreFilledIn(t *testing.T) {
	t.Parallel()
	r, err := events.ParseRequest(start(t, map[string]any{"spec.zone": nil, "spec.target.port": nil, "spec.target.protocol": nil, "spec.approve": nil,
		"spec.reindex": nil, "spec.indices": raw(`[{"source":"product_info"}]`)}))
	require.NoError(t, err)
	s := r.Spec
	assert.Equal(t, events.Target{InstanceID: "es-cn-src000000002", Port: 9200, Protocol: "http"}, s.Target)
	assert.Equal(t, "manual", s.Approve, "nothing is written unasked")
	assert.Equal(t, "auto", s.Proof)
	assert.Equal(t, "product_info", s.Indices[0].Dest)
	assert.Equal(t, "source", s.Indices[0].Destination.MappingsFrom())
	assert.Zero(t, s.Reindex, "the server's defaults hold")
}

func TestWhatASpecMaySay(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string]map[string]any{
		"https":             {"spec.target.protocol": "https", "spec.target.tls": "certificate"},
		"https, name wrong": {"spec.target.protocol": "https"},
		"bare dest":         {"spec.indices.0.destination": raw(`{"mappings":"none"}`)},
		"mappings":          {"spec.indices.0.destination": raw(`{"mappings":{"properties":{"n":{"type":"keyword"}}}}`)},
		"a Chinese name":    {"spec.indices.0.source": "订单"},
		"risks":             {"spec.acceptRisks": raw(`["not-green","no-replicas","single-node","little-disk"]`)},
		"no risk":           {"spec.acceptRisks": raw(`[]`)},
		"one task":          {"spec.reindex.tasks": 1},
		"four tasks":        {"spec.reindex.tasks": 4},
		"a throttle":        {"spec.reindex.requestsPerSecond": 0.5},
		"plan, and again":   {"plan": true, "again": true},
		"another continent": {"spec.region": "ap-southeast-1", "spec.zone": "ap-southeast-1a"},
		"ids as proof":      {"spec.proof": "ids"},
	} {
		r, err := events.ParseRequest(start(t, edits))
		if assert.NoError(t, err, name) && name == "mappings" {
			assert.Equal(t, "given", r.Spec.Indices[0].Destination.MappingsFrom())
		}
	}
}

func TestNumbersOfAQueryStayAsWritten(t *testing.T) {
	t.Parallel()
	r, err := events.ParseRequest(start(t, map[string]any{"spec.indices.0.query": raw(`{"range":{"n":{"gte":9007199254740993,"lt":1.10}}}`)}))
	require.NoError(t, err)
	assert.Equal(t, `{"range":{"n":{"gte":9007199254740993,"lt":1.10}}}`, string(r.Spec.Indices[0].Query))
}

func TestCheckRequests(t *testing.T) {
	t.Parallel()
	link := `"instanceId":"es-cn-dst000000001","endpointId":"ep-bp1tah7zbrwmkjef0001","secrets":{"instance":"eslink/a","target":"eslink/b"},"remoteIndex":"orders"`
	for _, body := range []string{`{"runId":"fd5dc36da1e3cf09"}`, "{" + link + "}",
		"{" + link + `,"port":9200,"protocol":"http","useCase":"reindex","localIndex":"orders","cleanup":true}`} {
		_, err := events.ParseCheck([]byte(body))
		assert.NoError(t, err, body)
	}
	for body, want := range map[string]string{
		`{}`: "", `{"runId":"fd5dc36da1e3cf09","cleanup":true}`: "", `{"instanceId":"es-cn-dst000000001"}`: "",
		`{"runId":"x"}`: "runId", "{" + link + `,"domain":"10.0.0.1"}`: "domain", "{" + link + `,"port":0}`: "port",
		"{" + link + `,"useCase":"smtp"}`: "useCase", "{" + link + `,"protocol":"tcp"}`: "protocol", "{" + link + `,"localIndex":".x"}`: "localIndex",
		strings.Replace("{"+link+"}", "ep-bp1", "10.0.0.1/", 1): "endpointId",
	} {
		_, err := events.ParseCheck([]byte(body))
		if assert.Error(t, err, body) {
			assert.Equal(t, []string{want}, fields(problem(t, err)), "%s: %v", body, err)
		}
	}
}

// Walks the schemas: whatever can be wrong has a remedy beside it.
func TestEverySchemaSaysHowToMend(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("schema/*.json")
	require.NoError(t, err)
	require.Len(t, names, 9)
	answers := []string{"schema/checked.schema.json", "schema/problem.schema.json", "schema/reply.schema.json", "schema/status.schema.json"}
	for _, name := range names {
		if slices.Contains(answers, name) {
			continue // nobody sends what eslink answers
		}
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		var doc map[string]any
		require.NoError(t, json.Unmarshal(raw, &doc), name)
		walk(t, name, doc)
	}
}

func walk(t *testing.T, at string, schema map[string]any) {
	if _, ok := schema["$ref"]; !ok {
		assert.NotEmpty(t, schema["remedy"], at)
	}
	if schema["type"] == "object" && schema["properties"] != nil {
		assert.Equal(t, false, schema["additionalProperties"], "%s takes unknown fields", at)
	}
	for _, group := range []string{"properties", "$defs"} {
		under, _ := schema[group].(map[string]any)
		for name, sub := range under {
			walk(t, at+"/"+name, sub.(map[string]any))
		}
	}
	if items, ok := schema["items"].(map[string]any); ok {
		walk(t, at+"/items", items)
	}
}

func TestFindingsKeepWhatNobodyAccepted(t *testing.T) {
	t.Parallel()
	var fs events.Findings
	assert.NoError(t, fs.Problem("plan", nil))
	fs.AddRisk("single-node", "instanceId", "it has one node", "add nodes")
	assert.NoError(t, fs.Problem("plan", []string{"single-node"}))
	fs.Add("indices[0].source", "there is no such index", "correct its name")
	var p *events.Problem
	require.ErrorAs(t, fs.Problem("plan", []string{"not-green"}), &p)
	assert.Equal(t, 409, p.Status)
	assert.Len(t, p.Errors, 2)
	assert.Equal(t, `add nodes, or name "single-node" in acceptRisks`, p.Errors[0].Remedy)
	require.ErrorAs(t, fs.Problem("plan", []string{"single-node"}), &p)
	assert.Equal(t, "plan found what must be fixed first; nothing was written; indices[0].source: there is no such index (correct its name)", p.Error())
}

// A pattern is for machines: a person reads the remedy beside it.
func TestEveryPatternHasARemedy(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("schema/*.json")
	require.NoError(t, err)
	patterns := 0
	var walk func(file, at string, node any)
	walk = func(file, at string, node any) {
		switch n := node.(type) {
		case map[string]any:
			if _, ok := n["pattern"].(string); ok {
				patterns++
				assert.NotEmpty(t, n["remedy"], "%s%s", file, at)
			}
			for key, child := range n {
				walk(file, at+"/"+key, child)
			}
		case []any:
			for i, child := range n {
				walk(file, fmt.Sprint(at, "/", i), child)
			}
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var schema any
		require.NoError(t, json.Unmarshal(text, &schema))
		walk(file, "", schema)
	}
	require.Greater(t, patterns, 30)
}

// What a schema cannot say is said by the field, too.
func TestNamesAndTimesBeyondTheirBounds(t *testing.T) {
	t.Parallel()
	request := func(index, reindex, rest string) string {
		return `{"action":"start","spec":{"name":"orders","scenario":"es-to-es","region":"cn-hangzhou","instanceId":"es-cn-dst000000001","target":{"instanceId":"es-cn-src000000002"},
			"secrets":{"instance":"eslink/es1","target":"eslink/es2"},"indices":[` + index + `],"reindex":{` + reindex + `}` + rest + `}}`
	}
	long := strings.Repeat("理", 86)
	for name, c := range map[string]struct{ request, field, message string }{
		"255 bytes":       {request(`{"source":"a","dest":"`+strings.Repeat("理", 85)+`"}`, ``, ``), "", ""},
		"258 bytes":       {request(`{"source":"a","dest":"`+long+`"}`, ``, ``), "spec.indices[0].dest", "258 bytes"},
		"source":          {request(`{"source":"`+long+`"}`, ``, ``), "spec.indices[0].source", "258 bytes"},
		"the check's":     {request(`{"source":"a","dest":"eslink-check-0123456789abcdef"}`, ``, ``), "spec.indices[0].dest", "eslink's own checks"},
		"an hour":         {request(`{"source":"a"}`, `"socketTimeout":"60m"`, ``), "", ""},
		"more":            {request(`{"source":"a"}`, `"socketTimeout":"61m"`, ``), "spec.reindex.socketTimeout", "more than an hour"},
		"in seconds":      {request(`{"source":"a"}`, `"connectTimeout":"3601s"`, ``), "spec.reindex.connectTimeout", "more than an hour"},
		"a key twice":     {request(`{"source":"a","source":"b"}`, ``, ``), "spec.indices[0].source", "given twice"},
		"another twice":   {request(`{"source":"a"}`, ``, `,"name":"x"`), "spec.name", "given twice"},
		"a query's twice": {request(`{"source":"a","query":{"bool":{"must":[{"term":{"n":1}},{"term":{"n":1,"n":2}}]}}}`, ``, ``), "spec.indices[0].query.bool.must[1].term.n", "given twice"},
		"a way out":       {strings.Replace(request(`{"source":"a"}`, ``, ``), "eslink/es2", "eslink/../x", 1), "spec.secrets.target", ""},
		"a hidden secret": {strings.Replace(request(`{"source":"a"}`, ``, ``), "eslink/es2", "eslink/a//x", 1), "spec.secrets.target", ""},
		"a deep secret":   {strings.Replace(request(`{"source":"a"}`, ``, ``), "eslink/es2", "eslink/a/b.c-d_e", 1), "", ""},
	} {
		_, err := events.ParseRequest([]byte(c.request))
		if c.field == "" {
			require.NoError(t, err, name)
			continue
		}
		var p *events.Problem
		require.ErrorAs(t, err, &p, name)
		require.Equal(t, c.field, p.Errors[0].Field, "%s: %s", name, p.Error())
		require.Contains(t, p.Errors[0].Message, c.message, name)
		require.NotEmpty(t, p.Errors[0].Remedy, name)
	}
	require.False(t, events.IsIndexName(long))
	require.False(t, events.IsIndexName("eslink-check-x"))
	require.True(t, events.IsIndexName("eslink-checks"))
}
