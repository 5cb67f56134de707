// Command created is the function that starts a new cluster's run, as its
// profile says.
package main

import (
	"log"

	"eslink/shared/api/created"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Start(created.Function)) }
