// Command progress is the function of step progress.
package main

import (
	"log"

	"eslink/shared/steps/progress"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("progress", progress.New)) }
