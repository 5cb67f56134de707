package commands

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	smithytime "github.com/aws/smithy-go/time"
	"github.com/spf13/cobra"

	"eslink/events"
	"eslink/shared/api"
	"eslink/shared/api/check"
	"eslink/shared/eslink/display"
	"eslink/shared/run"
)

// change asks the function runs for something, and shows what it answers.
func (s *session) change(ctx context.Context, request map[string]any) (reply api.Reply, err error) {
	err = s.call(ctx, "runs", request, &reply)
	return reply, err
}

func (s *session) planCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "plan -f FILE",
		Short: "Say what a spec would do, restart and cost, and what is in its way",
		Long:  "Run the spec's judging steps only: they read both sides, write nothing to them,\nand end with a plan or with everything that is in its way.",
		Args:  exactly("", 0),
		RunE: func(c *cobra.Command, _ []string) error {
			spec, err := s.readSpec(file, "")
			if err != nil {
				return err
			}
			reply, err := s.change(c.Context(), map[string]any{"action": "start", "spec": spec, "plan": true})
			if err != nil {
				return err
			}
			return s.follow(c.Context(), reply.RunID)
		},
	}
	specFlag(c, &file)
	return c
}

func (s *session) startCommand() *cobra.Command {
	var file string
	var again, watch bool
	c := &cobra.Command{
		Use:   "start -f FILE",
		Short: "Begin the run of a spec, or go on with it",
		Args:  exactly("", 0),
		RunE: func(c *cobra.Command, _ []string) error {
			spec, err := s.readSpec(file, "")
			if err != nil {
				return err
			}
			request := map[string]any{"action": "start", "spec": spec}
			if again {
				request["again"] = true
			}
			reply, err := s.change(c.Context(), request)
			if err != nil {
				return err
			}
			return s.answered(c.Context(), reply, watch)
		},
	}
	specFlag(c, &file)
	c.Flags().BoolVar(&again, "again", false, "walk every step of a finished run once more")
	c.Flags().BoolVar(&watch, "watch", false, "follow the run until it ends or waits")
	return c
}

// answered shows what an action brought about, or follows the run.
func (s *session) answered(ctx context.Context, reply api.Reply, watch bool) error {
	if watch {
		return s.follow(ctx, reply.RunID)
	}
	if s.output != "table" {
		return s.print(reply)
	}
	fmt.Fprintf(s.out, "run %s, generation %d: %s at step %s\neslink watch %[1]s follows it.\n", reply.RunID, reply.Generation, reply.Status, reply.Step)
	return nil
}

func (s *session) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [RUN]",
		Short: "Show one run, by its ID or name, or all of them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				runs, err := s.list(c.Context())
				if err != nil {
					return err
				}
				if s.output != "table" {
					return s.print(map[string]any{"runs": runs})
				}
				return s.table(runs)
			}
			v, err := s.named(c.Context(), args[0])
			if err != nil {
				return err
			}
			s.ended(v.Status)
			return s.show(v)
		},
	}
}

// named reads the run in full that an ID or a name means.
func (s *session) named(ctx context.Context, idOrName string) (api.View, error) {
	v, err := s.find(ctx, idOrName)
	if err != nil {
		return v, err
	}
	return s.get(ctx, v.RunID)
}

func (s *session) show(v api.View) error {
	if s.output != "table" {
		return s.print(v)
	}
	s.describe(v)
	return nil
}

func (s *session) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch RUN",
		Short: "Follow a run, step by step, until it ends or waits for you",
		Args:  exactly("a run's ID or name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := s.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			return s.follow(c.Context(), v.RunID)
		},
	}
}

// lookEvery is how often a run that moves is looked at.
const lookEvery = time.Second

// follow shows a run until it neither moves nor is about to.
func (s *session) follow(ctx context.Context, id string) error {
	d := &display.Display{W: s.out, Now: time.Now, Width: func() int { return 0 }}
	if f, ok := s.out.(*os.File); ok {
		d = display.New(f)
	}
	for {
		v, err := s.get(ctx, id)
		if err != nil {
			return err
		}
		if s.output == "table" {
			d.Show(v)
		}
		if v.Status != run.Running {
			d.End(v)
			s.ended(v.Status)
			return s.show(v)
		}
		if err := smithytime.SleepWithContext(ctx, lookEvery); err != nil {
			return errors.New("no longer watching; the run goes on")
		}
	}
}

func (s *session) approveCommand() *cobra.Command {
	var plan string
	var yes, watch bool
	c := &cobra.Command{
		Use:   "approve RUN",
		Short: "Show the plan that waits, ask, and approve exactly that one",
		Args:  exactly("a run's ID or name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := s.named(c.Context(), args[0])
			if err != nil {
				return err
			}
			if v.Status != run.WaitingApproval || v.Plan == nil {
				return fmt.Errorf("run %s is %s: nothing waits for approval", v.RunID, v.Status)
			}
			if plan != "" && plan != v.Plan.ID {
				return fmt.Errorf("the plan that waits is %s, not %s: look at it with eslink status %s", v.Plan.ID, plan, v.RunID)
			}
			if plan == "" && !yes {
				s.plan(v.Plan)
				fmt.Fprint(s.out, "Approve this plan? Type yes: ")
				answer, _ := bufio.NewReader(s.in).ReadString('\n')
				if strings.TrimSpace(answer) != "yes" {
					return errors.New("not approved; the run goes on waiting")
				}
			}
			var reply api.Reply
			if err := s.call(c.Context(), "approve", events.Approval{RunID: v.RunID, PlanID: v.Plan.ID}, &reply); err != nil {
				return err
			}
			return s.answered(c.Context(), reply, watch)
		},
	}
	c.Flags().StringVar(&plan, "plan", "", "approve this plan ID, and no other, without a question")
	c.Flags().BoolVar(&yes, "yes", false, "approve the plan that waits without a question")
	c.Flags().BoolVar(&watch, "watch", false, "follow the run afterwards")
	return c
}

// actionCommand is an action that takes a run and nothing else.
func (s *session) actionCommand(action, short string) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   action + " RUN",
		Short: short,
		Args:  exactly("a run's ID or name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			return s.act(c.Context(), args[0], action, nil, watch)
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "follow the run afterwards")
	return c
}

func (s *session) cancelCommand() *cobra.Command {
	var keepCopying, watch bool
	c := &cobra.Command{
		Use:   "cancel RUN",
		Short: "Stop a run and its copies; what it has made so far is kept",
		Args:  exactly("a run's ID or name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			more := map[string]any{}
			if keepCopying {
				more["keepCopying"] = true
			}
			return s.act(c.Context(), args[0], "cancel", more, watch)
		},
	}
	c.Flags().BoolVar(&keepCopying, "keep-copying", false, "leave the tasks that copy running")
	c.Flags().BoolVar(&watch, "watch", false, "follow the run afterwards")
	return c
}

func (s *session) act(ctx context.Context, idOrName, action string, more map[string]any, watch bool) error {
	v, err := s.find(ctx, idOrName)
	if err != nil {
		return err
	}
	request := map[string]any{"action": action, "runId": v.RunID}
	for k, value := range more {
		request[k] = value
	}
	reply, err := s.change(ctx, request)
	if err != nil {
		return err
	}
	return s.answered(ctx, reply, watch)
}

func (s *session) teardownCommand() *cobra.Command {
	var keepConfig, deleteDestination, watch bool
	c := &cobra.Command{
		Use:   "teardown RUN",
		Short: "Take away all that a run has made",
		Args:  exactly("a run's ID or name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			more := map[string]any{}
			if keepConfig {
				more["keepConfig"] = true
			}
			if deleteDestination {
				more["deleteDestination"] = true
			}
			return s.act(c.Context(), args[0], "teardown", more, watch)
		},
	}
	c.Flags().BoolVar(&keepConfig, "keep-config", false, "leave the whitelist entry, and spare the restart")
	c.Flags().BoolVar(&deleteDestination, "delete-destination", false, "delete the indices that the run created, too")
	c.Flags().BoolVar(&watch, "watch", false, "follow the run afterwards")
	return c
}

func (s *session) throttleCommand() *cobra.Command {
	var rate float64
	c := &cobra.Command{
		Use:   "throttle RUN --rate DOCUMENTS_PER_SECOND",
		Short: "Slow down or speed up the copies of a run (-1: no limit)",
		Args:  exactly("a run's ID or name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("rate") {
				return usageError{errors.New("throttle needs --rate: documents a second, or -1 for no limit")}
			}
			return s.act(c.Context(), args[0], "throttle", map[string]any{"requestsPerSecond": rate}, false)
		},
	}
	c.Flags().Float64Var(&rate, "rate", 0, "documents a second; -1 for no limit")
	return c
}

func (s *session) checkCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check [RUN]",
		Short: "Does the link work? The four checks, any time",
		Long:  "Make the four checks of a run's link, or of a link that somebody else made\n(-f FILE, a request as in events/schema/check.schema.json).",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var request any
			switch {
			case file != "" && len(args) == 0:
				raw, err := os.ReadFile(file)
				if err != nil {
					return fmt.Errorf("read request: %w", err)
				}
				if _, err := events.ParseCheck(raw); err != nil {
					return err
				}
				request = json.RawMessage(raw)
			case len(args) == 1 && file == "":
				v, err := s.find(c.Context(), args[0])
				if err != nil {
					return err
				}
				request = events.CheckRequest{RunID: v.RunID}
			default:
				return usageError{errors.New("check needs a run's ID or name, or -f FILE")}
			}
			var reply check.Reply
			if err := s.call(c.Context(), "check", request, &reply); err != nil {
				return err
			}
			if !reply.OK {
				s.exit = ExitFailed
			}
			if s.output != "table" {
				return s.print(reply)
			}
			d := &display.Display{W: s.out, Width: func() int { return 0 }}
			if f, ok := s.out.(*os.File); ok {
				d = display.New(f)
			}
			d.Checks(reply.Checks)
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "a check request as JSON, of a link that eslink did not make")
	return c
}

func (s *session) profilesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "profiles",
		Short: "List the specs that new clusters are connected with",
		Args:  exactly("", 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return s.profiles(c.Context(), map[string]any{"action": "profiles"})
		},
	}
	var file string
	put := &cobra.Command{
		Use:   "put NAME -f FILE",
		Short: "Keep a spec without its instanceId under a name",
		Args:  exactly("a name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			spec, err := s.readSpec(file, args[0])
			if err != nil {
				return err
			}
			return s.profiles(c.Context(), map[string]any{"action": "put-profile", "profile": args[0], "spec": spec})
		},
	}
	specFlag(put, &file)
	c.AddCommand(put, &cobra.Command{
		Use:   "delete NAME",
		Short: "Forget a profile",
		Args:  exactly("a name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			return s.profiles(c.Context(), map[string]any{"action": "delete-profile", "profile": args[0]})
		},
	})
	return c
}

func (s *session) profiles(ctx context.Context, request map[string]any) error {
	reply, err := s.change(ctx, request)
	if err != nil {
		return err
	}
	if s.output != "table" {
		return s.print(reply)
	}
	for _, p := range reply.Profiles {
		fmt.Fprintf(s.out, "%-24s %s (%s)\n", p.Name, p.Spec.Scenario, p.Spec.Name)
	}
	if len(reply.Profiles) == 0 {
		fmt.Fprintln(s.out, "There are no profiles. eslink profiles put NAME -f FILE keeps one.")
	}
	return nil
}

func (s *session) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff RUN",
		Short: "List what differs between source and destination",
		Args:  exactly("a run's ID or name", 1),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := s.named(c.Context(), args[0])
			if err != nil {
				return err
			}
			if v.Facts == nil || v.Facts.Verify == nil {
				return fmt.Errorf("run %s has compared nothing yet", v.RunID)
			}
			proof := v.Facts.Verify
			if len(proof.Differences) > 0 {
				s.exit = ExitDifferences
			}
			if s.output != "table" {
				return s.print(map[string]any{"level": proof.Level, "differences": proof.Differences, "indices": proof.Indices})
			}
			for _, line := range proof.Differences {
				fmt.Fprintln(s.out, line)
			}
			if len(proof.Differences) == 0 {
				fmt.Fprintf(s.out, "no difference found; compared by %s\n", proof.Level)
			}
			return nil
		},
	}
}
