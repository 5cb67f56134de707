package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"eslink/shared/deploy"
)

// files are the deployment files of some sets: s.yaml, if it is what they are.
func files(sets []deploy.Set) []string {
	if len(sets) == 2 && slices.Contains(sets, deploy.Common) && slices.Contains(sets, deploy.Alibaba) {
		return []string{"s.yaml"}
	}
	var out []string
	for _, s := range sets {
		out = append(out, deploy.File(s))
	}
	return out
}

func (c command) deployFunctions(ctx context.Context, e environment, sets []deploy.Set) error {
	for _, f := range files(sets) {
		if _, err := c.serverless(ctx, e, "deploy", "-y", "-t", f); err != nil {
			return fmt.Errorf("deploy the functions of %s: %w; once its cause is gone, the same command goes on", f, err)
		}
	}
	return nil
}

// removeFunctions stops at the first removal that is refused: `s remove` then exits with 0 all the same, and queues and
// roles must not go while triggers use them.
func (c command) removeFunctions(ctx context.Context, e environment, sets []deploy.Set) error {
	for _, f := range files(sets) {
		refused, err := c.serverless(ctx, e, "remove", "-y", "-t", f)
		if err == nil && len(refused) > 0 {
			err = errors.New(strings.Join(refused, "; "))
		}
		if err != nil {
			return fmt.Errorf("remove the functions of %s: %w\nqueues, roles and table are still there; once the cause is gone, the same command goes on", f, err)
		}
	}
	return nil
}

// serverless runs `s`, shows what it says, and returns the lines in which it says that a removal failed.
func (c command) serverless(ctx context.Context, e environment, args ...string) (refused []string, err error) {
	environ, more, err := e.serverless(os.Environ())
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, c.s, append(args, more...)...)
	cmd.Dir, cmd.Env = c.root, environ
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Fprintln(c.out, lines.Text())
			if strings.Contains(lines.Text(), "remove error") {
				refused = append(refused, strings.TrimSpace(lines.Text()))
			}
		}
		_, _ = io.Copy(io.Discard, r) // what is longer than a line
	}()
	err = cmd.Run()
	w.Close()
	<-done
	return refused, err
}
