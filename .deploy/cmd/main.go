// Command cmd prepares an account for `s deploy`:
//
//	go run ./.deploy/cmd plan            says what up would change
//	go run ./.deploy/cmd up              makes queues, table and roles; again: changes nothing
//	go run ./.deploy/cmd down            removes queues and roles
//	go run ./.deploy/cmd down records    removes the table of the run records as well
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
	"strings"

	deploy "eslink/.deploy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, strings.Join(os.Args[1:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command string) error {
	t := deploy.Target{
		Region: cmp.Or(os.Getenv("ESLINK_REGION"), "cn-hangzhou"), AccountID: os.Getenv("ESLINK_ACCOUNT_ID"),
		TableInstance: cmp.Or(os.Getenv("ESLINK_TABLE_INSTANCE"), "eslink"), Table: cmp.Or(os.Getenv("ESLINK_TABLE"), "eslink"),
	}
	k := deploy.Key{ID: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), Secret: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"), Token: os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN")}
	if t.AccountID == "" || k.ID == "" || k.Secret == "" {
		return errors.New("set ESLINK_ACCOUNT_ID, ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET")
	}
	s, err := deploy.Read(t)
	if err != nil {
		return err
	}
	c, err := deploy.Connect(t, k, nil, nil)
	if err != nil {
		return err
	}
	changes := 0
	log := func(change string) { changes++; fmt.Println(change) }
	switch command {
	case "plan", "up":
		err = s.Apply(ctx, c, t, command == "plan", log)
	case "down", "down records":
		err = s.Remove(ctx, c, t, command == "down records", false, log)
	default:
		return fmt.Errorf("%q: want plan, up, down or down records", command)
	}
	fmt.Printf("%d changes\n", changes)
	return err
}
