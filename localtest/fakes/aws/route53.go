package aws

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

// zone is a hosted zone.
type zone struct {
	id, name, account, reference, comment string
	private                               bool
	vpcs                                  []string
	active                                map[string]time.Time // by VPC: from when it answers there
	records                               []*record
	busy                                  time.Time // until when the last deletion of a record is under way
}

// record is an A record: an alias if target is set. It answers from a time on.
type record struct {
	name, kind, target, zone string
	values                   []string
	from                     time.Time
}

// Zone is what a test sees of a hosted zone.
type Zone struct {
	ID, Name, Comment string
	Private           bool
	VPCs              []string
	Aliases           map[string]string // record to target
}

// AddZone adds a hosted zone as somebody else made it. Without VPCs it is a
// public one.
func (f *Fake) AddZone(name, account, comment string, vpcs ...string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	z := &zone{id: upper(f.world.NewID("Z", 13)), name: name, account: first(account, f.home), comment: comment, private: len(vpcs) > 0, vpcs: vpcs, active: map[string]time.Time{}}
	f.zones[z.id] = z
	return z.id
}

// AddRecord adds an address record to a zone.
func (f *Fake) AddRecord(zoneID, name string, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.zones[zoneID].records = append(f.zones[zoneID].records, &record{name: name, kind: "A", values: values})
}

// SetAlias points an alias record elsewhere, as somebody may in the console.
func (f *Fake) SetAlias(zoneID, name, target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.zones[zoneID].records {
		if r.name == name {
			r.target = target
		}
	}
}

// RemoveZone deletes one with its records.
func (f *Fake) RemoveZone(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.zones, id)
}

// Zones are all zones, by their IDs.
func (f *Fake) Zones() []Zone {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Zone
	for _, id := range slices.Sorted(maps.Keys(f.zones)) {
		z := f.zones[id]
		x := Zone{ID: z.id, Name: z.name, Comment: z.comment, Private: z.private, VPCs: slices.Clone(z.vpcs), Aliases: map[string]string{}}
		for _, r := range z.records {
			x.Aliases[r.name] = r.target
		}
		out = append(out, x)
	}
	return out
}

func upper(s string) string { return strings.ToUpper(s) }

// changeInfo notes a change, which takes a while.
func (f *Fake) changeInfo(r *request) (changeItem, time.Time) {
	id, at := upper(f.world.NewID("C", 13)), r.now.Add(f.between(15*time.Second, 75*time.Second))
	f.changes[id] = at
	return changeItem{"/change/" + id, "PENDING", r.now.UTC().Format(time.RFC3339)}, at
}

type changeItem struct {
	ID          string `xml:"Id"`
	Status      string
	SubmittedAt string
}

type zoneItem struct {
	ID              string `xml:"Id"`
	Name            string
	CallerReference string
	Comment         string `xml:"Config>Comment"`
	Private         bool   `xml:"Config>PrivateZone"`
	Count           int    `xml:"ResourceRecordSetCount"`
}

type vpcItem struct {
	VPCRegion string
	VPCID     string `xml:"VPCId"`
}

func (z *zone) item() zoneItem {
	return zoneItem{"/hostedzone/" + z.id, z.name + ".", z.reference, z.comment, z.private, len(z.records) + 2}
}

// conflicts finds a private zone of a name on a VPC.
func (f *Fake) conflicts(name, vpc string) bool {
	for _, z := range f.zones {
		if z.private && z.name == name && slices.Contains(z.vpcs, vpc) {
			return true
		}
	}
	return false
}

// vpcOf finds the VPC that a request names.
func (f *Fake) vpcOf(r *request, id, region string) (*VPC, error) {
	v := f.vpcs[id]
	switch {
	case v == nil || v.Region != region:
		return nil, cloud.Errorf(400, "InvalidVPCId", "The VPC: %s with region: %s provided is not valid", id, region)
	case v.Account != r.account:
		return nil, cloud.Errorf(401, "NotAuthorizedException", "The VPC: %s has not authorized to associate with your hosted zone.", id)
	}
	return v, nil
}

func createZone(f *Fake, r *request) (any, error) {
	name, reference := strings.TrimSuffix(r.params["Name"], "."), r.params["CallerReference"]
	if f.refs[reference] {
		return nil, cloud.Errorf(409, "HostedZoneAlreadyExists", "A hosted zone has already been created with the specified caller reference.")
	}
	v, err := f.vpcOf(r, r.params["VPC.VPCId"], r.params["VPC.VPCRegion"])
	if err != nil {
		return nil, err
	}
	if f.conflicts(name, v.ID) {
		return nil, cloud.Errorf(400, "ConflictingDomainExists", "The VPC %s in region %s has already been associated with the hosted zone with the same domain name.", v.ID, v.Region)
	}
	info, at := f.changeInfo(r)
	z := &zone{id: upper(f.world.NewID("Z", 13)), name: name, account: r.account, reference: reference, comment: r.params["HostedZoneConfig.Comment"], private: true, vpcs: []string{v.ID}, active: map[string]time.Time{v.ID: at}}
	f.zones[z.id], f.refs[reference] = z, true
	return struct {
		HostedZone zoneItem
		ChangeInfo changeItem
		VPC        vpcItem
	}{z.item(), info, vpcItem{v.Region, v.ID}}, nil
}

func (f *Fake) zone(r *request) (*zone, error) {
	if z := f.zones[r.path["Id"]]; z != nil && z.account == r.account {
		return z, nil
	}
	return nil, cloud.Errorf(404, "NoSuchHostedZone", "No hosted zone found with ID: %s", r.path["Id"])
}

func getZone(f *Fake, r *request) (any, error) {
	z, err := f.zone(r)
	if err != nil {
		return nil, err
	}
	var out struct {
		HostedZone zoneItem
		VPCs       []vpcItem `xml:"VPCs>VPC"`
	}
	out.HostedZone = z.item()
	for _, id := range z.vpcs {
		out.VPCs = append(out.VPCs, vpcItem{f.vpcs[id].Region, id})
	}
	return out, nil
}

func zonesByVPC(f *Fake, r *request) (any, error) {
	v, err := f.vpcOf(r, r.params["vpcid"], r.params["vpcregion"])
	if err != nil {
		return nil, err
	}
	type owner struct{ OwningAccount string }
	type summary struct {
		HostedZoneID string `xml:"HostedZoneId"`
		Name         string
		Owner        owner
	}
	var all []summary
	for _, id := range slices.Sorted(maps.Keys(f.zones)) {
		if z := f.zones[id]; slices.Contains(z.vpcs, v.ID) {
			all = append(all, summary{z.id, z.name + ".", owner{z.account}})
		}
	}
	var out struct {
		Items    []summary `xml:"HostedZoneSummaries>HostedZoneSummary"`
		MaxItems int
		Next     string `xml:"NextToken,omitempty"`
	}
	out.MaxItems = PageSize
	out.Items, out.Next, err = page(r, "nexttoken", all)
	return out, err
}

// reversed is a name in the order that Route 53 lists names in.
func reversed(name string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

func zonesByName(f *Fake, r *request) (any, error) {
	var all []*zone
	for _, z := range f.zones {
		if z.account == r.account {
			all = append(all, z)
		}
	}
	slices.SortFunc(all, func(a, b *zone) int {
		return cmp.Or(cmp.Compare(reversed(a.name), reversed(b.name)), cmp.Compare(a.id, b.id))
	})
	from := reversed(r.params["dnsname"])
	all = slices.DeleteFunc(all, func(z *zone) bool {
		c := cmp.Compare(reversed(z.name), from)
		return c < 0 || c == 0 && z.id < r.params["hostedzoneid"]
	})
	var out struct {
		Items       []zoneItem `xml:"HostedZones>HostedZone"`
		IsTruncated bool
		NextName    string `xml:"NextDNSName,omitempty"`
		NextID      string `xml:"NextHostedZoneId,omitempty"`
		MaxItems    int
	}
	out.MaxItems = PageSize
	for i, z := range all {
		if i == PageSize {
			out.IsTruncated, out.NextName, out.NextID = true, z.name+".", z.id
			break
		}
		out.Items = append(out.Items, z.item())
	}
	return out, nil
}

type aliasItem struct {
	HostedZoneID         string `xml:"HostedZoneId"`
	DNSName              string
	EvaluateTargetHealth bool
}

type recordItem struct {
	Name   string
	Type   string
	TTL    int        `xml:"TTL,omitempty"`
	Values []string   `xml:"ResourceRecords>ResourceRecord>Value,omitempty"`
	Alias  *aliasItem `xml:"AliasTarget"`
}

func listRecords(f *Fake, r *request) (any, error) {
	z, err := f.zone(r)
	if err != nil {
		return nil, err
	}
	var out struct {
		Items       []recordItem `xml:"ResourceRecordSets>ResourceRecordSet"`
		IsTruncated bool
		MaxItems    int
	}
	most := atoi(first(r.params["maxitems"], "100"))
	out.MaxItems = most
	for _, rec := range z.records {
		i := recordItem{Name: rec.name + ".", Type: rec.kind, Values: rec.values}
		if rec.target != "" {
			i.Alias = &aliasItem{rec.zone, rec.target + ".", false}
		}
		out.Items = append(out.Items, i)
	}
	out.Items = append(out.Items, recordItem{Name: z.name + ".", Type: "NS", TTL: 172800, Values: []string{"ns-0.awsdns-00.com."}},
		recordItem{Name: z.name + ".", Type: "SOA", TTL: 900, Values: []string{"ns-0.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}})
	slices.SortStableFunc(out.Items, func(a, b recordItem) int {
		return cmp.Or(cmp.Compare(reversed(a.Name), reversed(b.Name)), cmp.Compare(a.Type, b.Type))
	})
	if name := r.params["name"]; name != "" {
		out.Items = slices.DeleteFunc(out.Items, func(i recordItem) bool {
			c := cmp.Compare(reversed(i.Name), reversed(name))
			return c < 0 || c == 0 && i.Type < r.params["type"]
		})
	}
	if len(out.Items) > most {
		out.Items, out.IsTruncated = out.Items[:most], true
	}
	return out, nil
}

func changeRecords(f *Fake, r *request) (any, error) {
	z, err := f.zone(r)
	if err != nil {
		return nil, err
	}
	const at = "ChangeBatch.Changes.Change."
	p := func(name string) string { return r.params[at+"ResourceRecordSet."+name] }
	name, kind := strings.TrimSuffix(p("Name"), "."), p("Type")
	batch := func(format string, args ...any) error {
		return cloud.Errorf(400, "InvalidChangeBatch", "[%s]", fmt.Sprintf(format, args...))
	}
	if name != z.name && !strings.HasSuffix(name, "."+z.name) {
		return nil, batch("RRSet with DNS name %s. is not permitted in zone %s.", name, z.name)
	}
	if kind == "CNAME" && name == z.name {
		return nil, batch("RRSet of type CNAME with DNS name %s. is not permitted at apex in zone %s.", name, z.name)
	}
	rec := &record{name: name, kind: kind, target: strings.TrimSuffix(strings.ToLower(p("AliasTarget.DNSName")), "."), zone: p("AliasTarget.HostedZoneId")}
	if rec.target != "" && !f.knowsName(rec.target, rec.zone) {
		return nil, batch("Tried to create an alias that targets %s., type A in zone %s, but the alias target name does not lie within the target zone", rec.target, rec.zone)
	}
	info, sync := f.changeInfo(r)
	rec.from = sync
	i := slices.IndexFunc(z.records, func(o *record) bool { return o.name == name && o.kind == kind })
	switch r.params[at+"Action"] {
	case "DELETE":
		if i < 0 {
			return nil, batch("Tried to delete resource record set [name='%s.', type='%s'] but it was not found", name, kind)
		}
		if z.records[i].target != rec.target || z.records[i].zone != rec.zone {
			return nil, batch("Tried to delete resource record set [name='%s.', type='%s'] but the values provided do not match the current values", name, kind)
		}
		z.records, z.busy = slices.Delete(z.records, i, i+1), sync
	case "CREATE":
		if i >= 0 {
			return nil, batch("Tried to create resource record set [name='%s.', type='%s'] but it already exists", name, kind)
		}
		z.records = append(z.records, rec)
	default:
		if i >= 0 {
			z.records = slices.Delete(z.records, i, i+1)
		}
		z.records = append(z.records, rec)
	}
	return struct{ ChangeInfo changeItem }{info}, nil
}

// knowsName reports whether an alias may point at a name.
func (f *Fake) knowsName(name, zone string) bool {
	for _, e := range f.endpoints {
		if slices.Contains(e.names, dnsName{name, zone}) {
			return true
		}
	}
	return false
}

func getChange(f *Fake, r *request) (any, error) {
	at, ok := f.changes[r.path["Id"]]
	if !ok {
		return nil, cloud.Errorf(404, "NoSuchChange", "A change with the specified change ID does not exist.")
	}
	item := changeItem{"/change/" + r.path["Id"], "PENDING", at.UTC().Format(time.RFC3339)}
	if !r.now.Before(at) {
		item.Status = "INSYNC"
	}
	return struct{ ChangeInfo changeItem }{item}, nil
}

func associate(f *Fake, r *request) (any, error) {
	z, err := f.zone(r)
	if err != nil {
		return nil, err
	}
	v, err := f.vpcOf(r, r.params["VPC.VPCId"], r.params["VPC.VPCRegion"])
	if err != nil {
		return nil, err
	}
	if !z.private {
		return nil, cloud.Errorf(400, "PublicZoneVPCAssociation", "The hosted zone is a public one.")
	}
	if f.conflicts(z.name, v.ID) {
		return nil, cloud.Errorf(400, "ConflictingDomainExists", "The VPC %s in region %s has already been associated with the hosted zone with the same domain name.", v.ID, v.Region)
	}
	info, at := f.changeInfo(r)
	z.vpcs, z.active[v.ID] = append(z.vpcs, v.ID), at
	return struct{ ChangeInfo changeItem }{info}, nil
}

func disassociate(f *Fake, r *request) (any, error) {
	z, err := f.zone(r)
	if err != nil {
		return nil, err
	}
	id := r.params["VPC.VPCId"]
	switch {
	case !slices.Contains(z.vpcs, id):
		return nil, cloud.Errorf(404, "VPCAssociationNotFound", "The VPC: %s is not associated with the hosted zone.", id)
	case len(z.vpcs) == 1:
		return nil, cloud.Errorf(400, "LastVPCAssociation", "The VPC: %s is the last one of the hosted zone.", id)
	}
	z.vpcs = slices.DeleteFunc(z.vpcs, func(v string) bool { return v == id })
	info, _ := f.changeInfo(r)
	return struct{ ChangeInfo changeItem }{info}, nil
}

func deleteZone(f *Fake, r *request) (any, error) {
	z, err := f.zone(r)
	if err != nil {
		return nil, err
	}
	if len(z.records) > 0 || r.now.Before(z.busy) {
		return nil, cloud.Errorf(400, "HostedZoneNotEmpty", "The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
	}
	delete(f.zones, z.id)
	info, _ := f.changeInfo(r)
	return struct{ ChangeInfo changeItem }{info}, nil
}
