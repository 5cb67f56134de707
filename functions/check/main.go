// Command check is the function that answers, at any time, whether a link works.
package main

import (
	"log"

	"eslink/shared/api/check"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Start(check.Function)) }
