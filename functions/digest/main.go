// Command digest is the function of step digest.
package main

import (
	"log"

	"eslink/shared/steps/digest"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("digest", digest.New)) }
