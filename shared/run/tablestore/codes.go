package tablestore

import (
	"errors"
	"net/url"

	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"eslink/shared/apierr"
)

// class says what Tablestore's error codes mean ("Error codes" of its
// reference, column Retry). A code that is not here goes by the HTTP status. A
// missing table is for a person: it is made before eslink is deployed.
func class(code string, status int) apierr.Class {
	switch code {
	case ots.ROW_OPERATION_CONFLICT, ots.NOT_ENOUGH_CAPACITY_UNIT, ots.TABLE_NOT_READY, ots.PARTITION_UNAVAILABLE, ots.SERVER_BUSY,
		ots.STORAGE_SERVER_BUSY, ots.QUOTA_EXHAUSTED, ots.STORAGE_TIMEOUT, ots.SERVER_UNAVAILABLE, ots.INTERNAL_SERVER_ERROR:
		return apierr.Retry
	case "OTSConditionCheckFail":
		return apierr.Conflict
	}
	return apierr.ByStatus(status)
}

func classify(err error) *apierr.Error {
	var reply *ots.OtsError
	if errors.As(err, &reply) {
		return &apierr.Error{
			Class: class(reply.Code, reply.HttpStatusCode), Code: reply.Code, Message: reply.Message,
			Status: reply.HttpStatusCode, RequestID: reply.RequestId,
		}
	}
	var lost *url.Error // http.Client's word for an exchange that failed
	if errors.As(err, &lost) {
		return &apierr.Error{Class: apierr.Retry, Message: lost.Err.Error()}
	}
	return &apierr.Error{Class: apierr.Retry, Message: err.Error()}
}
