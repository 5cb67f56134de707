// Command destination is the function of step destination.
package main

import (
	"log"

	"eslink/shared/steps/destination"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("destination", destination.New)) }
