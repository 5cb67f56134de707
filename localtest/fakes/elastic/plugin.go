package elastic

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"eslink/localtest/fakes/elastic/analysis"
	"eslink/localtest/fakes/elastic/store"
)

const (
	dictionaryPause   = time.Minute
	dictionaryConnect = 10 * time.Second
	dictionaryRead    = 60 * time.Second
)

func (s *Server) ofPlugin(setting string) bool {
	return slices.ContainsFunc(s.state.Config.Plugins, func(p store.Plugin) bool { return p.Setting != "" && p.Setting == setting })
}

// install gives the server a plugin's analyzers.
func (s *Server) install(p *store.Plugin) {
	d := &dictionary{}
	s.dictionaries = append(s.dictionaries, d)
	for _, name := range p.Analyzers {
		s.state.Analyzers[name], s.state.Added[name] = d.cut, true
	}
}

// dictionary is guarded by the server's mutex.
type dictionary struct {
	words          []string // longest first, lower case
	modified, etag string
}

// loadDictionaries begins to read what the plugins' settings name: the nodes
// answer once that is over, well or not. It needs s.mu.
func (s *Server) loadDictionaries() {
	ctx, loaded := s.state.Inflight, &sync.WaitGroup{}
	s.loaded = loaded
	for i, p := range s.state.Config.Plugins {
		url := p.URL
		if p.Setting != "" {
			url = s.state.Settings[p.Setting]
		}
		d := s.dictionaries[i]
		*d = dictionary{}
		if url == "" {
			continue
		}
		loaded.Add(1)
		s.state.Running.Go(func() {
			s.fetchDictionary(ctx, d, url)
			loaded.Done()
			tick := time.NewTicker(dictionaryPause)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					s.fetchDictionary(ctx, d, url)
				}
			}
		})
	}
}

func (s *Server) fetchDictionary(ctx context.Context, d *dictionary, url string) {
	ctx, cancel := context.WithTimeout(ctx, dictionaryConnect+dictionaryRead)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil {
		s.state.Mu.Lock()
		if d.etag != "" || d.modified != "" {
			r.Header.Set("If-Modified-Since", d.modified)
			r.Header.Set("If-None-Match", d.etag)
		}
		s.state.Mu.Unlock()
		err = s.readDictionary(d, r)
	}
	if err != nil {
		s.state.Config.Log.Info("dictionary was not read", "url", url, "err", err)
	}
}

func (s *Server) readDictionary(d *dictionary, r *http.Request) error {
	resp, err := s.state.Config.Remote.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil // unchanged, or not there: either way the words stay
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var words []string
	for line := range strings.Lines(strings.ToLower(string(text))) {
		if w := strings.TrimSpace(line); w != "" {
			words = append(words, w)
		}
	}
	slices.SortStableFunc(words, func(a, b string) int { return utf8.RuneCountInString(b) - utf8.RuneCountInString(a) })
	s.state.Mu.Lock()
	defer s.state.Mu.Unlock()
	*d = dictionary{words, resp.Header.Get("Last-Modified"), resp.Header.Get("ETag")}
	return nil
}

// cut is an analyzer: it needs the server's mutex, as every analyzer has.
func (d *dictionary) cut(s string) []analysis.Token {
	var out []analysis.Token
	text, done := []rune(s), 0
	rest := func(end int) {
		for _, t := range analysis.Standard(string(text[done:end])) {
			t.Start, t.End = t.Start+done, t.End+done
			out = append(out, t)
		}
	}
	for i := 0; i < len(text); i++ {
		w := slices.IndexFunc(d.words, func(w string) bool { return strings.HasPrefix(strings.ToLower(string(text[i:])), w) })
		if w < 0 {
			continue
		}
		rest(i)
		n := utf8.RuneCountInString(d.words[w])
		out = append(out, analysis.Token{Text: d.words[w], Kind: "CN_WORD", Start: i, End: i + n})
		done = i + n
		i = done - 1
	}
	rest(len(text))
	return out
}
