package runtime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
)

// buildFlags are those of the pre-deploy actions in s.yaml; Load refuses an action with others. VCS stamping is off, so
// that one source gives one binary.
const buildFlags = `-trimpath -buildvcs=false -ldflags "-s -w"`

// Build compiles every function of the project for this machine into dir and returns the binaries by function name.
// root is the directory of go.mod. Flags and packages are those of s.yaml's pre-deploy actions, so on linux/amd64 the
// result is byte for byte what `s deploy` uploads. One go command links them all, in parallel.
func (p *Project) Build(ctx context.Context, root, dir string) (map[string]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}
	binaries := map[string]string{}
	for _, f := range p.Functions {
		args = append(args, f.Package)
		binaries[f.Name] = filepath.Join(dir, filepath.Base(f.Package))
	}
	if len(binaries) == 0 {
		return binaries, nil
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = slices.Concat(os.Environ(), []string{"CGO_ENABLED=0", "GOOS=" + goruntime.GOOS, "GOARCH=" + goruntime.GOARCH})
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build functions: %w\n%s", err, out)
	}
	return binaries, nil
}
