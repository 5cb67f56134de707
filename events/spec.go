package events

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// MaxSpecBytes bounds a request to runs.
const MaxSpecBytes = 64 << 10

// Request is what the function runs is asked; schema/request.schema.json.
type Request struct {
	Action            string  `json:"action"`
	Spec              *Spec   `json:"spec,omitempty"`
	Plan              bool    `json:"plan,omitempty"`
	Again             bool    `json:"again,omitempty"`
	RunID             string  `json:"runId,omitempty"`
	Profile           string  `json:"profile,omitempty"`
	PlanID            string  `json:"planId,omitempty"`
	KeepConfig        bool    `json:"keepConfig,omitempty"`
	KeepCopying       bool    `json:"keepCopying,omitempty"`
	KeepAssociation   bool    `json:"keepAssociation,omitempty"`
	DeleteDestination bool    `json:"deleteDestination,omitempty"`
	RequestsPerSecond float64 `json:"requestsPerSecond,omitempty"`
}

// Approval is what the function approve is asked; schema/approve.schema.json.
type Approval struct {
	RunID  string `json:"runId"`
	PlanID string `json:"planId"`
}

// CheckRequest is what the function check is asked; schema/check.schema.json.
type CheckRequest struct {
	RunID      string `json:"runId,omitempty"`
	InstanceID string `json:"instanceId,omitempty"`
	EndpointID string `json:"endpointId,omitempty"`
	Port       int    `json:"port,omitempty"`
	Protocol   string `json:"protocol,omitempty"`
	UseCase    string `json:"useCase,omitempty"`
	// Secrets.Target is the login at a cluster to read from, or a directory's user.
	Secrets     Secrets  `json:"secrets,omitzero"`
	Watcher     *Webhook `json:"watcher,omitempty"`
	Plugin      *Plugin  `json:"plugin,omitempty"`
	RemoteIndex string   `json:"remoteIndex,omitempty"`
	LocalIndex  string   `json:"localIndex,omitempty"`
	// Cleanup is whether the check deletes what it made: always, unless it is false.
	Cleanup *bool `json:"cleanup,omitempty"`

	// A link between Azure and Elastic Cloud.
	Scenario    string        `json:"scenario,omitempty"`
	Azure       *AzureCheck   `json:"azure,omitempty"`
	Elastic     *ElasticCheck `json:"elastic,omitempty"`
	Vantage     *Vantage      `json:"vantage,omitempty"`
	AcceptRisks []string      `json:"acceptRisks,omitempty"`
	// A link between AWS and Zilliz Cloud.
	AWS    *AWSCheck    `json:"aws,omitempty"`
	Zilliz *ZillizCheck `json:"zilliz,omitempty"`
	// CheckID goes on with a check that did not end within its request.
	CheckID string `json:"checkId,omitempty"`
}

// Spec is what a run is to bring about; schema/spec.schema.json.
type Spec struct {
	Name       string  `json:"name"`
	Scenario   string  `json:"scenario"`
	Region     string  `json:"region"`
	Zone       string  `json:"zone,omitempty"`
	InstanceID string  `json:"instanceId,omitempty"` // empty in a profile
	Target     Target  `json:"target,omitzero"`
	Secrets    Secrets `json:"secrets,omitzero"`
	// UseCases are what the instance needs a service on ECS for (es-to-ecs).
	UseCases []UseCase `json:"useCases,omitempty"`
	// Azure and Elastic are elastic-azure's, AWS and Zilliz zilliz-aws's; both prove
	// the link from a machine, Vantage.
	Azure   *Azure   `json:"azure,omitempty"`
	Elastic *Elastic `json:"elastic,omitempty"`
	AWS     *AWS     `json:"aws,omitempty"`
	Zilliz  *Zilliz  `json:"zilliz,omitempty"`
	Vantage *Vantage `json:"vantage,omitempty"`
	// Whitelist is the change that private-whitelist makes.
	Whitelist   *Whitelist `json:"whitelist,omitempty"`
	Indices     []Index    `json:"indices,omitempty"`
	Reindex     Reindex    `json:"reindex,omitzero"`
	Approve     string     `json:"approve,omitempty"`
	AcceptRisks []string   `json:"acceptRisks,omitempty"`
	Proof       string     `json:"proof,omitempty"`
}

// Target is what the instance is to reach: a cluster (es-to-es), or an ECS
// instance by its ID or by its private IP (es-to-ecs).
type Target struct {
	InstanceID    string `json:"instanceId,omitempty"`
	ECSInstanceID string `json:"ecsInstanceId,omitempty"`
	PrivateIP     string `json:"privateIp,omitempty"`
	Port          int    `json:"port,omitempty"`
	Protocol      string `json:"protocol,omitempty"`
	// TLS is "certificate" when the spec accepts that no certificate names the
	// endpoint domain: the chain is checked, the name is not.
	TLS string `json:"tls,omitempty"`
}

// ID is what names the target: one of its three fields.
func (t Target) ID() string { return cmp.Or(t.InstanceID, t.ECSInstanceID, t.PrivateIP) }

// Secrets names KMS secrets; each holds {"username", "password"}.
type Secrets struct {
	Instance string `json:"instance,omitempty"`
	Target   string `json:"target,omitempty"` // of a cluster to copy from, or of a deployment
	// Azure holds {"tenantId", "clientId", "clientSecret", "for"}, Elastic {"apiKey"}.
	Azure   string `json:"azure,omitempty"`
	Elastic string `json:"elastic,omitempty"`
	// AWS holds {"accessKeyId", "secretAccessKey", "roleArn", "externalId", "for"},
	// Zilliz {"apiKey"}.
	AWS    string `json:"aws,omitempty"`
	Zilliz string `json:"zilliz,omitempty"`
}

// Index is one index to copy, by its name, or all that patterns match.
type Index struct {
	Source string `json:"source,omitempty"`
	// Include are names of indices with * for anything, less those that match
	// Exclude. Their destinations are called as they are, or as Rename says.
	Include     Patterns        `json:"include,omitempty"`
	Exclude     Patterns        `json:"exclude,omitempty"`
	Rename      *Rename         `json:"rename,omitempty"`
	Dest        string          `json:"dest,omitempty"` // the source's name if left out
	Query       json.RawMessage `json:"query,omitempty"`
	Destination Destination     `json:"destination,omitzero"`
	// Existing is what becomes of a destination that exists: "refuse", or "reuse",
	// the default, if its fields take the source's.
	Existing string `json:"existing,omitempty"`
	// Versions says whether documents keep the source's _version: "keep", "new", or
	// "auto", which keeps them in an index that the run creates and is what nothing
	// means. With new ones, a write with an external version that the source would
	// refuse succeeds at the copy.
	Versions string `json:"versions,omitempty"`
}

// Refuse is the value of Index.Existing that lets no existing index be written.
const Refuse = "refuse"

// TemplatesRisk in acceptRisks lets index templates of the destination change
// what is created.
const TemplatesRisk = "templates"

// Destination says how the destination index is created if it does not exist.
type Destination struct {
	Settings json.RawMessage `json:"settings,omitempty"`
	// Mappings is "source", "none" or an object; "source" if left out.
	Mappings json.RawMessage `json:"mappings,omitempty"`
	// Aliases is "source" or "none"; "source" if left out.
	Aliases string `json:"aliases,omitempty"`
}

// TakesAliases tells whether the destination gets the source's aliases.
func (d Destination) TakesAliases() bool { return d.Aliases != "none" }

// Reindex are parameters of _reindex; what is left out is not sent. Tasks and
// MaxRejected are ours: Tasks is how many of them run at once.
type Reindex struct {
	SocketTimeout     string   `json:"socketTimeout,omitempty"`
	ConnectTimeout    string   `json:"connectTimeout,omitempty"`
	Size              int      `json:"size,omitempty"`
	Conflicts         string   `json:"conflicts,omitempty"`
	RequestsPerSecond *float64 `json:"requestsPerSecond,omitempty"`
	Tasks             int      `json:"tasks,omitempty"`
	// MaxRejected is how many documents of an index the destination may reject before
	// the copy stops; 10,000 if left out.
	MaxRejected *int `json:"maxRejected,omitempty"`
}

// ParseRequest reads a request to runs, or says everything that is wrong with
// it in itself, as a *Problem.
func ParseRequest(raw []byte) (Request, error) {
	var r Request
	if err := parse("request.schema.json", raw, &r); err != nil {
		return r, err
	}
	if r.Spec == nil {
		return r, nil
	}
	r.Spec.fill()
	if fs := r.Spec.check(); len(fs) > 0 {
		return r, invalid(fs...)
	}
	return r, nil
}

// ParseApproval reads a request to approve likewise.
func ParseApproval(raw []byte) (Approval, error) {
	var a Approval
	err := parse("approve.schema.json", raw, &a)
	return a, err
}

// ParseCheck reads a request to check likewise.
func ParseCheck(raw []byte) (CheckRequest, error) {
	var r CheckRequest
	if err := parse("check.schema.json", raw, &r); err != nil || r.RunID != "" {
		return r, err
	}
	if r.Zilliz != nil {
		r.Zilliz.API = cmp.Or(r.Zilliz.API, "global")
	}
	if r.Elastic != nil || r.Zilliz != nil {
		return r, nil
	}
	u := UseCase{Kind: cmp.Or(r.UseCase, ReindexUseCase), Port: r.Port, Protocol: r.Protocol, Watcher: r.Watcher, Plugin: r.Plugin}
	u.fill()
	r.UseCase, r.Port, r.Protocol, r.Watcher = u.Kind, u.Port, u.Protocol, u.Watcher
	return r, nil
}

func parse(schema string, raw []byte, into any) error {
	if len(raw) > MaxSpecBytes {
		return invalid(Finding{Message: fmt.Sprintf("it has %d bytes", len(raw)), Remedy: fmt.Sprintf("send at most %d", MaxSpecBytes)})
	}
	return decode(schema, raw, into)
}

// fill writes out what a left-out field means, so that nobody else needs to
// know.
func (s *Spec) fill() {
	if s.Target.InstanceID != "" {
		s.Target.Port = cmp.Or(s.Target.Port, 9200)
		s.Target.Protocol = cmp.Or(s.Target.Protocol, "http")
	}
	for i := range s.UseCases {
		s.UseCases[i].fill()
	}
	if s.Whitelist != nil {
		s.Whitelist.fill()
	}
	s.fillAzure()
	s.fillZilliz()
	s.Approve = cmp.Or(s.Approve, "manual")
	if !s.Copies() {
		return
	}
	s.Proof = cmp.Or(s.Proof, "auto")
	for i := range s.Indices {
		ix := &s.Indices[i]
		if ix.Dest == "" {
			ix.Dest = ix.Source
		}
		if len(ix.Destination.Mappings) == 0 {
			ix.Destination.Mappings = json.RawMessage(`"source"`)
		}
	}
}

// check holds what a schema cannot say.
func (s *Spec) check() Findings {
	var fs Findings
	if s.InstanceID != "" && s.InstanceID == s.Target.InstanceID {
		fs.Add("spec.target.instanceId", "it is the instance itself", "name the cluster to copy from; within one cluster _reindex needs no link")
	}
	if s.Target.TLS != "" && !s.tls() {
		fs.Add("spec.target.tls", "nothing that is connected speaks TLS", "leave tls out, or set a protocol to https or ldaps")
	}
	if i := slices.IndexFunc(s.UseCases, UseCase.TLS); i >= 0 && s.Target.TLS == "" {
		fs.Add("spec.target.tls", fmt.Sprintf("it is missing: useCases[%d] speaks %s, and no certificate names the endpoint's domain", i, s.UseCases[i].Protocol), "say certificate to accept that the chain alone is checked, by public CAs; or use a protocol without TLS")
	}
	if s.Zone != "" && !zoneOf(s.Region, s.Zone) {
		fs.Add("spec.zone", s.Zone+" is not a zone of "+s.Region, "name a zone of that region, or leave it out")
	}
	if ip := s.Target.PrivateIP; ip != "" && !hostAddress(ip) {
		fs.Add("spec.target.privateIp", ip+" is not the address of a host in a VPC", "give the private IPv4 address of an ECS instance, such as 10.0.0.8")
	}
	checkUseCases(s.UseCases, &fs)
	s.checkAzure(&fs)
	s.checkZilliz(&fs)
	if s.Whitelist != nil {
		s.Whitelist.check(&fs)
	}
	s.Reindex.check(&fs)
	seen := map[string]int{}
	for i, ix := range s.Indices {
		ix.checkNames(fmt.Sprintf("spec.indices[%d]", i), &fs)
		if ix.Rename != nil {
			ix.Rename.check(fmt.Sprintf("spec.indices[%d].rename", i), &fs)
		}
		if len(ix.Include) > 0 {
			continue // what it means is known at the source
		}
		if j, ok := seen[ix.Dest]; ok {
			fs.Add(fmt.Sprintf("spec.indices[%d].dest", i), fmt.Sprintf("%s is the dest of indices[%d] already", ix.Dest, j), "give every index a destination of its own")
			continue
		}
		seen[ix.Dest] = i
	}
	return fs
}

// tls reports whether anything that the spec connects speaks TLS.
func (s *Spec) tls() bool {
	return s.Target.Protocol == "https" || slices.ContainsFunc(s.UseCases, UseCase.TLS)
}

// For is a profile's spec for an instance, or says as a *Problem why that
// cannot be.
func (s Spec) For(instanceID string) (Spec, error) {
	s.InstanceID = instanceID
	if fs := s.check(); len(fs) > 0 {
		return s, invalid(fs...)
	}
	return s, nil
}

// zoneOf reports whether zone is one of region's: cn-hangzhou-i of cn-hangzhou,
// ap-southeast-1a of ap-southeast-1.
func zoneOf(region, zone string) bool {
	letter, ok := strings.CutPrefix(zone, region)
	return ok && len(strings.TrimPrefix(letter, "-")) == 1
}

// MappingsFrom tells how the destination's mappings come about: "source",
// "none" or "given".
func (d Destination) MappingsFrom() string {
	var s string
	if json.Unmarshal(d.Mappings, &s) == nil {
		return s
	}
	return "given"
}
