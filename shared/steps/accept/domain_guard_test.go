package accept

import "testing"

// A reported name that lacks the endpoint's ID is of another form.
func TestADomainNamesItsEndpoint(t *testing.T) {
	t.Parallel()
	for _, reported := range []string{".epsrv-1.cn-hangzhou.privatelink.aliyuncs.com", "-cn-hangzhou-i.epsrv-1.cn-hangzhou.privatelink.aliyuncs.com"} {
		if domain, err := domainOf("ep-1", "epsrv-1", "cn-hangzhou", reported); err == nil {
			t.Errorf("%s gives %s", reported, domain)
		}
	}
}
