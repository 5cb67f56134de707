package deploy_test

import (
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ram"
	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A policy or a table of our name that is not as we make it is left alone.
func TestForeignNamesakesStay(t *testing.T) {
	t.Parallel()
	w := open(t)
	req := ram.CreateCreatePolicyRequest()
	req.SetScheme("HTTPS")
	req.PolicyName, req.PolicyDocument = "eslink-nlb", `{"Version":"1","Statement":[]}`
	_, err := w.clients.RAM.CreatePolicy(req)
	require.NoError(t, err)
	meta := &ots.TableMeta{TableName: target.Table}
	meta.AddPrimaryKeyColumn("id", ots.PrimaryKeyType_STRING)
	_, err = w.clients.Tables.CreateTable(&ots.CreateTableRequest{TableMeta: meta, TableOption: &ots.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &ots.ReservedThroughput{}})
	require.NoError(t, err)
	err = w.up()
	assert.ErrorContains(t, err, "policy eslink-nlb exists and is not ours")
	assert.ErrorContains(t, err, "table "+target.Table)
	assert.NotContains(t, w.changes, "create role eslink-nlb")
	assert.NotContains(t, w.changes, "create table "+target.Table)
}
