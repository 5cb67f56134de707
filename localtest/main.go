// Command localtest runs eslink without an account: the compiled functions that
// `s deploy` would upload, woken by events alone, over a local cloud that can
// say no.
//
//	go run ./localtest demo      connect two clusters, copy, prove, walk again, tear down
//	go run ./localtest serve     keep that cloud up, for any official SDK
//	go run ./localtest replay    feed recorded events to the functions
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"eslink/localtest/demo"
)

const usage = `usage: go run ./localtest demo|serve|replay [flags]
  demo    connect two clusters, copy, prove, walk again, tear down
  serve   keep the local cloud up; its first line says where everything is
  replay  FILE…  feed recorded or sample events to the functions, in that order
each has -h`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends it at once
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "localtest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{"demo": demo.Demo, "serve": demo.Serve, "replay": demo.Replay}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New(usage)
	}
	return commands[args[0]](ctx, args[1:])
}
