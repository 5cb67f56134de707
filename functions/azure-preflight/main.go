// Command azure-preflight is the function of step azure-preflight.
package main

import (
	"log"

	"eslink/shared/steps/azurepreflight"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("azure-preflight", azurepreflight.New)) }
