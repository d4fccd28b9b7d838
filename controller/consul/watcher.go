package consul

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// watcher asks Consul. Its registry belongs to run; all else sends updates.
type watcher struct {
	cfg     Config
	updates chan update
	back    chan struct{} // Consul answers again after a failure
	leading leading
	began   time.Time
	emitted atomic.Bool  // there is a last state, which can stand
	away    atomic.Int64 // when Consul was last seen to be away since then: time.Duration after began; 0: never
}

// loop is one life of the questions about a topic.
type loop struct {
	topic topic
	life  int
}

// update is one answer of Consul.
type update struct {
	loop  loop
	apply func(*registry)
}

// coherence is how long an emit waits for answers that belong to those that
// have come: the chain of a service whose first entry was just written, or
// the definition of a subset that a chain names.
const coherence = 200 * time.Millisecond

// leaderEvery is how often Consul is asked whether it has a leader.
const leaderEvery = 100 * time.Millisecond

func newWatcher(cfg Config) *watcher {
	return &watcher{cfg: cfg, updates: make(chan update), back: make(chan struct{}, 1), began: time.Now()}
}

// isAway notes that Consul cannot be asked, or has no leader.
func (w *watcher) isAway() {
	if w.emitted.Load() {
		w.away.Store(int64(time.Since(w.began)))
	}
}

// recovering is for how long the last state stands although Consul answers.
// An agent of Consul that has begun again takes checks for critical until they
// have run, or whoever renews them has noticed (agent.loadChecks of Consul), and
// tells the catalog so: instances that are well would seem to have gone.
func (w *watcher) recovering() time.Duration {
	away := time.Duration(w.away.Load())
	if away == 0 {
		return 0
	}
	return time.Until(w.began.Add(away + w.cfg.Recovery))
}

// leading is what the loops share of their knowledge of a leader.
type leading struct {
	mu   sync.Mutex
	seen time.Time // when there last was one
}

// awaitLeader returns when Consul has a leader, or ctx ends. Questions that come
// before that, Consul's servers hold back, for seconds after they have one
// (rpc_hold_timeout); and when no agent listens yet, that each question backs
// off by itself takes as long. So one loop asks for all, and often.
func (w *watcher) awaitLeader(ctx context.Context) {
	l := &w.leading
	l.mu.Lock()
	defer l.mu.Unlock()
	for told := false; ctx.Err() == nil && time.Since(l.seen) > leaderEvery; {
		leader, err := w.cfg.Client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
		switch {
		case err == nil && leader != "":
			l.seen = time.Now()
			continue
		case err == nil:
			err = errors.New("the servers have no leader")
		}
		w.isAway()
		if ctx.Err() == nil && !told {
			told = true
			w.cfg.Logger.Warn("wait for consul; the last state stands", "error", err)
		}
		pause(ctx, leaderEvery)
	}
}

// answerWithin is how long Consul has for the least of its questions, and how
// often it is asked that.
const answerWithin = 2 * time.Second

// listen notes when Consul does not answer, although nobody says so: questions
// that wait for a change look alike at a Consul that hangs. When that goes on,
// leases have ended that nobody could renew.
func (w *watcher) listen(ctx context.Context) {
	for silent := false; ctx.Err() == nil; {
		one, cancel := context.WithTimeout(ctx, answerWithin)
		leader, err := w.cfg.Client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(one))
		cancel()
		was := silent
		silent = err != nil || leader == ""
		if ctx.Err() == nil && (silent || was) { // from its return on too
			w.isAway()
		}
		if silent {
			pause(ctx, leaderEvery)
		} else {
			pause(ctx, answerWithin)
		}
	}
}

func (w *watcher) send(ctx context.Context, u update) {
	select {
	case <-ctx.Done():
	case w.updates <- u:
	}
}

// loops starts and stops the goroutines that ask, one for each topic.
type loops struct {
	run  func(context.Context, loop)
	ctx  context.Context
	wg   sync.WaitGroup
	stop map[topic]context.CancelFunc
	life map[topic]int
	next int
}

func (l *loops) follow(t topic) {
	ctx, stop := context.WithCancel(l.ctx)
	l.next++
	l.stop[t], l.life[t] = stop, l.next
	this := loop{t, l.next}
	l.wg.Go(func() { l.run(ctx, this) })
}

func (l *loops) drop(t topic) {
	l.stop[t]()
	delete(l.stop, t)
	delete(l.life, t)
}

func (w *watcher) run(ctx context.Context, emit func(mesh.Snapshot)) error {
	ctx, cancel := context.WithCancel(ctx)
	asking := &loops{ctx: ctx, run: w.follow, stop: map[topic]context.CancelFunc{}, life: map[topic]int{}}
	defer asking.wg.Wait()
	defer cancel()
	r := newRegistry(w.cfg.DefaultDeny, asking)
	asking.wg.Go(func() { w.followPolicy(ctx) })
	asking.wg.Go(func() { w.listen(ctx) })

	settle := time.NewTimer(time.Hour)
	settle.Stop()
	var emitted, held time.Time // held: since when the present changes wait for more
	pending, first := false, true
	var told map[string]bool // warnings about the present state
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case u := <-w.updates:
			if asking.life[u.loop.topic] != u.loop.life {
				continue // a late answer for something that is gone
			}
			r.answer(u.loop.topic, u.apply)
			if !pending || !held.IsZero() {
				pending = true
				settle.Reset(w.cfg.Debounce - time.Since(emitted))
			}
		case <-settle.C:
			if first && !r.complete() {
				pending = false
				continue
			}
			if left := w.recovering(); left > 0 {
				settle.Reset(left)
				continue
			}
			if !r.coherent() {
				if held.IsZero() {
					held = time.Now()
				}
				if left := coherence - time.Since(held); left > 0 {
					settle.Reset(left)
					continue
				}
			}
			pending, held = false, time.Time{}
			snap, changed := r.snapshot()
			if !changed && !first {
				continue
			}
			told = w.tell(snap.Warnings, told)
			emitted, first = time.Now(), false
			w.emitted.Store(true)
			emit(snap)
		}
	}
}

// tell logs the warnings that were not there before.
func (w *watcher) tell(warnings []string, told map[string]bool) map[string]bool {
	now := make(map[string]bool, len(warnings))
	for _, warning := range warnings {
		if !told[warning] {
			w.cfg.Logger.Warn("Consul asks for what layer 4 cannot do, or what cannot be used", "reason", warning)
		}
		now[warning] = true
	}
	return now
}
