// Command cmd prepares an account for `s deploy`:
//
//	go run ./shared/deploy/cmd plan [set …]    says what up would change
//	go run ./shared/deploy/cmd up [set …]      makes queues, table and roles; again: changes nothing
//	go run ./shared/deploy/cmd down [set …]    removes queues and roles
//	go run ./shared/deploy/cmd down records    removes the table of the run records as well
//	go run ./shared/deploy/cmd render [root]   writes all that is made from the table (go generate ./shared/deploy)
//
// Sets are common, alibaba, azure …; common and alibaba, which are in s.yaml, if none is named.
//
// It reads ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, ALIBABA_CLOUD_SECURITY_TOKEN (if any), and the
// variables of s.yaml: ESLINK_ACCOUNT_ID, ESLINK_REGION, ESLINK_TABLE_INSTANCE, ESLINK_TABLE.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"eslink/shared/deploy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want plan, up, down or render")
	}
	command, args := args[0], args[1:]
	if command == "render" {
		return render(append(args, ".")[0])
	}
	sets, records, err := choose(args)
	if err != nil {
		return err
	}
	t := deploy.Target{
		Region: cmp.Or(os.Getenv("ESLINK_REGION"), "cn-hangzhou"), AccountID: os.Getenv("ESLINK_ACCOUNT_ID"),
		TableInstance: os.Getenv("ESLINK_TABLE_INSTANCE"), Table: cmp.Or(os.Getenv("ESLINK_TABLE"), "eslink"),
	}
	k := deploy.Key{ID: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), Secret: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"), Token: os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN")}
	if t.AccountID == "" || t.TableInstance == "" || k.ID == "" || k.Secret == "" {
		return errors.New("set ESLINK_ACCOUNT_ID, ESLINK_TABLE_INSTANCE, ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET")
	}
	r, err := deploy.Read(t, sets...)
	if err != nil {
		return err
	}
	c, err := deploy.Connect(t, k, nil, nil)
	if err != nil {
		return err
	}
	changes := 0
	log := func(change string) { changes++; fmt.Println(change) }
	switch {
	case command == "plan" || command == "up" && !records:
		err = r.Apply(ctx, c, t, command == "plan", log)
	case command == "down":
		err = r.Remove(ctx, c, t, records, false, log)
	default:
		return fmt.Errorf("%q: want plan, up, down or render", command)
	}
	fmt.Printf("%d changes\n", changes)
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
