// Command echo is a function for the runtime's tests: it does what its payload asks.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
)

var calls int

func main() { fc.Start(handle) }

func handle(ctx context.Context, raw []byte) (json.RawMessage, error) {
	calls++
	var ask struct{ Do, Body string }
	if err := json.Unmarshal(raw, &ask); err != nil {
		return json.Marshal(map[string]any{"payload": string(raw)})
	}
	if ask.Do == "" { // an HTTP event has its wish in its body
		json.Unmarshal([]byte(ask.Body), &ask)
	}
	c, _ := fccontext.FromContext(ctx)
	switch ask.Do {
	case "fail":
		return nil, errors.New("no luck")
	case "panic":
		panic("lost my head")
	case "exit":
		os.Exit(3)
	case "sleep":
		<-ctx.Done() // the deadline; the platform's comes at the same time
		time.Sleep(time.Minute)
	case "pause":
		time.Sleep(200 * time.Millisecond)
	case "http":
		return json.Marshal(map[string]any{"statusCode": 201, "headers": map[string]string{"X-Echo": "yes"}, "body": string(raw)})
	case "print":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	}
	var names []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		names = append(names, name)
	}
	return json.Marshal(map[string]any{"pid": os.Getpid(), "calls": calls, "environment": names, "greeting": os.Getenv("GREETING"),
		"region": c.Region, "account": c.AccountId, "key": c.Credentials.AccessKeyId, "token": c.Credentials.SecurityToken,
		"function": c.Function.Name, "timeout": c.Function.Timeout})
}
