package store

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"eslink/localtest/fakes/elastic/analysis"
	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/privilege"
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

var (
	ErrSocketTimeout  = errors.New("socket timeout")
	ErrConnectTimeout = errors.New("connect timeout")
)

// Config describes one cluster.
type Config struct {
	Name     string                    // cluster name; also the seed of node ids and uuids
	Version  string                    // "7.10.2", "7.17.29", "8.15.1"
	Users    map[string]privilege.User // nil: security is off, as on an OSS distribution
	Nodes    int                       // data nodes, at least 1; replicas beyond Nodes-1 leave the cluster yellow
	Now      func() time.Time          // nil: time.Now
	Remote   http.RoundTripper         // how the nodes reach the network, for remote _reindex; nil: every connection is refused
	Settings map[string]string         // elasticsearch.yml, flat: "reindex.remote.whitelist": "a:9200, b:9200"
	Keystore map[string]string         // secure settings
	Roles    map[string]privilege.Role // beside superuser, monitoring_user and viewer: what users of a directory may do

	// Dial is how the nodes reach directories. nil: Remote's own DialContext, if it
	// has one, as a network.Place has; else every connection is refused.
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	Roots *x509.CertPool // whom the JVM trusts, for ldaps; nil: the machine's
	Log   *slog.Logger   // why a login failed, which no caller is told; nil: none

	Analyzers []string // of plugins, for example ik_smart and ik_max_word, which Aliyun installs
	Plugins   []Plugin // further ones, with a remote dictionary
	Heap      int64    // bytes per node; indexing pressure refuses a bulk over a tenth. 0: 1 GiB
	DiskTotal int64    // bytes per node. 0: 20 GiB
	DiskFree  int64    // bytes per node. 0: 15 GiB
}

// Cluster is the state that all APIs share.
type Cluster struct {
	*index.Env
	Config Config

	Mu           sync.Mutex
	Up           bool
	Started      time.Time
	Settings     map[string]string // static, as started
	persistent   map[string]string // _cluster/settings
	Transient    map[string]string
	Indices      map[string]*index.Index
	templates    templates
	OpenContexts func() int // of searches
	Requests     int64      // how many there were; tasks count on from it
	NextID       int64
	Running      sync.WaitGroup
	Inflight     context.Context
	Kill         context.CancelFunc
}

func NewCluster(c Config) *Cluster {
	s := &Cluster{
		Env:    &index.Env{Name: c.Name, Version: esjson.ParseVersion(c.Version), Nodes: c.Nodes, Now: c.Now, Analyzers: analysis.BuiltinAnalyzers(c.Analyzers), Added: map[string]bool{}},
		Config: c, Indices: map[string]*index.Index{}, templates: newTemplates(), persistent: map[string]string{}, Transient: map[string]string{},
	}
	for _, name := range c.Analyzers {
		s.Added[name] = true
	}
	s.Setting = s.ClusterSetting
	return s
}

// IsUp tells whether the nodes listen.
func (s *Cluster) IsUp() bool {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return s.Up
}

func (s *Cluster) NewID(kind string) string {
	s.NextID++
	return s.ID(kind, s.NextID)
}

// ClusterSetting reads transient, persistent, then static settings.
func (s *Cluster) ClusterSetting(key, otherwise string) string {
	for _, m := range []map[string]string{s.Transient, s.persistent, s.Settings} {
		if v, ok := m[key]; ok {
			return v
		}
	}
	return otherwise
}

// ErrStopped ends a request whose node was killed under it.
var ErrStopped = errors.New("the node was stopped")
