// Command runs is the function that changes runs: start, cancel, retry, teardown,
// throttle, restore; and the profiles of clusters to come.
package main

import (
	"log"

	"eslink/shared/api"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Start(api.RunsFunction)) }
