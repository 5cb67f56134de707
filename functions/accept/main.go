// Command accept is the function of step accept.
package main

import (
	"log"

	"eslink/shared/steps/accept"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("accept", accept.New)) }
