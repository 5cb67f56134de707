// Command cmd deploys eslink with Serverless Devs, and prepares the account for it:
//
//	go run ./shared/deploy/cmd plan [set …]      says what up would change
//	go run ./shared/deploy/cmd up [set …]        makes queues, table and roles; again: changes nothing
//	go run ./shared/deploy/cmd deploy [set …]    up, then `s deploy`
//	go run ./shared/deploy/cmd undeploy [set …]  `s remove`, then down
//	go run ./shared/deploy/cmd down [set …]      removes queues and roles; with records, the table of the run records, too
//	go run ./shared/deploy/cmd render [root]     writes all that is made from the table (go generate ./shared/deploy)
//
// Sets are common, alibaba, azure …; common and alibaba, which are in s.yaml, if none is named. -streams N is how many
// event streams the account may have in the region, after the quota of 50 was raised.
//
// It reads the environment and, where that is silent, .env beside s.yaml (see environment.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"eslink/shared/deploy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := command{root: ".", getenv: os.LookupEnv, out: os.Stdout, s: "s"}
	if err := c.run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A command is one call of this program.
type command struct {
	root   string // the directory of s.yaml and .env
	getenv func(string) (string, bool)
	out    io.Writer
	s      string // the program of Serverless Devs
}

var errUsage = errors.New("want plan, up, deploy, undeploy, down or render")

func (c command) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	name, args := args[0], args[1:]
	if name == "render" {
		return render(append(args, c.root)[0])
	}
	if !slices.Contains([]string{"plan", "up", "deploy", "undeploy", "down"}, name) {
		return errUsage
	}
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	streams := f.Int("streams", 50, "event streams that the account may have in the region")
	if err := f.Parse(args); err != nil {
		return err
	}
	sets, records, err := choose(f.Args())
	if err != nil {
		return err
	}
	e, err := c.environment(sets)
	if err != nil {
		return err
	}
	e.target.Streams = *streams
	r, err := deploy.Read(e.target, sets...)
	if err != nil {
		return err
	}
	clients, err := deploy.Connect(e.target, e.key, e.seam)
	if err != nil {
		return err
	}
	changes := 0
	log := func(change string) { changes++; fmt.Fprintln(c.out, change) }
	switch name {
	case "plan", "up", "deploy":
		err = r.Apply(ctx, clients, e.target, name == "plan", log)
	case "undeploy":
		err = c.removeFunctions(ctx, e, sets)
	}
	if err == nil && (name == "down" || name == "undeploy") {
		err = r.Remove(ctx, clients, e.target, records, false, log)
	}
	fmt.Fprintf(c.out, "%d changes\n", changes)
	if err == nil && name == "deploy" {
		err = c.deployFunctions(ctx, e, sets)
	}
	return err
}

// choose reads which sets are meant, and whether the records are, too.
func choose(args []string) (sets []deploy.Set, records bool, err error) {
	for _, a := range args {
		switch {
		case a == "records":
			records = true
		case slices.Contains(deploy.Sets(), deploy.Set(a)):
			sets = append(sets, deploy.Set(a))
		default:
			return nil, false, fmt.Errorf("%q: want some of %v, or records", a, deploy.Sets())
		}
	}
	if len(sets) == 0 {
		sets = []deploy.Set{deploy.Common, deploy.Alibaba}
	}
	return sets, records, nil
}

// render writes what is made from the table.
func render(root string) error {
	files, err := deploy.Render()
	if err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
