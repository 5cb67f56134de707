// Command elastic-survey is the function of step elastic-survey.
package main

import (
	"log"

	"eslink/shared/steps/elasticsurvey"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("elastic-survey", elasticsurvey.New)) }
