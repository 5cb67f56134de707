package elasticcloud

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/elastic/cloud-sdk-go/pkg/models"
)

// AzureEndpoint is the type of a ruleset whose rules are private endpoints of Azure.
const AzureEndpoint = "azure_private_endpoint"

// deployment is the entity type of an association.
const deployment = "deployment"

// Ruleset is a policy. A policy of type AzureEndpoint admits what comes through the
// private endpoints that its rules name.
type Ruleset struct {
	ID, Name, Description, Region, Type string
	// IncludeByDefault attaches it to every new deployment of its region.
	IncludeByDefault bool
	Rules            []Rule
	// Deployments are those associated that the key may see, of Total in all.
	Deployments []string
	Total       int
}

// Rule is one source that a policy admits. raw is kept whole, so that what this
// package does not know survives an update.
type Rule struct {
	ID, EndpointName, EndpointGUID, Description, Source string

	raw models.TrafficFilterRule
}

// AzureRule is the rule that admits a private endpoint.
func AzureRule(name, guid, description string) Rule {
	return Rule{EndpointName: name, EndpointGUID: guid, Description: description,
		raw: models.TrafficFilterRule{AzureEndpointName: name, AzureEndpointGUID: guid, Description: description}}
}

// Holds reports whether a rule names exactly this private endpoint.
func (r Ruleset) Holds(name, guid string) bool {
	for _, k := range r.Rules {
		if k.EndpointName == name && k.EndpointGUID == guid {
			return true
		}
	}
	return false
}

func ruleset(m *models.TrafficFilterRulesetInfo) Ruleset {
	r := Ruleset{ID: value(m.ID), Name: value(m.Name), Description: m.Description, Region: value(m.Region), Type: value(m.Type),
		IncludeByDefault: value(m.IncludeByDefault), Total: int(m.TotalAssociations)}
	for _, k := range m.Rules {
		if k != nil {
			r.Rules = append(r.Rules, Rule{ID: k.ID, EndpointName: k.AzureEndpointName, EndpointGUID: k.AzureEndpointGUID, Description: k.Description, Source: k.Source, raw: *k})
		}
	}
	for _, a := range m.Associations {
		if a != nil && value(a.EntityType) == deployment {
			r.Deployments = append(r.Deployments, value(a.ID))
		}
	}
	r.Total = max(r.Total, len(m.Associations))
	return r
}

func (r Ruleset) request() *models.TrafficFilterRulesetRequest {
	m := &models.TrafficFilterRulesetRequest{Name: &r.Name, Description: r.Description, Region: &r.Region, Type: &r.Type,
		IncludeByDefault: &r.IncludeByDefault, Rules: []*models.TrafficFilterRule{}}
	for _, k := range r.Rules {
		raw := k.raw
		m.Rules = append(m.Rules, &raw)
	}
	return m
}

// Rulesets lists the policies of a region, with their associations; GET
// /deployments/traffic-filter/rulesets.
func (c *Client) Rulesets(ctx context.Context, region string) ([]Ruleset, error) {
	var out models.TrafficFilterRulesets
	if err := c.call(ctx, "ListRulesets", http.MethodGet, "/deployments/traffic-filter/rulesets"+query("include_associations", "true", "region", region), nil, &out); err != nil {
		return nil, fmt.Errorf("list policies of %s: %w", region, err)
	}
	var list []Ruleset
	for _, m := range out.Rulesets {
		if m != nil {
			list = append(list, ruleset(m))
		}
	}
	return list, nil
}

// Ruleset reads a policy with its associations; GET …/rulesets/{id}. The API says of
// one that was just created, for a while, that it may not be seen: see IsHidden.
func (c *Client) Ruleset(ctx context.Context, id string) (Ruleset, error) {
	var out models.TrafficFilterRulesetInfo
	if err := c.call(ctx, "GetRuleset", http.MethodGet, "/deployments/traffic-filter/rulesets/"+url.PathEscape(id)+query("include_associations", "true"), nil, &out); err != nil {
		return Ruleset{}, fmt.Errorf("get policy %s: %w", id, err)
	}
	return ruleset(&out), nil
}

// CreateRuleset creates a policy and returns its ID; POST …/rulesets. There is no
// idempotency token and names need not differ: list before repeating it.
func (c *Client) CreateRuleset(ctx context.Context, r Ruleset) (string, error) {
	var out models.TrafficFilterRulesetResponse
	if err := c.call(ctx, "CreateRuleset", http.MethodPost, "/deployments/traffic-filter/rulesets", r.request(), &out); err != nil {
		return "", fmt.Errorf("create policy %s: %w", r.Name, err)
	}
	return value(out.ID), nil
}

// UpdateRuleset replaces a policy, all of its rules included; PUT …/rulesets/{id}.
// Rules get new IDs.
func (c *Client) UpdateRuleset(ctx context.Context, r Ruleset) error {
	if err := c.call(ctx, "UpdateRuleset", http.MethodPut, "/deployments/traffic-filter/rulesets/"+url.PathEscape(r.ID), r.request(), nil); err != nil {
		return fmt.Errorf("update policy %s: %w", r.ID, err)
	}
	return nil
}

// DeleteRuleset deletes a policy that nothing is associated with; DELETE
// …/rulesets/{id}, never with ignore_associations.
func (c *Client) DeleteRuleset(ctx context.Context, id string) error {
	if err := c.call(ctx, "DeleteRuleset", http.MethodDelete, "/deployments/traffic-filter/rulesets/"+url.PathEscape(id)+query("ignore_associations", "false"), nil, nil); err != nil {
		return fmt.Errorf("delete policy %s: %w", id, err)
	}
	return nil
}

// Associate has a policy filter a deployment's traffic; POST
// …/rulesets/{id}/associations. Repeating it is no error.
func (c *Client) Associate(ctx context.Context, rulesetID, deploymentID string) error {
	kind := deployment
	if err := c.call(ctx, "Associate", http.MethodPost, "/deployments/traffic-filter/rulesets/"+url.PathEscape(rulesetID)+"/associations",
		&models.FilterAssociation{EntityType: &kind, ID: &deploymentID}, nil); err != nil {
		return fmt.Errorf("associate policy %s with deployment %s: %w", rulesetID, deploymentID, err)
	}
	return nil
}

// Disassociate ends that; DELETE …/associations/deployment/{id}.
func (c *Client) Disassociate(ctx context.Context, rulesetID, deploymentID string) error {
	if err := c.call(ctx, "Disassociate", http.MethodDelete, "/deployments/traffic-filter/rulesets/"+url.PathEscape(rulesetID)+"/associations/"+deployment+"/"+url.PathEscape(deploymentID), nil, nil); err != nil {
		return fmt.Errorf("disassociate policy %s from deployment %s: %w", rulesetID, deploymentID, err)
	}
	return nil
}

// RulesetsOf lists the IDs of the policies associated with a deployment, of every
// type; GET …/associations/deployment/{id}/rulesets.
func (c *Client) RulesetsOf(ctx context.Context, deploymentID string) ([]string, error) {
	var out models.TrafficFilterSettings
	if err := c.call(ctx, "ListDeploymentRulesets", http.MethodGet, "/deployments/traffic-filter/associations/"+deployment+"/"+url.PathEscape(deploymentID)+"/rulesets", nil, &out); err != nil {
		return nil, fmt.Errorf("list policies of deployment %s: %w", deploymentID, err)
	}
	return out.Rulesets, nil
}

// Claim is a private endpoint that this organization alone may use in policies.
type Claim struct{ Region, EndpointName, EndpointGUID string }

func (c Claim) request() *models.TrafficFilterClaimedLinkIDRequest {
	return &models.TrafficFilterClaimedLinkIDRequest{Region: &c.Region, AzureEndpointName: c.EndpointName, AzureEndpointGUID: c.EndpointGUID}
}

// Claims lists the organization's claims of a region; GET …/link-ids.
func (c *Client) Claims(ctx context.Context, region string) ([]Claim, error) {
	var out models.TrafficFilterClaimedLinkIds
	if err := c.call(ctx, "ListClaims", http.MethodGet, "/deployments/traffic-filter/link-ids"+query("region", region), nil, &out); err != nil {
		return nil, fmt.Errorf("list claims of %s: %w", region, err)
	}
	var list []Claim
	for _, m := range out.ClaimedLinkIds {
		if m != nil {
			list = append(list, Claim{value(m.Region), m.AzureEndpointName, m.AzureEndpointGUID})
		}
	}
	return list, nil
}

// Claim claims a private endpoint; POST …/link-ids/_claim.
func (c *Client) Claim(ctx context.Context, k Claim) error {
	if err := c.call(ctx, "Claim", http.MethodPost, "/deployments/traffic-filter/link-ids/_claim", k.request(), nil); err != nil {
		return fmt.Errorf("claim private endpoint %s: %w", k.EndpointName, err)
	}
	return nil
}

// Unclaim ends a claim; POST …/link-ids/_unclaim.
func (c *Client) Unclaim(ctx context.Context, k Claim) error {
	if err := c.call(ctx, "Unclaim", http.MethodPost, "/deployments/traffic-filter/link-ids/_unclaim", k.request(), nil); err != nil {
		return fmt.Errorf("give up the claim of private endpoint %s: %w", k.EndpointName, err)
	}
	return nil
}
