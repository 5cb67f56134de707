package deploy

import (
	"bytes"
	"embed"
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
	dot["Stream"] = has(Function.Step)
	dot["Created"] = has(func(f Function) bool { return f.Trigger == Creations })
	return dot
}
