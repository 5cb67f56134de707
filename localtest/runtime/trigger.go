package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// HTTPTrigger is an HTTP trigger's configuration. authType anonymous is refused: nothing of eslink is open to everyone.
type HTTPTrigger struct {
	AuthType           string    `yaml:"authType"`
	Methods            []string  `yaml:"methods"`
	DisableURLInternet bool      `yaml:"disableURLInternet"`
	Auth               *jwtRules `yaml:"authConfig"`
}

// jwtRules is authConfig in the text form of the FC API (2023-03-30, HTTPTriggerConfig):
// tokenLookup "header:Authorization:Bearer,cookie:token,query:token", claimPassBy "query:uid:uid,header:name:X-Name".
type jwtRules struct {
	JWKS        any    `yaml:"jwks"`
	TokenLookup string `yaml:"tokenLookup"`
	ClaimPassBy string `yaml:"claimPassBy"`

	keys   jose.JSONWebKeySet
	lookup [][]string // position, name, prefix
	pass   [][]string // position, claim, name
}

func (t *HTTPTrigger) check() error {
	if len(t.Methods) == 0 {
		return errors.New("methods: at least one is needed")
	}
	switch t.AuthType {
	case "function":
		if t.Auth != nil {
			return errors.New("authConfig: only with authType jwt")
		}
		return nil
	case "jwt":
		if t.Auth == nil {
			return errors.New("authType jwt: authConfig is needed")
		}
		return t.Auth.check()
	}
	return fmt.Errorf("authType %q: want function (signed) or jwt; an open trigger is refused", t.AuthType)
}

func (c *jwtRules) check() error {
	raw, err := json.Marshal(c.JWKS)
	if err != nil {
		return fmt.Errorf("jwks: %w", err)
	}
	if err := json.Unmarshal(raw, &c.keys); err != nil {
		return fmt.Errorf("jwks: %w", err)
	}
	if len(c.keys.Keys) == 0 {
		return errors.New("jwks: no keys")
	}
	for _, k := range c.keys.Keys {
		if !k.Valid() || k.Algorithm == "" || k.Algorithm == "none" {
			return fmt.Errorf("jwks: key %q: want a valid key with its alg", k.KeyID)
		}
	}
	split := func(what, list string, positions ...string) (out [][]string, err error) {
		for _, item := range strings.Split(list, ",") {
			parts := strings.SplitN(item, ":", 3)
			if len(parts) < 2 || parts[1] == "" || !slices.Contains(positions, parts[0]) {
				return nil, fmt.Errorf("%s: %q is not <%s>:<name>:…", what, item, strings.Join(positions, "|"))
			}
			out = append(out, append(parts, "")[:3])
		}
		return out, nil
	}
	if c.lookup, err = split("tokenLookup", c.TokenLookup, "header", "cookie", "query", "form"); err != nil {
		return err
	}
	if c.ClaimPassBy != "" {
		c.pass, err = split("claimPassBy", c.ClaimPassBy, "header", "cookie", "query")
	}
	return err
}

// TimerTrigger is a time trigger's configuration. Of the two forms of cronExpression only "@every 5m" is run.
type TimerTrigger struct {
	CronExpression string `yaml:"cronExpression"`
	Enable         bool   `yaml:"enable"`
	Payload        string `yaml:"payload"`

	every time.Duration
}

func (t *TimerTrigger) check() error {
	text, ok := strings.CutPrefix(t.CronExpression, "@every ")
	if !ok {
		return fmt.Errorf("cronExpression %q: only @every is run here, no six-field cron", t.CronExpression)
	}
	every, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("cronExpression %q: %w", t.CronExpression, err)
	}
	if every < time.Minute {
		return fmt.Errorf("cronExpression %q: at least 1m", t.CronExpression)
	}
	t.every = every
	return nil
}

// EventBridgeTrigger is an EventBridge trigger's configuration: an event stream from an MNS queue
// (eventSourceType MNS, mode event-streaming) or a rule on the default bus (eventSourceType Default, mode event-driven).
type EventBridgeTrigger struct {
	Enable        bool   `yaml:"triggerEnable"`
	Async         bool   `yaml:"asyncInvocationType"`
	FilterPattern string `yaml:"eventRuleFilterPattern"`
	Source        struct {
		Type       string `yaml:"eventSourceType"`
		Parameters struct {
			MNS *struct {
				RegionID       string `yaml:"RegionId"`
				QueueName      string `yaml:"QueueName"`
				IsBase64Decode *bool  `yaml:"IsBase64Decode"`
			} `yaml:"sourceMNSParameters"`
		} `yaml:"eventSourceParameters"`
	} `yaml:"eventSourceConfig"`
	Sink struct {
		Delivery struct {
			EventSchema string `yaml:"eventSchema"`
		} `yaml:"deliveryOption"`
	} `yaml:"eventSinkConfig"`
	Run struct {
		Mode            string `yaml:"mode"`
		ErrorsTolerance string `yaml:"errorsTolerance"`
		Retry           struct {
			Strategy string `yaml:"PushRetryStrategy"`
		} `yaml:"retryStrategy"`
		DeadLetter struct {
			ARN string `yaml:"Arn"`
		} `yaml:"deadLetterQueue"`
		Batch struct {
			Count int `yaml:"CountBasedWindow"`
			Time  int `yaml:"TimeBasedWindow"`
		} `yaml:"batchWindow"`
	} `yaml:"runOptions"`

	pattern Pattern
}

// Queue is the MNS queue that the stream reads, "" for the default bus.
func (t *EventBridgeTrigger) Queue() string {
	if t.Source.Parameters.MNS == nil {
		return ""
	}
	return t.Source.Parameters.MNS.QueueName
}

// DeadLetterQueue is the queue's name in acs:mns:<region>:<account>:/queues/<name>, "" for none.
func (t *EventBridgeTrigger) DeadLetterQueue() string {
	_, name, _ := strings.Cut(t.Run.DeadLetter.ARN, ":/queues/")
	return name
}

// base64 says whether message bodies are decoded; EventBridge's default is to decode.
func (t *EventBridgeTrigger) base64() bool {
	p := t.Source.Parameters.MNS
	return p != nil && (p.IsBase64Decode == nil || *p.IsBase64Decode)
}

func (t *EventBridgeTrigger) check() (err error) {
	want := map[string]string{"MNS": "event-streaming", "Default": "event-driven"}[t.Source.Type]
	switch {
	case want == "":
		return fmt.Errorf("eventSourceType %q: only MNS and Default are run", t.Source.Type)
	case t.Run.Mode != want && !(t.Run.Mode == "" && want == "event-driven"):
		return fmt.Errorf("mode %q: only %s is run for source %s", t.Run.Mode, want, t.Source.Type)
	case (t.Source.Type == "MNS") != (t.Queue() != ""):
		return errors.New("sourceMNSParameters.QueueName: needed for source MNS, and only there")
	case t.Async:
		return errors.New("asyncInvocationType true: only synchronous delivery is run")
	case t.Sink.Delivery.EventSchema != "" && t.Sink.Delivery.EventSchema != "CloudEvents":
		return fmt.Errorf("eventSchema %q: only CloudEvents is run", t.Sink.Delivery.EventSchema)
	case t.Source.Type == "MNS" && (t.Run.Batch.Count != 1 || t.Run.Batch.Time != 0):
		return errors.New("batchWindow: only CountBasedWindow 1 and TimeBasedWindow 0 are run; a batch is retried as a whole")
	case t.Run.ErrorsTolerance != "ALL":
		return fmt.Errorf("errorsTolerance %q: only ALL is run; NONE blocks the stream at the first error", t.Run.ErrorsTolerance)
	case t.Run.Retry.Strategy != backoff && t.Run.Retry.Strategy != decay:
		return fmt.Errorf("PushRetryStrategy %q: only %s and %s are run", t.Run.Retry.Strategy, backoff, decay)
	case t.Run.Retry.Strategy == decay && t.Source.Type == "MNS":
		return fmt.Errorf("PushRetryStrategy %s: not run for a queue, whose messages would outlive their visibility", decay)
	case t.Run.DeadLetter.ARN != "" && t.DeadLetterQueue() == "":
		return fmt.Errorf("deadLetterQueue %q: only an MNS queue is run", t.Run.DeadLetter.ARN)
	}
	if t.pattern, err = ParsePattern([]byte(t.FilterPattern)); err != nil {
		return fmt.Errorf("eventRuleFilterPattern: %w", err)
	}
	return nil
}
