// Command verify is the function of step verify.
package main

import (
	"log"

	"eslink/shared/steps/verify"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("verify", verify.New)) }
