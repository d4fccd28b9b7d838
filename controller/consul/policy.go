package consul

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
)

// followPolicy reads what the agent is configured for when it starts, each
// time that Consul answers again after a failure, and now and then: the
// setting can only change with a new start of the agent, which may be too
// quick for a blocking query to notice.
func (w *watcher) followPolicy(ctx context.Context) {
	asks := loop{topic: topic{kind: kindPolicy}}
	failures, retry := 0, firstRetry
	again := time.NewTicker(w.cfg.Wait)
	defer again.Stop()
	for ctx.Err() == nil {
		w.awaitLeader(ctx)
		self, err := w.self(ctx)
		var deny bool
		if err == nil {
			deny, err = defaultDeny(self)
		}
		var status api.StatusError
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures, retry = 0, firstRetry
			w.send(ctx, update{asks, func(r *registry) { r.setPolicy(deny) }})
		case errors.As(err, &status) && status.Code == http.StatusForbidden:
			failures, retry = 0, firstRetry
			w.send(ctx, update{asks, func(r *registry) { r.refused(asks.topic, err) }})
		default:
			if failures++; failures == 1 {
				w.cfg.Logger.Warn("consul query failed; the last state stands", "query", asks.topic.String(), "error", err)
			}
			pause(ctx, retry/2+rand.N(retry/2))
			retry = min(2*retry, w.cfg.MaxRetry)
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.back:
		case <-again.C:
		}
	}
}

// self reads /v1/agent/self. The API client's own call takes no context.
func (w *watcher) self(ctx context.Context) (map[string]map[string]any, error) {
	var self map[string]map[string]any
	if _, err := w.cfg.Client.Raw().Query("/v1/agent/self", &self, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return nil, fmt.Errorf("read the agent's configuration: %w", err)
	}
	return self, nil
}

// defaultDeny is what an agent does with a connection that no intention
// names: its default_intention_policy, or else the default of its ACLs.
func defaultDeny(self map[string]map[string]any) (bool, error) {
	config := self["DebugConfig"]
	policy, _ := config["DefaultIntentionPolicy"].(string)
	if policy == "" {
		acls, _ := config["ACLResolverSettings"].(map[string]any)
		policy, _ = acls["ACLDefaultPolicy"].(string)
	}
	switch policy {
	case "allow":
		return false, nil
	case "deny":
		return true, nil
	default:
		return false, fmt.Errorf("read the agent's configuration: default policy %q is neither allow nor deny", policy)
	}
}
