package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/runtime"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// byHand calls a product as the account's owner does in its console.
func (s *sim) byHand(t *testing.T, product string, req requests.AcsRequest, resp responses.AcsResponse) {
	t.Helper()
	key := s.Account.RootKey()
	var client sdk.Client
	config := sdk.NewConfig().WithScheme("HTTPS").WithAutoRetry(false)
	require.NoError(t, client.InitWithOptions(Region, config, credentials.NewAccessKeyCredential(key.AccessKeyID, key.AccessKeySecret)))
	client.SetTransport(s.Transport())
	req.SetDomain(product + "." + Region + ".aliyuncs.com")
	require.NoError(t, client.DoAction(req, resp))
}

// What the source's or the destination's indices have against the spec stops
// the run before it writes.
func TestFindingsOfIndices(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]finding{
		"source is an alias": {before: func(s *sim) { s.Ask(Target, http.MethodPut, "/product_info/_alias/nick", "") },
			spec: func(s *events.Spec) { s.Indices[0].Source = "nick" },
			step: "survey", want: []string{"indices[0].source", "alias"}},
		"source without _source": {before: func(s *sim) {
			s.Ask(Target, http.MethodPut, "/bare", `{"mappings":{"_source":{"enabled":false}}}`)
		}, spec: func(s *events.Spec) { s.Indices[0].Source = "bare" },
			step: "survey", want: []string{"indices[0].source", "snapshot"}},
		"query refused": {spec: func(s *events.Spec) { s.Indices[0].Query = json.RawMessage(`{"nonsense":{}}`) },
			step: "survey", want: []string{"indices[0].query"}},
		"destination is an alias": {before: func(s *sim) {
			s.Ask(Instance, http.MethodPut, "/other", `{"settings":{"number_of_replicas":1}}`)
			s.Ask(Instance, http.MethodPut, "/other/_alias/dest", "")
		}, step: "plan", want: []string{"indices[0].dest", "alias"}},
		"analyzer of the spec's own": {spec: func(s *events.Spec) {
			s.Indices[0].Destination.Mappings = json.RawMessage(`{"properties":{"productName":{"type":"text","analyzer":"nobody_has"}}}`)
		}, step: "plan", want: []string{"indices[0]", "nobody_has"}},
		"a whitelist that nobody understands": {before: func(s *sim) {
			config := s.instance(Instance).Config
			config["reindex.remote.whitelist"] = "a b"
			s.Clusters.SetConfig(Instance, config)
		}, step: "plan", want: []string{"instanceId", "reindex.remote.whitelist"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				if f.before != nil {
					f.before(s)
				}
				spec := Spec()
				if f.spec != nil {
					f.spec(&spec)
				}
				s.start(t, events.Request{Spec: &spec})
				v := s.ends(t, run.Failed)
				require.Equal(t, f.step, v.Step, v.Reason)
				require.NotNil(t, v.Problem)
				for _, want := range f.want {
					require.ErrorContains(t, v.Problem, want)
				}
				require.NotEmpty(t, v.Problem.Errors, v.Reason)
				require.NotEmpty(t, v.Problem.Errors[0].Remedy)
				require.Empty(t, s.Left())
			})
		})
	}
}

// Links that the owner can break in the console without deleting anything.
func TestCheckSeesWhatIsBrokenByHand(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(t *testing.T, s *sim){
		"connection closed": func(t *testing.T, s *sim) {
			req := privatelink.CreateDisableVpcEndpointConnectionRequest()
			req.RegionId, req.ServiceId, req.EndpointId = Region, s.Links.Services()[0].ID, s.Links.Endpoints()[0].ID
			s.byHand(t, "privatelink", req, privatelink.CreateDisableVpcEndpointConnectionResponse())
		},
		"listener stopped": func(t *testing.T, s *sim) {
			req := nlb.CreateStopListenerRequest()
			req.ListenerId = s.NLB.Listeners()[0].ID
			s.byHand(t, "nlb", req, nlb.CreateStopListenerResponse())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				s.provision(t)
				act(t, s)
				time.Sleep(5 * time.Minute)
				checked := s.check(t, events.CheckRequest{RunID: s.id})
				require.False(t, checked.OK)
				require.Equal(t, "link", checked.Checks[0].Name)
				require.False(t, checked.Checks[0].OK, "%+v", checked.Checks)
				require.NotEmpty(t, checked.Checks[0].Remedy)
			})
		})
	}
}

// An index of the check's name that is somebody else's is not touched.
func TestCheckTouchesNobodysIndex(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.provision(t)
		index := "/eslink-check-" + s.id
		s.Ask(Instance, http.MethodPut, index, "")
		s.Ask(Instance, http.MethodPut, index+"/_doc/1?refresh=true", `{"mine":true}`)
		_, err := s.Invoke(context.Background(), "check", []byte(`{"runId":"`+s.id+`"}`))
		require.NoError(t, err)
		require.Equal(t, 1, count(t, s.World, Instance, index[1:]))
	})
}

// What check is asked must be there.
func TestCheckOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		ask := func(req events.CheckRequest) (status int) {
			raw, err := json.Marshal(req)
			require.NoError(t, err)
			result, err := s.Invoke(context.Background(), "check", raw)
			require.NoError(t, err)
			require.NoError(t, result.Err())
			var p events.Problem
			require.NoError(t, json.Unmarshal(result.Body, &p))
			return p.Status
		}
		s.start(t, events.Request{Spec: manual()})
		s.ends(t, run.WaitingApproval)
		require.Equal(t, 409, ask(events.CheckRequest{RunID: s.id}), "no link yet")
		require.Equal(t, 404, ask(events.CheckRequest{RunID: "0123456789abcdef"}))
		s.approve(t, s.view(t).Plan.ID)
		s.ends(t, run.Done)
		foreign := events.CheckRequest{InstanceID: Instance, EndpointID: "ep-bp1nobody0000000000", Secrets: Spec().Secrets, RemoteIndex: "product_info"}
		require.Equal(t, 404, ask(foreign), "the domain is of the instance's own endpoints")
		foreign.EndpointID = s.Links.Endpoints()[0].ID
		require.Equal(t, 409, ask(foreign), "the secret is not for that endpoint")
		s.consents()
		s.Ask(Instance, http.MethodPut, "/few", "")
		s.Ask(Instance, http.MethodPut, "/few/_doc/1?refresh=true", `{}`)
		foreign.LocalIndex = "few"
		checked := s.check(t, foreign)
		i := slices.IndexFunc(checked.Checks, func(c facts.Check) bool { return c.Name == "operation" })
		require.False(t, checked.Checks[i].OK, "one document is not six")
		_, indices := s.Ask(Instance, http.MethodGet, "/_all", "")
		require.NotContains(t, string(indices), "eslink-check-", "cleaned up, as nothing else was asked")
		keep := false
		foreign.LocalIndex, foreign.Cleanup = "", &keep
		require.True(t, s.check(t, foreign).OK)
		_, indices = s.Ask(Instance, http.MethodGet, "/_all", "")
		require.Contains(t, string(indices), "eslink-check-", "kept, as asked")
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.WaitingApproval)
		require.Contains(t, s.asked(t, `{"runId":"`+s.id+`"}`), "is torn down")
		s.approve(t, s.view(t).Plan.ID)
		s.ends(t, run.Removed)
		require.Contains(t, s.asked(t, `{"runId":"`+s.id+`"}`), "has no link")
	})
}

// asked is what check answers, as text.
func (s *sim) asked(t *testing.T, request string) string {
	t.Helper()
	result, err := s.Invoke(context.Background(), "check", []byte(request))
	require.NoError(t, err)
	require.NoError(t, result.Err())
	return string(result.Body)
}

// Teardown deletes, when asked, what this run made, and nothing by its name.
func TestWhoseTheDestinationIs(t *testing.T) {
	t.Parallel()
	other := func(s *sim) { // somebody else's, of that name
		s.Ask(Instance, http.MethodPut, "/dest", `{"settings":{"number_of_replicas":1}}`)
		s.Ask(Instance, http.MethodPut, "/dest/_doc/theirs?refresh=true", `{"productName":"theirs"}`)
	}
	for name, c := range map[string]struct {
		before func(s *sim)
		after  func(t *testing.T, s *sim)
		asked  bool
		left   map[string]int // documents by index
	}{
		"not asked": {left: map[string]int{"dest": 6}},
		"asked":     {asked: true},
		"there before, walked again": {before: other, asked: true, left: map[string]int{"dest": 7},
			after: func(t *testing.T, s *sim) {
				s.start(t, events.Request{Again: true})
				s.ends(t, run.Done)
			}},
		"recreated by somebody else": {asked: true, left: map[string]int{"dest": 1},
			after: func(t *testing.T, s *sim) {
				s.Ask(Instance, http.MethodDelete, "/dest", "")
				other(s)
			}},
		"recreated by somebody else, walked again": {asked: true, left: map[string]int{"dest": 7},
			after: func(t *testing.T, s *sim) {
				s.Ask(Instance, http.MethodDelete, "/dest", "")
				other(s)
				s.start(t, events.Request{Again: true})
				s.ends(t, run.Done)
			}},
		"deleted, walked again": {left: map[string]int{"dest": 6},
			after: func(t *testing.T, s *sim) {
				s.Ask(Instance, http.MethodDelete, "/dest", "")
				s.start(t, events.Request{Again: true})
				s.ends(t, run.Done)
			}},
		"of an earlier generation": {asked: true, after: func(t *testing.T, s *sim) {
			s.Ask(Target, http.MethodPut, "/news", "")
			spec := Spec()
			spec.Indices = []events.Index{{Source: "news", Dest: "news"}}
			s.start(t, events.Request{Spec: &spec})
			s.ends(t, run.Done)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				if c.before != nil {
					c.before(s)
				}
				s.start(t, events.Request{})
				s.ends(t, run.Done)
				if c.after != nil {
					c.after(t, s)
				}
				s.do(t, events.Request{Action: "teardown", DeleteDestination: c.asked})
				s.ends(t, run.Removed)
				for _, index := range []string{"dest", "news"} {
					if n, stays := c.left[index]; stays {
						require.Equal(t, n, count(t, s.World, Instance, index))
						continue
					}
					status, _ := s.Ask(Instance, http.MethodHead, "/"+index, "")
					require.Equal(t, 404, status, index)
				}
			})
		})
	}
}

// A document that is lost after the copy is a difference, by count where the
// index was empty, by ID where it was not.
func TestALostDocumentIsADifference(t *testing.T) {
	t.Parallel()
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprint(held), func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				if held {
					s.Ask(Instance, http.MethodPut, "/dest", `{"settings":{"number_of_replicas":1}}`)
					s.Ask(Instance, http.MethodPut, "/dest/_doc/before?refresh=true", `{"productName":"older"}`)
				}
				var lost once
				s.Events.Before = func(d runtime.Delivery) {
					if d.Function == "eslink-digest" && lost.first() {
						s.Ask(Instance, http.MethodPost, "/dest/_refresh", "")
						_, found := s.Ask(Instance, http.MethodGet, "/dest/_search", `{"query":{"bool":{"must_not":{"ids":{"values":["before"]}}}},"size":1}`)
						var hits struct {
							Hits struct {
								Hits []struct {
									ID string `json:"_id"`
								}
							}
						}
						decode(t, string(found), &hits)
						s.Ask(Instance, http.MethodDelete, "/dest/_doc/"+hits.Hits.Hits[0].ID, "") // not refreshed
					}
				}
				s.start(t, events.Request{})
				v := s.ends(t, run.DoneDifferences)
				require.True(t, lost.Load())
				require.NotEmpty(t, v.Facts.Verify.Differences)
			})
		})
	}
}

// A run that only plans asks nobody.
func TestAPlanAsksNobody(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{Spec: manual(), Plan: true})
		v := s.ends(t, run.Planned)
		require.NotEmpty(t, v.Plan.Difference)
		require.Empty(t, s.Left())
	})
}
