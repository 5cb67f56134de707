package facts_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"eslink/shared/facts"
)

func TestTheLinkAsFarAsItStands(t *testing.T) {
	t.Parallel()
	f := facts.Facts{}
	assert.Equal(t, facts.Link{}, f.Link())
	f.NLB = &facts.NLB{}
	assert.Equal(t, facts.Balancer{Kind: facts.KindNLB}, f.Link().Balancer, "one may have been made")
	f.NLB.ID, f.IPWhitelist, f.NLBBackend = "nlb-1", &facts.IPWhitelist{}, &facts.NLBBackend{ServerGroupID: "sgp-1"}
	assert.False(t, f.Link().Balancer.Backed())
	f.NLBBackend.ListenerID = "lsn-1"
	f.EndpointService, f.PrivateConnection = &facts.EndpointService{}, &facts.PrivateConnection{}
	l := f.Link()
	assert.True(t, l.ServiceAsked && l.EndpointAsked)
	assert.False(t, l.Stands())
	f.EndpointService.ID, f.PrivateConnection.EndpointID, f.Accept = "epsrv-1", "ep-1", &facts.Accept{Domain: "d"}
	assert.Equal(t, facts.Link{Host: "d", Endpoint: "ep-1", Service: "epsrv-1", EndpointAsked: true, ServiceAsked: true,
		Balancer: facts.Balancer{Kind: facts.KindNLB, ID: "nlb-1", Admitted: true, Listeners: []string{"lsn-1"}}}, f.Link())
	assert.True(t, f.Link().Stands())

	f = facts.Facts{CLB: &facts.CLB{ID: "lb-1"}, Firewall: &facts.Firewall{}, CLBBackend: &facts.CLBBackend{Ports: []facts.CLBPort{{Port: 8080}, {Port: 389}}}}
	assert.Equal(t, facts.Balancer{Kind: facts.KindCLB, ID: "lb-1", Admitted: true, Ports: []int{8080, 389}}, f.Link().Balancer)
	assert.True(t, f.Link().Balancer.Listens(389))
	assert.False(t, f.Link().Balancer.Listens(390))
}
