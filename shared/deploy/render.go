package deploy

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"go/format"
	"maps"
	"slices"
	"strings"
	"text/template"
)

//go:generate go run ./cmd render ../..

//go:embed templates
var templates embed.FS

// titles say what each set is for, in the first line of its file.
var titles = map[Set]string{
	Common:  "What every scenario needs. Deployed by `s deploy -t shared/deploy/common.yaml`, for who has no Alibaba Cloud Elasticsearch.",
	Alibaba: "The scenarios of Alibaba Cloud Elasticsearch alone: `s remove -t shared/deploy/alibaba.yaml` leaves the others working.",
	Azure:   "Scenario elastic-azure. Deployed by `s deploy -t shared/deploy/azure.yaml`, beside what every scenario needs (common.yaml or s.yaml).",
	AWS:     "Scenario zilliz-aws. Deployed by `s deploy -t shared/deploy/aws.yaml`, beside what every scenario needs (common.yaml or s.yaml).",
}

// Files lists the deployment files that have every function once, below the
// repository's root: s.yaml, and one for each further cloud.
func Files() []string {
	files := []string{"s.yaml"}
	for _, s := range Sets() {
		if s != Common && s != Alibaba {
			files = append(files, File(s))
		}
	}
	return files
}

// File is the deployment file of a set, below the repository's root.
func File(s Set) string { return "shared/deploy/" + string(s) + ".yaml" }

// Render returns every file that is made from the table, by its path below the
// repository's root.
func Render() (map[string][]byte, error) {
	t, err := template.New("").Delims("[[", "]]").ParseFS(templates, "templates/*.tmpl")
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	render := func(path, name string, dot any) error {
		var text bytes.Buffer
		if err := t.ExecuteTemplate(&text, name, dot); err != nil {
			return fmt.Errorf("render %s: %w", path, err)
		}
		out[path] = text.Bytes()
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		formatted, err := format.Source(text.Bytes())
		if err != nil {
			return fmt.Errorf("render %s: %w", path, err)
		}
		out[path] = formatted
		return nil
	}
	err = render("s.yaml", "deployment.yaml.tmpl", deployment(
		"Deployed by Serverless Devs (`s deploy`), read by localtest/runtime: what every scenario needs, and the scenarios of Alibaba Cloud Elasticsearch.", "", Common, Alibaba))
	for _, s := range Sets() {
		if err == nil {
			err = render(File(s), "deployment.yaml.tmpl", deployment(titles[s], "../../", s))
		}
	}
	imports := map[string]bool{"eslink/shared/deps": true, "eslink/shared/engine": true, "eslink/shared/wire": true}
	var all []rendered
	for _, f := range table {
		r := rendered{Function: f}
		r.Import, r.Constructor = f.code()
		imports[r.Import] = true
		all = append(all, r)
		if err == nil {
			err = render("functions/"+f.Name+"/main.go", "main.go.tmpl", r)
		}
	}
	if err == nil {
		out["shared/deploy/deployer.json"], err = deployer()
	}
	if err == nil {
		err = render("localtest/world/registry.go", "registry.go.tmpl", map[string]any{"Imports": slices.Sorted(maps.Keys(imports)), "Functions": all})
	}
	return out, err
}

// rendered is a function with where its code is.
type rendered struct {
	Function
	Import, Constructor string
}

// deployment is what the deployment file of some sets is rendered with. root is
// the way from it to the repository's root.
func deployment(title, root string, sets ...Set) map[string]any {
	dot := map[string]any{"Title": title, "Root": root, "Timeout": Timeout}
	var names []string
	for _, s := range sets {
		names = append(names, string(s))
	}
	functions := Of(sets...)
	has := func(is func(Function) bool) bool { return slices.ContainsFunc(functions, is) }
	dot["Sets"], dot["Functions"] = strings.Join(names, " "), functions
	dot["Sides"] = has(func(f Function) bool { return f.Side != None || f.Networks })
	dot["Stream"] = has(Function.Queued)
	dot["Created"] = has(func(f Function) bool { return f.Trigger == Creations })
	return dot
}

// deployer writes the policy that the key needs that deploys: what up, plan and down call, and what Serverless Devs'
// component fc3 calls (seen in a rehearsal of `s deploy`, `s plan` and `s remove`).
func deployer() ([]byte, error) {
	type condition = map[string]map[string][]string
	type allowed struct {
		Effect    string
		Action    []string
		Resource  []string
		Condition condition `json:",omitempty"`
	}
	allow := func(resource string, actions ...string) allowed {
		return allowed{Effect: "Allow", Action: actions, Resource: strings.Fields(resource)}
	}
	linked := allow("*", "ram:CreateServiceLinkedRole")
	linked.Condition = condition{"StringEquals": {"ram:ServiceName": LinkedRoles()}}
	text, err := json.MarshalIndent(map[string]any{"Version": "1", "Statement": []allowed{
		allow("acs:fc:*:*:functions/eslink-*", "fc:CreateFunction", "fc:GetFunction", "fc:UpdateFunction", "fc:DeleteFunction", "fc:InvokeFunction",
			"fc:CreateTrigger", "fc:GetTrigger", "fc:ListTriggers", "fc:UpdateTrigger", "fc:DeleteTrigger",
			"fc:PutAsyncInvokeConfig", "fc:GetAsyncInvokeConfig", "fc:DeleteAsyncInvokeConfig", "fc:ListAsyncInvokeConfigs",
			"fc:ListVpcBindings", "fc:GetScalingConfig", "fc:GetConcurrencyConfig", "fc:ListProvisionConfigs", "fc:ListFunctionVersions", "fc:ListAliases"),
		allow("*", "fc:GetTempBucketToken", "fc:ListFunctions", "eventbridge:ListEventStreamings", "resourcemanager:CheckServiceLinkedRoleExistence"),
		linked,
		allow("acs:ram:*:*:role/eslink-* acs:ram:*:*:role/AliyunServiceRoleFor*", "ram:GetRole"),
		allow("acs:ram:*:*:role/eslink-* acs:ram:*:*:policy/eslink-*", "ram:CreateRole", "ram:DeleteRole", "ram:PassRole", "ram:ListPoliciesForRole",
			"ram:CreatePolicy", "ram:GetPolicy", "ram:DeletePolicy", "ram:CreatePolicyVersion", "ram:ListPolicyVersions", "ram:DeletePolicyVersion",
			"ram:AttachPolicyToRole", "ram:DetachPolicyFromRole"),
		allow("acs:mns:*:*:/queues/eslink-*", "mns:CreateQueue", "mns:GetQueueAttributes", "mns:SetQueueAttributes", "mns:DeleteQueue"),
		allow("acs:ots:*:*:instance/*", "ots:GetInstance", "ots:InsertInstance", "ots:CreateTable", "ots:DescribeTable", "ots:DeleteTable"),
		allow("acs:log:*:*:project/*", "log:GetProject", "log:CreateProject", "log:GetLogStore", "log:CreateLogStore", "log:GetIndex", "log:CreateIndex"),
	}}, "", " ")
	return append(text, '\n'), err
}
