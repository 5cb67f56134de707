// Command clb is the function of step clb.
package main

import (
	"log"

	"eslink/shared/steps/clb"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("clb", clb.New)) }
