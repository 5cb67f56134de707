//go:build linux

package world

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"eslink/events"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/network"
	"eslink/localtest/realserver"
	realdirectory "eslink/localtest/realserver/directory"
	"eslink/localtest/services"
)

const realVersion = "7.17.29"

// NewReal makes a world with real Elasticsearch in it: each cluster is one
// process of 7.17.29 with security, on loopback. An esConfig is its
// elasticsearch.yml, and an update restarts it; what it resolves and reaches is
// what the network around its instance says at that moment. It lasts until
// release, which leaves nothing, or until this process dies. progress is told
// what takes so long. Without Java 17 or Maven the error is realserver.Check's.
func NewReal(ctx context.Context, c Config, progress io.Writer) (w *World, release func(), err error) {
	if err := realserver.Check(); err != nil {
		return nil, nil, err
	}
	if c.AlterServer != nil || cmp.Or(c.Version, realVersion) != realVersion {
		return nil, nil, fmt.Errorf("world: real Elasticsearch is %s here, as it is", realVersion)
	}
	c.Version = realVersion
	alter := c.Alter
	c.Alter = func(in *escluster.Instance) {
		in.Nodes = 1
		if alter != nil {
			alter(in)
		}
	}
	fmt.Fprintf(progress, "making Elasticsearch %s (Maven fetches it the first time)\n", realVersion)
	distribution, err := realserver.Prepare(ctx, realVersion, "")
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var processes []*process
	release = func() {
		cancel()
		for _, p := range processes {
			p.close()
		}
	}
	w = &World{Config: c, analyzer: "standard", Serves: []string{events.LDAP, events.ActiveDirectory, events.ReindexUseCase}, risks: []string{"not-green", "single-node", "no-replicas", "unassigned-replicas"}}
	var directories []*realdirectory.Server
	stopServers := release
	release = func() {
		stopServers()
		for _, d := range directories {
			if err := d.Stop(); err != nil {
				w.Log.Error("directory left something behind", "err", err)
			}
		}
	}
	w.offer = func(ctx context.Context, kind string) (network.Service, error) {
		began := time.Now()
		of, who := services.OpenLDAP, people
		switch kind {
		case events.ReindexUseCase:
			p, err := w.launch(ctx, running, distribution, escluster.Instance{ID: Host})
			if err != nil {
				return network.Service{}, err
			}
			processes = append(processes, p)
			fmt.Fprintf(progress, "the self-managed cluster is up after %.1fs at %s\n", time.Since(began).Seconds(), p.server.URL())
			return w.selfManaged(p)
		case events.ActiveDirectory:
			of, who = services.ActiveDirectory, staff
		case events.LDAP:
		default:
			return network.Service{}, fmt.Errorf("real Elasticsearch %s has no %s here: its plugin is not among the Maven artifacts; use -elasticsearch fake", realVersion, kind)
		}
		d, err := realdirectory.Start(ctx, of, who)
		if err != nil {
			return network.Service{}, err
		}
		directories = append(directories, d)
		fmt.Fprintf(progress, "a real %s is up after %.1fs at %s\n", of, time.Since(began).Seconds(), d.Addr())
		return network.Service{Addr: d.Addr()}, nil
	}
	w.start = func(in escluster.Instance) (Server, error) {
		began := time.Now()
		p, err := w.launch(ctx, running, distribution, in)
		if err != nil {
			return nil, err
		}
		processes = append(processes, p)
		fmt.Fprintf(progress, "%s is up after %.1fs at %s\n", in.ID, time.Since(began).Seconds(), p.server.URL())
		return p, nil
	}
	if err := w.build(); err != nil {
		release()
		return nil, nil, err
	}
	return w, release, nil
}

// process is the real Elasticsearch of an instance.
type process struct {
	http.Handler // the server, as the network meets it
	server       *realserver.Server
	transport    http.RoundTripper
	base         *url.URL
	log          *slog.Logger
	running      context.Context // until close
	work         sync.WaitGroup

	mu      sync.Mutex
	boot    chan error        // of a restart that is under way, else nil
	secrets map[string]string // for its keystore at the next restart
	kept    map[string]string // in its keystore
}

// launch boots an instance's server, for as long as running lasts.
func (w *World) launch(ctx, running context.Context, d realserver.Distribution, in escluster.Instance) (*process, error) {
	if in.Protocol == "HTTPS" {
		return nil, fmt.Errorf("%s: real Elasticsearch speaks plain HTTP here", in.ID)
	}
	log := w.Log.With("instance", in.ID)
	o := realserver.Options{Distribution: d, Name: in.ID, Settings: in.Config, Password: cmp.Or(in.Password, InstancePassword), Log: log}
	if in.ID == Target || in.ID == Host {
		role, err := json.Marshal(map[string]any{"cluster": reader.Cluster,
			"indices": []any{map[string]any{"names": reader.Indices[0].Names, "privileges": reader.Indices[0].Privileges}}})
		if err != nil {
			return nil, err
		}
		o.FileUsers = []realserver.FileUser{{Name: "eslink_reader", Password: reader.Password, Roles: []string{"eslink_reader"}}}
		o.Files = map[string]string{"roles.yml": "eslink_reader: " + string(role) + "\n"}
	}
	s, err := realserver.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(s.URL())
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	// No connection is kept: a restart would leave it dead.
	p := &process{server: s, base: base, log: log, running: running, transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	p.Handler = p.proxy()
	if in.ID == Host { // it calls nobody
		return p, nil
	}
	p.work.Go(func() {
		p.resolve(w.node(in.ID), func() (names []string) {
			for _, e := range w.Clusters.Endpoints(in.ID) {
				names = append(names, e.Domain, e.ZoneDomain)
			}
			return names
		}, func() []int {
			ports := []int{realserver.Port}
			for _, l := range w.CLB.Listeners() {
				ports = append(ports, l.Port)
			}
			slices.Sort(ports)
			return slices.Compact(ports)
		})
	})
	return p, nil
}

// proxy passes requests on as they are. A server that is down cuts the connection.
func (p *process) proxy() http.Handler {
	return &httputil.ReverseProxy{
		Transport: p.transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(p.base)
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			p.log.Info("connection cut", "method", r.Method, "path", r.URL.Path, "err", err)
			panic(http.ErrAbortHandler)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// RoundTrip implements http.RoundTripper.
func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = p.base.Scheme, p.base.Host
	return p.transport.RoundTrip(r)
}

// Restart begins to reboot the server, or says how the reboot that is under way
// went: ErrRestarting until it is up, or the server's own words on why it is not.
func (p *process) Restart(settings map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.boot == nil {
		boot := make(chan error, 1)
		p.boot = boot
		secrets, rewrite := p.secrets, !maps.Equal(p.secrets, p.kept)
		p.kept = secrets
		p.work.Go(func() {
			if rewrite {
				if err := p.server.SetKeystore(p.running, secrets); err != nil {
					boot <- err
					return
				}
			}
			boot <- p.server.Restart(p.running, settings)
		})
		return escluster.ErrRestarting
	}
	select {
	case err := <-p.boot:
		p.boot = nil
		if err != nil {
			p.log.Error("nodes do not come up", "err", err)
		}
		return err
	default:
		return escluster.ErrRestarting
	}
}

// SetKeystore gives the server its secure settings, from the next restart on.
func (p *process) SetKeystore(secrets map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets = secrets
}

// resolve keeps the names that the server can resolve those that its place can,
// of the given ones. Behind each name is an address with the given ports, whose
// connections the place's network judges one by one.
func (p *process) resolve(place *network.Place, names func() []string, ports func() []int) {
	type forward struct {
		address string
		ports   []int
		stop    func()
	}
	open := map[string]forward{}
	defer func() {
		for _, f := range open {
			f.stop()
		}
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		now, changed, wanted := map[string]bool{}, false, ports()
		for _, name := range names() {
			if _, err := place.LookupHost(p.running, name); err != nil || now[name] {
				continue
			}
			now[name] = true
			if f, ok := open[name]; ok {
				if slices.Equal(f.ports, wanted) {
					continue
				}
				f.stop()
				delete(open, name)
			}
			address, stop, err := realserver.ForwardPorts(p.running, wanted, func(ctx context.Context, port int) (net.Conn, error) {
				return place.DialContext(ctx, "tcp", net.JoinHostPort(name, strconv.Itoa(port)))
			})
			if err != nil {
				p.log.Error("name does not resolve", "name", name, "err", err)
				continue
			}
			open[name], changed = forward{address.String(), wanted, stop}, true
		}
		hosts := map[string]string{}
		for name, f := range open {
			if now[name] {
				hosts[name] = f.address
				continue
			}
			f.stop()
			delete(open, name)
			changed = true
		}
		if changed {
			if err := p.server.SetHosts(hosts); err != nil {
				p.log.Error("hosts are not up to date", "err", err)
			}
		}
		select {
		case <-p.running.Done():
			return
		case <-tick.C:
		}
	}
}

// close ends the server. Cancel running before.
func (p *process) close() {
	p.work.Wait()
	if err := p.server.Stop(); err != nil {
		p.log.Error("server left something behind", "err", err)
	}
}
