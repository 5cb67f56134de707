package runtest_test

import (
	"context"
	"testing"

	"eslink/shared/run"
	"eslink/shared/run/runtest"
)

func TestMem(t *testing.T) {
	t.Parallel()
	runtest.Driver(t, func(t *testing.T) (func() context.Context, run.Driver) { return t.Context, &run.Mem{} })
}
