package linkcheck

import (
	"fmt"

	"eslink/shared/clusters"
	"eslink/shared/run"
)

// Users are the sides of a run's directories, by use case.
func Users(r *run.Run) map[string]clusters.Side {
	users := map[string]clusters.Side{}
	for i, u := range r.Spec.UseCases {
		if d := u.Directory(); d != nil {
			users[u.Kind] = clusters.Side{Cluster: r.Facts.Preflight.Instance, Secret: d.UserSecret, Field: fmt.Sprintf("useCases[%d].%s.userSecret", i, u.Part())}
		}
	}
	return users
}
