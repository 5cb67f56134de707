// Package commands is the command line of eslink: one file a group of commands.
package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"eslink/events"
	"eslink/shared/api"
	"eslink/shared/eslink/functions"
	"eslink/shared/run"
)

// Exit codes, for scripts. A command that shows a run ends with what the run's
// status means; one that fails itself with ExitError.
const (
	ExitDone        = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitDifferences = 3 // done-with-differences
	ExitWaiting     = 4 // waits for approval
	ExitFailed      = 5 // failed, expired, or a check that does not pass
)

// functionCaller calls a deployed function; functions.Client is one.
type functionCaller interface {
	Invoke(ctx context.Context, function string, payload, into any) error
}

// session is what one call of the command works with.
type session struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	// connect opens the deployment that the flags name.
	connect func() (functionCaller, error)
	output  string // json, yaml or table
	local   bool
	region  string
	account string
	cache   string
	exit    int
}

// Main runs the command line and returns its exit code.
func Main(ctx context.Context, args []string, in io.Reader, out, errs io.Writer, getenv func(string) string) int {
	s := &session{in: in, out: out, err: errs, getenv: getenv}
	s.connect = s.deployment
	return s.run(ctx, args)
}

func (s *session) run(ctx context.Context, args []string) int {
	root := s.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	if err := root.ExecuteContext(ctx); err != nil {
		return s.fail(err)
	}
	return s.exit
}

// usageError is a fault of the command line itself.
type usageError struct{ error }

// fail tells an error to a person: a problem with each of its findings, the field
// and what to do.
func (s *session) fail(err error) int {
	var p *events.Problem
	var usage usageError
	switch {
	case errors.As(err, &p):
		fmt.Fprintf(s.err, "eslink: %s\n", p.Title)
		if p.Detail != "" {
			fmt.Fprintf(s.err, "  %s\n", p.Detail)
		}
		for _, f := range p.Errors {
			fmt.Fprintf(s.err, "  - %s\n", strings.TrimPrefix(f.Field+": ", ": ")+f.Message)
			if f.Remedy != "" {
				fmt.Fprintf(s.err, "    what to do: %s\n", f.Remedy)
			}
		}
		return ExitError
	case errors.As(err, &usage):
		fmt.Fprintf(s.err, "eslink: %v\n", err)
		return ExitUsage
	}
	fmt.Fprintf(s.err, "eslink: %v\n", err)
	return ExitError
}

func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "eslink",
		Short: "Private connections to search clusters, and migrations over them",
		Long: `eslink connects search clusters privately and copies indices between them.
It calls the functions that are deployed in your account, or those of the local
cloud that "go run ./localtest serve" keeps up (--local).

Exit codes: 0 done, 1 error, 2 usage, 3 done with differences, 4 waits for
approval, 5 failed.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; %s -h lists the flags", err, c.CommandPath())}
	})
	f := root.PersistentFlags()
	f.BoolVar(&s.local, "local", false, "use the local cloud of `localtest serve`")
	f.StringVar(&s.region, "region", s.getenv("ESLINK_REGION"), "region of the deployment (ESLINK_REGION)")
	f.StringVar(&s.account, "account", s.getenv("ESLINK_ACCOUNT_ID"), "account of the deployment (ESLINK_ACCOUNT_ID)")
	f.StringVarP(&s.output, "output", "o", "table", "table, json or yaml")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains([]string{"table", "json", "yaml"}, s.output) {
			return usageError{fmt.Errorf("--output %s: use table, json or yaml", s.output)}
		}
		return nil
	}
	root.AddCommand(s.initCommand(), s.validateCommand(), s.planCommand(), s.startCommand(), s.statusCommand(), s.watchCommand(),
		s.approveCommand(), s.teardownCommand(), s.throttleCommand(), s.checkCommand(), s.profilesCommand(), s.diffCommand(), s.uiCommand(),
		s.cancelCommand(),
		s.actionCommand("retry", "Go on with a run that failed or was cancelled"),
		s.actionCommand("restore", "Take back what a run wrote into the cluster's configuration"))
	return root
}

// version is what the module was built as.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return fmt.Sprintf("%s (%.12s)", info.Main.Version, setting.Value)
		}
	}
	return info.Main.Version
}

// deployment opens the functions in the cloud or, with --local, in the local one.
func (s *session) deployment() (functionCaller, error) {
	if s.local {
		cache, err := s.cacheDir()
		if err != nil {
			return nil, err
		}
		a, err := functions.ReadAddress(cache)
		if errors.Is(err, functions.ErrNoLocal) {
			return nil, fmt.Errorf("%w: start one with: go run ./localtest serve", err)
		}
		if err != nil {
			return nil, err
		}
		return functions.Local(a)
	}
	var missing []string
	if s.region == "" {
		missing = append(missing, "--region or ESLINK_REGION")
	}
	if s.account == "" {
		missing = append(missing, "--account or ESLINK_ACCOUNT_ID")
	}
	if len(missing) > 0 {
		return nil, usageError{fmt.Errorf("which deployment? give %s, or --local for the local cloud", strings.Join(missing, " and "))}
	}
	return functions.Cloud(s.account, s.region)
}

func (s *session) cacheDir() (string, error) {
	if s.cache != "" {
		return s.cache, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache directory: %w", err)
	}
	return filepath.Clean(dir), nil
}

// call connects and calls a function once.
func (s *session) call(ctx context.Context, function string, payload, into any) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	err = c.Invoke(ctx, function, payload, into)
	if s.local && errors.Is(err, functions.ErrNotReached) {
		return fmt.Errorf("the local cloud does not answer (has `localtest serve` ended?): %w", err)
	}
	return err
}

// find returns the run that an ID or a name means. A name has to mean one run;
// removed ones count only if there is no other.
func (s *session) find(ctx context.Context, idOrName string) (api.View, error) {
	runs, err := s.list(ctx)
	if err != nil {
		return api.View{}, err
	}
	var named, removed []api.View
	for _, v := range runs {
		switch {
		case v.RunID == idOrName:
			return v, nil
		case v.Name == idOrName && v.Status == run.Removed:
			removed = append(removed, v)
		case v.Name == idOrName:
			named = append(named, v)
		}
	}
	if len(named) == 0 {
		named = removed
	}
	switch len(named) {
	case 0:
		return api.View{}, fmt.Errorf("no run has the ID or the name %q: eslink status lists all", idOrName)
	case 1:
		return named[0], nil
	}
	ids := make([]string, len(named))
	for i, v := range named {
		ids[i] = v.RunID
	}
	return api.View{}, fmt.Errorf("%d runs have the name %q: use one of the IDs %s", len(named), idOrName, strings.Join(ids, ", "))
}

func (s *session) list(ctx context.Context) (all []api.View, err error) {
	for after := ""; ; {
		ask := map[string]string{}
		if after != "" {
			ask["after"] = after
		}
		var page struct {
			Runs []api.View `json:"runs"`
			Next string     `json:"next"`
		}
		err := s.call(ctx, "status", ask, &page)
		if all = append(all, page.Runs...); err != nil || page.Next == "" {
			return all, err
		}
		after = page.Next
	}
}

// get reads one run in full.
func (s *session) get(ctx context.Context, id string) (v api.View, err error) {
	err = s.call(ctx, "status", map[string]string{"runId": id}, &v)
	return v, err
}

// ended sets the exit code that a run's status means.
func (s *session) ended(status run.Status) {
	switch status {
	case run.DoneDifferences:
		s.exit = ExitDifferences
	case run.WaitingApproval:
		s.exit = ExitWaiting
	case run.Failed, run.Expired:
		s.exit = ExitFailed
	}
}
