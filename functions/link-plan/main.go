// Command link-plan is the function of step link-plan.
package main

import (
	"log"

	"eslink/shared/steps/linkplan"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("link-plan", linkplan.New)) }
