// Command sweep is the function that a timer wakes to send forgotten events
// again.
package main

import (
	"log"

	"eslink/shared/api"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Start(api.SweepFunction)) }
