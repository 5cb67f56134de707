// Command clb-backend is the function of step clb-backend.
package main

import (
	"log"

	"eslink/shared/steps/clbbackend"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("clb-backend", clbbackend.New)) }
