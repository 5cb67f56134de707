// Command firewall is the function of step firewall.
package main

import (
	"log"

	"eslink/shared/steps/firewall"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("firewall", firewall.New)) }
