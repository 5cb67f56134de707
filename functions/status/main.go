// Command status is the function that reads runs.
package main

import (
	"log"

	"eslink/shared/api"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Start(api.StatusFunction)) }
