package copyjob

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// README.md has the table of outcomes as the code has it.
func TestTableIsDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^\| (.*?) \| .* \|$`).FindAllSubmatch(readme, -1)[1:] {
		told = append(told, string(m[1]))
	}
	var want []string
	for _, o := range outcomes {
		want = append(want, o.name)
	}
	require.Equal(t, want, told)
}
