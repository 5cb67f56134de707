// Package deps is what a function gives its step, whichever cloud the step
// calls. It imports no product and no SDK of another cloud, so that a binary
// links what its own step imports and nothing else.
//
// A step's New makes its clients of it. One that calls Alibaba Cloud hands
// Aliyun to the clients below package aliyun:
//
//	func New(d deps.Deps) engine.Step {
//		c := nlb.New(d.Aliyun)
//		return &Step{Balancers: c, Now: d.Now}
//	}
//
// One on another cloud makes that cloud's configuration, and reads the key by
// its name from KMS, where secrets are wherever the step works:
//
//	func New(d deps.Deps) engine.Step {
//		return &Step{
//			Secrets: kms.New(d.Aliyun), // a secrets.Reader
//			Cloud:   aws.Config{Transport: d.Transport("aws"), Now: d.Now},
//		}
//	}
//
// and, per invocation,
//
//	key, err := secrets.Read(ctx, s.Secrets, secrets.Name{r.Spec.Secrets.AWS, "secrets.aws"}, aws.ParseKey)
package deps

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"eslink/shared/aliyun"
	"eslink/shared/run"
)

// Deps is what a step is made of. Only package wire builds it from the
// environment; tests build it from fakes.
type Deps struct {
	// Runs gives a step its locks and rows of its own; the record itself is the
	// engine's to save.
	Runs *run.Store
	Now  func() time.Time
	// Rand is the source of whatever must not repeat.
	Rand io.Reader
	Log  *slog.Logger
	// Aliyun is how Alibaba Cloud is called, where all functions run.
	Aliyun aliyun.Config
	// Transport returns what carries the calls to an API of another cloud.
	// product names it, in lower case, such as "aws" or "zilliz": on a laptop
	// ESLINK_ENDPOINT_<PRODUCT> sends these calls to a fake, with the host that
	// they are for in the Host header. Redirects are the caller's to refuse.
	Transport func(product string) http.RoundTripper
	// Network is where the deployment's functions live. Its variables are
	// required of those functions alone whose step asks.
	Network func() Network
}

// Network is where the deployment's functions live: source-side ones in the
// target cluster's VPC, destination-side ones in the instance's. The two are
// equal when the clusters share a VPC.
type Network struct {
	SourceVPC, SourceVSwitch           string
	DestinationVPC, DestinationVSwitch string
}
