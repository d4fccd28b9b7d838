package docker

import (
	"context"
	"time"

	"github.com/docker/docker/client"
)

// Client is the engine's, for what only tests do.
func (e *Engine) Client() *client.Client { return e.client }

// RemoveOldImages is what EnsureImage does after it has built an image.
func (e *Engine) RemoveOldImages(ctx context.Context, current string, now time.Time) error {
	return e.removeOldImages(ctx, current, now)
}

// IntentFolder is where the names of containers that are being made are.
const IntentFolder = intentFolder
