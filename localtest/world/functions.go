package world

import (
	"eslink/shared/api"
	"eslink/shared/api/check"
	"eslink/shared/api/created"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/steps/accept"
	"eslink/shared/steps/azureapproval"
	"eslink/shared/steps/azuredns"
	"eslink/shared/steps/azureendpoint"
	"eslink/shared/steps/azurepreflight"
	"eslink/shared/steps/azureprobe"
	"eslink/shared/steps/azureverify"
	"eslink/shared/steps/clb"
	"eslink/shared/steps/clbbackend"
	"eslink/shared/steps/configure"
	"eslink/shared/steps/destination"
	"eslink/shared/steps/digest"
	"eslink/shared/steps/elasticaccess"
	"eslink/shared/steps/elasticpolicy"
	"eslink/shared/steps/elasticsurvey"
	"eslink/shared/steps/endpointservice"
	"eslink/shared/steps/firewall"
	"eslink/shared/steps/ipwhitelist"
	"eslink/shared/steps/linkplan"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/nlbbackend"
	"eslink/shared/steps/plan"
	"eslink/shared/steps/preflight"
	"eslink/shared/steps/privateconnection"
	"eslink/shared/steps/privatewhitelist"
	"eslink/shared/steps/progress"
	"eslink/shared/steps/reindex"
	"eslink/shared/steps/survey"
	"eslink/shared/steps/verify"
	"eslink/shared/wire"
)

// stepFunctions and httpFunctions say what each function's main says: what it
// is made of. A test compares them with the mains.
var stepFunctions = map[string]func(deps.Deps) engine.Step{
	"preflight":          preflight.New,
	"survey":             survey.New,
	"plan":               plan.New,
	"nlb":                nlb.New,
	"ip-whitelist":       ipwhitelist.New,
	"nlb-backend":        nlbbackend.New,
	"clb":                clb.New,
	"firewall":           firewall.New,
	"clb-backend":        clbbackend.New,
	"endpoint-service":   endpointservice.New,
	"private-connection": privateconnection.New,
	"accept":             accept.New,
	"configure":          configure.New,
	"destination":        destination.New,
	"reindex":            reindex.New,
	"progress":           progress.New,
	"digest":             digest.New,
	"verify":             verify.New,
	"private-whitelist":  privatewhitelist.New,
	"azure-preflight":    azurepreflight.New,
	"elastic-survey":     elasticsurvey.New,
	"link-plan":          linkplan.New,
	"azure-endpoint":     azureendpoint.New,
	"azure-dns":          azuredns.New,
	"elastic-policy":     elasticpolicy.New,
	"azure-approval":     azureapproval.New,
	"azure-probe":        azureprobe.New,
	"elastic-access":     elasticaccess.New,
	"azure-verify":       azureverify.New,
}

var otherFunctions = map[string]func(*wire.Function) wire.Handler{
	"runs":    api.RunsFunction,
	"approve": api.ApproveFunction,
	"status":  api.StatusFunction,
	"check":   check.Function,
	"created": created.Function,
	"sweep":   api.SweepFunction,
}

// build is a function's handler, as its main builds it, with its step inside
// around, if there is one.
func build(name string, f *wire.Function, around func(engine.Step) engine.Step) wire.Handler {
	if b, ok := otherFunctions[name]; ok {
		return b(f)
	}
	step := stepFunctions[name]
	if around == nil {
		return f.Step(name, step)
	}
	return f.Step(name, func(d deps.Deps) engine.Step { return around(step(d)) })
}
