package plan

import (
	"context"

	"eslink/events"
	"eslink/shared/copyjob"
	"eslink/shared/es"
	"eslink/shared/run"
)

// judgeCopies looks at what decides how a copy goes, or whether it can be proven.
func judgeCopies(ctx context.Context, c *es.Client, r *run.Run, fs *events.Findings) error {
	tasks, err := c.Tasks(ctx)
	if err != nil {
		return err
	}
	copyjob.OtherWriters(r, tasks, fs)
	return nil
}
