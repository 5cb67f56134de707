// Command azure-approval is the function of step azure-approval.
package main

import (
	"log"

	"eslink/shared/steps/azureapproval"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("azure-approval", azureapproval.New)) }
