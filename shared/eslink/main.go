// Command eslink starts, watches, approves, checks and removes runs, in the cloud
// or in a local one (--local). It calls the deployed functions by InvokeFunction,
// with the caller's own credentials; `eslink help` lists what there is.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"eslink/shared/eslink/commands"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends it at once
	os.Exit(commands.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
