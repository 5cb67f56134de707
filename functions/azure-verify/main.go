// Command azure-verify is the function of step azure-verify.
package main

import (
	"log"

	"eslink/shared/steps/azureverify"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("azure-verify", azureverify.New)) }
