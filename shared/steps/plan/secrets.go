package plan

import (
	"context"
	"errors"
	"maps"
	"slices"

	"eslink/events"
	"eslink/shared/clusters"
	"eslink/shared/run"
)

// judgeSecrets reads every secret that a later step uses, so that one that is
// missing, or that is not for that recipient, is known before anything is made.
// The instance's own is read when its nodes are asked.
func (s *Step) judgeSecrets(ctx context.Context, r *run.Run, fs *events.Findings) error {
	var sides []clusters.Side
	if r.Spec.Copies() {
		sides = append(sides, clusters.Source(r))
	}
	users, binds := clusters.Users(r), clusters.Binds(r.Spec, r.Facts.Preflight)
	for _, kind := range slices.Sorted(maps.Keys(users)) {
		sides = append(sides, users[kind])
	}
	for _, i := range slices.Sorted(maps.Keys(binds)) {
		sides = append(sides, binds[i])
	}
	for _, side := range sides {
		_, err := s.Clusters.Login(ctx, side)
		var p *events.Problem
		if errors.As(err, &p) {
			*fs = append(*fs, p.Errors...)
		} else if err != nil {
			return err
		}
	}
	return nil
}
