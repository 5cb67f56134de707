package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Creation is what an event of the default bus says of an Elasticsearch
// instance that may be new. None of its shapes is documented verbatim;
// samples/created holds those that we expect, and what was assumed.
type Creation struct {
	ID   string // of the event: the same in its duplicates
	Name string // createInstance, Create, or ConfigurationItemChangeNotification
	// AccountID and Region are where it happened, empty if it does not say.
	AccountID, Region string
	// InstanceID is empty if the event names no instance, as an order may not.
	InstanceID string
	// Failed is the error code of an attempt that failed.
	Failed string
	Time   time.Time // zero if it does not say
}

const (
	creationSource = "acs.elasticsearch"
	trailType      = "elasticsearch:ActionTrail:"
	configType     = "elasticsearch:Config:ConfigurationItemChangeNotification"
)

// creations are the names by which ActionTrail lists a creation: of the API and
// of the buy page.
var creations = []string{"createInstance", "CreateInstance", "Create"}

var instanceID = regexp.MustCompile(`\bes-[a-z]{2}-[0-9a-z]{4,40}\b`)

// DecodeCreation reads a CloudEvent of an Elasticsearch instance, from
// ActionTrail or from Cloud Config. Whatever is not one is an error. Of its parts
// only source, type and data must be there.
func DecodeCreation(payload []byte) (Creation, error) {
	if len(payload) > MaxBytes {
		return Creation{}, fmt.Errorf("decode creation: %d bytes are more than %d", len(payload), MaxBytes)
	}
	payload = bytes.TrimSpace(payload)
	var parts []json.RawMessage
	if json.Unmarshal(payload, &parts) == nil && len(parts) == 1 { // as event streams deliver
		payload = parts[0]
	}
	var e struct {
		ID, Source, Type, Subject, Time string
		AccountID                       string `json:"aliyunaccountid"`
		Region                          string `json:"aliyunregionid"`
		Data                            struct {
			EventName    string
			EventTime    string
			Region       string          `json:"acsRegion"`
			ErrorCode    string          // of ActionTrail, only if the call failed
			ErrorMessage string          // likewise
			Recipient    string          `json:"recipientAccountId"`
			Resources    json.RawMessage `json:"referencedResources"`
			Response     json.RawMessage `json:"responseElements"`
			Request      json.RawMessage `json:"requestParameters"`
			// Of Cloud Config.
			ResourceID     string
			ResourceType   string
			RegionID       string
			OwnerAccountID json.RawMessage `json:"accountId"`
		}
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return Creation{}, fmt.Errorf("decode creation: %w", err)
	}
	d := e.Data
	c := Creation{ID: e.ID, Name: d.EventName, AccountID: first(e.AccountID, d.Recipient, strings.Trim(string(d.OwnerAccountID), `"`)),
		Region: first(d.Region, d.RegionID, e.Region), Failed: first(d.ErrorCode, d.ErrorMessage)}
	where := []string{string(d.Resources), string(d.Response), string(d.Request), e.Subject}
	switch {
	case e.Source != creationSource:
		return c, fmt.Errorf("decode creation: source %q is not %s", e.Source, creationSource)
	case strings.HasPrefix(e.Type, trailType) && slices.Contains(creations, d.EventName):
	case e.Type == configType && (d.ResourceType == "" || strings.EqualFold(d.ResourceType, "ACS::Elasticsearch::Instance")):
		c.Name, where = strings.TrimPrefix(configType, "elasticsearch:Config:"), []string{d.ResourceID, e.Subject}
	default:
		return c, fmt.Errorf("decode creation: type %q, event %q, resource %q is not a create event", e.Type, d.EventName, d.ResourceType)
	}
	for _, text := range where {
		if c.InstanceID == "" {
			c.InstanceID = instanceID.FindString(text)
		}
	}
	for _, text := range []string{e.Time, d.EventTime} {
		if t, err := time.Parse(time.RFC3339, text); err == nil && c.Time.IsZero() {
			c.Time = t
		}
	}
	return c, nil
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" && s != "null" {
			return s
		}
	}
	return ""
}
