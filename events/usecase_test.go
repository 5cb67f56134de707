package events_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
)

// dots writes a field as the path of an edit.
var dots = strings.NewReplacer("[0]", ".0")

func TestEachFaultOfAUseCaseIsNamedByItsField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 600)
	directory := map[string][]any{
		"realm":                  {null, "", "LDAP1", "1st", "a.b", "a-b", long, 5},
		"order":                  {null, 0, 1, -1, 1001, "2", 2.5},
		"bindSecret":             {"hunter2", "other/x"},
		"userSecret":             {nil, null, "", "zhang", "hunter2"},
		"password":               {"hunter2"},
		"url":                    {"ldap://10.0.0.1:389"},
		"certificateAuthorities": {raw(`["ca.pem"]`), "ca.pem", true},
		"unmappedGroupsAsRoles":  {null, "true", 1},
		"groupSearch":            {null, "ou=groups", raw("[]")},
		"groupSearch.baseDn":     {nil, null, "", "groups", "ou=a\nb", `ou="a"`, "=a", long + "=a"},
		"groupSearch.filter":     {null, "cn={0}", "", "(a\n)"},
		"groupSearch.scope":      {"subtree"},
		"roleMappings":           {null, raw("{}"), raw("[]")},
		"roleMappings[0].roles":  {nil, null, raw("[]"), "admin", raw(`["a","a"]`)},
		"roleMappings[0].groups": {null, raw("[]"), "cn=a"},
	}
	for _, c := range []struct {
		sample, at string
		bad        map[string][]any
	}{
		{"start-watcher", "spec", map[string][]any{
			"target":               {nil, null, raw("{}"), raw(`{"ecsInstanceId":"i-bp1ecs00000000000001","privateIp":"10.0.0.8"}`), "i-bp1ecs00000000000001"},
			"target.ecsInstanceId": {null, "", "i-", "es-cn-dst000000001", "I-BP1ECS00000000000001", "i-bp1/../x12345", 5},
			"target.instanceId":    {"es-cn-src000000002"},
			"target.port":          {9200},
			"target.protocol":      {"http"},
			"target.tls":           {"none", "certificate"}, // the last because nothing speaks TLS
			"secrets":              {nil, null},
			"secrets.target":       {"eslink/x"},
			"useCases":             {nil, null, raw("[]"), raw("{}"), "watcher"},
			"useCases[0]":          {null, "watcher"},
			"indices":              {raw(`[{"source":"a"}]`)},
			"reindex":              {raw("{}")},
			"proof":                {"counts"},
			"whitelist":            {raw(`{"ips":["10.0.0.1"]}`)},
		}},
		{"start-watcher", "spec.useCases[0]", map[string][]any{
			"kind":            {nil, null, "", "email", "Watcher", 5},
			"port":            {null, 0, -1, 65536, "8080", 8080.5},
			"protocol":        {null, "", "ldap", "tcp", "HTTP", 5},
			"watcher":         {null, "/"},
			"watcher.path":    {null, "", "alerts", "/a b", "/a\n", "/" + long, "http://10.0.0.1/"},
			"watcher.method":  {null, "delete", "POST"},
			"watcher.body":    {null, 5, strings.Repeat("a", 4097)},
			"watcher.host":    {"10.0.0.1"},
			"ldap":            {raw(`{"userDnTemplates":["cn={0}"],"userSecret":"eslink/x"}`)},
			"activeDirectory": {raw(`{"domainName":"a.b","userSecret":"eslink/x"}`)},
			"plugin":          {raw(`{"path":"/","analyzer":"a","word":"b"}`)},
			"ca":              {"x"},
		}},
		{"start-ldap", "spec.useCases[0]", map[string][]any{
			"ldap":     {nil, null, raw(`{"userSecret":"eslink/x"}`), raw(`{"userSecret":"eslink/x","userDnTemplates":["cn={0},dc=x"],"userSearch":{"baseDn":"dc=x"}}`)},
			"protocol": {"http", "starttls", null},
			"watcher":  {raw("{}")},
		}},
		{"start-ldap", "spec.useCases[0].ldap", map[string][]any{
			"userDnTemplates":    {null, raw("[]"), "cn={0}", raw(`["cn={0},dc=x","cn={0},dc=x"]`)},
			"userDnTemplates[0]": {null, "cn=zhang", `cn="{0}"`, "cn={0}\n", 5},
			"domainName":         {"corp.example.org"},
		}},
		{"start-ldap", "spec.useCases[0].ldap", directory},
		{"start-active-directory", "spec.useCases[0].activeDirectory", directory},
		{"start-active-directory", "spec.useCases[0].activeDirectory", map[string][]any{
			"domainName":      {nil, null, "", "corp", "corp..org", "-a.org", "a.org\n", 5},
			"userDnTemplates": {raw(`["cn={0},dc=x"]`)},
		}},
		{"start-dictionary", "spec.useCases[0].plugin", map[string][]any{
			"setting": {null, "", "dict", "Ik.dict", "xpack.security.enabled", "node.name", "ik.dict\nx", 5},
			"path":    {nil, null, "words"}, "analyzer": {nil, null, "", "a b"}, "word": {nil, null, "", "a\nb"},
		}},
		{"start-reindex", "spec", map[string][]any{"indices": {nil, null, raw("[]")}, "secrets.target": {nil, null}, "reindex": {"fast"}}},
	} {
		for name, values := range c.bad {
			want, part := c.at+"."+name, dots.Replace(c.at)
			for _, v := range values {
				at, give := dots.Replace(want), v
				if strings.HasSuffix(at, ".0") {
					at, give = strings.TrimSuffix(at, ".0"), []any{v}
				}
				edits := map[string]any{at: give}
				if strings.Contains(name, "groupSearch.") {
					edits = map[string]any{part + ".groupSearch": map[string]any{"baseDn": "dc=x"}, at: give}
				}
				if strings.Contains(name, "roleMappings[0].") {
					edits = map[string]any{part + ".roleMappings": []any{map[string]any{"roles": []string{"a"}}}, at: give}
				}
				if name == "bindSecret" {
					edits[part+".bindDn"] = "cn=a"
					if c.sample == "start-ldap" {
						edits[part+".userDnTemplates"], edits[part+".userSearch"] = nil, map[string]any{"baseDn": "dc=x"}
					}
				}
				_, err := events.ParseRequest(sample(t, c.sample, edits))
				if assert.Error(t, err, "%s: %v", want, v) {
					assert.Equal(t, []string{want}, fields(problem(t, err)), "%v: %v", v, err)
					assert.NotContains(t, err.Error(), "hunter2")
					for _, f := range problem(t, err).Errors {
						assert.NotEmpty(t, f.Remedy, err.Error())
					}
				}
			}
		}
	}
}

func TestWhatUseCasesCannotShare(t *testing.T) {
	t.Parallel()
	ldap := `{"kind":"ldap","ldap":{"userDnTemplates":["cn={0},dc=x"],"userSecret":"eslink/x"%s}}`
	ad := `{"kind":"active-directory","port":3268,"activeDirectory":{"domainName":"a.org","userSecret":"eslink/x"%s}}`
	with := func(use, more string) string { return strings.Replace(use, "%s", more, 1) }
	for list, want := range map[string][]string{
		`{"kind":"watcher"},{"kind":"dictionary","plugin":{"path":"/","analyzer":"a","word":"b"}}`:                 {"spec.useCases[1].port"},
		`{"kind":"watcher"},{"kind":"watcher","port":80}`:                                                          {"spec.useCases[1].kind"},
		`{"kind":"watcher"},{"kind":"watcher"}`:                                                                    {"spec.useCases[1].kind", "spec.useCases[1].port"},
		with(ldap, "") + "," + with(ad, ""):                                                                        nil,
		with(ldap, `,"realm":"x"`) + "," + with(ad, `,"realm":"x"`):                                                {"spec.useCases[1].activeDirectory.realm"},
		with(ldap, `,"order":3`) + "," + with(ad, `,"order":3`):                                                    {"spec.useCases[1].activeDirectory.order"},
		with(ldap, `,"realm":"ad1","order":3`) + "," + with(ad, `,"order":3`):                                      {"spec.useCases[1].activeDirectory.realm", "spec.useCases[1].activeDirectory.order"},
		with(ldap, "") + "," + strings.Replace(with(ad, ""), "3268", "389", 1):                                     {"spec.useCases[1].port"},
		with(ldap, `,"bindDn":"cn=a"`):                                                                             {"spec.useCases[0].ldap.bindSecret", "spec.useCases[0].ldap.userSearch"},
		with(ad, `,"bindSecret":"eslink/y"`):                                                                       {"spec.useCases[0].activeDirectory.bindDn"},
		`{"kind":"watcher"},{"kind":"watcher"},{"kind":"watcher"},{"kind":"ldap"},{"kind":"ldap"},{"kind":"ldap"}`: {"spec.useCases", "spec.useCases[3].ldap", "spec.useCases[4].ldap", "spec.useCases[5].ldap"},
	} {
		_, err := events.ParseRequest(sample(t, "start-watcher", map[string]any{"spec.useCases": raw("[" + list + "]")}))
		if want == nil {
			assert.NoError(t, err, list)
		} else if assert.Error(t, err, list) {
			assert.Equal(t, want, fields(problem(t, err)), "%s: %v", list, err)
		}
	}
}

func TestLeftOutPartsOfUseCasesAreFilledIn(t *testing.T) {
	t.Parallel()
	r, err := events.ParseRequest(sample(t, "start-reindex", map[string]any{"spec.useCases": raw(`[{"kind":"reindex"},{"kind":"watcher"},
		{"kind":"ldap","ldap":{"userDnTemplates":["cn={0},dc=x"],"userSecret":"eslink/x"}},
		{"kind":"active-directory","protocol":"ldaps","activeDirectory":{"domainName":"a.org","userSecret":"eslink/x"}},
		{"kind":"dictionary","port":80,"plugin":{"path":"/","analyzer":"a","word":"b"}}]`), "spec.target.tls": "certificate"}))
	require.NoError(t, err)
	s := r.Spec
	assert.Equal(t, []int{9200, 8080, 389, 636, 80}, s.Ports())
	var protocols []string
	for _, u := range s.UseCases {
		protocols = append(protocols, u.Protocol)
	}
	assert.Equal(t, []string{"http", "http", "ldap", "ldaps", "http"}, protocols)
	assert.Equal(t, &events.Webhook{Path: "/", Method: "post", Body: `{"text":"eslink checks this webhook"}`}, s.UseCases[1].Watcher)
	assert.Equal(t, "ldap1", s.UseCases[2].Directory().Realm)
	assert.Equal(t, "ad1", s.UseCases[3].Directory().Realm)
	assert.Nil(t, s.UseCases[4].Directory())
	assert.Equal(t, events.Target{ECSInstanceID: "i-bp1ecs00000000000001", TLS: "certificate"}, s.Target)
	protocol, port := s.Source()
	assert.Equal(t, "http 9200", fmt.Sprint(protocol, " ", port))
	assert.True(t, s.Copies())
	assert.Equal(t, "auto", s.Proof)

	r, err = events.ParseRequest(sample(t, "start-watcher", nil))
	require.NoError(t, err)
	assert.False(t, r.Spec.Copies())
	assert.Empty(t, r.Spec.Proof)
}

func TestServicesThatSpeakTLS(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"start-watcher", "start-ldap", "start-active-directory", "start-dictionary", "start-reindex"} {
		protocol := "https"
		if name == "start-ldap" || name == "start-active-directory" {
			protocol = "ldaps"
		}
		edits := map[string]any{"spec.useCases.0.protocol": protocol}
		_, err := events.ParseRequest(sample(t, name, edits))
		assert.Equal(t, []string{"spec.target.tls"}, fields(problem(t, err)), name)
		edits["spec.target.tls"] = "certificate"
		_, err = events.ParseRequest(sample(t, name, edits))
		assert.NoError(t, err, name)
	}
}

func TestTheAddressOfATarget(t *testing.T) {
	t.Parallel()
	for ip, good := range map[string]bool{"10.0.0.8": true, "11.3.0.1": true, "192.168.255.1": true, "": false, "10.0.0": false, "10.0.0.256": false, "10.0.0.08": false,
		"127.0.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "169.254.169.254": false, "255.255.255.255": false, "::1": false, "10.0.0.8:22": false, "10.0.0.8\n": false} {
		_, err := events.ParseRequest(sample(t, "start-watcher", map[string]any{"spec.target": map[string]any{"privateIp": ip}}))
		if good {
			assert.NoError(t, err, ip)
		} else if assert.Error(t, err, ip) {
			assert.Equal(t, []string{"spec.target.privateIp"}, fields(problem(t, err)), ip)
		}
	}
}

func TestPrivateWhitelists(t *testing.T) {
	t.Parallel()
	group := raw(`{"mode":"Cover","ips":[],"group":"office"}`)
	for want, bad := range map[string][]any{
		"spec.whitelist":       {nil, null, "Cover", raw("[]")},
		"spec.whitelist.mode":  {null, "", "cover", "Replace", 5},
		"spec.whitelist.group": {null, "", "Office", "a b", "a-b", "1a", strings.Repeat("a", 65), 5, "eslink_fd5dc36da1e3cf09"},
		"spec.whitelist.ips":   {nil, null, "10.0.0.1", raw("{}"), make([]int, 301)},
		"spec.whitelist.ips[0]": {"", "10.0.0", "10.0.0.1/33", "10.0.0.1/24", "10.0.0.01", "10.0.0.256", "::1", "fd00::/8", "8.8.8.8", "0.0.0.0", "10.0.0.0/0", "100.64.0.0/10", "192.168.0.0/15", "172.0.0.0/8",
			"10.0.0.1\n", "a.example.org", 5, null},
		"spec.whitelist.token": {"x"},
		"spec.zone":            {"cn-hangzhou-i"}, "spec.target": {raw(`{"privateIp":"10.0.0.8"}`)}, "spec.secrets": {raw(`{"instance":"eslink/x"}`)},
		"spec.useCases": {raw(`[{"kind":"watcher"}]`)}, "spec.indices": {raw(`[{"source":"a"}]`)},
		"spec.instanceId": {nil, "es1"},
	} {
		for _, v := range bad {
			at := dots.Replace(want)
			if strings.HasSuffix(at, ".0") {
				at, v = strings.TrimSuffix(at, ".0"), []any{v}
			}
			_, err := events.ParseRequest(sample(t, "start-private-whitelist", map[string]any{at: v}))
			if assert.Error(t, err, "%s: %v", want, v) {
				assert.Contains(t, fields(problem(t, err)), want, "%v: %v", v, err)
			}
		}
	}
	for body, want := range map[string][]string{
		`{"ips":["10.0.0.1"]}`:                                                nil,
		`{"ips":["0.0.0.0/0"],"group":"default"}`:                             nil,
		`{"ips":["127.0.0.1"]}`:                                               nil,
		`{"mode":"Cover","ips":[],"group":"office"}`:                          nil,
		`{"mode":"Cover","ips":[]}`:                                           {"spec.whitelist.ips"},
		`{"mode":"Cover","ips":[],"group":"default"}`:                         {"spec.whitelist.ips"},
		`{"mode":"Append","ips":[],"group":"office"}`:                         {"spec.whitelist.ips"},
		`{"mode":"Delete","ips":[],"group":"office"}`:                         {"spec.whitelist.ips"},
		`{"mode":"Delete","ips":["10.0.0.1","10.0.0.2","10.0.0.1"]}`:          {"spec.whitelist.ips[2]"},
		`{"mode":"Delete","ips":["10.0.0.1","10.0.0.1/32"],"group":"office"}`: {"spec.whitelist.ips[1]"},
		`{"mode":"Append","ips":["10.0.0.1/8","8.8.8.8","10.0.0.1","x.y.z"]}`: {"spec.whitelist.ips[3]"},
	} {
		r, err := events.ParseRequest(sample(t, "start-private-whitelist", map[string]any{"spec.whitelist": raw(body)}))
		if want != nil {
			assert.Equal(t, want, fields(problem(t, err)), "%s: %v", body, err)
		} else if assert.NoError(t, err, body) {
			assert.NotEmpty(t, r.Spec.Whitelist.Mode)
		}
	}
	_, err := events.ParseRequest(sample(t, "start-private-whitelist", map[string]any{"spec.whitelist": group, "spec.secrets": raw(`{"instance":"eslink/x"}`), "spec.colour": "red"}))
	assert.Equal(t, []string{"spec.colour", "spec.secrets"}, fields(problem(t, err)), "all at once")
}

func TestChecksOfForeignUseCases(t *testing.T) {
	t.Parallel()
	link := `"instanceId":"es-cn-dst000000001","endpointId":"ep-bp1tah7zbrwmkjef0001"`
	one, two := `,"secrets":{"instance":"eslink/a"}`, `,"secrets":{"instance":"eslink/a","target":"eslink/b"}`
	plugin := `,"plugin":{"path":"/","analyzer":"a","word":"b"}`
	for body, want := range map[string][]string{
		one + `,"useCase":"watcher"`:                                   nil,
		one + `,"useCase":"watcher","port":80,"watcher":{"path":"/x"}`: nil,
		two + `,"useCase":"ldap"`:                                      nil,
		two + `,"useCase":"active-directory","protocol":"ldaps"`:       nil,
		one + `,"useCase":"dictionary"` + plugin:                       nil,
		two + `,"useCase":"reindex","remoteIndex":"a"`:                 nil,
		two + `,"useCase":"watcher"`:                                   {"secrets.target"},
		one + `,"useCase":"ldap"`:                                      {"secrets.target"},
		two + `,"useCase":"ldap","protocol":"http"`:                    {"protocol"},
		one + `,"useCase":"watcher","protocol":"ldap"`:                 {"protocol"},
		one + `,"useCase":"watcher","remoteIndex":"a","cleanup":true`:  {"cleanup", "remoteIndex"},
		one + `,"useCase":"dictionary"`:                                {"plugin"},
		one + `,"useCase":"watcher"` + plugin:                          {"plugin"},
		one:                                                            {"remoteIndex", "secrets.target"},
		two + `,"remoteIndex":"a","watcher":{}`:                        {"watcher"},
	} {
		r, err := events.ParseCheck([]byte("{" + link + body + "}"))
		if want != nil {
			if assert.Error(t, err, body) {
				assert.Equal(t, want, fields(problem(t, err)), "%s: %v", body, err)
			}
			continue
		}
		if assert.NoError(t, err, body) {
			assert.NotZero(t, r.Port)
			assert.NotEmpty(t, r.Protocol)
		}
	}
}
