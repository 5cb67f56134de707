// Command private-connection is the function of step private-connection.
package main

import (
	"log"

	"eslink/shared/steps/privateconnection"
	"eslink/shared/wire"
)

func main() { log.Fatal(wire.Step("private-connection", privateconnection.New)) }
