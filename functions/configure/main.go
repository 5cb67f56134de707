// Command configure is the function of step configure.
package main

import (
	"log"

	"eslink/shared/steps/configure"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("configure", configure.New)) }
