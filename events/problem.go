package events

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is a problem document (RFC 9457): why something was refused or
// stopped, with every finding at once. It is an error that waits for a person.
type Problem struct {
	Type   string    `json:"type"`
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail,omitempty"`
	Errors []Finding `json:"errors,omitempty"`
}

// Finding is one thing that is wrong, where, and what to do about it.
type Finding struct {
	// Field is what it is about: of a request that is wrong in itself a part of
	// the request, such as spec.indices[0].dest, later a part of the spec, such
	// as indices[0].dest. It is empty for the whole.
	Field   string `json:"field"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
	// Risk names what acceptRisks may accept; empty for what must be fixed.
	Risk string `json:"risk,omitempty"`
}

// NewProblem returns a problem of a kind, such as "invalid-spec".
func NewProblem(status int, kind, title string, findings ...Finding) *Problem {
	return &Problem{Type: "urn:eslink:problem:" + kind, Title: title, Status: status, Errors: findings}
}

func (p *Problem) Error() string {
	parts := []string{p.Title}
	if p.Detail != "" {
		parts = append(parts, p.Detail)
	}
	for _, f := range p.Errors {
		s := f.Message
		if f.Field != "" {
			s = f.Field + ": " + s
		}
		if f.Remedy != "" {
			s += " (" + f.Remedy + ")"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

// Findings collects what is wrong, so that a user learns all of it at once.
type Findings []Finding

// Add notes one finding.
func (fs *Findings) Add(field, message, remedy string) {
	*fs = append(*fs, Finding{Field: field, Message: message, Remedy: remedy})
}

// AddRisk notes a finding that acceptRisks may accept.
func (fs *Findings) AddRisk(risk, field, message, remedy string) {
	*fs = append(*fs, Finding{Field: field, Message: message, Risk: risk,
		Remedy: fmt.Sprintf("%s, or name %q in acceptRisks", remedy, risk)})
}

// Problem returns the findings that accepted does not name as one problem, or
// nil. step says who found them.
func (fs Findings) Problem(step string, accepted []string) error {
	var left []Finding
	for _, f := range fs {
		if f.Risk == "" || !slices.Contains(accepted, f.Risk) {
			left = append(left, f)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return NewProblem(409, "findings", step+" found what must be fixed first; nothing was written", left...)
}
