package elasticcloud

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/elastic/cloud-sdk-go/pkg/models"

	"eslink/localtest/fakes/cloud"
	"eslink/shared/elasticcloud"
)

// visibleAfter is how long after it is provisioned a private endpoint is visible to
// Elastic (an assumption: sources only say that it takes a while).
const visibleAfter = 20 * time.Second

func (c *Cloud) info(r *Ruleset, associations bool) *models.TrafficFilterRulesetInfo {
	out := &models.TrafficFilterRulesetInfo{ID: &r.ID, Name: r.Request.Name, Description: r.Request.Description, Region: r.Request.Region, Type: r.Request.Type,
		IncludeByDefault: r.Request.IncludeByDefault, Rules: r.Request.Rules}
	if !associations {
		return out
	}
	kind := "deployment"
	for _, id := range r.Associated {
		out.Associations = append(out.Associations, &models.FilterAssociation{EntityType: &kind, ID: &id})
	}
	out.TotalAssociations = int32(len(r.Associated) + r.Unseen)
	return out
}

func (c *Cloud) ruleset(r *http.Request) (*Ruleset, *cloud.Error) {
	if s, ok := c.rulesets[r.PathValue("id")]; ok {
		return s, nil
	}
	return nil, hidden(r.URL.Path)
}

func (c *Cloud) list(r *http.Request) (int, any, *cloud.Error) {
	q := r.URL.Query()
	list := []*models.TrafficFilterRulesetInfo{}
	for _, id := range slices.Sorted(maps.Keys(c.rulesets)) {
		if s := c.rulesets[id]; q.Get("region") == "" || *s.Request.Region == q.Get("region") {
			list = append(list, c.info(s, q.Get("include_associations") == "true"))
		}
	}
	return 200, models.TrafficFilterRulesets{Rulesets: list}, nil
}

func (c *Cloud) get(r *http.Request) (int, any, *cloud.Error) {
	s, refusal := c.ruleset(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	if s.hidden > 0 {
		s.hidden--
		return 0, nil, hidden(r.URL.Path)
	}
	return 200, c.info(s, r.URL.Query().Get("include_associations") == "true"), nil
}

// check holds rules to what the service sees.
func (c *Cloud) check(in *models.TrafficFilterRulesetRequest) *cloud.Error {
	if len(in.Rules) > 128 {
		return cloud.Errorf(400, "traffic_filter.too_many_rules", "A policy has at most 128 sources.")
	}
	for _, rule := range in.Rules {
		rule.ID = c.account.NewID("", 32)
		if *in.Type != elasticcloud.AzureEndpoint {
			continue
		}
		if rule.AzureEndpointGUID == "" || rule.AzureEndpointName == "" {
			return cloud.Errorf(400, "traffic_filter.invalid_rule", "A rule of this type names a private endpoint by name and GUID.")
		}
		if slices.Contains(c.trouble.ClaimedElsewhere, rule.AzureEndpointGUID) {
			return cloud.Errorf(400, "traffic_filter.link_id_claimed", "The private endpoint is claimed by another organization.")
		}
		if c.named(rule, nil) {
			continue // it was seen before
		}
		s, err := elasticcloud.ServiceOf(*in.Region)
		if err != nil {
			return cloud.Errorf(400, "traffic_filter.invalid_region", "%s", err)
		}
		if len(c.links.Visible(s.Alias, rule.AzureEndpointName, visibleAfter)) == 0 {
			return cloud.Errorf(400, elasticcloud.NotSeen, "The private endpoint connection %s was not found.", rule.AzureEndpointName)
		}
	}
	return nil
}

// named reports whether a policy other than but names a rule's endpoint.
func (c *Cloud) named(rule *models.TrafficFilterRule, but *Ruleset) bool {
	for _, s := range c.rulesets {
		for _, k := range s.Request.Rules {
			if s != but && k.AzureEndpointGUID == rule.AzureEndpointGUID && k.AzureEndpointName == rule.AzureEndpointName {
				return true
			}
		}
	}
	return false
}

// settle approves the connections that rules name and ends those that none does any
// more.
func (c *Cloud) settle(region string, before, after []*models.TrafficFilterRule) {
	s, err := elasticcloud.ServiceOf(region)
	if err != nil {
		return
	}
	for _, k := range after {
		c.links.Decide(s.Alias, k.AzureEndpointName, k.AzureEndpointGUID, "Approved", "approved by policy")
	}
	for _, k := range before {
		if !c.named(k, nil) {
			c.links.Decide(s.Alias, k.AzureEndpointName, k.AzureEndpointGUID, "Disconnected", "no policy names it")
		}
	}
}

func (c *Cloud) create(r *http.Request) (int, any, *cloud.Error) {
	var in models.TrafficFilterRulesetRequest
	if refusal := decode(r, &in); refusal != nil {
		return 0, nil, refusal
	}
	if refusal := c.check(&in); refusal != nil {
		return 0, nil, refusal
	}
	s := &Ruleset{ID: c.account.NewID("", 32), Request: in, born: c.account.Now(), hidden: c.trouble.HiddenReads}
	c.rulesets[s.ID] = s
	c.settle(*in.Region, nil, in.Rules)
	return 201, models.TrafficFilterRulesetResponse{ID: &s.ID}, nil
}

func (c *Cloud) update(r *http.Request) (int, any, *cloud.Error) {
	s, refusal := c.ruleset(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	var in models.TrafficFilterRulesetRequest
	if refusal := decode(r, &in); refusal != nil {
		return 0, nil, refusal
	}
	if *in.Region != *s.Request.Region || *in.Type != *s.Request.Type {
		return 0, nil, cloud.Errorf(400, "traffic_filter.immutable", "Region and type of a policy do not change.")
	}
	if refusal := c.check(&in); refusal != nil {
		return 0, nil, refusal
	}
	before := s.Request.Rules
	s.Request = in // all of it, rules that are left out included
	c.settle(*in.Region, before, in.Rules)
	return 200, models.TrafficFilterRulesetResponse{ID: &s.ID}, nil
}

func (c *Cloud) delete(r *http.Request) (int, any, *cloud.Error) {
	s, refusal := c.ruleset(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	if len(s.Associated)+s.Unseen > 0 && r.URL.Query().Get("ignore_associations") != "true" {
		return 0, nil, cloud.Errorf(409, "traffic_filter.in_use", "The policy is associated with resources.")
	}
	delete(c.rulesets, s.ID)
	c.settle(*s.Request.Region, s.Request.Rules, nil)
	return 200, struct{}{}, nil
}

func (c *Cloud) associate(r *http.Request) (int, any, *cloud.Error) {
	s, refusal := c.ruleset(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	var in models.FilterAssociation
	if refusal := decode(r, &in); refusal != nil {
		return 0, nil, refusal
	}
	d := c.deployments[*in.ID]
	if *in.EntityType != "deployment" || d == nil || d.Hidden {
		return 0, nil, hidden(r.URL.Path)
	}
	if d.Region != *s.Request.Region {
		return 0, nil, cloud.Errorf(400, "traffic_filter.region_mismatch", "The policy is of another region.")
	}
	status := 200
	if !slices.Contains(s.Associated, d.ID) {
		s.Associated, status = append(s.Associated, d.ID), 201
	}
	if c.trouble.AssociateLies {
		return 0, nil, hidden(r.URL.Path)
	}
	return status, struct{}{}, nil
}

func (c *Cloud) disassociate(r *http.Request) (int, any, *cloud.Error) {
	s, refusal := c.ruleset(r)
	if refusal != nil {
		return 0, nil, refusal
	}
	i := slices.Index(s.Associated, r.PathValue("entity"))
	if i < 0 {
		return 0, nil, cloud.Errorf(404, "traffic_filter.not_found", "The association does not exist.")
	}
	s.Associated = slices.Delete(s.Associated, i, i+1)
	return 200, struct{}{}, nil
}

func (c *Cloud) of(r *http.Request) (int, any, *cloud.Error) {
	if r.PathValue("kind") != "deployment" {
		return 0, nil, cloud.Errorf(400, "traffic_filter.invalid_association_type", "The association type is not valid.")
	}
	d := c.deployments[r.PathValue("entity")]
	if d == nil || d.Hidden {
		return 0, nil, hidden(r.URL.Path)
	}
	list := []string{}
	for _, id := range slices.Sorted(maps.Keys(c.rulesets)) {
		if slices.Contains(c.rulesets[id].Associated, d.ID) {
			list = append(list, id)
		}
	}
	return 200, models.TrafficFilterSettings{Rulesets: list}, nil
}

func (c *Cloud) claim(r *http.Request) (int, any, *cloud.Error) {
	var in models.TrafficFilterClaimedLinkIDRequest
	if refusal := decode(r, &in); refusal != nil {
		return 0, nil, refusal
	}
	if slices.Contains(c.trouble.ClaimedElsewhere, in.AzureEndpointGUID) {
		return 0, nil, cloud.Errorf(400, "traffic_filter_claimed_link_id.invalid_input", "The private endpoint is claimed by another organization.")
	}
	for _, k := range c.claims {
		if k.AzureEndpointGUID == in.AzureEndpointGUID {
			return 201, struct{}{}, nil
		}
	}
	c.claims = append(c.claims, models.TrafficFilterClaimedLinkIDInfo{Region: in.Region, AzureEndpointName: in.AzureEndpointName, AzureEndpointGUID: in.AzureEndpointGUID})
	return 201, struct{}{}, nil
}

func (c *Cloud) unclaim(r *http.Request) (int, any, *cloud.Error) {
	var in models.TrafficFilterClaimedLinkIDRequest
	if refusal := decode(r, &in); refusal != nil {
		return 0, nil, refusal
	}
	for i, k := range c.claims {
		if k.AzureEndpointGUID == in.AzureEndpointGUID && k.AzureEndpointName == in.AzureEndpointName && *k.Region == *in.Region {
			c.claims = slices.Delete(c.claims, i, i+1)
			return 200, struct{}{}, nil
		}
	}
	return 0, nil, cloud.Errorf(400, "traffic_filter_claimed_link_id.invalid_input", "There is no such claim.")
}

func (c *Cloud) getDeployment(r *http.Request) (int, any, *cloud.Error) {
	d := c.deployments[r.PathValue("id")]
	if d == nil || d.Hidden {
		return 0, nil, cloud.Errorf(404, "deployments.deployment_not_found", "The Deployment specified by [%s] cannot be found.", r.PathValue("id"))
	}
	status, healthy, ref := "started", true, "main-elasticsearch"
	if d.Status != "" {
		status = d.Status
	}
	domain := ""
	if region := d.Region; len(region) > 6 && region[:6] == "azure-" {
		domain = region[6:] + ".azure.elastic-cloud.com"
	}
	metadata := func(cluster, suffix string) map[string]any {
		m := map[string]any{"endpoint": cluster + "." + domain, "service_url": "https://" + cluster + "." + domain + ":443", "version": 1,
			"last_modified": "2026-01-01T00:00:00.000Z", "services_urls": []any{}, "ports": map[string]any{"http": 80, "https": 443, "transport_passthrough": 9400}}
		if d.Alias != "" {
			m["aliased_endpoint"] = d.Alias + suffix + "." + domain
			m["aliased_url"] = "https://" + d.Alias + suffix + "." + domain
		}
		return m
	}
	apm := metadata("a"+d.ClusterID[1:], ".apm")
	apm["services_urls"] = []any{map[string]any{"service": "apm", "url": "https://" + d.Alias + ".apm." + domain + ":443"}, map[string]any{"service": "fleet", "url": "https://" + d.Alias + ".fleet." + domain + ":443"}}
	resource := func(id string, m map[string]any) []any {
		return []any{map[string]any{"id": id, "ref_id": ref, "region": d.Region, "info": map[string]any{"cluster_id": id, "cluster_name": d.Name, "healthy": healthy, "status": status, "metadata": m}}}
	}
	return 200, map[string]any{"id": d.ID, "name": d.Name, "healthy": healthy, "resources": map[string]any{
		"elasticsearch":       resource(d.ClusterID, metadata(d.ClusterID, ".es")),
		"kibana":              resource("b"+d.ClusterID[1:], metadata("b"+d.ClusterID[1:], ".kb")),
		"integrations_server": resource("a"+d.ClusterID[1:], apm),
	}}, nil
}
