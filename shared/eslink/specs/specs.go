// Package specs holds commented specs to begin with, one a scenario, as the
// command eslink writes them.
package specs

import (
	"embed"
	"path"
	"slices"
	"strings"
)

//go:embed *.yaml env
var files embed.FS

// Scenarios lists the scenarios that there is a spec for, in order.
func Scenarios() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // it is part of the program
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Template is the spec of a scenario, in YAML, with comments. Its first line
// names the JSON Schema that editors check it with.
func Template(scenario string) (text []byte, ok bool) {
	if !slices.Contains(Scenarios(), scenario) {
		return nil, false
	}
	text, err := files.ReadFile(path.Clean(scenario + ".yaml"))
	return text, err == nil
}

// Environment is a .env to fill in.
func Environment() []byte {
	text, err := files.ReadFile("env")
	if err != nil {
		panic(err)
	}
	return text
}
