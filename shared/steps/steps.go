// Package steps says what every step is made of; each step is a package of its
// own below it, so that a function links its own step and the SDKs of that step
// only.
package steps

import (
	"eslink/shared/aliyun"
	"eslink/shared/run"
)

// Deps is what a function gives its step. A step's New takes it and builds the
// narrow clients that the step asks for.
type Deps struct {
	Cloud aliyun.Config
	// Runs gives a step its locks and rows of its own; the record itself is the
	// engine's to save.
	Runs    *run.Store
	Network Network
}

// Network is where the deployment's functions live: source-side ones in the
// target cluster's VPC, destination-side ones in the instance's. The two are
// equal when the clusters share a VPC.
type Network struct {
	SourceVPC, SourceVSwitch           string
	DestinationVPC, DestinationVSwitch string
}
