package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ram"
)

// identity holds the key against the account that is to be deployed in.
func (c Clients) identity(ctx context.Context, account string) error {
	var who struct{ AccountId string }
	if err := c.call(ctx, "sts.aliyuncs.com", "2015-04-01", "GetCallerIdentity", nil, &who); err != nil {
		return fmt.Errorf("ask whose key this is: %w", may("sts:GetCallerIdentity", err))
	}
	if who.AccountId != account {
		return fmt.Errorf("the key is of account %s, and ESLINK_ACCOUNT_ID says %s", who.AccountId, account)
	}
	return nil
}

// linkedRoles are the service-linked roles that EventBridge needs to call functions, to park dead letters, and to hear
// of the official events of the default bus, and those without which no first NLB and endpoint service is created; by
// service, with the role's name. fc3 makes the former, too, but stops looking at the first of a bus's two, so that
// ActionTrail's may never be made.
var linkedRoles = []struct{ service, role string }{
	{"sendevent-fc.eventbridge.aliyuncs.com", "AliyunServiceRoleForEventBridgeSendToFC"},
	{"sendevent-mns.eventbridge.aliyuncs.com", "AliyunServiceRoleForEventBridgeSendToMNS"},
	{"source-cms.eventbridge.aliyuncs.com", "AliyunServiceRoleForEventBridgeSourceCMS"},
	{"source-actiontrail.eventbridge.aliyuncs.com", "AliyunServiceRoleForEventBridgeSourceActionTrail"},
	{"nlb.aliyuncs.com", "AliyunServiceRoleForNlb"},
	{"privatelink.aliyuncs.com", "AliyunServiceRoleForPrivatelink"},
}

// LinkedRoles lists the services whose service-linked roles a deployment needs.
func LinkedRoles() (services []string) {
	for _, l := range linkedRoles {
		services = append(services, l.service)
	}
	return services
}

func (c Clients) linkedRole(ctx context.Context, service, role string) ([]change, error) {
	get := rpc(ram.CreateGetRoleRequest())
	get.RoleName = role
	_, err := c.RAM.GetRole(get)
	switch {
	case err == nil:
		return nil, nil
	case code(err) != "EntityNotExist.Role":
		return nil, fmt.Errorf("read role %s: %w", role, may("ram:GetRole", err))
	}
	return []change{{"create service-linked role of " + service, func() error {
		err := c.call(ctx, "resourcemanager.aliyuncs.com", "2020-03-31", "CreateServiceLinkedRole", map[string]string{"ServiceName": service}, nil)
		if strings.HasPrefix(code(err), "EntityAlreadyExist") { // under another name than the documented one
			return nil
		}
		return may("ram:CreateServiceLinkedRole", err)
	}}}, nil
}

// instance looks at the Tablestore instance; a missing one is made if create says so, else named.
func (c Clients) instance(ctx context.Context, name string, create bool) ([]change, error) {
	host := "ots." + c.region + ".aliyuncs.com"
	err := c.call(ctx, host, "2016-06-20", "GetInstance", map[string]string{"InstanceName": name}, nil)
	switch {
	case err == nil:
		return nil, nil
	case code(err) != "NotFound":
		return nil, fmt.Errorf("read tablestore instance %s: %w", name, may("ots:GetInstance", err))
	case !create:
		return nil, fmt.Errorf("tablestore instance %s is missing: make it, or set ESLINK_CREATE_TABLE_INSTANCE=true", name)
	}
	return []change{{"create tablestore instance " + name, func() error {
		err := c.call(ctx, host, "2016-06-20", "InsertInstance", map[string]string{"InstanceName": name, "ClusterType": "SSD", "Description": Mark}, nil)
		if code(err) == "ResourceAlreadyExist" {
			return fmt.Errorf("%w: the name is another account's; choose another ESLINK_TABLE_INSTANCE", err)
		}
		return may("ots:InsertInstance", err)
	}}}, nil
}

// ErrStreams says that the region has no room for the event streams of the functions.
var ErrStreams = errors.New("too many event streams")

// streams counts the region's event streams, and with them those that are wanted and missing. A function's stream is
// found by the names that the platform and fc3 give them, which hold the function's and the trigger's.
func (c Clients) streams(ctx context.Context, functions []Function, limit int) error {
	host := "eventbridge-console." + c.region + ".aliyuncs.com"
	var names []string
	for token := ""; ; {
		var page struct {
			Data struct {
				EventStreamings []struct{ EventStreamingName string }
				NextToken       string
			}
		}
		params := map[string]string{"Limit": "100"}
		if token != "" {
			params["NextToken"] = token
		}
		if err := c.form(ctx, host, "2020-04-01", "ListEventStreamings", params, &page); err != nil {
			return fmt.Errorf("list event streams: %w", may("eventbridge:ListEventStreamings", err))
		}
		for _, s := range page.Data.EventStreamings {
			names = append(names, s.EventStreamingName)
		}
		if token = page.Data.NextToken; token == "" {
			break
		}
	}
	wanted := 0
	for _, f := range functions {
		has := false
		for _, n := range names {
			has = has || strings.HasSuffix(n, f.Deployed()+"-queue")
		}
		if f.Step() && !has {
			wanted++
		}
	}
	if len(names)+wanted > limit {
		return fmt.Errorf("%w: region %s has %d, the functions need %d more, and the limit is %d: have the quota raised, then say -streams N", ErrStreams, c.region, len(names), wanted, limit)
	}
	return nil
}
