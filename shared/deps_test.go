package shared_test

import (
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// table says what of eslink each package may import; "x/*" stands for any
// package below x. A package that is not in it fails.
var table = map[string][]string{
	"events":          {},
	"shared":          {},
	"shared/apierr":   {},
	"shared/flow":     {"events"},
	"shared/bus":      {},
	"shared/checksum": {},
	"shared/facts":    {"events"},
	"shared/run":      {"events", "shared/facts"},

	// The proof from inside a network, for every cloud.
	"shared/vantage":   {},
	"shared/vantage/*": {"shared/vantage"},

	// Clients: of products and of the clusters. They know no run.
	"shared/aliyun":   {"shared/apierr"},
	"shared/aliyun/*": {"shared/aliyun", "shared/apierr"},
	"shared/es":       {"shared/apierr"},
	"shared/aws":      {"shared/apierr"},
	"shared/aws/*":    {"shared/aws", "shared/apierr"},
	"shared/zilliz":   {"shared/apierr"},

	"shared/azure":        {"shared/apierr"},
	"shared/azure/*":      {"shared/azure", "shared/apierr"},
	"shared/elasticcloud": {"shared/apierr"},
	// azurelink is shared by the steps that run the probe on a machine of Azure.
	"shared/azurelink/standing": {"shared/apierr", "shared/azure", "shared/azure/network", "shared/azure/privatedns", "shared/elasticcloud", "shared/facts"},
	"shared/azurelink":          {"events", "shared/apierr", "shared/azure", "shared/azure/compute", "shared/facts", "shared/secrets", "shared/vantage"},
	// Shared by steps of zilliz-aws: who is called, and what a proof means.
	"shared/awsaccount":    {"shared/aws", "shared/aws/sts", "shared/run", "shared/secrets"},
	"shared/awsreach":      {"shared/aws/ec2"},
	"shared/zillizproject": {"events", "shared/apierr", "shared/run", "shared/secrets", "shared/zilliz"},
	"shared/zillizlink":    {"shared/apierr", "shared/aws/ec2", "shared/aws/route53", "shared/awsreach", "shared/facts", "shared/vantage", "shared/vantage/zillizprobe", "shared/zilliz"},

	// Drivers stand beside what they drive.
	"shared/run/tablestore": {"shared/aliyun", "shared/apierr", "shared/run"},
	"shared/bus/mns":        {"shared/aliyun", "shared/apierr", "shared/bus"},

	"shared/remedy": {"events", "shared/apierr"},
	"shared/engine": {"events", "shared/apierr", "shared/bus", "shared/flow", "shared/remedy", "shared/run"},

	// Between clients and steps, for what two steps have in common: ensure is
	// shared by all that create, esconfig by plan and configure, clusters by all
	// that open one, copyjob by reindex and progress, scan by digest and verify,
	// linkcheck by verify and the function check.
	"shared/deps":     {"shared/aliyun", "shared/run"},
	"shared/secrets":  {"events", "shared/apierr"},
	"shared/ensure":   {"shared/apierr", "shared/engine", "shared/facts", "shared/run"},
	"shared/esconfig": {"events", "shared/facts", "shared/run"},
	"shared/clusters": {"events", "shared/aliyun", "shared/aliyun/kms", "shared/apierr", "shared/es", "shared/facts", "shared/run"},
	"shared/indexdef": {"events", "shared/es", "shared/facts"},
	"shared/copyjob":  {"events", "shared/clusters", "shared/aliyun/kms", "shared/apierr", "shared/es", "shared/facts", "shared/run"},
	"shared/scan":     {"events", "shared/apierr", "shared/checksum", "shared/es", "shared/facts", "shared/run"},
	"shared/linkcheck": {"events", "shared/aliyun", "shared/aliyun/escluster", "shared/aliyun/kms", "shared/aliyun/nlb", "shared/aliyun/privatelink", "shared/aliyun/slb",
		"shared/apierr", "shared/clusters", "shared/es", "shared/facts", "shared/run"},

	// The clients of products that a step may import are in table products.
	"shared/steps/*": {"events", "shared/aliyun", "shared/apierr", "shared/azure", "shared/azurelink", "shared/azurelink/*", "shared/checksum", "shared/clusters", "shared/copyjob", "shared/deps", "shared/engine", "shared/ensure",
		"shared/es", "shared/esconfig", "shared/facts", "shared/indexdef", "shared/linkcheck", "shared/run", "shared/scan", "shared/secrets", "shared/vantage",
		"shared/aws", "shared/awsaccount", "shared/awsreach", "shared/vantage/*", "shared/zillizlink", "shared/zillizproject"},
	// A step reads rows that another step has written, in that step's form.
	"shared/steps/destination": {"shared/steps/survey"},
	"shared/steps/plan":        {"shared/steps/survey"},

	// wire builds functions and knows no step and no product; api and what is
	// below it are the functions that are no step, and so stand above it.
	"shared/wire":        {"events", "shared/aliyun", "shared/bus/mns", "shared/engine", "shared/run", "shared/run/tablestore", "shared/deps"},
	"shared/api":         {"events", "shared/aliyun", "shared/checksum", "shared/engine", "shared/facts", "shared/flow", "shared/run", "shared/wire"},
	"shared/api/check":   {"events", "shared/aws", "shared/aws/*", "shared/awsaccount", "shared/vantage/*", "shared/zilliz", "shared/zillizlink", "shared/zillizproject", "shared/aliyun/*", "shared/apierr", "shared/azure", "shared/azure/*", "shared/azurelink", "shared/azurelink/*", "shared/elasticcloud", "shared/secrets", "shared/vantage", "shared/clusters", "shared/es", "shared/facts", "shared/linkcheck", "shared/run", "shared/deps", "shared/wire"},
	"shared/api/notify":  {"events", "shared/aliyun/kms", "shared/api", "shared/apierr", "shared/run", "shared/secrets", "shared/wire"},
	"shared/api/created": {"events", "shared/aliyun", "shared/aliyun/escluster", "shared/api", "shared/apierr", "shared/flow", "shared/run", "shared/wire"},

	"functions/*": {"shared/wire", "shared/steps/*", "shared/api", "shared/api/*"},

	// The command that people run knows the wire and what api shows, no step.
	"shared/eslink":           {"shared/eslink/commands"},
	"shared/eslink/commands":  {"events", "shared/api", "shared/api/check", "shared/eslink/*", "shared/run"},
	"shared/eslink/page":      {"events", "shared/eslink/functions", "shared/flow"},
	"shared/eslink/display":   {"shared/api", "shared/facts", "shared/flow", "shared/run"},
	"shared/eslink/functions": {"events"},
	"shared/eslink/specs":     {},

	// Tools may see everything: what matters is that nobody sees them.
	"shared/deploy":     {},
	"shared/deploy/cmd": {"shared/deploy"},
	"localtest":         {"*"},
	"localtest/*":       {"*"},
}

// products are the clients that a function's binary links, by its own imports or
// through what steps have in common: those of its step's cloud, and kms, which
// keeps the secrets of all. A function that is not in it links none.
var products = map[string][]string{
	"preflight":          {"aliyun/ecs", "aliyun/escluster", "aliyun/nlb", "aliyun/privatelink", "aliyun/slb", "aliyun/vpc"},
	"survey":             {"aliyun/kms"},
	"plan":               {"aliyun/escluster", "aliyun/kms"},
	"nlb":                {"aliyun/nlb"},
	"ip-whitelist":       {"aliyun/escluster"},
	"nlb-backend":        {"aliyun/nlb"},
	"clb":                {"aliyun/slb"},
	"firewall":           {"aliyun/ecs"},
	"clb-backend":        {"aliyun/slb"},
	"endpoint-service":   {"aliyun/privatelink"},
	"private-connection": {"aliyun/escluster"},
	"accept":             {"aliyun/escluster", "aliyun/privatelink"},
	"configure":          {"aliyun/escluster", "aliyun/kms"},
	"destination":        {"aliyun/kms"},
	"reindex":            {"aliyun/kms"},
	"progress":           {"aliyun/kms"},
	"digest":             {"aliyun/kms"},
	"verify":             {"aliyun/escluster", "aliyun/kms", "aliyun/nlb", "aliyun/privatelink", "aliyun/slb"},
	"private-whitelist":  {"aliyun/escluster"},
	"azure-preflight":    {"aliyun/kms", "azure/compute", "azure/network"},
	"elastic-survey":     {"aliyun/kms", "elasticcloud"},
	"azure-endpoint":     {"aliyun/kms", "azure/compute", "azure/network"},
	"azure-dns":          {"aliyun/kms", "azure/compute", "azure/privatedns"},
	"elastic-policy":     {"aliyun/kms", "elasticcloud"},
	"azure-approval":     {"aliyun/kms", "azure/compute", "azure/network"},
	"azure-probe":        {"aliyun/kms", "azure/compute"},
	"elastic-access":     {"aliyun/kms", "elasticcloud"},
	"azure-verify":       {"aliyun/kms", "azure/compute", "azure/network", "azure/privatedns", "elasticcloud"},
	"check":              {"aliyun/escluster", "aliyun/kms", "aliyun/nlb", "aliyun/privatelink", "aliyun/slb", "azure/compute", "azure/network", "azure/privatedns", "elasticcloud", "aws/ec2", "aws/route53", "aws/ssm", "aws/sts", "zilliz"},
	"zilliz-survey":      {"aliyun/kms", "zilliz"},
	"aws-preflight":      {"aliyun/kms", "aws/ec2", "aws/route53", "aws/ssm", "aws/sts"},
	"zilliz-admit":       {"aliyun/kms", "zilliz"},
	"aws-group":          {"aliyun/kms", "aws/ec2", "aws/sts"},
	"aws-endpoint":       {"aliyun/kms", "aws/ec2", "aws/sts"},
	"zilliz-register":    {"aliyun/kms", "zilliz"},
	"aws-acceptance":     {"aliyun/kms", "aws/ec2", "aws/sts"},
	"zilliz-address":     {"aliyun/kms", "zilliz"},
	"aws-rules":          {"aliyun/kms", "aws/ec2", "aws/sts"},
	"aws-dns":            {"aliyun/kms", "aws/route53", "aws/sts"},
	"aws-verify":         {"aliyun/kms", "aws/ec2", "aws/route53", "aws/ssm", "aws/sts", "zilliz"},
	"zilliz-public":      {"aliyun/kms", "zilliz"},
	"created":            {"aliyun/escluster"},
	"notify":             {"aliyun/kms"},
}

// clouds are where the clients of products are, each below the package of its
// cloud or alone, and the modules of SDKs that only those packages import.
var clouds = []string{"shared/aliyun/", "shared/azure/", "shared/elasticcloud", "shared/aws/", "shared/zilliz"}

var foreign = map[string]string{
	"github.com/Azure/":                 "shared/azure",
	"github.com/AzureAD/":               "shared/azure",
	"github.com/elastic/cloud-sdk-go/":  "shared/elasticcloud",
	"github.com/aws/aws-sdk-go-v2/":     "shared/aws",
	"github.com/aliyun/alibaba-cloud-s": "shared/aliyun",
}

func isProduct(pkg string) bool {
	return slices.ContainsFunc(clouds, func(c string) bool { return pkg == c || strings.HasSuffix(c, "/") && strings.HasPrefix(pkg, c) })
}

// sdks are the modules that a product package may know: its own and, of smithy,
// the interfaces of errors.
var sdks = map[string][]string{
	"ecs":         {"ecs"},
	"escluster":   {"elasticsearch"},
	"kms":         {"kms"},
	"nlb":         {"nlb"},
	"privatelink": {"privatelink"},
	"slb":         {"slb"},
	"vpc":         {"vpc"},
}

// tool prepares an account for the functions. No function links it, so it calls
// the SDKs as it likes.
const tool = "shared/deploy"

const root = "../"

// imports returns what each package of this module imports, without its tests.
func imports(t *testing.T) map[string][]string {
	out := map[string][]string{}
	require.NoError(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir, name := filepath.Split(filepath.ToSlash(file))
		switch {
		case d.IsDir() && (name == "testdata" || name == ".git" || name == "target" || name == ".build"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		if ok, err := build.Default.MatchFile(dir, name); err != nil || !ok {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Clean(strings.TrimPrefix(dir, root))
		out[pkg] = slices.Grow(out[pkg], 1)
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			out[pkg] = append(out[pkg], imported)
		}
		return nil
	}))
	require.Greater(t, len(out), 50, "the module is here")
	return out
}

func matches(pattern, pkg string) bool {
	prefix, any := strings.CutSuffix(pattern, "*")
	return pattern == pkg || any && strings.HasPrefix(pkg, prefix)
}

// allowed returns what pkg may import, and whether the table knows it.
func allowed(pkg string) (patterns []string, known bool) {
	for key, list := range table {
		if matches(key, pkg) {
			patterns, known = append(patterns, list...), true
		}
	}
	return patterns, known
}

// test reports whether a package is there for tests alone, as runtest is.
func test(pkg string) bool {
	return strings.HasSuffix(pkg, "test") && strings.HasPrefix(pkg, "shared/")
}

func TestArrowsPointDown(t *testing.T) {
	t.Parallel()
	for pkg, list := range imports(t) {
		if test(pkg) {
			continue
		}
		patterns, known := allowed(pkg)
		if !assert.True(t, known, "package %s is not in the table", pkg) {
			continue
		}
		for _, imported := range list {
			ours, ok := strings.CutPrefix(imported, "eslink/")
			if !ok {
				continue
			}
			if strings.HasPrefix(pkg, "shared/steps/") && isProduct(ours) {
				continue // TestABinaryLinksItsOwnProductsAlone says which
			}
			assert.True(t, slices.ContainsFunc(patterns, func(p string) bool { return matches(p, ours) }), "%s imports %s", pkg, ours)
		}
	}
}

func TestNobodySeesTestsToolsOrFunctions(t *testing.T) {
	t.Parallel()
	for pkg, list := range imports(t) {
		for _, imported := range list {
			ours, ok := strings.CutPrefix(imported, "eslink/")
			if !ok || test(pkg) || strings.HasPrefix(pkg, "localtest") {
				continue
			}
			assert.False(t, strings.HasPrefix(ours, "localtest") || strings.HasPrefix(ours, "functions") || test(ours), "%s imports %s", pkg, ours)
		}
		for _, imported := range list {
			assert.False(t, strings.HasPrefix(imported, "eslink/functions"), "%s imports %s", pkg, imported)
		}
	}
}

// linked returns what of this module a package is made of, itself included.
func linked(all map[string][]string, pkg string, into map[string]bool) map[string]bool {
	if into[pkg] {
		return into
	}
	into[pkg] = true
	for _, imported := range all[pkg] {
		if ours, ok := strings.CutPrefix(imported, "eslink/"); ok {
			linked(all, ours, into)
		}
	}
	return into
}

func TestABinaryLinksItsOwnProductsAlone(t *testing.T) {
	t.Parallel()
	all := imports(t)
	functions := 0
	for pkg := range all {
		name, ok := strings.CutPrefix(pkg, "functions/")
		if !ok {
			continue
		}
		functions++
		var want, got []string
		for _, p := range products[name] {
			want = append(want, "shared/"+p)
		}
		for p := range linked(all, pkg, map[string]bool{}) {
			if isProduct(p) {
				got = append(got, p)
			}
		}
		assert.ElementsMatch(t, want, got, "function %s", name)
	}
	assert.Greater(t, functions, 20)
}

func TestSDKsAreImportedByTheirCloudAlone(t *testing.T) {
	t.Parallel()
	for pkg, list := range imports(t) {
		if !strings.HasPrefix(pkg, "shared/") || test(pkg) || pkg == tool {
			continue
		}
		for _, imported := range list {
			for module, cloud := range foreign {
				if strings.HasPrefix(imported, module) {
					assert.True(t, strings.HasPrefix(pkg, cloud), "%s imports %s, which is for %s", pkg, imported, cloud)
				}
			}
		}
	}
}

func TestProductPackagesKnowTheirSDKAlone(t *testing.T) {
	t.Parallel()
	const sdk = "github.com/aliyun/alibaba-cloud-sdk-go/"
	for pkg, list := range imports(t) {
		if pkg == tool {
			continue
		}
		product, ok := strings.CutPrefix(pkg, "shared/aliyun/")
		for _, imported := range list {
			service, isService := strings.CutPrefix(imported, sdk+"services/")
			switch {
			case ok && isService:
				assert.Contains(t, sdks[product], service, "%s imports %s", pkg, imported)
			case ok && strings.Contains(imported, "."):
				assert.True(t, strings.HasPrefix(imported, sdk+"sdk"), "%s imports %s", pkg, imported)
			case strings.HasPrefix(pkg, "shared/") && !test(pkg) && pkg != "shared/aliyun":
				assert.False(t, strings.HasPrefix(imported, sdk), "%s imports %s, which is for product packages", pkg, imported)
			}
		}
	}
}
