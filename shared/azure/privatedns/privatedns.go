// Package privatedns calls Azure Private DNS, API version 2024-06-01: zones, their
// links to virtual networks, and A records. It is used through armprivatedns.
package privatedns

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sdk "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/privatedns/armprivatedns"

	"eslink/shared/azure"
)

const product = "Microsoft.PrivateDns"

// Completed is the state of a link that is in force; before it is InProgress.
const Completed = "Completed"

// Client reads and writes zones.
type Client struct {
	zones   *sdk.PrivateZonesClient
	links   *sdk.VirtualNetworkLinksClient
	records *sdk.RecordSetsClient
}

// New returns a client of an account.
func New(a *azure.Account) (*Client, error) {
	zones, err := sdk.NewPrivateZonesClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	links, err := sdk.NewVirtualNetworkLinksClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	records, err := sdk.NewRecordSetsClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	return &Client{zones, links, records}, nil
}

// Zone is a private zone. Its ID is the name within a resource group.
type Zone struct {
	ID    azure.ID
	Name  string
	State string // provisioning: Succeeded, Creating, …
	Tags  map[string]string
}

func zone(z sdk.PrivateZone) Zone {
	out := Zone{ID: azure.ID(azure.Value(z.ID)), Name: azure.Value(z.Name), Tags: map[string]string{}}
	for k, v := range z.Tags {
		out.Tags[k] = azure.Value(v)
	}
	if z.Properties != nil {
		out.State = string(azure.Value(z.Properties.ProvisioningState))
	}
	return out
}

// Zone reads a zone of a resource group; PrivateZones_Get.
func (c *Client) Zone(ctx context.Context, group, name string) (Zone, error) {
	out, err := c.zones.Get(ctx, group, name, nil)
	if err != nil {
		return Zone{}, fmt.Errorf("get zone %s: %w", name, azure.Wrap(product, "PrivateZones_Get", err))
	}
	return zone(out.PrivateZone), nil
}

// ZonesNamed lists the subscription's zones of a name, whatever their resource
// group; PrivateZones_List.
func (c *Client) ZonesNamed(ctx context.Context, name string) ([]Zone, error) {
	var out []Zone
	for pager := c.zones.NewListPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list zones named %s: %w", name, azure.Wrap(product, "PrivateZones_List", err))
		}
		for _, z := range page.Value {
			if azure.ID(azure.Value(z.Name)).Is(azure.ID(name)) {
				out = append(out, zone(*z))
			}
		}
	}
	return out, nil
}

// CreateZone asks for a zone that does not exist yet; PrivateZones_CreateOrUpdate
// with If-None-Match. One that exists is an error of class Conflict.
func (c *Client) CreateZone(ctx context.Context, group, name string, tags map[string]string) (azure.Operation, error) {
	p, err := c.zones.BeginCreateOrUpdate(ctx, group, name, sdk.PrivateZone{Location: to.Ptr("global"), Tags: pointers(tags)},
		&sdk.PrivateZonesClientBeginCreateOrUpdateOptions{IfNoneMatch: to.Ptr("*")})
	op, err := azure.Begin(product, "PrivateZones_CreateOrUpdate", p, err)
	if err != nil {
		return "", fmt.Errorf("create zone %s: %w", name, err)
	}
	return op, nil
}

// PollZone asks once how a zone's creation is.
func (c *Client) PollZone(ctx context.Context, op azure.Operation) (bool, error) {
	p, err := c.zones.BeginCreateOrUpdate(ctx, "-", "-", sdk.PrivateZone{}, &sdk.PrivateZonesClientBeginCreateOrUpdateOptions{ResumeToken: string(op)})
	return azure.Poll(ctx, product, "PrivateZones_CreateOrUpdate", p, err)
}

// DeleteZone deletes a zone that has no links; PrivateZones_Delete.
func (c *Client) DeleteZone(ctx context.Context, group, name string) (azure.Operation, error) {
	p, err := c.zones.BeginDelete(ctx, group, name, nil)
	op, err := azure.Begin(product, "PrivateZones_Delete", p, err)
	if err != nil {
		return "", fmt.Errorf("delete zone %s: %w", name, err)
	}
	return op, nil
}

// Link is a zone's link to a virtual network.
type Link struct {
	ID      azure.ID
	Name    string
	Network azure.ID
	State   string // Completed when it is in force
	// Leaving says that it is being deleted.
	Leaving bool
	// Registers says that machines of the network get records in the zone.
	Registers bool
	Tags      map[string]string
}

// Links lists a zone's links; VirtualNetworkLinks_List.
func (c *Client) Links(ctx context.Context, group, zone string) ([]Link, error) {
	var out []Link
	for pager := c.links.NewListPager(group, zone, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list links of zone %s: %w", zone, azure.Wrap(product, "VirtualNetworkLinks_List", err))
		}
		for _, l := range page.Value {
			k := Link{ID: azure.ID(azure.Value(l.ID)), Name: azure.Value(l.Name), Tags: map[string]string{}}
			for key, v := range l.Tags {
				k.Tags[key] = azure.Value(v)
			}
			if p := l.Properties; p != nil {
				k.State, k.Registers = string(azure.Value(p.VirtualNetworkLinkState)), azure.Value(p.RegistrationEnabled)
				k.Leaving = azure.Value(p.ProvisioningState) == sdk.ProvisioningStateDeleting
				if p.VirtualNetwork != nil {
					k.Network = azure.ID(azure.Value(p.VirtualNetwork.ID))
				}
			}
			out = append(out, k)
		}
	}
	return out, nil
}

// CreateLink asks for a link that registers nothing;
// VirtualNetworkLinks_CreateOrUpdate.
func (c *Client) CreateLink(ctx context.Context, group, zone, name string, network azure.ID, tags map[string]string) (azure.Operation, error) {
	p, err := c.links.BeginCreateOrUpdate(ctx, group, zone, name, sdk.VirtualNetworkLink{Location: to.Ptr("global"), Tags: pointers(tags),
		Properties: &sdk.VirtualNetworkLinkProperties{RegistrationEnabled: to.Ptr(false), VirtualNetwork: &sdk.SubResource{ID: to.Ptr(string(network))}}}, nil)
	op, err := azure.Begin(product, "VirtualNetworkLinks_CreateOrUpdate", p, err)
	if err != nil {
		return "", fmt.Errorf("link zone %s to %s: %w", zone, network.Part("virtualNetworks"), err)
	}
	return op, nil
}

// PollLink asks once how a link's creation is.
func (c *Client) PollLink(ctx context.Context, op azure.Operation) (bool, error) {
	p, err := c.links.BeginCreateOrUpdate(ctx, "-", "-", "-", sdk.VirtualNetworkLink{}, &sdk.VirtualNetworkLinksClientBeginCreateOrUpdateOptions{ResumeToken: string(op)})
	return azure.Poll(ctx, product, "VirtualNetworkLinks_CreateOrUpdate", p, err)
}

// DeleteLink takes a zone from a virtual network; VirtualNetworkLinks_Delete.
func (c *Client) DeleteLink(ctx context.Context, group, zone, name string) (azure.Operation, error) {
	p, err := c.links.BeginDelete(ctx, group, zone, name, nil)
	op, err := azure.Begin(product, "VirtualNetworkLinks_Delete", p, err)
	if err != nil {
		return "", fmt.Errorf("delete link %s of zone %s: %w", name, zone, err)
	}
	return op, nil
}

// Record is a set of A records.
type Record struct {
	Name      string
	Addresses []string
	// Metadata says whose it is: records have no tags.
	Metadata map[string]string
	ETag     string
}

func record(r sdk.RecordSet) Record {
	out := Record{Name: azure.Value(r.Name), ETag: azure.Value(r.Etag), Metadata: map[string]string{}}
	if r.Properties == nil {
		return out
	}
	for k, v := range r.Properties.Metadata {
		out.Metadata[k] = azure.Value(v)
	}
	for _, a := range r.Properties.ARecords {
		out.Addresses = append(out.Addresses, azure.Value(a.IPv4Address))
	}
	return out
}

// Record reads an A record; RecordSets_Get.
func (c *Client) Record(ctx context.Context, group, zone, name string) (Record, error) {
	out, err := c.records.Get(ctx, group, zone, sdk.RecordTypeA, name, nil)
	if err != nil {
		return Record{}, fmt.Errorf("get record %s of zone %s: %w", name, zone, azure.Wrap(product, "RecordSets_Get", err))
	}
	return record(out.RecordSet), nil
}

// Records lists what a zone holds besides its SOA record, as "type/name";
// RecordSets_List.
func (c *Client) Records(ctx context.Context, group, zone string) ([]string, error) {
	var out []string
	for pager := c.records.NewListPager(group, zone, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list records of zone %s: %w", zone, azure.Wrap(product, "RecordSets_List", err))
		}
		for _, r := range page.Value {
			if kind := azure.ID(azure.Value(r.ID)).Part(zone); kind != "SOA" {
				out = append(out, kind+"/"+azure.Value(r.Name))
			}
		}
	}
	return out, nil
}

// TTL of a record, in seconds: an endpoint that is recreated has another address.
const TTL = 300

// PutRecord writes an A record of one address: over the one that was read, by its
// ETag, or a new one if etag is "". Else it is an error of class Conflict.
// RecordSets_CreateOrUpdate, which is no long-running operation.
func (c *Client) PutRecord(ctx context.Context, group, zone, name, address, etag string, metadata map[string]string) error {
	options := &sdk.RecordSetsClientCreateOrUpdateOptions{}
	if etag == "" {
		options.IfNoneMatch = to.Ptr("*")
	} else {
		options.IfMatch = to.Ptr(etag)
	}
	_, err := c.records.CreateOrUpdate(ctx, group, zone, sdk.RecordTypeA, name, sdk.RecordSet{Properties: &sdk.RecordSetProperties{
		TTL: to.Ptr[int64](TTL), ARecords: []*sdk.ARecord{{IPv4Address: to.Ptr(address)}}, Metadata: pointers(metadata)}}, options)
	if err != nil {
		return fmt.Errorf("write record %s of zone %s: %w", name, zone, azure.Wrap(product, "RecordSets_CreateOrUpdate", err))
	}
	return nil
}

// DeleteRecord deletes the A record that was read, by its ETag; RecordSets_Delete.
func (c *Client) DeleteRecord(ctx context.Context, group, zone, name, etag string) error {
	_, err := c.records.Delete(ctx, group, zone, sdk.RecordTypeA, name, &sdk.RecordSetsClientDeleteOptions{IfMatch: to.Ptr(etag)})
	if err != nil {
		return fmt.Errorf("delete record %s of zone %s: %w", name, zone, azure.Wrap(product, "RecordSets_Delete", err))
	}
	return nil
}

func pointers(m map[string]string) map[string]*string {
	out := map[string]*string{}
	for k, v := range m {
		out[k] = to.Ptr(v)
	}
	return out
}
