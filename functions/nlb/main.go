// Command nlb is the function of step nlb.
package main

import (
	"log"

	"eslink/shared/steps/nlb"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("nlb", nlb.New)) }
