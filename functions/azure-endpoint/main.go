// Command azure-endpoint is the function of step azure-endpoint.
package main

import (
	"log"

	"eslink/shared/steps/azureendpoint"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("azure-endpoint", azureendpoint.New)) }
