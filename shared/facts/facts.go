// Package facts is what the steps learn and write down, as data: one part a step.
// The record of a run keeps it; steps read each other's parts here.
package facts

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/events"
)

// Facts are what the steps have learned, one part per step. A part is nil until
// its step has something to say, and nil again once its Down has taken
// everything back.
type Facts struct {
	Preflight         *Preflight         `json:"preflight,omitempty"`
	Survey            *Survey            `json:"survey,omitempty"`
	NLB               *NLB               `json:"nlb,omitempty"`
	IPWhitelist       *IPWhitelist       `json:"ipWhitelist,omitempty"`
	NLBBackend        *NLBBackend        `json:"nlbBackend,omitempty"`
	CLB               *CLB               `json:"clb,omitempty"`
	Firewall          *Firewall          `json:"firewall,omitempty"`
	CLBBackend        *CLBBackend        `json:"clbBackend,omitempty"`
	EndpointService   *EndpointService   `json:"endpointService,omitempty"`
	PrivateConnection *PrivateConnection `json:"privateConnection,omitempty"`
	Accept            *Accept            `json:"accept,omitempty"`
	Configure         *Configure         `json:"configure,omitempty"`
	Dictionary        *Dictionary        `json:"dictionary,omitempty"`
	Destination       *DestinationFacts  `json:"destination,omitempty"`
	Reindex           *Reindex           `json:"reindex,omitempty"`
	Progress          *Progress          `json:"progress,omitempty"`
	Digest            *Digest            `json:"digest,omitempty"`
	Verify            *Verify            `json:"verify,omitempty"`
	PrivateWhitelist  *PrivateWhitelist  `json:"privateWhitelist,omitempty"`

	AzurePreflight *AzurePreflight `json:"azurePreflight,omitempty"`
	ElasticSurvey  *ElasticSurvey  `json:"elasticSurvey,omitempty"`
	AzureEndpoint  *AzureEndpoint  `json:"azureEndpoint,omitempty"`
	AzureDNS       *AzureDNS       `json:"azureDns,omitempty"`
	ElasticPolicy  *ElasticPolicy  `json:"elasticPolicy,omitempty"`
	AzureApproval  *AzureApproval  `json:"azureApproval,omitempty"`
	AzureProbe     *InsideProof    `json:"azureProbe,omitempty"`
	ElasticAccess  *ElasticAccess  `json:"elasticAccess,omitempty"`
	AzureVerify    *InsideProof    `json:"azureVerify,omitempty"`
	ZillizSurvey   *ZillizSurvey   `json:"zillizSurvey,omitempty"`
	AWSPreflight   *AWSPreflight   `json:"awsPreflight,omitempty"`
	ZillizAdmit    *ZillizAdmit    `json:"zillizAdmit,omitempty"`
	AWSGroup       *AWSGroup       `json:"awsGroup,omitempty"`
	AWSEndpoint    *AWSEndpoint    `json:"awsEndpoint,omitempty"`
	ZillizRegister *ZillizRegister `json:"zillizRegister,omitempty"`
	AWSAcceptance  *AWSAcceptance  `json:"awsAcceptance,omitempty"`
	ZillizAddress  *ZillizAddress  `json:"zillizAddress,omitempty"`
	AWSRules       *AWSRules       `json:"awsRules,omitempty"`
	AWSDNS         *AWSDNS         `json:"awsDns,omitempty"`
	AWSVerify      *AWSVerify      `json:"awsVerify,omitempty"`
	ZillizPublic   *ZillizPublic   `json:"zillizPublic,omitempty"`
}

// Preflight is what the cloud says of the two clusters.
type Preflight struct {
	Instance Cluster `json:"instance"`
	// Target is what is copied from. In es-to-ecs it is the service on the ECS
	// instance, as if it were a cluster: its ID is the instance's, its domain the
	// private address.
	Target Cluster `json:"target"`
	// ECS is the host of the services (es-to-ecs).
	ECS *ECSHost `json:"ecs,omitempty"`
	// Zone is where the endpoint goes: a zone that both clusters and the load
	// balancer share.
	Zone string `json:"zone"`
	// VSwitches are where the load balancer goes, one per zone, Zone's first.
	VSwitches []VSwitch `json:"vSwitches"`
}

// Cluster is an Alibaba Cloud Elasticsearch instance.
type Cluster struct {
	InstanceID string   `json:"instanceId"`
	Domain     string   `json:"domain"`              // private, in its user's VPC
	Endpoints  []string `json:"endpoints,omitempty"` // private domains per zone, if it has them
	Port       int      `json:"port"`
	Protocol   string   `json:"protocol"` // http or https
	Version    string   `json:"version"`  // such as 7.10.0_with_X-Pack
	VpcID      string   `json:"vpcId"`
	VSwitchID  string   `json:"vSwitchId"`
	ZoneIDs    []string `json:"zoneIds"`
}

// ECSHost is an ECS instance.
type ECSHost struct {
	InstanceID     string   `json:"instanceId"`
	PrivateIP      string   `json:"privateIp"`
	VpcID          string   `json:"vpcId"`
	VSwitchID      string   `json:"vSwitchId"`
	ZoneID         string   `json:"zoneId"`
	SecurityGroups []string `json:"securityGroups"`
}

// URL is the cluster's private address for clients in its VPC.
func (c Cluster) URL() string {
	return c.Protocol + "://" + c.Domain + ":" + strconv.Itoa(c.Port)
}

// VSwitch is a vSwitch that the load balancer uses.
type VSwitch struct {
	VSwitchID string `json:"vSwitchId"`
	ZoneID    string `json:"zoneId"`
	CIDR      string `json:"cidr"`
}

// Survey is what the source holds. Each index's definition (settings and
// mappings) is a row of its own, "definition/<position>".
type Survey struct {
	// At is when the last of it had been read.
	At      time.Time       `json:"at,omitzero"`
	Version string          `json:"version"`
	Indices []SurveyedIndex `json:"indices"`
	// MaxKeepAlive is how long the source keeps a scroll at most, MaxScrolls how many
	// a node of it has open, if it says so.
	MaxKeepAlive time.Duration `json:"maxKeepAlive,omitempty"`
	MaxScrolls   int           `json:"maxScrolls,omitempty"`
	// Chosen are what patterns of the spec were found to mean, once for all walks,
	// and Passed says what they match and is not copied: at most 50 lines.
	Chosen []Chosen `json:"chosen,omitempty"`
	Passed []string `json:"passed,omitempty"`
}

// Chosen is an index to copy, by the spec's entry that it comes from.
type Chosen struct {
	Entry  int    `json:"entry"`
	Source string `json:"source"`
	Dest   string `json:"dest"`
}

// Of are the indices that a spec means, one by one: what steps call the spec's
// i-th index is the i-th of these. There are none before survey if the spec has
// patterns.
func (f *Survey) Of(s events.Spec) []events.Index {
	if !s.Patterned() {
		return s.Indices
	}
	if f == nil {
		return nil
	}
	out := make([]events.Index, len(f.Chosen))
	for i, c := range f.Chosen {
		out[i] = s.Indices[c.Entry]
		out[i].Source, out[i].Dest = c.Source, c.Dest
		out[i].Include, out[i].Exclude, out[i].Rename = nil, nil, nil
	}
	return out
}

// Entry names the entry of a spec that the i-th of its indices comes from.
func (f *Survey) Entry(s events.Spec, i int) string {
	if s.Patterned() {
		i = f.Chosen[i].Entry
	}
	return "indices[" + strconv.Itoa(i) + "]"
}

// SurveyedIndex is one index of the spec, in the spec's order.
type SurveyedIndex struct {
	Source    string `json:"source"`
	Dest      string `json:"dest"`
	Documents int64  `json:"documents"` // under the spec's query
	Total     int64  `json:"total"`
	Bytes     int64  `json:"bytes"`
	// MaxSeqNo is the highest sequence number of any primary shard.
	MaxSeqNo int64 `json:"maxSeqNo"`
	// ShardSeqNos has each primary shard's own highest, by the shard's number:
	// what is above them was written later.
	ShardSeqNos []int64 `json:"shardSeqNos,omitempty"`
	// Refresh is its refresh_interval, if it has one of its own. Refreshable says that
	// the login may refresh it; Unseen that its searches may lack writes.
	Refresh     string `json:"refresh,omitempty"`
	Refreshable bool   `json:"refreshable,omitempty"`
	Unseen      bool   `json:"unseen,omitempty"`
	// MaxPage is how many documents a page of it may have, if it says so itself.
	MaxPage int `json:"maxPage,omitempty"`
	// State changes whenever the index does: its UUID, and how many operations
	// its primary shards have seen.
	State     string   `json:"state,omitempty"`
	Analyzers []string `json:"analyzers,omitempty"`
	// Aliases lead to it, by name.
	Aliases []string `json:"aliases,omitempty"`
}

// SourceNotRefreshed is the risk that a source's searches lack writes, and so the
// copy and its proof.
const SourceNotRefreshed = "source-not-refreshed"

// Lags reports whether searches may show a write only long after it: the index does
// not refresh itself, or seldom.
func (s SurveyedIndex) Lags() bool {
	if strings.HasPrefix(s.Refresh, "-") {
		return true
	}
	interval, err := time.ParseDuration(cmp.Or(s.Refresh, "1s"))
	return err != nil || interval > 10*time.Second // in days, or micros
}

// NLB is the run's load balancer.
type NLB struct {
	ID string `json:"id"`
	// LocalAddresses are what the balancer's packets to its backends carry.
	LocalAddresses []string `json:"localAddresses,omitempty"`
	// Asked is when a creation was sent whose reply has not come: until lists
	// have caught up, not finding the balancer proves nothing.
	Asked time.Time `json:"asked,omitzero"`
}

// IPWhitelist is the run's own group in the target's private whitelist.
type IPWhitelist struct {
	// Group is empty if other groups admit all addresses already.
	Group     string   `json:"group,omitempty"`
	Addresses []string `json:"addresses"`
}

// PrivateWhitelist is what the run has changed in one group of the instance's
// private whitelist, over all its generations: what teardown takes back.
type PrivateWhitelist struct {
	Group   string   `json:"group"`
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	// Created says that the run made the group, Deleted that it deleted it.
	Created bool `json:"created,omitempty"`
	Deleted bool `json:"deleted,omitempty"`
	// IPs is the group as it was read back when the change was in force.
	IPs []string `json:"ips,omitempty"`
	// Pending is the next change, saved before it is sent.
	Pending *PendingWhitelist `json:"pending,omitempty"`
}

// PendingWhitelist is a change that may or may not have been made yet.
type PendingWhitelist struct {
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
	Create bool     `json:"create,omitempty"`
	Delete bool     `json:"delete,omitempty"`
}

// NLBBackend is what stands behind the balancer.
type NLBBackend struct {
	ServerGroupID string   `json:"serverGroupId"`
	ListenerID    string   `json:"listenerId,omitempty"`
	Servers       []string `json:"servers,omitempty"` // addresses
	// Job is the last change, while it may be under way.
	Job *Job `json:"job,omitempty"`
	// Asked is as in NLB, of the group or the listener.
	Asked time.Time `json:"asked,omitzero"`
}

// CLB is the run's load balancer in front of an ECS instance.
type CLB struct {
	ID string `json:"id"`
	// Address is where it listens.
	Address string `json:"address,omitempty"`
	// Spec is what was asked for where the account is not offered pay-by-LCU.
	Spec string `json:"spec,omitempty"`
	// Asked is as in NLB.
	Asked time.Time `json:"asked,omitzero"`
}

// Firewall is what the host's security group admits.
type Firewall struct {
	SecurityGroupID string `json:"securityGroupId"`
	// Rules are the run's own; none if others admit all of it already.
	Rules []FirewallRule `json:"rules,omitempty"`
}

// FirewallRule admits a network to a port.
type FirewallRule struct {
	ID   string `json:"id"`
	Port int    `json:"port"`
	CIDR string `json:"cidr"`
}

// CLBBackend is what stands behind the balancer, a port each.
type CLBBackend struct {
	Ports []CLBPort `json:"ports"`
}

// CLBPort is a listener and the group of servers that it leads to.
type CLBPort struct {
	Port int `json:"port"`
	// GroupID is empty until the group is known. Groups have no tokens, so when
	// one was asked for is a row of its own, "asked/<port>", written before that.
	GroupID string `json:"groupId,omitempty"`
}

// Job is an asynchronous change to a balancer. Token names the token that asked
// for it, if it must not ask for the next one too.
type Job struct {
	ID    string `json:"id"`
	Token string `json:"token,omitempty"`
}

// EndpointService is the run's PrivateLink service.
type EndpointService struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	// Asked is when its creation was last asked for: until lists have caught up
	// with that, its absence from them says nothing.
	Asked time.Time `json:"asked,omitzero"`
}

// PrivateConnection is the endpoint that the instance made to that service.
type PrivateConnection struct {
	EndpointID string    `json:"endpointId,omitempty"`
	Domain     string    `json:"domain,omitempty"` // as reported
	Asked      time.Time `json:"asked,omitzero"`   // when its creation was
}

// Accept is the connection once it stands.
type Accept struct {
	// Domain names the endpoint for all zones: it has no zone segment.
	Domain  string    `json:"domain,omitempty"`
	OwnerID string    `json:"ownerId,omitempty"` // the account that owns the endpoint
	Asked   time.Time `json:"asked,omitzero"`    // when it was accepted, until it is seen connected
}

// Configure is the patch of esConfig. The configuration as it was before our
// first write is a row of its own, "esconfig-before", and what is ours another,
// "esconfig-ours".
type Configure struct {
	Entry string `json:"entry"` // domain:port in reindex.remote.whitelist, or ""
	// Added says that this run put the entry there.
	Added bool `json:"added"`
	// Keys are the settings that the last write changed.
	Keys    []string  `json:"keys,omitempty"`
	WroteAt time.Time `json:"wroteAt,omitzero"`
	// ChangeID is the cloud's ID of the change, to follow its progress.
	ChangeID string `json:"changeId,omitempty"`
	// Writes counts the writes of this walk: each one restarts the cluster.
	Writes int `json:"writes,omitempty"`
	// Unlike is since when the nodes have differed from what the cloud says they
	// were given, Failing since when they have not come up with it.
	Unlike  time.Time `json:"unlike,omitzero"`
	Failing time.Time `json:"failing,omitzero"`
}

// Dictionary is what an analyzer made of a word before the run.
type Dictionary struct {
	Analyzer string   `json:"analyzer"`
	Word     string   `json:"word"`
	Before   []string `json:"before"` // tokens
}

// DestinationFacts are the destination indices, in the spec's order.
type DestinationFacts struct {
	Indices []DestinationIndex `json:"indices"`
	// Earlier are those that earlier generations of the run created.
	Earlier []DestinationIndex `json:"earlier,omitempty"`
	// NotCarriedOver are settings of the source's indices that these do not have.
	NotCarriedOver []DroppedSetting `json:"notCarriedOver,omitempty"`
}

// Made reports whether the run made, or was about to make, the index that is
// called name and has that UUID.
func (f *DestinationFacts) Made(name, uuid string) bool {
	return f != nil && slices.ContainsFunc(slices.Concat(f.Indices, f.Earlier), func(d DestinationIndex) bool {
		return d.Name == name && (d.Created && d.UUID == uuid || d.Creating)
	})
}

// DestinationIndex is one of them.
type DestinationIndex struct {
	Name string `json:"name"`
	// Created says that this run made it; UUID tells it from a later namesake.
	Created bool   `json:"created"`
	UUID    string `json:"uuid,omitempty"`
	// Creating is the intent, saved before the create is sent.
	Creating bool `json:"creating,omitempty"`
	// AsWanted says that it was read back after its creation and was as planned.
	AsWanted bool `json:"asWanted,omitempty"`
	// Before is how many documents it held before the copy.
	Before int64 `json:"before"`
	// Load says that its settings are those for a load, "set", or are about to
	// be, "intended". What they were is a row of its own.
	Load string `json:"load,omitempty"`
}

// DroppedSetting is a setting of a source index that its copy does not have.
type DroppedSetting struct {
	Setting string `json:"setting"`
	Because string `json:"because"`
	// Indices are the first destinations that it is so of, and More how many others.
	Indices []string `json:"indices,omitempty"`
	More    int      `json:"more,omitempty"`
}

// Reindex are the tasks that copy, in the spec's order: one of an index, or one
// of each of its windows, the open-ended one last.
type Reindex struct {
	Tasks []Task `json:"tasks"`
	// Parallel is how many run at once.
	Parallel int `json:"parallel,omitempty"`
	// Rejected counts the documents that destinations rejected, of indices of which
	// there are any; which ones is in rows (package copyjob).
	Rejected []RejectedDocuments `json:"rejected,omitempty"`
	// LeakedScrolls are those that tasks may have left open at the source when they broke
	// off, the oldest first.
	LeakedScrolls []LeakedScrolls `json:"leakedScrolls,omitempty"`
}

// RejectedDocuments are those of one index.
type RejectedDocuments struct {
	Source string `json:"source"`
	Dest   string `json:"dest"`
	Count  int    `json:"count"`
	Rows   int    `json:"rows"`
}

// Rejection is a document that could not be written, and why.
type Rejection struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// LeakedScrolls are those of one task: one of each shard, until the source ends them.
type LeakedScrolls struct {
	Until time.Time `json:"until"`
	Count int       `json:"count"`
}

// Task is one _reindex. Node IDs survive a restart and task numbers start
// again, so the ID alone does not identify it.
type Task struct {
	Source string `json:"source"`
	Dest   string `json:"dest"`
	// Window names one of its index: it copies sequence numbers that are at least
	// From and, unless it is 0, below Below.
	Window   int    `json:"window,omitempty"`
	From     int64  `json:"from,omitempty"`
	Below    int64  `json:"below,omitempty"`
	OpaqueID string `json:"opaqueId"` // run, index, window and attempt, as X-Opaque-Id
	Attempt  int    `json:"attempt"`
	// Intent is when the kick-off was about to be sent, ID what came back.
	Intent time.Time `json:"intent,omitzero"`
	// SourceState is the source's (SurveyedIndex) when the copy was planned:
	// while it stays, there is nothing more to copy.
	SourceState string `json:"sourceState,omitempty"`
	// Retries counts tasks of this copy that vanished or broke off and were
	// started again, the next one not before NotBefore.
	Retries   int       `json:"retries,omitempty"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Size, if set, is the page size that was chosen, or that the copy came down
	// to; PerSecond the rate in documents that it came down to.
	Size      int     `json:"size,omitempty"`
	PerSecond float64 `json:"perSecond,omitempty"`
	// AwaitsRefresh says that it starts only once step digest has refreshed the source.
	AwaitsRefresh bool `json:"awaitsRefresh,omitempty"`
	// Ordered says that documents are read in the order of their sequence numbers,
	// so that one that cannot be read has a place.
	Ordered bool `json:"ordered,omitempty"`
	// LeftOut are documents that the copy leaves out, by ID, with what is said of each:
	// they are larger than a page may be, or do not fit and cannot be told from others
	// by sequence numbers.
	LeftOut map[string]string `json:"leftOut,omitempty"`
	// InOrder says that it starts once all of its index that lies below is copied, as
	// the tail does of which it is a piece.
	InOrder bool `json:"inOrder,omitempty"`
	// NodesAtStart says when the destination's nodes had started as the task was, while
	// one that ends would take documents with it (settings for the load): until
	// what a finished task wrote is on disk.
	NodesAtStart string      `json:"nodesAtStart,omitempty"`
	ID           string      `json:"id,omitempty"`
	StartedMS    int64       `json:"startedMs,omitempty"`
	Result       *TaskResult `json:"result,omitempty"`
}

// TaskResult is what a task reported at its end.
type TaskResult struct {
	Total            int64 `json:"total"`
	Created          int64 `json:"created"`
	Updated          int64 `json:"updated"`
	Deleted          int64 `json:"deleted"`
	Noops            int64 `json:"noops"`
	VersionConflicts int64 `json:"versionConflicts"`
	// FailureCount documents could not be written; FailureRows rows name them.
	FailureCount int `json:"failureCount,omitempty"`
	FailureRows  int `json:"failureRows,omitempty"`
}

// Progress is how far the copy has come.
type Progress struct {
	Documents     int64     `json:"documents"`
	Total         int64     `json:"total"`
	DocsPerSecond float64   `json:"docsPerSecond,omitempty"`
	ETA           string    `json:"eta,omitempty"` // a duration
	At            time.Time `json:"at,omitzero"`
	// Indices are how far each index is, in the spec's order.
	Indices []IndexProgress `json:"indices,omitempty"`
}

// String says in a line how far the copy is; of several indices how many are
// copied whole, and which takes longest.
func (p *Progress) String() string {
	out := fmt.Sprintf("%d of %d documents copied", p.Documents, p.Total)
	if p.Total > 0 {
		out += fmt.Sprintf(" (%.0f%%)", math.Floor(100*float64(p.Documents)/float64(p.Total)))
	}
	if p.ETA != "" {
		decimals := 0
		if p.DocsPerSecond < 10 {
			decimals = 1
		}
		out += fmt.Sprintf(", %.*f a second, %s left", decimals, p.DocsPerSecond, p.ETA)
	}
	if len(p.Indices) < 2 {
		return out
	}
	done, slowest, most := 0, "", time.Duration(-1)
	for _, ix := range p.Indices {
		if ix.Documents >= ix.Total {
			done++
		}
		if left, err := time.ParseDuration(ix.ETA); err == nil && left > most {
			slowest, most = fmt.Sprintf(", %s takes longest: %d of %d, %s left", ix.Dest, ix.Documents, ix.Total, ix.ETA), left
		}
	}
	return out + fmt.Sprintf("; %d of %d indices done", done, len(p.Indices)) + slowest
}

// IndexProgress is how far the copy of one index has come.
type IndexProgress struct {
	Dest      string `json:"dest"`
	Documents int64  `json:"documents"`
	Total     int64  `json:"total"`
	// DocsPerSecond and ETA are those of its tasks that run; neither if none does.
	DocsPerSecond float64 `json:"docsPerSecond,omitempty"`
	ETA           string  `json:"eta,omitempty"`
}

// Digest is the source's side of the proof, in the spec's order.
type Digest struct {
	Level   string        `json:"level"` // as the spec asks
	Indices []IndexDigest `json:"indices"`
	// Walk names this proof: rows of another proof are ignored.
	Walk string `json:"walk,omitempty"`
}

// IndexDigest is what the source holds under the query at digest time. Sums of
// partitions, and listed documents, are rows of their own (package proving).
type IndexDigest struct {
	Documents int64  `json:"documents"`
	IDParts   int    `json:"idParts,omitempty"` // rows of listed documents
	IDsDone   bool   `json:"idsDone,omitempty"` // all that the level asks for is there
	Level     string `json:"level"`             // what is proved of this index
	// Partitions is how many the documents are summed up in; of these, Wanted are
	// listed, because the sides differ.
	Partitions int `json:"partitions,omitempty"`
	Wanted     int `json:"wanted,omitempty"`
	// Changed says that the source was written to after the copy was planned, Unseen
	// that its searches may lack writes, and so the proof.
	Changed bool `json:"changed,omitempty"`
	Unseen  bool `json:"unseen,omitempty"`
	// Windows are how many documents are in each window of the copy.
	Windows []int64 `json:"windows,omitempty"`
}

// Verify is the proof.
type Verify struct {
	Checks []Check `json:"checks"`
	// Operated are the checks made while that of a copy runs.
	Operated []Check `json:"operated,omitempty"`
	// Probe is the operation that the instance runs for the checks.
	Probe *Probe `json:"probe,omitempty"`
	// Differences lists what differs, at most 50 lines; empty means none. All that
	// were found by their documents are rows "differences/<index>/<part>".
	Differences []string `json:"differences,omitempty"`
	// Level is what was proved of every index: the weakest of Indices. Next is
	// the index that is compared next, and NextPart the listed row.
	Level    string       `json:"level,omitempty"`
	Next     int          `json:"next,omitempty"`
	NextPart int          `json:"nextPart,omitempty"`
	Indices  []IndexProof `json:"indices,omitempty"`
}

// IndexProof is what was proved of one index.
type IndexProof struct {
	Dest  string `json:"dest"`
	Level string `json:"level"`
	// Documents is how many were compared.
	Documents int64 `json:"documents,omitempty"`
	// Unequal is how many of Partitions differ, Unlisted how many of these were
	// not gone through document by document.
	Partitions int `json:"partitions,omitempty"`
	Unequal    int `json:"unequal,omitempty"`
	Unlisted   int `json:"unlisted,omitempty"`
	// Differences counts the documents that differ by class: missing, extra,
	// content, precision, unreadable. Rejected of the missing ones were rejected. Late of them were written to the source after the copy
	// was planned. Parts are their rows. Other differences are in counts, or in what
	// the tasks reported.
	Differences map[string]int `json:"differences,omitempty"`
	Other       int            `json:"other,omitempty"`
	Rejected    int            `json:"rejected,omitempty"`
	Late        int            `json:"late,omitempty"`
	Parts       int            `json:"parts,omitempty"`
	// Counted and Done say how far the comparison is.
	Counted bool `json:"counted,omitempty"`
	Done    bool `json:"done,omitempty"`
}

// Probe is a throttled _reindex of one document into an index of its own.
type Probe struct {
	TaskID string    `json:"taskId"`
	Since  time.Time `json:"since"`
}

// Check is one of the four: link, network, login, operation.
type Check struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail"`
	Remedy  string  `json:"remedy,omitempty"`
	Seconds float64 `json:"seconds"`
}
