//go:build !linux

package world

import (
	"context"
	"errors"
	"io"
)

// NewReal says that it needs Linux.
func NewReal(context.Context, Config, io.Writer) (*World, func(), error) {
	return nil, nil, errors.New("real Elasticsearch needs Linux here: each endpoint domain gets port 9200 on a loopback address of its own")
}
