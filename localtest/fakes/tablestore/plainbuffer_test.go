package tablestore

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sdkRow is a row as the official SDK writes it.
func sdkRow() []byte {
	c := &ots.UpdateRowChange{TableName: "t", PrimaryKey: &ots.PrimaryKey{}}
	c.PrimaryKey.AddPrimaryKeyColumn("s", "key")
	c.PrimaryKey.AddPrimaryKeyColumn("i", int64(-1))
	c.PrimaryKey.AddPrimaryKeyColumn("b", []byte{1})
	c.PutColumn("text", "needle")
	c.PutColumn("double", 1.5)
	c.PutColumn("yes", true)
	c.DeleteColumn("gone")
	c.DeleteColumnWithTimestamp("one", 7)
	c.IncrementColumn("n", 1)
	return c.Serialize()
}

func TestDecodeWhatTheSDKWrites(t *testing.T) {
	t.Parallel()
	got, err := decode(sdkRow())
	require.NoError(t, err)
	seven := int64(7)
	assert.Equal(t, row{
		key: []cell{{name: "s", value: "key"}, {name: "i", value: int64(-1)}, {name: "b", value: []byte{1}}},
		cells: []cell{
			{name: "text", value: "needle"}, {name: "double", value: 1.5}, {name: "yes", value: true}, {name: "gone", op: opDeleteAll},
			{name: "one", op: opDeleteOne, at: &seven}, {name: "n", value: int64(1), op: opIncrement},
		},
	}, got)
}

func TestDecodeWhatWeWrite(t *testing.T) {
	t.Parallel()
	at := int64(1_700_000_000_000)
	want := row{key: []cell{{name: "k", value: "v"}}, cells: []cell{{name: "a", value: []byte{0, 255}, at: &at}, {name: "b", value: false}}}
	got, err := decode(encode(want))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestADamagedRowIsRefused(t *testing.T) {
	t.Parallel()
	raw := sdkRow()
	_, err := decode(bytes.Replace(raw, []byte("needle"), []byte("noodle"), 1))
	require.ErrorIs(t, err, errMalformed)
	for i := range raw {
		_, err := decode(raw[:i])
		require.ErrorIs(t, err, errMalformed, "cut at %d", i)
	}
	_, err = decode(append(raw, 0))
	require.ErrorIs(t, err, errMalformed)
}

func FuzzDecode(f *testing.F) {
	f.Add(sdkRow())
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decode(raw) // whatever comes, it must not panic
		if err != nil || slices.ContainsFunc(append(r.key, r.cells...), func(c cell) bool { return c.value == nil || c.op != 0 }) || r.deleted {
			return
		}
		again, err := decode(encode(r))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(r), fmt.Sprint(again)) // NaN is not equal to itself
	})
}
