package elasticcloud

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/elastic/cloud-sdk-go/pkg/models"
)

// Deployment is a hosted deployment.
type Deployment struct {
	ID, Name string
	// Region is the API's name of the Elasticsearch cluster's, such as azure-eastus2.
	Region   string
	Status   string // of the Elasticsearch cluster, such as started
	Products []Product
}

// Product is one application of a deployment, at its public address.
type Product struct {
	Kind string // elasticsearch, kibana, fleet or apm
	Host string // by alias where it has one, such as my-deployment.es.eastus2.azure.elastic-cloud.com
	Port int    // HTTPS, 0 when the API does not say
}

// Deployment reads a deployment; GET /deployments/{id}.
func (c *Client) Deployment(ctx context.Context, id string) (Deployment, error) {
	var out models.DeploymentGetResponse
	if err := c.call(ctx, "GetDeployment", http.MethodGet, "/deployments/"+url.PathEscape(id)+query("show_metadata", "true"), nil, &out); err != nil {
		return Deployment{}, fmt.Errorf("get deployment %s: %w", id, err)
	}
	d := Deployment{ID: value(out.ID), Name: value(out.Name)}
	if out.Resources == nil {
		return d, nil
	}
	for _, r := range out.Resources.Elasticsearch {
		if d.Region != "" || r == nil || r.Info == nil {
			continue
		}
		d.Region, d.Status = value(r.Region), value(r.Info.Status)
		d.add("elasticsearch", r.Info.Metadata)
	}
	for _, r := range out.Resources.Kibana {
		if r != nil && r.Info != nil {
			d.add("kibana", r.Info.Metadata)
		}
	}
	for _, r := range out.Resources.IntegrationsServer {
		if r == nil || r.Info == nil || r.Info.Metadata == nil {
			continue
		}
		for _, s := range r.Info.Metadata.ServicesUrls {
			if s != nil {
				d.service(value(s.Service), value(s.URL))
			}
		}
	}
	return d, nil
}

func (d *Deployment) add(kind string, m *models.ClusterMetadataInfo) {
	if m == nil {
		return
	}
	p := Product{Kind: kind, Host: m.AliasedEndpoint}
	if p.Host == "" {
		p.Host = m.Endpoint
	}
	if m.Ports != nil {
		p.Port = int(value(m.Ports.HTTPS))
	}
	if p.Host != "" {
		d.Products = append(d.Products, p)
	}
}

func (d *Deployment) service(kind, address string) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || kind != "fleet" && kind != "apm" {
		return
	}
	p := Product{Kind: kind, Host: u.Hostname()}
	fmt.Sscanf(u.Port(), "%d", &p.Port)
	d.Products = append(d.Products, p)
}

// Product returns the deployment's application of a kind.
func (d Deployment) Product(kind string) (Product, bool) {
	for _, p := range d.Products {
		if p.Kind == kind {
			return p, true
		}
	}
	return Product{}, false
}
