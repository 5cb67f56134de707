// Command ip-whitelist is the function of step ip-whitelist.
package main

import (
	"log"

	"eslink/shared/steps/ipwhitelist"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("ip-whitelist", ipwhitelist.New)) }
