// Command endpoint-service is the function of step endpoint-service.
package main

import (
	"log"

	"eslink/shared/steps/endpointservice"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("endpoint-service", endpointservice.New)) }
