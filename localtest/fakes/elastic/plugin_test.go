package elastic_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
	"eslink/localtest/services"
)

const dictionarySetting = "dynamic.dictionary.url"

func TestRemoteDictionary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, elastic.Config{Plugins: []elastic.Plugin{{Name: "analysis-dynamic", Setting: dictionarySetting, Analyzers: []string{"dynamic"}}}})
		tokens := func(text string) string {
			status, body := h.call(admin, "POST", "/_analyze", `{"analyzer":"dynamic","text":"`+text+`"}`)
			require.Equal(t, 200, status, body)
			return body
		}
		const four = `{"tokens":[{"token":"云","start_offset":0,"end_offset":1,"type":"<IDEOGRAPHIC>","position":0},{"token":"链","start_offset":1,"end_offset":2,"type":"<IDEOGRAPHIC>","position":1},{"token":"网","start_offset":2,"end_offset":3,"type":"<IDEOGRAPHIC>","position":2},{"token":"关","start_offset":3,"end_offset":4,"type":"<IDEOGRAPHIC>","position":3}]}`
		const one = `{"tokens":[{"token":"云链网关","start_offset":0,"end_offset":4,"type":"CN_WORD","position":0}]}`
		assert.Equal(t, four, tokens("云链网关"))

		d := services.NewDictionary("/words.txt", "云链", "云链网关", "ES-Link")
		down := h.serve("dict.example:8080", func(l net.Listener) error { return services.ServeHTTP(l, d) })
		require.NoError(t, h.Restart(map[string]string{dictionarySetting: "http://dict.example:8080/words.txt"}))
		assert.Equal(t, one, tokens("云链网关"), "read before the node answers; the longest word wins")
		assert.Contains(t, tokens("a es-link b"), `{"token":"es-link","start_offset":2,"end_offset":9,"type":"CN_WORD","position":1}`)
		assert.Equal(t, []string{"GET /words.txt 200"}, d.Requests())

		time.Sleep(61 * time.Second)
		assert.Equal(t, []string{"GET /words.txt 200", "GET /words.txt 304"}, d.Requests())
		d.Set("云链")
		assert.Equal(t, one, tokens("云链网关"), "not before it is asked again")
		time.Sleep(time.Minute)
		assert.Contains(t, tokens("云链网关"), `{"token":"云链","start_offset":0`)
		down()
		time.Sleep(5 * time.Minute)
		assert.Contains(t, tokens("云链网关"), `{"token":"云链","start_offset":0`, "what cannot be fetched leaves the words")

		for _, url := range []string{"http://dict.example:8080/words.txt", "http://silent.example:8080/words.txt", "http://nosuch.invalid:8080/"} {
			began := time.Now()
			require.NoError(t, h.Restart(map[string]string{dictionarySetting: url}), "a dictionary that is not there keeps nothing down")
			assert.Equal(t, four, tokens("云链网关"))
			assert.LessOrEqual(t, time.Since(began), 70*time.Second)
		}
	})
}

func TestPluginsSetting(t *testing.T) {
	t.Parallel()
	h := newHost(t, elastic.Config{})
	assert.ErrorContains(t, h.Restart(map[string]string{dictionarySetting: "http://x/"}), "unknown setting ["+dictionarySetting+"]")
}
