package world

import (
	"encoding/json"
	"fmt"
	"strings"

	"eslink/events"
	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/zilliz"
	"eslink/shared/flow"
)

// Secrets of zilliz-aws; their values are in package awstest.
const (
	SecretAWS    = "eslink/aws"
	SecretZilliz = "eslink/zilliz"
)

// addZilliz adds AWS and Zilliz Cloud, and the secrets for them.
func (w *World) addZilliz() error {
	both := awstest.New(w.Account)
	w.AWS, w.Zilliz = both.AWS, both.Zilliz
	if w.Script {
		shell, err := aws.Agent{Fake: w.AWS, Handler: w.Zilliz.Data}.Shell()
		if err != nil {
			return err
		}
		w.AWS.SetRunner(shell)
	}
	for _, region := range []string{awstest.Region, awstest.MoreRegion} {
		for _, service := range []string{"ec2", "ssm", "sts"} {
			w.hosts[service+"."+region+".amazonaws.com"] = w.AWS
		}
	}
	w.hosts["route53.amazonaws.com"], w.hosts[zilliz.Host] = w.AWS, w.Zilliz
	for name, value := range map[string]any{
		SecretAWS: map[string]any{"accessKeyId": awstest.AccessKeyID, "secretAccessKey": awstest.SecretKey, "roleArn": awstest.Role, "externalId": awstest.ExternalID,
			"for": []string{awstest.Account, awstest.Instance, awstest.MoreInstance}},
		SecretZilliz: map[string]any{"apiKey": awstest.APIKey},
	} {
		raw, err := json.Marshal(value)
		if err != nil {
			return err
		}
		w.Secrets.Put(name, string(raw))
	}
	return nil
}

// ZillizSpec connects the VPC to the first cluster, and proves it with a login from
// the machine in the VPC.
func ZillizSpec() events.Spec {
	return events.Spec{Name: "vectors", Scenario: flow.ZillizAWS, Region: Region,
		AWS: &events.AWS{Region: awstest.Region, VPCID: awstest.VPC, SubnetIDs: []string{awstest.SubnetA, awstest.SubnetB},
			ClientSecurityGroupIDs: []string{awstest.Clients}, ManageClientEgress: true},
		Zilliz:  &events.Zilliz{ProjectID: awstest.Project, ClusterIDs: []string{awstest.Cluster}, Region: awstest.ZillizRegion},
		Vantage: &events.Vantage{InstanceID: awstest.Instance, Parameter: awstest.DataParameter},
		Secrets: events.Secrets{AWS: SecretAWS, Zilliz: SecretZilliz}, Approve: "auto"}
}

// leftAtZilliz lists what a run has made, or may have made, in the two clouds.
func (w *World) leftAtZilliz() (out []string) {
	for _, e := range w.AWS.Endpoints() {
		out = append(out, "endpoint "+e.ID)
	}
	for _, g := range w.AWS.Groups() {
		if strings.HasPrefix(g.Name, "eslink-") {
			out = append(out, "security group "+g.ID)
		}
		for _, r := range append(g.Ingress, g.Egress...) {
			if strings.HasPrefix(r.Description, "eslink") {
				out = append(out, fmt.Sprintf("rule for port %d of security group %s", r.From, g.ID))
			}
		}
	}
	for _, z := range w.AWS.Zones() {
		if strings.HasPrefix(z.Comment, "eslink") {
			out = append(out, "hosted zone "+z.Name)
		}
	}
	for _, e := range w.Zilliz.Endpoints() {
		out = append(out, "registration of "+e.ID)
	}
	return out
}
