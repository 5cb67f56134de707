package escluster

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
)

const stamp = "2006-01-02T15:04:05.000Z"

func (f *Fake) describeInstance(r *cloud.Request) (any, error) {
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	endpoints := []any{}
	if len(i.Addresses) > 1 {
		for _, a := range i.Addresses {
			endpoints = append(endpoints, map[string]any{"endpoint": a.Domain(i.ID), "vswitchId": a.VSwitchID, "zoneId": a.ZoneID})
		}
	}
	d := i.describe()
	d["endpoints"] = endpoints // not in the replies of writes
	return map[string]any{"Result": d}, nil
}

// describe is the instance as DescribeInstance and the writes that return it show it. privateNetworkIpWhiteList is the
// default group, as in the document's sample.
func (i *instance) describe() map[string]any {
	zones := []any{}
	for _, z := range i.Zones {
		zones = append(zones, map[string]any{"zoneId": z, "status": "NORMAL"})
	}
	config := map[string]string{}
	for k, v := range i.Config {
		config[k] = v
	}
	d := map[string]any{
		"instanceId": i.ID, "description": i.Description, "esVersion": i.Version, "version": i.Version, "archType": i.ArchType,
		"serviceVpc": !i.OldNetwork, "isNewDeployment": i.ArchType == "public", "protocol": i.Protocol, "status": i.status(), "inited": !i.creating(),
		"domain": i.Domain(), "port": Port, "zoneCount": len(i.Zones), "zoneInfos": zones,
		"networkConfig": map[string]any{
			"type": "vpc", "vpcId": i.VPCID, "vswitchId": i.VSwitchID, "vsArea": i.Zones[0], "whiteIpGroupList": i.groups,
		},
		"privateNetworkIpWhiteList": group(i.groups, "default", "PRIVATE_ES").IPs, "publicIpWhitelist": group(i.groups, "default", "PUBLIC_ES").IPs,
		"esConfig": config, "nodeAmount": i.Nodes, "nodeSpec": map[string]any{"spec": "elasticsearch.sn2ne.large", "disk": 20, "diskType": "cloud_ssd"},
		"paymentType": "postpaid", "postpaidServiceStatus": "active", "enablePublic": false, "haveKibana": true, "instanceType": "elasticsearch",
		"instanceCategory": "x-pack", "tags": resource.TagList(i.Tags, "tagKey", "tagValue"), "createdAt": i.created.UTC().Format(stamp), "updatedAt": i.updated.UTC().Format(stamp),
	}
	if i.status() == "invalid" {
		delete(d, "domain") // such instances lack fields like this
	}
	return d
}

// page cuts the page that the query asks for: from 1, of size 1 to 100.
func page(r *cloud.Request, all []any, standard int) ([]any, error) {
	number, size := 1, standard
	for name, into := range map[string]*int{"page": &number, "size": &size} {
		if s := r.Get(name); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 || name == "size" && n > 100 {
				return nil, invalid("%s %s", name, s)
			}
			*into = n
		}
	}
	from := min((number-1)*size, len(all))
	return all[from:min(from+size, len(all))], nil
}

func invalid(format string, args ...any) error {
	return cloud.Errorf(http.StatusBadRequest, "InvalidParameter", "The parameter is invalid: %s.", fmt.Sprintf(format, args...))
}

func (f *Fake) listInstance(r *cloud.Request) (any, error) {
	if err := r.Only("description", "esVersion", "instanceId", "vpcId", "zoneId", "status", "page", "size"); err != nil {
		return nil, err
	}
	found := []any{}
	for _, i := range f.instances {
		if i.lag.Listed(f.account.Now()) && strings.Contains(i.Description, r.Get("description")) && is(r, "esVersion", i.Version) && is(r, "instanceId", i.ID) &&
			is(r, "vpcId", i.VPCID) && is(r, "status", i.status()) && (r.Get("zoneId") == "" || slices.Contains(i.Zones, r.Get("zoneId"))) {
			d := i.describe()
			d["isNewDeployment"] = strconv.FormatBool(i.ArchType == "public") // a string here, a bool in DescribeInstance
			for _, name := range []string{"esConfig", "zoneInfos", "domain", "port", "protocol", "inited"} {
				delete(d, name)
			}
			found = append(found, d)
		}
	}
	items, err := page(r, found, 10)
	return map[string]any{"Result": items, "Headers": map[string]any{"X-Total-Count": len(found)}}, err
}

func is(r *cloud.Request, name, value string) bool { return r.Get(name) == "" || r.Get(name) == value }

func (f *Fake) listAllNode(r *cloud.Request) (any, error) {
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	nodes := []any{}
	for n := range i.Nodes {
		health := "GREEN"
		if c := i.change(); c != nil && c.config != nil && n == c.complete(i, f.account.Now()) {
			health = "GRAY" // the one that restarts
		}
		// Addresses in the service VPC, which nobody else can reach.
		nodes = append(nodes, map[string]any{
			"host": fmt.Sprintf("10.15.%d.%d", len(i.ID), 60+n), "port": Port, "nodeType": "WORKER", "zoneId": i.Zones[n%len(i.Zones)], "health": health,
		})
	}
	return map[string]any{"Result": nodes}, nil
}

func (f *Fake) describeHealth(r *cloud.Request) (any, error) {
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	health := i.Health
	if c := i.change(); c != nil && c.config != nil && health == "GREEN" {
		health = map[bool]string{true: "YELLOW", false: "RED"}[i.Nodes > 1]
	}
	return map[string]any{"Result": health}, nil
}

// complete is how many of the nodes have been restarted.
func (c *change) complete(i *instance, now time.Time) int {
	switch total := c.until.Sub(c.from); {
	case c.done:
		return i.Nodes
	case total <= 0 || !now.Before(c.until): // waits for the last one
		return i.Nodes - 1
	default:
		return int(float64(now.Sub(c.from)) / float64(total) * float64(i.Nodes))
	}
}

func (f *Fake) listActionRecords(r *cloud.Request) (any, error) {
	if err := r.Only("InstanceId", "actionNames", "startTime", "endTime", "requestId", "page", "size"); err != nil {
		return nil, err
	}
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	var from, until int64 = 0, 1<<63 - 1
	for name, into := range map[string]*int64{"startTime": &from, "endTime": &until} {
		if s := r.Get(name); s != "" {
			if *into, err = strconv.ParseInt(s, 10, 64); err != nil {
				return nil, invalid("%s %s", name, s)
			}
		}
	}
	records := []any{}
	for _, c := range slices.Backward(i.changes) {
		if t := c.from.UnixMilli(); t < from || t > until || !is(r, "requestId", c.id) ||
			r.Get("actionNames") != "" && !slices.Contains(strings.Split(r.Get("actionNames"), ","), c.action) {
			continue
		}
		state, process, end := "ACTIVATING", c.complete(i, f.account.Now())*100/i.Nodes, int64(0)
		if c.done {
			state, end = "FINISHED", c.until.UnixMilli()
		}
		record := map[string]any{
			"actionName": c.action, "stateType": state, "requestId": c.id, "process": fmt.Sprintf("%d%%", process), "instanceId": i.ID,
			"userId": c.user, "startTime": c.from.UnixMilli(), "endTime": end, "statusInfo": []any{},
		}
		if c.config != nil {
			record["statusInfo"] = []any{map[string]any{
				"subState": "RollingRestart", "stateType": state, "process": record["process"], "nodeCount": i.Nodes,
				"completeNodeCount": c.complete(i, f.account.Now()), "exception": c.exception, "startTime": c.from.UnixMilli(), "endTime": end, "subStatusInfo": []any{},
			}}
		}
		records = append(records, record)
	}
	items, err := page(r, records, 10)
	return map[string]any{"Result": items}, err
}
