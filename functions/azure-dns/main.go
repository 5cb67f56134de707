// Command azure-dns is the function of step azure-dns.
package main

import (
	"log"

	"eslink/shared/steps/azuredns"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("azure-dns", azuredns.New)) }
