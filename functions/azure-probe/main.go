// Command azure-probe is the function of step azure-probe.
package main

import (
	"log"

	"eslink/shared/steps/azureprobe"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("azure-probe", azureprobe.New)) }
