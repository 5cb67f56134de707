package elasticcloud_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/elasticcloud"
)

// The invariants that all rows of Elastic's table have: they catch a typo, and a row
// that got another region's zone (terraform-provider-ec, issue 582).
func TestRegionTable(t *testing.T) {
	t.Parallel()
	require.Len(t, elasticcloud.Regions(), 16)
	alias := regexp.MustCompile(`^([a-z0-9]+)-prod-(\d{3})-privatelink-service\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.([a-z0-9]+)\.azure\.privatelinkservice$`)
	numbers := map[string]bool{}
	for _, region := range elasticcloud.Regions() {
		s, err := elasticcloud.ServiceOf(region)
		require.NoError(t, err)
		name := strings.TrimPrefix(region, "azure-")
		m := alias.FindStringSubmatch(s.Alias)
		require.NotNil(t, m, s.Alias)
		assert.Equal(t, []string{name, name}, []string{m[1], m[4]})
		assert.Equal(t, "privatelink."+name+".azure.elastic-cloud.com", s.Zone)
		assert.False(t, numbers[m[2]], "number %s twice", m[2])
		assert.True(t, m[2] >= "001" && m[2] <= "016")
		numbers[m[2]] = true
		assert.False(t, s.Serverless())
	}
}

func TestRegionsThatAreNotThere(t *testing.T) {
	t.Parallel()
	_, err := elasticcloud.ServiceOf("azure-moon1")
	assert.ErrorContains(t, err, "elastic.service")
	_, err = elasticcloud.ServiceOf("aws-us-east-1")
	assert.ErrorContains(t, err, "not one of Azure")
	assert.True(t, elasticcloud.Service{Alias: "eastus-prod-privatelink-serverless.x.eastus.azure.privatelinkservice"}.Serverless())
	assert.True(t, elasticcloud.Service{Zone: "private.eastus.azure.elastic.cloud"}.Serverless())
}

func TestPrivateNames(t *testing.T) {
	t.Parallel()
	s, err := elasticcloud.ServiceOf("azure-eastus2")
	require.NoError(t, err)
	host, err := s.Private("my-deployment-d53192.es.eastus2.azure.elastic-cloud.com")
	require.NoError(t, err)
	assert.Equal(t, "my-deployment-d53192.es.privatelink.eastus2.azure.elastic-cloud.com", host)
	for _, other := range []string{"a.es.westus2.azure.elastic-cloud.com", "eastus2.azure.elastic-cloud.com", ".eastus2.azure.elastic-cloud.com", ""} {
		_, err := s.Private(other)
		assert.Error(t, err, other)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	k, err := elasticcloud.ParseKey(`{"apiKey":"canary"}`)
	require.NoError(t, err)
	assert.NotContains(t, k.String()+k.GoString(), "canary")
	for _, value := range []string{"", "canary", `{"apiKey":""}`, `{"apiKey":"canary\nX-Other: 1"}`} {
		_, err := elasticcloud.ParseKey(value)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "canary")
	}
}
