// Command private-whitelist is the function of step private-whitelist.
package main

import (
	"log"

	"eslink/shared/steps/privatewhitelist"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("private-whitelist", privatewhitelist.New)) }
