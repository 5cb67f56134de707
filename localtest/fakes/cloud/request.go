package cloud

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Request is one authenticated call whose parameters have been checked.
type Request struct {
	Product, Action string
	ID              string // the RequestId of the reply
	Caller          Principal
	Params          map[string]string // RPC: query and form, flattened; ROA: path and query. Exact names
	Body            json.RawMessage   // ROA: the JSON body, nil if there was none
}

// Get is the parameter's value, "" if absent.
func (r *Request) Get(name string) string { return r.Params[name] }

// List gathers a repeated parameter in the order of its numbers: List("ZoneMappings") of ZoneMappings.1.ZoneId=z and
// ZoneMappings.1.VSwitchId=v is [{"ZoneId": z, "VSwitchId": v}]. The items of a list of scalars have the key "".
// Keys of deeper levels stay dotted.
func (r *Request) List(prefix string) []map[string]string {
	var list []map[string]string
	for i := 1; ; i++ {
		item, at := map[string]string{}, prefix+"."+strconv.Itoa(i)
		for name, value := range r.Params {
			if name == at {
				item[""] = value
			} else if rest, ok := strings.CutPrefix(name, at+"."); ok {
				item[rest] = value
			}
		}
		if len(item) == 0 {
			return list
		}
		list = append(list, item)
	}
}

// Op carries out one operation. The reply is marshalled as a JSON object; RequestId is added to it.
// An error is an *Error, or the handler answers 500 InternalError.
type Op func(*Request) (any, error)

// Error is a refusal as the cloud words it: {"RequestId","HostId","Code","Message"} with the status.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message) }

// Errorf makes an Error.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Only refuses parameters that the operation has but the fake does not honour: 501 NotImplemented. Names are as in
// Get, a list's or structure's name stands for all of it. RegionId and the client token are honoured by the handler.
func (r *Request) Only(names ...string) *Error {
	for _, name := range sorted(r.Params) {
		top, _, _ := strings.Cut(name, ".")
		if !slices.Contains(names, name) && !slices.Contains(names, top) && !slices.Contains([]string{"RegionId", "ClientToken", "clientToken"}, name) {
			return Errorf(501, "NotImplemented", "The fake of %s %s does not honour %s.", r.Product, r.Action, name)
		}
	}
	return nil
}
