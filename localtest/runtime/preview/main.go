// Command preview compares localtest's reading of a deployment file with what Serverless Devs makes of it:
//
//	s preview -t s.yaml -o json | go run ./localtest/runtime/preview s.yaml
package main

import (
	"fmt"
	"io"
	"os"

	"eslink/localtest/runtime"
)

func main() {
	preview, err := io.ReadAll(os.Stdin)
	if err == nil {
		var p *runtime.Project
		if p, err = runtime.Load(os.LookupEnv, os.Args[1:]...); err == nil {
			err = p.Same(preview)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
