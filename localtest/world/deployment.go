package world

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/azure"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/mns"
	"eslink/localtest/fakes/network"
	"eslink/localtest/fakes/receivers"
	"eslink/localtest/fakes/zilliz"
	"eslink/localtest/runtime"
	"eslink/shared/elasticcloud"
)

// Deployment runs the compiled functions of a world as processes, which reach
// its fakes over real sockets on 127.0.0.1.
type Deployment struct {
	*World
	Platform *runtime.Platform
	Events   *runtime.Events
	// Endpoints are the products' URLs, FunctionURLs those of the HTTP triggers,
	// ClusterURLs the Elasticsearch clusters behind all whitelists.
	Endpoints, FunctionURLs, ClusterURLs map[string]string
	// InvokeURL is Function Compute's API, of which InvokeFunction alone is there.
	InvokeURL string

	tls     *authority         // of HTTPS clusters, nil if there are none
	stop    context.CancelFunc // of deliveries
	closers []func()
	wait    sync.WaitGroup
}

// Deploy builds the functions, starts everything and begins to deliver events.
// What the functions print goes to output. Close it.
func Deploy(ctx context.Context, w *World, output io.Writer) (*Deployment, error) {
	binaries, err := w.Project.Build(ctx, w.Root, w.Root+"/.build")
	if err != nil {
		return nil, err
	}
	d := &Deployment{World: w, Endpoints: map[string]string{}, FunctionURLs: map[string]string{}, ClusterURLs: map[string]string{}}
	if err := d.start(ctx, binaries, output); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Deployment) start(ctx context.Context, binaries map[string]string, output io.Writer) error {
	for host, h := range d.hosts {
		url, err := d.listen(h)
		if err != nil {
			return err
		}
		d.Endpoints[product(host)] = url
	}
	d.Endpoints["mns"] += mns.PathPrefix // the SDK wants five parts between dots
	for _, in := range d.Clusters.Instances() {
		if err := d.serve(in); err != nil {
			return err
		}
	}
	routers := map[string]*network.Router{}
	for vpc, place := range d.places {
		router, err := place.Listen(ctx)
		if err != nil {
			return err
		}
		d.closers = append(d.closers, func() { router.Close() })
		routers[vpc] = router
	}
	platform, err := runtime.New(runtime.Config{Functions: d.Project.Functions, Binaries: binaries, Account: d.Account, Clock: d.Clock, Output: output, Log: d.Log,
		Seam: func(f runtime.Function) map[string]string { return d.seam(f, routers) }})
	if err != nil {
		return err
	}
	d.Platform = platform
	d.Events = &runtime.Events{Functions: d.Project.Functions, Account: d.Account, Queues: d.Queues, Clock: d.Clock, Invoke: platform.Invoke, Log: d.Log}
	d.greet = func(in escluster.Instance, event []byte) {
		d.mu.Lock() // somebody outside may be creating another one
		err := d.serve(in)
		d.mu.Unlock()
		if err != nil {
			d.Log.Error("a new instance cannot be reached", "instance", in.ID, "err", err)
		}
		d.Events.Emit(event)
	}
	if d.InvokeURL, err = d.listen(platform.API(nil)); err != nil {
		return err
	}
	for _, f := range d.Project.Functions {
		if h := platform.HTTP(f, nil); h != nil {
			if d.FunctionURLs[f.Name], err = d.listen(h); err != nil {
				return err
			}
		}
	}
	return d.Events.Check()
}

// serve puts a cluster on a port of its own, with TLS if its protocol is HTTPS.
func (d *Deployment) serve(in escluster.Instance) error {
	h := d.record(in.ID, d.Servers[in.ID])
	if in.Protocol != "HTTPS" {
		url, err := d.listen(h)
		if err != nil {
			return err
		}
		d.ClusterURLs[in.ID] = url
		d.Network.SetServerAddr(in.ID, strings.TrimPrefix(url, "http://"))
		return nil
	}
	if d.tls == nil {
		var err error
		if d.tls, err = newAuthority(); err != nil {
			return err
		}
		d.closers = append(d.closers, d.tls.close)
	}
	names := []string{in.Domain()}
	for _, a := range in.Addresses {
		names = append(names, a.Domain(in.ID))
	}
	certificate, err := d.tls.certify(names)
	if err != nil {
		return err
	}
	url, err := d.listen(h, certificate)
	if err != nil {
		return err
	}
	d.ClusterURLs[in.ID] = url
	d.Network.SetTLSServerAddr(in.ID, strings.TrimPrefix(url, "https://"), d.tls.roots)
	return nil
}

// Run delivers events until Close. Set Events' hooks before.
func (d *Deployment) Run() {
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.wait.Go(func() { d.Events.Run(ctx) })
}

// seam is what the platform adds to a function's environment, so that it finds
// the fakes.
func (d *Deployment) seam(f runtime.Function, routers map[string]*network.Router) map[string]string {
	env := map[string]string{"ESLINK_CLOCK": d.Clock.String()}
	for product, url := range d.Endpoints {
		env["ESLINK_ENDPOINT_"+strings.ToUpper(product)] = url
	}
	if f.VPCConfig != nil {
		router := routers[f.VPCConfig.VPCID]
		env["ESLINK_DNS"], env["ESLINK_ROUTER"] = router.DNS, router.SOCKS
	}
	if d.tls != nil {
		env["SSL_CERT_FILE"] = d.tls.file
	}
	return env
}

func product(host string) string {
	switch {
	case strings.Contains(host, ".mns."):
		return "mns"
	case strings.Contains(host, ".ots."):
		return "tablestore"
	case strings.Contains(host, ".log."):
		return "log"
	case strings.HasPrefix(host, "eventbridge-console."):
		return "eventbridge"
	case host == azure.LoginHost, host == azure.ManagerHost:
		return "azure"
	case aws.IsHost(host):
		return "aws"
	case host == zilliz.Host:
		return "zilliz"
	case slices.Contains(receivers.Hosts, host):
		return "notify"
	case host == elasticcloud.Host:
		return "elasticcloud"
	}
	name, _, _ := strings.Cut(host, ".")
	return name
}

// listen serves h on a port of its own, over TLS if there is a certificate.
func (d *Deployment) listen(h http.Handler, certificates ...tls.Certificate) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	// Whom a process that died leaves half a request or handshake is no news.
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(d.Log.Handler(), slog.LevelDebug)}
	scheme := "http://"
	if certificates != nil {
		s.TLSConfig, scheme = &tls.Config{Certificates: certificates}, "https://"
	}
	d.wait.Go(func() {
		serve := s.Serve
		if certificates != nil {
			serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.Log.Error("server ended", "err", err)
		}
	})
	d.closers = append(d.closers, func() { s.Close() })
	return scheme + l.Addr().String(), nil
}

// Close stops deliveries, then processes, then what they talk to.
func (d *Deployment) Close() {
	if d.stop != nil {
		d.stop()
	}
	if d.Platform != nil {
		d.Platform.Close()
	}
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
	d.wait.Wait()
}
