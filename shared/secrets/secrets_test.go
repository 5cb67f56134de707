package secrets_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/secrets"
)

type reader struct {
	text string
	err  error
}

func (r reader) Value(context.Context, string) (value, version string, err error) {
	return r.text, "v1", r.err
}

type key struct {
	APIKey string `json:"apiKey"`
}

func read(ctx context.Context, r reader) (key, error) {
	return secrets.Read(ctx, r, secrets.Name{Name: "eslink/zilliz", Field: "secrets.zilliz"}, secrets.JSON[key](`{"apiKey"}`))
}

func TestRead(t *testing.T) {
	t.Parallel()
	got, err := read(t.Context(), reader{text: `{"apiKey":"k"}`})
	require.NoError(t, err)
	assert.Equal(t, key{"k"}, got)
}

func TestASecretOfAnotherForm(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"canary", `{"apiKey":4711}`, `{"apiKey":"canary"`} {
		_, err := read(t.Context(), reader{text: text})
		var p *events.Problem
		require.ErrorAs(t, err, &p, text)
		assert.Equal(t, 409, p.Status)
		require.Len(t, p.Errors, 1)
		assert.Equal(t, "secrets.zilliz", p.Errors[0].Field)
		assert.Contains(t, p.Errors[0].Message, `eslink/zilliz: it does not hold {"apiKey"}`)
		raw, err := json.Marshal(p)
		require.NoError(t, err)
		assert.NotContains(t, string(raw), "canary")
		assert.NotContains(t, string(raw), "4711")
	}
}

func TestWhatMayPassIsNoFindingOfTheSecret(t *testing.T) {
	t.Parallel()
	var p *events.Problem
	_, err := read(t.Context(), reader{err: &apierr.Error{Class: apierr.Retry, Code: "Throttling"}})
	require.Error(t, err)
	assert.False(t, errors.As(err, &p))
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err))
	_, err = read(t.Context(), reader{err: &apierr.Error{Class: apierr.NotFound, Code: "Forbidden.ResourceNotFound"}})
	require.ErrorAs(t, err, &p)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = read(ended, reader{err: context.Canceled})
	assert.ErrorIs(t, err, context.Canceled)
}
