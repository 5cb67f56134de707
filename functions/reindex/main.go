// Command reindex is the function of step reindex.
package main

import (
	"log"

	"eslink/shared/steps/reindex"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("reindex", reindex.New)) }
