// Package created is the function that hears of new Elasticsearch instances and
// starts the run that an instance's profile describes.
//
// The event is only a hint: it may be late, doubled or of a change of something
// old. What counts is what the cloud and the record say now. An instance that was
// created within the last 24 hours, whose tag eslink:profile names a profile, and
// whose run has no record, gets its run; anything else gets a line in the log.
// The run itself waits until the instance is there.
//
// An error has the platform deliver the event again, for up to a day: that is how
// an instance is waited for that cannot be described yet.
package created

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"eslink/events"
	"eslink/shared/aliyun"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/api"
	"eslink/shared/apierr"
	"eslink/shared/flow"
	"eslink/shared/run"
	"eslink/shared/wire"
)

const (
	// fresh is how old a new instance may be.
	fresh = 24 * time.Hour
	// appears is how long after its creation was asked for an instance may be
	// missing from what the cloud shows. An order takes longer than a call.
	appears = 30 * time.Minute
)

// Clusters describes the region's instances; List may lag.
type Clusters interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	List(ctx context.Context) ([]escluster.Summary, error)
}

// Runs begins a run unless it has a record.
type Runs interface {
	Begin(ctx context.Context, account string, spec events.Spec) (api.Reply, bool, error)
}

// Profiles reads profiles, and notes for which run an instance was taken.
type Profiles interface {
	Profile(ctx context.Context, name string) (run.Profile, error)
	Lock(ctx context.Context, name, holder string, d time.Duration) error
}

// Creations handles events of new instances.
type Creations struct {
	Clusters Clusters
	Runs     Runs
	Profiles Profiles
	Region   string
	Now      func() time.Time
	Log      *slog.Logger
}

// Function is the function created: an event of the default bus a call.
func Function(f *wire.Function) wire.Handler {
	c := &Creations{Clusters: escluster.New(f.Deps.Aliyun), Runs: api.NewRuns(f), Profiles: f.Deps.Runs, Region: f.Deps.Aliyun.Region, Now: f.Deps.Now, Log: f.Log}
	return func(ctx context.Context, payload []byte) (json.RawMessage, error) {
		account, err := aliyun.AccountFrom(ctx)
		if err != nil {
			return nil, err
		}
		return nil, c.Handle(ctx, account, payload)
	}
}

// Handle starts the run that an event calls for, if any.
func (c *Creations) Handle(ctx context.Context, account string, payload []byte) error {
	e, err := events.DecodeCreation(payload)
	if err != nil {
		// Most are not: its trigger takes all that is said of instances.
		c.Log.InfoContext(ctx, "no run: the event is not one of a new instance", "err", err)
		return nil
	}
	log := c.Log.With("event_id", e.ID, "event", e.Name, "instance_id", e.InstanceID)
	age := time.Duration(0) // of the event, if it says
	if !e.Time.IsZero() {
		age = c.Now().Sub(e.Time)
	}
	switch {
	case e.AccountID != "" && e.AccountID != account:
		log.InfoContext(ctx, "no run: the event is another account's", "account_id", e.AccountID)
		return nil
	case e.Region != "" && e.Region != c.Region:
		log.InfoContext(ctx, "no run: the event is another region's", "region", e.Region)
		return nil
	case e.Failed != "":
		log.InfoContext(ctx, "no run: the creation failed", "code", e.Failed)
		return nil
	case age > fresh:
		log.InfoContext(ctx, "no run: the event is too old", "at", e.Time)
		return nil
	case e.InstanceID == "":
		return c.search(ctx, log, account, age)
	}
	_, err = c.connect(ctx, log, account, e.InstanceID, age)
	return err
}

// search looks among the new instances for those that an event without an ID may
// mean. Until one of them gets its run, the event's own may not be listed yet.
func (c *Creations) search(ctx context.Context, log *slog.Logger, account string, age time.Duration) error {
	all, err := c.Clusters.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	any := false
	for _, i := range all {
		if c.Now().Sub(i.CreatedAt) > fresh || i.Tags[run.ProfileTag] == "" {
			continue
		}
		began, err := c.connect(ctx, log.With("instance_id", i.ID), account, i.ID, age)
		any, errs = any || began, append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || any {
		return err
	}
	if age < appears {
		return errors.New("the event names no instance, and no new one is listed yet")
	}
	log.InfoContext(ctx, "no run: the event names no instance, and no new one was found that has a profile")
	return nil
}

// connect starts an instance's run, and tells whether it did. age is the event's.
func (c *Creations) connect(ctx context.Context, log *slog.Logger, account, id string, age time.Duration) (began bool, err error) {
	no := func(why string, attrs ...any) (bool, error) {
		log.InfoContext(ctx, "no run: "+why, attrs...)
		return false, nil
	}
	in, err := c.Clusters.Describe(ctx, id)
	switch {
	case apierr.IsNotFound(err) && age < appears:
		return false, fmt.Errorf("a new instance cannot be described yet: %w", err)
	case apierr.IsNotFound(err):
		return no("there is no such instance any more")
	case err != nil:
		return false, err
	case c.Now().Sub(in.CreatedAt) > fresh:
		return no("the instance is not new", "created_at", in.CreatedAt)
	case in.Tags[run.ProfileTag] == "":
		return no("the instance has no tag " + run.ProfileTag)
	}
	name := in.Tags[run.ProfileTag]
	p, err := c.Profiles.Profile(ctx, name)
	if errors.Is(err, run.ErrNotFound) {
		return no("the instance's tag names a profile that does not exist: put it with action put-profile, and start the run by hand", "profile", name)
	}
	if err != nil {
		return false, err
	}
	spec, err := p.Spec.For(id)
	if refused(err) {
		return no("the profile does not fit the instance", "profile", name, "err", err)
	}
	// A later event must not start a second run because the profile has been
	// changed meanwhile: which run an instance was taken for is kept for good.
	runID := flow.RunID(account, spec)
	var held *run.HeldError
	if err := c.Profiles.Lock(ctx, "created/"+id, runID, 0); errors.As(err, &held) {
		return no("another run was started for the instance, before its profile was changed", "profile", name, "run_id", held.Holder)
	} else if err != nil {
		return false, err
	}
	reply, began, err := c.Runs.Begin(ctx, account, spec)
	switch {
	case refused(err):
		return no("it is refused", "profile", name, "run_id", runID, "err", err)
	case err != nil:
		return began, err
	case !began:
		return no("it has a record already", "profile", name, "run_id", runID)
	}
	log.InfoContext(ctx, "run started for a new instance", "profile", name, "run_id", reply.RunID, "scenario", spec.Scenario, "approve", spec.Approve)
	return true, nil
}

// refused reports whether err is for a person to fix, not for a repetition.
func refused(err error) bool {
	var p *events.Problem
	return errors.As(err, &p)
}
