// Command nlb-backend is the function of step nlb-backend.
package main

import (
	"log"

	"eslink/shared/steps/nlbbackend"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("nlb-backend", nlbbackend.New)) }
