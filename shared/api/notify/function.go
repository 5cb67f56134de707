package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/api"
	"eslink/shared/apierr"
	"eslink/shared/run"
	"eslink/shared/secrets"
	"eslink/shared/wire"
)

// Function is the function notify: it takes deliveries of its queue, each of which
// names a run and a transition of it that people are to hear of.
func Function(f *wire.Function) wire.Handler {
	n := &notifier{runs: f.Deps.Runs, secrets: kms.New(f.Deps.Aliyun), send: New(f.Deps.Transport("notify"), f.Deps.Now).Send, log: f.Log}
	return func(ctx context.Context, payload []byte) (json.RawMessage, error) { return nil, n.handle(ctx, payload) }
}

// notifier tells of one delivery after another.
type notifier struct {
	runs interface {
		Get(ctx context.Context, id string) (*run.Run, error)
	}
	secrets secrets.Reader
	send    func(ctx context.Context, r Receiver, n Notification) error
	log     *slog.Logger
}

// handle tells of a payload's deliveries. An error has the platform deliver it again,
// to all receivers: each may then hear the same twice, with the same ID. What a
// receiver refuses for good is logged; a person has to correct the secret.
func (n *notifier) handle(ctx context.Context, payload []byte) error {
	deliveries, err := events.Decode(payload)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if err := n.tell(ctx, d.Event); err != nil {
			n.log.ErrorContext(ctx, "people were not told", "run_id", d.RunID, "seq", d.Seq, "err", err)
			return err
		}
	}
	return nil
}

func (n *notifier) tell(ctx context.Context, e events.Event) error {
	value, _, err := n.secrets.Value(ctx, SecretName)
	if apierr.IsNotFound(err) {
		n.log.InfoContext(ctx, "nobody is to be told: there is no secret "+SecretName, "run_id", e.RunID, "seq", e.Seq)
		return nil
	}
	if err != nil {
		return err
	}
	receivers, err := Parse(value)
	if err != nil {
		n.log.ErrorContext(ctx, "secret "+SecretName+" cannot be used", "run_id", e.RunID, "seq", e.Seq, "err", err)
		return nil // delivering it again would not correct it
	}
	r, err := n.runs.Get(ctx, e.RunID)
	if errors.Is(err, run.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read run %s: %w", e.RunID, err)
	}
	if r.Cursor.Seq != e.Seq || !r.Status.Notable() {
		n.log.InfoContext(ctx, "not told: the run has moved on", "run_id", e.RunID, "seq", e.Seq, "status", string(r.Status))
		return nil
	}
	return n.sendAll(ctx, receivers, Of(r))
}

func (n *notifier) sendAll(ctx context.Context, receivers []Receiver, what Notification) error {
	var again []error
	for _, to := range receivers {
		if !to.Wants(what.Status) {
			continue
		}
		err := n.send(ctx, to, what)
		switch {
		case err == nil:
		case apierr.ClassOf(err) == apierr.Retry:
			again = append(again, err)
		default:
			n.log.ErrorContext(ctx, "a receiver refuses", "run_id", what.RunID, "reason", to.Kind, "err", err)
		}
	}
	return errors.Join(again...)
}

// Of is what there is to tell of a run.
func Of(r *run.Run) Notification {
	n := Notification{ID: fmt.Sprintf("%s-%d-%d", r.ID, r.Generation, r.Cursor.Seq), At: r.Cursor.Since, RunID: r.ID, Name: r.Spec.Name,
		Scenario: r.Spec.Scenario, Status: string(r.Status), Step: r.Cursor.Step, Reason: r.Cursor.Reason, Next: api.Next(r)}
	if p := r.Plan; p != nil && r.Status != run.Removed && p.Cost.PerMonth > 0 {
		n.MonthlyCost = fmt.Sprintf("%s %.2f", p.Cost.Currency, p.Cost.PerMonth)
	}
	return n
}
