// Command preflight is the function of step preflight.
package main

import (
	"log"

	"eslink/shared/steps/preflight"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("preflight", preflight.New)) }
