// Command plan is the function of step plan.
package main

import (
	"log"

	"eslink/shared/steps/plan"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("plan", plan.New)) }
