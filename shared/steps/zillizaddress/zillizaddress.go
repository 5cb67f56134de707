// Package zillizaddress is the step that waits for the clusters' private
// addresses.
package zillizaddress

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/shared/aliyun/kms"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/vantage"
	"eslink/shared/zilliz"
	"eslink/shared/zillizproject"
)

// Clusters are the clusters of a project.
type Clusters interface {
	Cluster(ctx context.Context, id string) (zilliz.Cluster, error)
}

// Step waits.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Clusters, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := zillizproject.Opener{Secrets: kms.New(d.Aliyun), Config: zilliz.Config{Transport: d.Transport("zilliz")}}
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Clusters, error) { return o.Open(ctx, r) }}
}

// Up reads each cluster's private address, which has the port.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	out := &facts.ZillizAddress{}
	for _, id := range r.Spec.Zilliz.ClusterIDs {
		k, err := c.Cluster(ctx, id)
		if err != nil {
			return engine.Outcome{}, zillizproject.Explain(err, r)
		}
		if strings.HasPrefix(strings.ToUpper(k.Status), "SUSPEND") {
			return engine.Outcome{}, fmt.Errorf("cluster %s is %s: resume it in Zilliz Cloud's console, then retry", id, k.Status)
		}
		host, port, ok, err := k.Address()
		if err != nil {
			return engine.Outcome{}, err
		}
		if !ok {
			return engine.Waitf(ensure.Pause(r.Cursor.Since, s.Now(), 20*time.Second, time.Minute), "cluster %s has no private address yet: Zilliz Cloud allocates one about five minutes after it has accepted the endpoint", id), nil
		}
		if !vantage.ValidHost(host) {
			return engine.Outcome{}, fmt.Errorf("cluster %s: its private address is not of a host: %.100q", id, host)
		}
		out.Clusters = append(out.Clusters, facts.PrivateAddress{ClusterID: id, Host: host, Port: port})
	}
	r.Facts.ZillizAddress = out
	return engine.Done(), nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
