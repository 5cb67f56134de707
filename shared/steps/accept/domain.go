package accept

import (
	"fmt"
	"regexp"
	"strings"
)

// regional is an endpoint's domain for all zones, the only form that the
// reindex whitelist may hold.
var regional = regexp.MustCompile(`^ep-[0-9a-z]+\.epsrv-[0-9a-z]+\.[a-z0-9-]+\.privatelink\.aliyuncs\.com$`)

// domainOf returns the domain of an endpoint without a zone segment. It is built
// from the IDs, and what the cloud reports (<endpoint>[-<zone>].<service>.…, or
// nothing yet) must agree with that: another naming would make a whitelist entry
// that admits nothing, or something else.
func domainOf(endpointID, serviceID, region, reported string) (string, error) {
	domain := fmt.Sprintf("%s.%s.%s.privatelink.aliyuncs.com", endpointID, serviceID, region)
	if !regional.MatchString(domain) {
		return "", fmt.Errorf("%q is not an endpoint domain", domain)
	}
	first, rest, _ := strings.Cut(reported, ".")
	zone, ok := strings.CutPrefix(first, endpointID)
	if reported != "" && (!ok || zone != "" && !strings.HasPrefix(zone, "-"+region+"-") || endpointID+"."+rest != domain) {
		return "", fmt.Errorf("endpoint %s reports the domain %q, which is not of the form %s", endpointID, reported, domain)
	}
	return domain, nil
}
