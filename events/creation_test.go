package events_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
)

func TestSamplesOfCreationsDecode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	config := "ConfigurationItemChangeNotification"
	want := map[string]events.Creation{
		"api": {Name: "createInstance"}, "api-bare": {Name: "CreateInstance"}, "console": {Name: "Create"}, "order": {Name: "Create", InstanceID: "none"},
		"config": {Name: config, Time: at.Add(9 * time.Minute)}, "config-tags": {Name: config, Time: at.Add(90 * time.Minute)},
		"failed": {Name: "createInstance", InstanceID: "none", Failed: "InstanceCreateFailed.StockNotEnough"}, "other-account": {Name: "createInstance", AccountID: "9876543210987654"},
	}
	samples := files(t, "created/*.json")
	require.Len(t, samples, len(want))
	for name, raw := range samples {
		c := want[name]
		if c.InstanceID == "" {
			c.InstanceID = "es-cn-new000000003"
		} else {
			c.InstanceID = ""
		}
		if c.AccountID == "" {
			c.AccountID = "1234567890123456"
		}
		if c.Time.IsZero() {
			c.Time = at
		}
		c.Region = "cn-hangzhou"
		got, err := events.DecodeCreation(raw)
		require.NoError(t, err, name)
		assert.NotEmpty(t, got.ID)
		got.ID = ""
		assert.Equal(t, c, got, name)
		streamed, err := events.DecodeCreation([]byte("[" + string(raw) + "]"))
		require.NoError(t, err, name)
		streamed.ID = ""
		assert.Equal(t, c, streamed, name)
	}
}

func TestWhatIsNoCreation(t *testing.T) {
	t.Parallel()
	api := string(files(t, "created/*.json")["api"])
	for name, payload := range map[string]string{
		"nothing": "", "null": "null", "a number": "7", "text": `"createInstance"`, "an empty object": "{}", "an empty array": "[]", "cut off": api[:200],
		"two":            "[" + api + "," + api + "]",
		"another source": strings.Replace(api, "acs.elasticsearch", "acs.ecs", 1), "another type": strings.Replace(api, "ActionTrail", "CloudMonitor", 1),
		"another event":    strings.Replace(api, `"eventName": "createInstance"`, `"eventName": "RestartInstance"`, 1),
		"no data":          `{"id":"1","source":"acs.elasticsearch","type":"elasticsearch:ActionTrail:ApiCall"}`,
		"data as text":     `{"id":"1","source":"acs.elasticsearch","type":"elasticsearch:ActionTrail:ApiCall","data":"createInstance"}`,
		"another resource": strings.Replace(string(files(t, "created/*.json")["config"]), "ACS::Elasticsearch::Instance", "ACS::ECS::Instance", 1),
		"too much":         api + strings.Repeat(" ", events.MaxBytes),
	} {
		_, err := events.DecodeCreation([]byte(payload))
		assert.Error(t, err, name)
	}
}

// FuzzDecodeCreation holds that no payload panics, and that an ID is one.
func FuzzDecodeCreation(f *testing.F) {
	f.Add([]byte(`{"id":"1","source":"acs.elasticsearch","type":"elasticsearch:ActionTrail:ApiCall","data":{"eventName":"Create","responseElements":"es-cn-new000000003"}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if c, err := events.DecodeCreation(payload); err == nil && c.InstanceID != "" {
			assert.Regexp(t, "^es-[a-z]{2}-[0-9a-z]{4,40}$", c.InstanceID)
		}
	})
}
