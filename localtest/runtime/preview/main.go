// Command preview compares localtest's reading of s.yaml with what Serverless Devs makes of it:
//
//	s preview -t s.yaml -o json | go run ./localtest/runtime/preview
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
		if p, err = runtime.Load("s.yaml", os.LookupEnv); err == nil {
			err = p.Same(preview)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
