package flow

// A Part is one thing of a connection, as a picture of it shows it, with the steps
// that make it stand. A part without steps is there before the run.
type Part struct {
	Name  string   `json:"name"`
	Steps []string `json:"steps"`
}

// Picture lists the parts of a scenario's connection from what is reached to who
// reaches it, which is the way that copied documents take; empty if there is none.
func Picture(scenario string) []Part { return pictures[scenario] }

var pictures = map[string][]Part{
	ESToES: {
		{"source", []string{"ip-whitelist"}},
		{"balancer", []string{"nlb", "nlb-backend"}},
		{"endpoint service", []string{"endpoint-service"}},
		{"endpoint", []string{"private-connection", "accept"}},
		{"destination", []string{"configure"}},
	},
	ESToECS: {
		{"ECS host", []string{"firewall"}},
		{"balancer", []string{"clb", "clb-backend"}},
		{"endpoint service", []string{"endpoint-service"}},
		{"endpoint", []string{"private-connection", "accept"}},
		{"cluster", []string{"configure"}},
	},
}
