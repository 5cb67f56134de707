// Package tablestore is a fake of one Alibaba Cloud Tablestore (OTS) instance:
// the protocol of 2015-12-31, POST /{Operation} with protobuf bodies and rows
// in PlainBuffer, as the official SDKs speak it. Limits, conditions, versions,
// TTL and error codes are those of the public documents; what it does not do
// (indexes, streams, batches, transactions, time ranges) it refuses.
package tablestore

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"eslink/localtest/fakes/cloud"
)

// Store is one instance. It is an http.Handler.
type Store struct {
	account  *cloud.Account
	instance string

	mu     sync.Mutex
	tables map[string]*table
}

// New returns an instance without tables.
func New(a *cloud.Account, instance string) *Store {
	return &Store{account: a, instance: instance, tables: map[string]*table{}}
}

func fail(status int, code, format string, args ...any) *cloud.Error {
	return cloud.Errorf(status, code, format, args...)
}

func invalid(format string, args ...any) *cloud.Error {
	return fail(http.StatusBadRequest, "OTSParameterInvalid", format, args...)
}

func unsupported(what string) *cloud.Error {
	return fail(http.StatusBadRequest, "OTSUnsupportOperation", "Unsupported operation: '%s'.", what)
}

func authFailed(format string, args ...any) *cloud.Error {
	return fail(http.StatusForbidden, "OTSAuthFailed", format, args...)
}

func unmarshal(b []byte, m protoadapt.MessageV1) *cloud.Error {
	if err := proto.Unmarshal(b, protoadapt.MessageV2Of(m)); err != nil {
		return invalid("Failed to parse the ProtoBuf message.")
	}
	return nil
}

// named is any request that names a table.
type named interface {
	protoadapt.MessageV1
	GetTableName() string
}

// operation is one action: how to read its request and what to do with it.
type operation struct {
	write bool
	run   func(s *Store, body []byte) (protoadapt.MessageV1, *cloud.Error)
}

// on makes an operation of a handler of decoded requests.
func on[R any, P interface {
	*R
	protoadapt.MessageV1
}](run func(*Store, P) (protoadapt.MessageV1, *cloud.Error)) func(*Store, []byte) (protoadapt.MessageV1, *cloud.Error) {
	return func(s *Store, body []byte) (protoadapt.MessageV1, *cloud.Error) {
		req := P(new(R))
		if err := unmarshal(body, req); err != nil {
			return nil, err
		}
		return run(s, req)
	}
}

func operationOf(action string) (operation, bool) {
	switch action {
	case "CreateTable":
		return operation{true, on((*Store).createTable)}, true
	case "DescribeTable":
		return operation{false, on((*Store).describeTable)}, true
	case "ListTable":
		return operation{false, on((*Store).listTable)}, true
	case "UpdateTable":
		return operation{true, on((*Store).updateTable)}, true
	case "DeleteTable":
		return operation{true, on((*Store).deleteTable)}, true
	case "PutRow":
		return operation{true, on((*Store).putRow)}, true
	case "UpdateRow":
		return operation{true, on((*Store).updateRow)}, true
	case "DeleteRow":
		return operation{true, on((*Store).deleteRow)}, true
	case "GetRow":
		return operation{false, on((*Store).getRow)}, true
	case "GetRange":
		return operation{false, on((*Store).getRange)}, true
	}
	return operation{}, false
}

// tableOf reads the table's name, which authorisation needs, out of any
// request.
func tableOf(action string, body []byte) string {
	var req named
	switch action {
	case "CreateTable":
		create := &otsprotocol.CreateTableRequest{}
		_ = unmarshal(body, create) // the operation itself reports what is wrong
		return create.GetTableMeta().GetTableName()
	case "DescribeTable":
		req = &otsprotocol.DescribeTableRequest{}
	case "UpdateTable":
		req = &otsprotocol.UpdateTableRequest{}
	case "DeleteTable":
		req = &otsprotocol.DeleteTableRequest{}
	case "PutRow":
		req = &otsprotocol.PutRowRequest{}
	case "UpdateRow":
		req = &otsprotocol.UpdateRowRequest{}
	case "DeleteRow":
		req = &otsprotocol.DeleteRowRequest{}
	case "GetRow":
		req = &otsprotocol.GetRowRequest{}
	case "GetRange":
		req = &otsprotocol.GetRangeRequest{}
	default:
		return "*"
	}
	_ = unmarshal(body, req)
	return req.GetTableName()
}

// maxBody is far above what any allowed request needs.
const maxBody = 16 << 20

// ServeHTTP implements http.Handler.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s.account.NewID("", 32)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away
	}
	x := cloud.Exchange{
		At: s.account.Now(), Product: "tablestore", Action: strings.TrimPrefix(r.URL.Path, "/"), Method: r.Method, URL: cloud.URL(r),
		ReqHeader: r.Header.Clone(), ReqBody: legible(body),
	}
	out, secret, refused, lost := s.handle(r, body, &x)
	status := http.StatusOK
	if refused != nil {
		status = refused.Status
		out = &otsprotocol.Error{Code: proto.String(refused.Code), Message: proto.String(refused.Message)}
	}
	reply, err := proto.Marshal(protoadapt.MessageV2Of(out))
	if err != nil {
		panic(fmt.Sprintf("tablestore: marshal %T: %v", out, err)) // a fake's own reply: a bug
	}
	x.Status, x.RespBody = status, legible(reply)
	if lost {
		x.Status = 0
	}
	s.account.Record(x)
	if lost {
		panic(http.ErrAbortHandler)
	}
	// The Python SDK checks these headers and the signature over them.
	sum := md5.Sum(reply)
	h := w.Header()
	h.Set("x-ots-requestid", id)
	h.Set("x-ots-date", s.account.SignNow().UTC().Format("2006-01-02T15:04:05.000Z"))
	h.Set("x-ots-contenttype", "protocol buffer")
	h.Set("x-ots-contentmd5", base64.StdEncoding.EncodeToString(sum[:]))
	if secret != "" {
		lines := strings.TrimSuffix(signedHeaders(h), "\n")
		h.Set("Authorization", "OTS "+r.Header.Get("x-ots-accesskeyid")+":"+sign(secret, lines+"\n"+r.URL.Path))
	}
	w.WriteHeader(status)
	_, _ = w.Write(reply)
}

func (s *Store) handle(r *http.Request, body []byte, x *cloud.Exchange) (out protoadapt.MessageV1, secret string, refused *cloud.Error, lost bool) {
	op, ok := operationOf(x.Action)
	switch {
	case r.Method != http.MethodPost:
		return nil, "", fail(http.StatusMethodNotAllowed, "OTSMethodNotAllowed", "Only POST method for requests is supported."), false
	case !ok:
		return nil, "", unsupported(x.Action), false
	case len(body) == maxBody:
		return nil, "", fail(http.StatusRequestEntityTooLarge, "OTSRequestBodyTooLarge", "The size of POST data is too large."), false
	}
	x.Write = op.write
	if secret, x.Caller, refused = s.authenticate(r, body); refused != nil {
		return nil, "", refused, false
	}
	name := tableOf(x.Action, body)
	resource := fmt.Sprintf("acs:ots:%s:%s:instance/%s/table/%s", s.account.Region, s.account.AccountID, s.instance, name)
	if err := s.account.Authorize(x.Caller, "ots:"+x.Action, resource); err != nil {
		return nil, secret, fail(http.StatusForbidden, "OTSNoPermissionAccess",
			"You have no permission to access the requested resource, please contact the resource owner. (%s)", err.Message), false
	}
	fault := s.account.FaultFor(cloud.Call{Product: "tablestore", Action: x.Action, Caller: x.Caller, Params: map[string]string{"TableName": name}})
	if fault.Delay > 0 {
		time.Sleep(fault.Delay)
	}
	if fault.Before != nil {
		return nil, secret, fault.Before, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out, refused = op.run(s, body)
	return out, secret, refused, fault.LoseReply
}

// legible keeps of a binary message what a person can read and search, which
// is the names and documents in it.
func legible(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

func sign(secret, text string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signedHeaders are the x-ots- headers but the signature, sorted, a line each.
func signedHeaders(h http.Header) string {
	var lines []string
	for name := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ots-") && lower != "x-ots-signature" {
			lines = append(lines, lower+":"+strings.TrimSpace(h.Get(name))+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// authenticate checks headers and signature as the SDKs make them.
func (s *Store) authenticate(r *http.Request, body []byte) (string, cloud.Principal, *cloud.Error) {
	none := cloud.Principal{}
	for _, name := range []string{"x-ots-date", "x-ots-apiversion", "x-ots-accesskeyid", "x-ots-contentmd5", "x-ots-instancename", "x-ots-signature"} {
		if r.Header.Get(name) == "" {
			return "", none, invalid("Missing header: '%s'.", name)
		}
	}
	// The Go SDK writes something of its own behind the seconds.
	date := r.Header.Get("x-ots-date")
	at, err := time.Parse("2006-01-02T15:04:05", date[:min(19, len(date))])
	sum := md5.Sum(body)
	switch {
	case err != nil:
		return "", none, invalid("Invalid date format: %s.", date)
	case r.Header.Get("x-ots-apiversion") != "2015-12-31":
		return "", none, invalid("Unsupported API version: %s.", r.Header.Get("x-ots-apiversion"))
	case s.account.SignNow().Sub(at).Abs() > 15*time.Minute:
		return "", none, authFailed("Mismatch between system time and x-ots-date: %s.", date)
	case r.Header.Get("x-ots-contentmd5") != base64.StdEncoding.EncodeToString(sum[:]):
		return "", none, authFailed("Mismatch between MD5 value of request body and x-ots-contentmd5 in header.")
	}
	secret, caller, refused := s.account.Secret(r.Header.Get("x-ots-accesskeyid"), r.Header.Get("x-ots-ststoken"))
	if refused != nil {
		return "", none, authFailed("The AccessKeyID does not exist. (%s)", refused.Code)
	}
	if !hmac.Equal([]byte(r.Header.Get("x-ots-signature")), []byte(sign(secret, r.URL.Path+"\nPOST\n\n"+signedHeaders(r.Header)))) {
		return "", none, authFailed("Signature mismatch.")
	}
	if r.Header.Get("x-ots-instancename") != s.instance {
		return "", none, authFailed("The instance is not found.")
	}
	return secret, caller, nil
}
