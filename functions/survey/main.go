// Command survey is the function of step survey.
package main

import (
	"log"

	"eslink/shared/steps/survey"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("survey", survey.New)) }
