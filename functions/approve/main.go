// Command approve is the function that consents to what a run is about to do.
package main

import (
	"log"

	"eslink/shared/api"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Start(api.ApproveFunction)) }
