// Command elastic-access is the function of step elastic-access.
package main

import (
	"log"

	"eslink/shared/steps/elasticaccess"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("elastic-access", elasticaccess.New)) }
