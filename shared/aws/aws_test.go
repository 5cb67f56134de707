package aws_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/aws"
)

func TestKeysDoNotShow(t *testing.T) {
	t.Parallel()
	k, err := aws.ParseKey(`{"accessKeyId":"AKIA0000000000000000","secretAccessKey":"canary","roleArn":"arn:aws:iam::111122223333:role/eslink","externalId":"x","for":["111122223333"]}`)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", k, k, k, k), "canary")
	require.Equal(t, []string{"111122223333"}, k.For)
	for _, bad := range []string{"canary", `{"accessKeyId":"canary"}`, `{"accessKeyId":"AKIA0000000000000000"}`, `{"accessKeyId":"AKIA0000000000000000","secretAccessKey":"canary","roleArn":"admin"}`} {
		_, err := aws.ParseKey(bad)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	}
	other := k
	other.ExternalID = "y"
	require.NotEqual(t, k.Fingerprint(), other.Fingerprint())
}
