package apierr_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"eslink/shared/apierr"
)

func TestClassOf(t *testing.T) {
	t.Parallel()
	gone := &apierr.Error{Class: apierr.NotFound, Code: "ResourceNotFound", Status: 404, Message: "no such thing", RequestID: "r-1"}
	assert.Equal(t, apierr.NotFound, apierr.ClassOf(fmt.Errorf("delete nlb: %w", gone)))
	assert.True(t, apierr.IsNotFound(errors.Join(errors.New("x"), gone)))
	assert.Equal(t, "ResourceNotFound", apierr.CodeOf(fmt.Errorf("delete nlb: %w", gone)))
	assert.Equal(t, "ResourceNotFound (HTTP 404): no such thing [request r-1]", gone.Error())
	assert.Equal(t, "no reply: reset", (&apierr.Error{Class: apierr.Retry, Message: "reset"}).Error())
	assert.Equal(t, apierr.Fatal, apierr.ClassOf(errors.New("nobody classified it")))
	assert.False(t, apierr.IsNotFound(nil))
	assert.Empty(t, apierr.CodeOf(errors.New("x")))
	assert.Equal(t, []string{"fatal", "retry", "not found", "conflict"},
		[]string{apierr.Fatal.String(), apierr.Retry.String(), apierr.NotFound.String(), apierr.Conflict.String()})
}

func TestByStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]apierr.Class{400: apierr.Fatal, 403: apierr.Fatal, 404: apierr.Fatal, 409: apierr.Fatal,
		429: apierr.Retry, 500: apierr.Retry, 501: apierr.Fatal, 502: apierr.Retry, 503: apierr.Retry, 504: apierr.Retry} {
		assert.Equal(t, want, apierr.ByStatus(status), status)
	}
}

func TestIgnoreNotFound(t *testing.T) {
	t.Parallel()
	assert.NoError(t, apierr.IgnoreNotFound(nil))
	assert.NoError(t, apierr.IgnoreNotFound(fmt.Errorf("delete: %w", &apierr.Error{Class: apierr.NotFound})))
	assert.Error(t, apierr.IgnoreNotFound(&apierr.Error{Class: apierr.Retry}))
}
