package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// needs are what the run's use cases take at the instance. A copy takes manage,
// to follow, throttle and cancel tasks; and per index what creating, writing,
// refreshing and counting take. The check's own index is among them.
func needs(r *run.Run) es.Needs {
	n := es.Needs{Cluster: []string{"monitor"}, Index: map[string][]string{}}
	if r.Spec.Copies() {
		n.Cluster = append(n.Cluster, "manage")
		n.Index["eslink-check-"+r.ID] = []string{"create_index", "write", "delete_index", "view_index_metadata"}
	}
	for _, ix := range r.Indices() {
		n.Index[ix.Dest] = []string{"create_index", "write", "read", "maintenance", "monitor", "view_index_metadata"}
	}
	for _, u := range r.Spec.UseCases {
		if u.Kind == events.Watcher {
			n.Cluster = append(n.Cluster, "manage_watcher")
		}
		if u.Directory() != nil && !slices.Contains(n.Cluster, "manage_security") {
			n.Cluster = append(n.Cluster, "manage_security")
		}
	}
	return n
}

func (s *Step) judge(ctx context.Context, r *run.Run, p *run.Plan, fs *events.Findings) error {
	side := clusters.Destination(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return err
	}
	missing, err := c.Missing(ctx, needs(r))
	if err != nil {
		return err
	}
	for _, m := range missing {
		fs.Add(side.Field, "the user of secret "+side.Secret+" lacks the privilege "+m+" on "+side.Cluster.InstanceID, "grant it to one of the user's roles")
	}
	if len(missing) > 0 {
		return nil // what follows would only fail for want of them
	}
	if err := judgeHealth(ctx, c, p.Restart.Needed, fs); err != nil {
		return err
	}
	if err := s.judgeUseCases(ctx, c, r, fs); err != nil {
		return err
	}
	if !r.Spec.Copies() {
		return nil
	}
	if err := judgeDisk(ctx, c, r, fs); err != nil {
		return err
	}
	if err := judgeCopies(ctx, c, r, fs); err != nil {
		return err
	}
	return s.judgeIndices(ctx, c, r, p, fs)
}

func judgeHealth(ctx context.Context, c *es.Client, restarts bool, fs *events.Findings) error {
	h, err := c.Health(ctx)
	if err != nil {
		return err
	}
	if h.Status != "green" {
		fs.AddRisk("not-green", "instanceId", "the instance's health is "+h.Status, "make it green first")
	}
	if !restarts {
		return nil
	}
	if h.DataNodes < 2 {
		fs.AddRisk("single-node", "instanceId", "the instance has one data node, and it is away while it restarts", "add nodes first")
	}
	bare, err := c.WithoutReplica(ctx)
	if err != nil {
		return err
	}
	if len(bare) > 0 {
		fs.AddRisk("no-replicas", "instanceId",
			fmt.Sprintf("%d indices without a replica are gone while their node restarts: %s", len(bare), strings.Join(bare[:min(10, len(bare))], ", ")),
			"give each at least one replica first")
	}
	return nil
}

// judgeDisk wants room for what is still to be copied, with a replica, and a
// fifth more. What a query selects is reckoned by its share of the documents.
func judgeDisk(ctx context.Context, c *es.Client, r *run.Run, fs *events.Findings) error {
	free, err := c.FreeBytes(ctx)
	if err != nil {
		return err
	}
	var need int64
	for i, ix := range r.Facts.Survey.Indices {
		if ix.Total > 0 && !copyjob.Copied(r, i) {
			need += int64(float64(ix.Bytes) * float64(ix.Documents) / float64(ix.Total) * 2 * 1.2)
		}
	}
	if free < need {
		fs.AddRisk("little-disk", "instanceId", fmt.Sprintf("the copy may take %d MB with replicas, %d MB are free", need>>20, free>>20), "add disk first")
	}
	return nil
}

// judgeUseCases asks for what a use case cannot do without, and notes what an
// analyzer makes of a word before its dictionary can be reached.
func (s *Step) judgeUseCases(ctx context.Context, c *es.Client, r *run.Run, fs *events.Findings) error {
	for i, u := range r.Spec.UseCases {
		at := fmt.Sprintf("useCases[%d]", i)
		if d := u.Directory(); d != nil {
			if err := s.judgeRealm(ctx, r, at+"."+u.Part(), u, fs); err != nil {
				return err
			}
		}
		if u.Plugin == nil {
			continue
		}
		was := r.Facts.Dictionary
		if was != nil && was.Analyzer == u.Plugin.Analyzer && was.Word == u.Plugin.Word {
			continue // an earlier walk saw it, when there was no link yet
		}
		ok, err := c.HasAnalyzer(ctx, u.Plugin.Analyzer)
		if err != nil {
			return err
		}
		if !ok {
			fs.Add(at+".plugin.analyzer", "the instance has no analyzer "+u.Plugin.Analyzer, "install the plugin on the instance first, or check the analyzer's spelling")
			continue
		}
		tokens, err := c.Tokens(ctx, u.Plugin.Analyzer, u.Plugin.Word)
		if err != nil {
			return err
		}
		if es.Whole(tokens, u.Plugin.Word) && r.Facts.Link().Host == "" {
			fs.Add(at+".plugin.word", u.Plugin.Analyzer+" keeps "+u.Plugin.Word+" whole already, so that it would prove nothing", "give a word of the dictionary that the analyzer does not know of itself")
			continue
		}
		r.Facts.Dictionary = &facts.Dictionary{Analyzer: u.Plugin.Analyzer, Word: u.Plugin.Word, Before: tokens}
	}
	return nil
}

// judgeRealm wants a version whose realms have their present form, and a
// keystore for a realm that binds with a password.
func (s *Step) judgeRealm(ctx context.Context, r *run.Run, at string, u events.UseCase, fs *events.Findings) error {
	version := r.Facts.Preflight.Instance.Version
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		fs.Add(at, "the instance is of version "+version+", where realms are configured in another form", "upgrade it to 7.x or later first")
	}
	if u.Directory().BindDN == "" {
		return nil
	}
	no := func(why string) {
		fs.Add(at+".bindDn", "a realm that binds needs its password among the nodes' secure settings: "+why, esconfig.KeystoreRemedy)
	}
	instance, err := s.Control.Describe(ctx, r.Spec.InstanceID)
	if err != nil {
		return err
	}
	if instance.ArchType != escluster.CloudNative {
		no(instance.ID + " is of basic control (v2), which has no keystore")
		return nil
	}
	_, err = s.Control.Keystore(ctx, instance.ID)
	var e *apierr.Error
	if errors.As(err, &e) && e.Code != "" && apierr.ClassOf(err) == apierr.Fatal {
		no(instance.ID + " has none (" + e.Code + "): it is not on the keystore's allowlist")
		return nil
	}
	return err
}
