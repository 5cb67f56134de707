package check

import (
	"context"
	"net/http"

	"eslink/shared/wire"
)

// Function is the function check: POST a request (check.schema.json).
func Function(f *wire.Function) wire.Handler {
	service := NewService(f.Deps)
	return f.HTTP(http.MethodPost, func(ctx context.Context, req wire.Request) (int, any, error) {
		reply, err := service.Do(ctx, req.Body)
		if err == nil && reply.CheckID != "" {
			return http.StatusAccepted, reply, nil
		}
		if err == nil && !reply.OK {
			return http.StatusConflict, reply, nil
		}
		return http.StatusOK, reply, err
	})
}
