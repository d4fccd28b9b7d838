// Package consul follows a Consul catalog and its configuration entries with
// blocking queries and turns them into snapshots of the mesh: services, their
// health, subsets and routes, the upstreams of sidecar registrations,
// intentions and limits. It only reads, and knows nothing of switches. The
// page docs/consul.md lists what is honoured, field by field.
package consul

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// Config says what to watch. Zero durations take the defaults.
type Config struct {
	Client   *api.Client
	Logger   *slog.Logger
	Wait     time.Duration // longest wait of one query at Consul, 1 min
	Spacing  time.Duration // time between two queries of one kind in the long run, 20 ms
	Debounce time.Duration // least time between two snapshots, 3 ms
	MaxRetry time.Duration // longest pause after an error, 3 s
	Recovery time.Duration // for which the last state stands after Consul was away, 5 s

	// DefaultDeny says what holds between services that no intention names.
	// Nil: what Consul's agent is configured for.
	DefaultDeny *bool
}

const (
	defaultWait     = time.Minute
	defaultSpacing  = 20 * time.Millisecond
	defaultDebounce = 3 * time.Millisecond
	defaultMaxRetry = 3 * time.Second
	defaultRecovery = 5 * time.Second // checks are renewed, or run, every second or two
	firstRetry      = 50 * time.Millisecond
	burst           = 20 // queries that may come without spacing after a quiet time
	patience        = 3  // refusals of a chain after which the rest does not wait for it
)

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.Wait, defaultWait)
	set(&c.Spacing, defaultSpacing)
	set(&c.Debounce, defaultDebounce)
	set(&c.MaxRetry, defaultMaxRetry)
	set(&c.Recovery, defaultRecovery)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Watch calls emit with each new state of the catalog until ctx ends, and
// returns ctx's error then. It calls emit from one goroutine, never before
// it has seen all services and configuration entries once, and only when
// something has changed. While Consul cannot be reached, has no leader, or
// answers from a catalog that does not yet list Consul's own servers, and for
// Config.Recovery after that, the last state stands; Watch tries again for
// ever.
func Watch(ctx context.Context, cfg Config, emit func(mesh.Snapshot)) error {
	if cfg.Client == nil {
		return errors.New("watch Consul: no client given; set Config.Client")
	}
	return newWatcher(cfg.withDefaults()).run(ctx, emit)
}

// query asks Consul once; index 0 does not wait. Apply takes the answer over
// into the registry, in the goroutine that owns it.
type query func(opts *api.QueryOptions) (apply func(*registry), meta *api.QueryMeta, err error)

// follow repeats a blocking query until ctx ends, by the rules of Consul's
// documentation ("Blocking Queries", implementation details): an index that
// goes backwards starts again at 0, an index is at least 1, queries are
// spaced, and errors back off with jitter.
func (w *watcher) follow(ctx context.Context, l loop) {
	index, retry, failures := uint64(0), firstRetry, 0
	ask := w.ask(l.topic)
	var due time.Time // when the next query would come at an even pace
	for ctx.Err() == nil {
		now := time.Now()
		if due.Before(now) {
			due = now
		}
		pause(ctx, due.Sub(now)-burst*w.cfg.Spacing)
		due = due.Add(w.cfg.Spacing)
		if index == 0 {
			w.awaitLeader(ctx)
		}
		// A server that has just begun leads before it has read all of its log,
		// and would list nothing; of intentions, nothing is what allows most.
		// Only a consistent read waits for the rest.
		opts := (&api.QueryOptions{WaitIndex: index, WaitTime: w.cfg.Wait, RequireConsistent: true}).WithContext(ctx)
		apply, meta, err := ask(opts)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures++; failures == 1 {
				if !errors.As(err, new(api.StatusError)) { // nobody has answered
					w.isAway()
				}
				w.cfg.Logger.Log(ctx, l.topic.level(), "consul query failed; the last state stands", "query", l.topic.String(), "error", err)
			}
			// One broken chain must not hold back the rest; a list that is
			// missing must, for nobody knows what it forbids.
			if refused := (api.StatusError{}); l.topic.kind == kindChain && failures >= patience && errors.As(err, &refused) {
				w.send(ctx, update{l, func(r *registry) { r.refused(l.topic, err) }})
			}
			index = 0
			pause(ctx, retry/2+rand.N(retry/2))
			retry = min(2*retry, w.cfg.MaxRetry)
			continue
		case failures > 0:
			w.cfg.Logger.Log(ctx, l.topic.level(), "consul answers again", "query", l.topic.String())
			failures, retry = 0, firstRetry
			select {
			case w.back <- struct{}{}:
			default:
			}
		}
		index = nextIndex(index, meta.LastIndex)
		w.send(ctx, update{l, apply})
	}
}

// nextIndex is the index to wait for after an answer with index got.
func nextIndex(asked, got uint64) uint64 {
	if got < asked {
		return 0
	}
	return max(got, 1)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
