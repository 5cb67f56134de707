// Command elastic-policy is the function of step elastic-policy.
package main

import (
	"log"

	"eslink/shared/steps/elasticpolicy"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("elastic-policy", elasticpolicy.New)) }
