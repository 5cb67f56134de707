// Package zillizsurvey is the step that reads what Zilliz Cloud says of the
// clusters to be reached. It writes nothing.
package zillizsurvey

import (
	"context"
	"fmt"
	"strings"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/zilliz"
	"eslink/shared/zillizproject"
)

// Project is what Zilliz Cloud has.
type Project interface {
	Service(ctx context.Context, projectID, region string) (zilliz.Service, error)
	Cluster(ctx context.Context, id string) (zilliz.Cluster, error)
}

// Step surveys.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Project, error)
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := zillizproject.Opener{Secrets: kms.New(d.Aliyun), Config: zilliz.Config{Transport: d.Transport("zilliz")}}
	return &Step{Open: func(ctx context.Context, r *run.Run) (Project, error) { return o.Open(ctx, r) }}
}

// Up surveys.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	var fs events.Findings
	found, err := survey(ctx, c, r.Spec.Zilliz, &fs)
	if err != nil {
		return engine.Outcome{}, zillizproject.Explain(err, r)
	}
	if err := fs.Problem("zilliz-survey", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.ZillizSurvey = found
	return engine.Done(), nil
}

func survey(ctx context.Context, c Project, spec *events.Zilliz, fs *events.Findings) (*facts.ZillizSurvey, error) {
	out := &facts.ZillizSurvey{}
	service, err := c.Service(ctx, spec.ProjectID, spec.Region)
	switch {
	case apierr.IsNotFound(err):
		fs.Add("zilliz.region", "Zilliz Cloud has no endpoint service in "+spec.Region, "name the clusters' region as their details in the console do, such as aws-us-west-2; only regions on AWS can be reached from AWS")
	case err != nil:
		return nil, err
	default:
		out.Service, out.Whitelist = service.Name, service.Whitelist
	}
	for i, id := range spec.ClusterIDs {
		field := fmt.Sprintf("zilliz.clusterIds[%d]", i)
		k, err := c.Cluster(ctx, id)
		if err != nil {
			if apierr.ClassOf(err) == apierr.Retry || apierr.CodeOf(err) == zilliz.Unauthenticated || apierr.CodeOf(err) == zilliz.IllegalKey || ctx.Err() != nil {
				return nil, err
			}
			fs.Add(field, fmt.Sprintf("cluster %s cannot be read: %v", id, err), "correct the ID, or use a key of the project that has the cluster")
			continue
		}
		if judge(k, spec, field, fs) {
			found, err := clusterOf(k)
			if err != nil {
				return nil, err
			}
			out.Clusters = append(out.Clusters, found)
		}
	}
	return out, nil
}

// judge reports whether a cluster can be reached through a private endpoint.
func judge(k zilliz.Cluster, spec *events.Zilliz, field string, fs *events.Findings) bool {
	switch {
	case k.Project != "" && k.Project != spec.ProjectID:
		fs.Add(field, fmt.Sprintf("cluster %s belongs to project %s", k.ID, k.Project), "a private endpoint is of one project: name that project, or leave the cluster out")
	case k.Region != "" && k.Region != spec.Region:
		fs.Add(field, fmt.Sprintf("cluster %s is in %s", k.ID, k.Region), "a private endpoint is of one region: clusters of several regions are several runs")
	case !k.Dedicated():
		fs.Add(field, fmt.Sprintf("cluster %s is not a Dedicated one (plan %s)", k.ID, k.Plan), "private endpoints are for Dedicated clusters: migrate the cluster to a Dedicated one, or leave it out")
	case !k.Running() && !strings.EqualFold(k.Status, "SET_PRIVATE_LINK"):
		fs.Add(field, fmt.Sprintf("cluster %s is %s", k.ID, k.Status), "resume it, or wait until it is RUNNING; then retry")
	default:
		return true
	}
	return false
}

func clusterOf(k zilliz.Cluster) (facts.ZillizCluster, error) {
	host, _, _, err := k.Address()
	out := facts.ZillizCluster{ID: k.ID, Name: k.Name, Status: k.Status, Host: host, Switchable: k.PublicEnabled != nil}
	out.Public = k.PublicEnabled == nil || *k.PublicEnabled
	return out, err
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
