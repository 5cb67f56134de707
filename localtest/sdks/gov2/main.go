// Plays calls.json with the core of Alibaba Cloud's V2 SDKs for Go, which signs as all
// of them do. The world is told by ESLINK_WORLD (see sdks_test.go).
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
)

type world struct {
	Endpoints                                               map[string]string
	Region, Key, Secret, Dest, SourceAddress, Keystore, VPC string
	Zones, VSwitches                                        [2]string
}

type call struct {
	Product, Operation, Method, URI string
	Form                            bool
	Fields, Query                   map[string]any
	Body                            any
	Until, Keep                     map[string]string
}

var (
	versions = map[string]string{"nlb": "2022-04-30", "privatelink": "2020-04-15", "elasticsearch": "2017-06-13"}
	name     = regexp.MustCompile(`\{\w+\}`)
	busy     = regexp.MustCompile(`Busy|Processing|[Cc]onfiguring|IncorrectStatus|Conflict\b|Concurrent|OperationDenied\b|StatusNotSupport|Locked`)
)

type player struct {
	world
	vars map[string]string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var p player
	if err := json.Unmarshal([]byte(os.Getenv("ESLINK_WORLD")), &p.world); err != nil {
		return fmt.Errorf("ESLINK_WORLD: %w", err)
	}
	p.vars = map[string]string{"region": p.Region, "vpc": p.VPC, "zone1": p.Zones[0], "zone2": p.Zones[1], "vswitch1": p.VSwitches[0], "vswitch2": p.VSwitches[1],
		"address": p.SourceAddress, "dest": p.Dest, "keys": p.Keystore}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var calls []call
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&calls); err != nil {
		return err
	}
	for _, c := range calls {
		if err := p.play(c); err != nil {
			return fmt.Errorf("%s %s: %w", c.Product, c.Operation, err)
		}
	}
	return nil
}

func (p *player) play(c call) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		reply, err := p.send(c)
		if err != nil && busy.MatchString(err.Error()) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			return err
		}
		missing := ""
		for place, want := range c.Until {
			if have := at(reply, place); have != p.fill(want) {
				missing = fmt.Sprintf("%s is %s, want %s", place, have, p.fill(want))
			}
		}
		if missing != "" && time.Now().Before(end) {
			continue
		}
		if missing != "" {
			return fmt.Errorf("never: %s", missing)
		}
		for v, place := range c.Keep {
			p.vars[v] = at(reply, place)
		}
		return nil
	}
}

func (p *player) send(c call) (any, error) {
	client, err := openapi.NewClient(&openapiutil.Config{AccessKeyId: &p.Key, AccessKeySecret: &p.Secret, RegionId: &p.Region,
		Protocol: dara.String("http"), Endpoint: dara.String(p.Endpoints[c.Product])})
	if err != nil {
		return nil, err
	}
	params := &openapiutil.Params{Action: &c.Operation, Version: dara.String(versions[c.Product]), Protocol: dara.String("HTTP"), AuthType: dara.String("AK"),
		Method: dara.String("POST"), Pathname: dara.String("/"), Style: dara.String("RPC"), ReqBodyType: dara.String("formData"), BodyType: dara.String("json")}
	request := &openapiutil.OpenApiRequest{}
	fields, _ := p.filled(c.Fields).(map[string]any)
	query, _ := p.filled(c.Query).(map[string]any)
	switch {
	case c.Product == "elasticsearch":
		params.Style, params.Method, params.Pathname, params.ReqBodyType = dara.String("ROA"), &c.Method, dara.String(p.fill(c.URI)), dara.String("json")
		request.Query, request.Body = openapiutil.Query(query), p.filled(c.Body)
	case c.Form:
		form := map[string]any{}
		for k, v := range openapiutil.Query(fields) {
			form[k] = *v
		}
		request.Body = form
	default:
		request.Query = openapiutil.Query(fields)
	}
	response, err := client.CallApi(params, request, &dara.RuntimeOptions{Autoretry: dara.Bool(false)})
	return response["body"], err
}

func (p *player) fill(s string) string {
	return name.ReplaceAllStringFunc(s, func(v string) string {
		if value, ok := p.vars[v[1:len(v)-1]]; ok {
			return value
		}
		return v
	})
}

// filled replaces {name} in a value.
func (p *player) filled(v any) any {
	switch v := v.(type) {
	case string:
		return p.fill(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = p.filled(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = p.filled(v[k])
		}
		return out
	}
	return v
}

// at reads a place such as Connections.0.EndpointId.
func at(v any, place string) string {
	for part := range strings.SplitSeq(place, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(in) {
				return ""
			}
			v = in[i]
		default:
			return ""
		}
	}
	return fmt.Sprint(v)
}
