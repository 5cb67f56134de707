package deploy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A role names operations of products whose resources are known.
func TestAPolicyIsOfPlainOperations(t *testing.T) {
	t.Parallel()
	resources := map[string]string{"nlb": "acs:nlb:*"}
	_, err := policy([]string{"nlb:CreateLoadBalancer"}, nil, resources, strings.NewReplacer())
	assert.NoError(t, err)
	for _, action := range []string{"nlb:*", "nlb:Create?", "nlb:", "nlb", "ram:CreateRole"} {
		_, err := policy([]string{action}, nil, resources, strings.NewReplacer())
		assert.ErrorContains(t, err, action)
	}
}
