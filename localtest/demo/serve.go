package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/world"
	"eslink/shared/eslink/functions"
)

// place is what serve prints first: where everything is.
type place struct {
	Region          string            `json:"region"`
	AccountID       string            `json:"accountId"`
	AccessKeyID     string            `json:"accessKeyId"`
	AccessKeySecret string            `json:"accessKeySecret"`
	SecurityToken   string            `json:"securityToken"`
	Endpoints       map[string]string `json:"endpoints"`
	Invoke          string            `json:"invoke"` // Function Compute's API
	Functions       map[string]string `json:"functions"`
	Clusters        []cluster         `json:"clusters"`
	VPCs            []vpcPlace        `json:"vpcs"`
}

type cluster struct {
	InstanceID string   `json:"instanceId"`
	URL        string   `json:"url"`
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	Version    string   `json:"version"`
	VpcID      string   `json:"vpcId"`
	ZoneIDs    []string `json:"zoneIds"`
}

type vpcPlace struct {
	VpcID     string         `json:"vpcId"`
	VSwitches []vswitchPlace `json:"vswitches"`
}

type vswitchPlace struct {
	VSwitchID string `json:"vSwitchId"`
	ZoneID    string `json:"zoneId"`
}

// Serve keeps the local cloud up until it is interrupted. Its first line on
// standard output is one JSON object.
func Serve(ctx context.Context, args []string) error {
	o := options{elasticsearch: "fake"}
	f := o.flags("serve")
	f.StringVar(&o.elasticsearch, "elasticsearch", "fake", "fake or real")
	if err := o.parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("serve takes no argument %q", f.Arg(0))
	}
	w, release, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := w.SeedProducts(""); err != nil {
		return err
	}
	output := io.Discard
	if o.verbose {
		output = os.Stderr
	}
	fmt.Fprintf(os.Stderr, "building the functions and a cloud around them (its clock runs %g times faster) …\n", o.rate)
	d, err := world.Deploy(ctx, w, output)
	if err != nil {
		return err
	}
	defer d.Close()
	d.Run()
	key, err := guest(d)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(where(d, key))
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find the user's cache directory: %w", err)
	}
	forget, err := announce(d, key, cache)
	if err != nil {
		return err
	}
	defer forget()
	fmt.Println(string(raw))
	fmt.Fprintln(os.Stderr, "The local cloud is up, until it is interrupted. In another terminal:\n  go run ./shared/eslink init es-to-es\n  go run ./shared/eslink --local start -f es-to-es.yaml --watch")
	<-ctx.Done()
	return nil
}

// announce leaves the address and a key where the command eslink looks for them.
func announce(d *world.Deployment, key cloud.Credentials, cache string) (forget func(), err error) {
	return functions.WriteAddress(cache, functions.Address{Endpoint: d.InvokeURL, Region: world.Region, AccountID: world.AccountID,
		AccessKeyID: key.AccessKeyID, AccessKeySecret: key.AccessKeySecret, SecurityToken: key.SecurityToken})
}

// guest is a key that may do everything. It is a temporary one, as those of a
// role are, because that is what needs care in a client.
func guest(d *world.Deployment) (cloud.Credentials, error) {
	const role = "guest"
	all := cloud.Policy{Version: "1", Statement: []cloud.Statement{{Effect: "Allow", Action: cloud.Strings{"*"}, Resource: cloud.Strings{"*"}}}}
	if err := d.Account.AddRole(role, all); err != nil {
		return cloud.Credentials{}, err
	}
	return d.Account.AssumeRole(role, d.Clock.Now().AddDate(100, 0, 0)), nil // valid however fast the clock runs
}

func where(d *world.Deployment, key cloud.Credentials) place {
	p := place{Region: world.Region, AccountID: world.AccountID, AccessKeyID: key.AccessKeyID, AccessKeySecret: key.AccessKeySecret,
		SecurityToken: key.SecurityToken, Endpoints: d.Endpoints, Invoke: d.InvokeURL, Functions: map[string]string{}}
	for name, url := range d.FunctionURLs {
		p.Functions[strings.TrimPrefix(name, "eslink-")] = url
	}
	vpcs := map[string]bool{}
	for _, in := range d.Clusters.Instances() {
		p.Clusters = append(p.Clusters, cluster{in.ID, d.ClusterURLs[in.ID], "elastic", world.InstancePassword, d.Version, in.VPCID, in.Zones})
		if vpcs[in.VPCID] {
			continue
		}
		vpcs[in.VPCID] = true
		v := vpcPlace{VpcID: in.VPCID}
		for _, sw := range d.Networks.VSwitches(in.VPCID) {
			v.VSwitches = append(v.VSwitches, vswitchPlace{sw.ID, sw.ZoneID})
		}
		p.VPCs = append(p.VPCs, v)
	}
	return p
}
