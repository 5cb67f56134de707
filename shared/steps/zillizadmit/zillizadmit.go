// Package zillizadmit is the step that puts the AWS account on the whitelist of
// Zilliz Cloud's endpoint service, where the region needs that.
package zillizadmit

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/kms"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/zilliz"
	"eslink/shared/zillizproject"
)

// Whitelist admits accounts. It has no list, and no way back.
type Whitelist interface {
	Admit(ctx context.Context, projectID, region, account string) error
}

// Step admits the account.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Whitelist, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := zillizproject.Opener{Secrets: kms.New(d.Aliyun), Config: zilliz.Config{Transport: d.Transport("zilliz")}}
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Whitelist, error) { return o.Open(ctx, r) }}
}

// Up admits the account once. Possible prior states: never asked; asked, and the
// reply or the record of it was lost (the entry stands, and a repetition changes
// nothing).
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	account := r.Facts.AWSPreflight.AccountID
	if !r.Facts.ZillizSurvey.Whitelist {
		return engine.Done(), nil
	}
	if f := r.Facts.ZillizAdmit; f != nil && f.AccountID == account {
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if err := c.Admit(ctx, r.Spec.Zilliz.ProjectID, r.Spec.Zilliz.Region, account); err != nil {
		return engine.Outcome{}, zillizproject.Explain(fmt.Errorf("admit account %s: %w", account, err), r)
	}
	r.Facts.ZillizAdmit = &facts.ZillizAdmit{AccountID: account, At: s.Now()}
	return engine.Done(), nil
}

// Down leaves the entry, which the API cannot remove, and says so. The fact
// stays: the entry does.
func (s *Step) Down(_ context.Context, r *run.Run) (engine.Outcome, error) {
	if f := r.Facts.ZillizAdmit; f != nil {
		r.Note(s.Now(), "zilliz-admit", "left", fmt.Sprintf("account %s stays on the whitelist of Zilliz Cloud's endpoint service in %s: the API cannot remove it; ask Zilliz's support if it has to go", f.AccountID, r.Spec.Zilliz.Region))
	}
	return engine.Done(), nil
}
