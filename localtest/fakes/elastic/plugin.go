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
)

// Plugin is an analysis plugin with a remote dictionary, as ik is: it fetches a
// text file of words when a node boots, and asks each minute whether the file
// has changed. What it cannot fetch leaves the words it has.
type Plugin struct {
	Name      string
	Setting   string   // of elasticsearch.yml: the dictionary's URL; "": it has no setting
	URL       string   // in the plugin's own configuration
	Analyzers []string // cut as standard does, but words of the dictionary stay whole
}

const (
	dictionaryPause   = time.Minute
	dictionaryConnect = 10 * time.Second
	dictionaryRead    = 60 * time.Second
)

func (s *Server) ofPlugin(setting string) bool {
	return slices.ContainsFunc(s.config.Plugins, func(p Plugin) bool { return p.Setting != "" && p.Setting == setting })
}

// install gives the server a plugin's analyzers.
func (s *Server) install(p *Plugin) {
	d := &dictionary{}
	s.dictionaries = append(s.dictionaries, d)
	for _, name := range p.Analyzers {
		s.analyzers[name], s.added[name] = d.cut, true
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
	ctx, loaded := s.inflight, &sync.WaitGroup{}
	s.loaded = loaded
	for i, p := range s.config.Plugins {
		url := p.URL
		if p.Setting != "" {
			url = s.settings[p.Setting]
		}
		d := s.dictionaries[i]
		*d = dictionary{}
		if url == "" {
			continue
		}
		loaded.Add(1)
		s.running.Go(func() {
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
		s.mu.Lock()
		if d.etag != "" || d.modified != "" {
			r.Header.Set("If-Modified-Since", d.modified)
			r.Header.Set("If-None-Match", d.etag)
		}
		s.mu.Unlock()
		err = s.readDictionary(d, r)
	}
	if err != nil {
		s.config.Log.Info("dictionary was not read", "url", url, "err", err)
	}
}

func (s *Server) readDictionary(d *dictionary, r *http.Request) error {
	resp, err := s.config.Remote.RoundTrip(r)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	*d = dictionary{words, resp.Header.Get("Last-Modified"), resp.Header.Get("ETag")}
	return nil
}

// cut is an analyzer: it needs the server's mutex, as every analyzer has.
func (d *dictionary) cut(s string) []token {
	var out []token
	text, done := []rune(s), 0
	rest := func(end int) {
		for _, t := range standard(string(text[done:end])) {
			t.start, t.end = t.start+done, t.end+done
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
		out = append(out, token{d.words[w], "CN_WORD", i, i + n})
		done = i + n
		i = done - 1
	}
	rest(len(text))
	return out
}
