package vantage

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Exit statuses of curl that verdicts tell apart (curl's manual page, EXIT CODES).
const (
	CurlOK          = 0
	CurlNotResolved = 6
	CurlNotReached  = 7
	CurlTimeout     = 28
	CurlHandshake   = 35
	CurlCertificate = 60
)

// Why a connection failed, of CurlNotReached.
const (
	Refused = "refused"
	NoRoute = "no-route"
)

// Who answered, by the body.
const (
	BodyTagline       = "tagline"       // Elasticsearch, to somebody it knows
	BodyFilter        = "filter"        // the traffic filter of Elastic Cloud
	BodyElasticsearch = "elasticsearch" // Elasticsearch, in an error of its own
	BodyOther         = "other"
)

// Output is what a probe saw. It holds numbers, addresses and words of this
// package alone: no text that a host has sent.
type Output struct {
	// Missing is a tool that the machine lacks; then nothing else is set.
	Missing   string
	Addresses []netip.Addr
	Attempts  []Attempt // a port each, in the order tried
}

// Attempt is what one port answered.
type Attempt struct {
	Port    int
	Curl    int    // exit status
	Connect string // Refused, NoRoute or other, when Curl is CurlNotReached
	HTTP    int    // status, 0 without a response
	Verify  int    // X.509 verification result, 0 when valid
	Body    string
}

// Best is the attempt that got a response, or the last one.
func (o Output) Best() Attempt {
	for _, a := range o.Attempts {
		if a.Curl == CurlOK {
			return a
		}
	}
	if n := len(o.Attempts); n > 0 {
		return o.Attempts[n-1]
	}
	return Attempt{}
}

// ErrOutput says that a machine printed something that is not a probe's output.
var ErrOutput = errors.New("the machine's output is not that of the probe: another program has written it, or it is cut off")

const (
	maxLines     = 64
	maxLine      = 64
	maxAddresses = 8
	maxAttempts  = 4
)

// tools are those that the script asks for.
var tools = []string{"curl", "getent", "mktemp", "grep", "sort", "head"}

// Parse reads a probe's output. Only known keys with values of their form count;
// what else a machine prints (a profile's greeting, say) is passed over.
func Parse(text string) (Output, error) {
	var o Output
	begun, ended := false, false
	lines := strings.Split(text, "\n")
	if len(lines) > maxLines {
		lines = lines[len(lines)-maxLines:]
	}
	for _, line := range lines {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r"), "=")
		if !ok || len(line) > maxLine {
			continue
		}
		switch {
		case key == "probe" && value == "1":
			o, begun, ended = Output{}, true, false
		case !begun:
		case key == "end" && value == "1":
			ended = true
		default:
			o.take(key, value)
		}
	}
	if !begun || !ended && o.Missing == "" || ended && len(o.Attempts) == 0 {
		return Output{}, ErrOutput
	}
	return o, nil
}

func (o *Output) take(key, value string) {
	switch key {
	case "missing":
		o.Missing = oneOf(value, tools...)
		return
	case "ip":
		if a, err := netip.ParseAddr(value); err == nil && len(o.Addresses) < maxAddresses {
			o.Addresses = append(o.Addresses, a)
		}
		return
	case "port":
		if len(o.Attempts) < maxAttempts {
			o.Attempts = append(o.Attempts, Attempt{Port: number(value), Curl: -1})
		}
		return
	}
	if len(o.Attempts) == 0 {
		return
	}
	a := &o.Attempts[len(o.Attempts)-1]
	switch key {
	case "curl":
		a.Curl = number(value)
	case "connect":
		a.Connect = oneOf(value, Refused, NoRoute)
	case "http":
		a.HTTP = number(value)
	case "verify":
		a.Verify = number(value)
	case "body":
		a.Body = oneOf(value, BodyTagline, BodyFilter, BodyElasticsearch)
	}
}

// oneOf is value if it is one of words, else other.
func oneOf(value string, words ...string) string {
	for _, w := range words {
		if value == w {
			return w
		}
	}
	return BodyOther
}

// number reads a number of at most five digits, or says -1.
func number(s string) int {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || len(s) > 5 {
		return -1
	}
	return int(n)
}
