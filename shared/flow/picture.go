package flow

// A Part is one thing of a connection, as a picture of it shows it, with the steps
// that make it stand.
type Part struct {
	Name  string   `json:"name"`
	Steps []string `json:"steps"`
}

// The pictures of the connections to a cluster and to an ECS instance.
var (
	clusters = []Part{
		{"source", []string{"ip-whitelist"}},
		{"balancer", []string{"nlb", "nlb-backend"}},
		{"endpoint service", []string{"endpoint-service"}},
		{"endpoint", []string{"private-connection", "accept"}},
		{"destination", []string{"configure"}},
	}
	host = []Part{
		{"ECS host", []string{"firewall"}},
		{"balancer", []string{"clb", "clb-backend"}},
		{"endpoint service", []string{"endpoint-service"}},
		{"endpoint", []string{"private-connection", "accept"}},
		{"cluster", []string{"configure"}},
	}
)
