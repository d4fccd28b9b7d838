package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/eject"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/controller/pipeline"
)

// Config is what a controller needs.
type Config struct {
	Fabric    pipeline.Fabric
	Datapaths []Datapath
	// Networks calls emit, from one goroutine at a time, with each state of a
	// network that may change, until ctx ends; Fabric and Datapaths are not
	// used then. nil: the network stays as it is. A network that contradicts
	// itself is logged and left out.
	Networks func(ctx context.Context, emit func(Network)) error
	// Connect opens a connection to a switch.
	Connect func(ctx context.Context, dp Datapath) (Switch, error)
	// Watch calls emit, from one goroutine at a time, with each state of the
	// registry until ctx ends. nil: there is no registry, the mesh is empty.
	Watch func(ctx context.Context, emit func(mesh.Snapshot)) error
	// Active is closed when the controller may speak to switches; until then
	// it follows registry and network, and is ready. nil: at once.
	Active <-chan struct{}
	// Segments makes resets. nil: nothing is refused.
	Segments Segments
	// DNS makes the responder for one switch; send sends a frame out of a port
	// of it. nil: there is none.
	DNS func(f pipeline.Fabric, snapshot func() (mesh.Snapshot, bool), send func(port uint32, frame []byte)) (Responder, error)
	// Limits makes the limits of connections per zone of connection tracking
	// exactly these. nil: there are none.
	Limits func(ctx context.Context, zones map[uint16]uint32) error
	// Relieve looks for connections that have ended but still count for their
	// limits, and has forget remove them: each body is that of an experimenter
	// message to a switch of the Open vSwitch with that run directory. It is
	// called every second while there are limits. nil: they count until they
	// time out.
	Relieve func(ctx context.Context, forget func(ctx context.Context, runDir string, bodies [][]byte) error) error
	// Traced is told the end of each half of a traced connection, a flow with
	// flow.CookieLearned. nil: nobody.
	Traced  func(datapath string, half FlowRemoved)
	Metrics *metrics.Accumulator // nil: nothing is counted
	// Converged is told how long a switch took from a snapshot to its
	// confirmation. nil: nobody.
	Converged func(datapath string, took time.Duration)
	// RegistryUp tells whether the registry answered last. nil: taken for granted.
	RegistryUp func() bool
	// Away names the sources that do not answer, and what mends that. nil:
	// nobody knows.
	Away   func() []string
	Status string               // path of the unix socket for status; empty: no status
	Drain  func() time.Duration // how long deregistered instances keep their connections; nil: DefaultDrain
	Logger *slog.Logger         // nil: silent
	Now    func() time.Time     // nil: time.Now
}

// Network is a fabric and the switches in it. It is immutable.
type Network struct {
	Fabric    pipeline.Fabric
	Datapaths []Datapath
	// Partial says that not all is known yet: nothing is deleted from switches.
	Partial bool
	Since   time.Time // when what it is made of was known; zero: not told
}

func (c *Config) complete() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Drain == nil {
		c.Drain = func() time.Duration { return time.Duration(DefaultDrain) }
	}
	if c.Connect == nil {
		return errors.New("run controller: Config.Connect is missing")
	}
	if c.Networks != nil {
		return nil
	}
	if err := validate(c.Fabric, c.Datapaths); err != nil {
		return fmt.Errorf("run controller: %w", err)
	}
	return nil
}

// Controller keeps switches in the state that the mesh asks for. Its methods
// may be called from several goroutines.
type Controller struct {
	cfg    Config
	target *target
	signs  chan sign
	limits chan struct{} // a worker's zones may have changed
	loop   loopCounters

	mu      sync.Mutex         // guards what follows
	workers map[string]*worker // nil: the network is not known yet
	ejected []eject.Ejected

	limitWarning string // "": none
}

// New checks the configuration. Nothing is done before Run.
func New(cfg Config) (*Controller, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Controller{cfg: cfg, target: newTarget(), signs: make(chan sign, 256), limits: make(chan struct{}, 1)}, nil
}

// Run keeps all datapaths in the state that the registry asks for until ctx
// ends, and returns ctx's error then. A switch or a registry that cannot be
// reached is tried again for ever; other errors mean that the controller
// cannot do its work at all. It must be called once.
//
// Until the first snapshot, flows are only added: plain switching and ARP on
// a fresh switch, and whatever the switch held before stays in force.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	defer all.Wait()
	start := func(what string, task func(context.Context) error) {
		all.Go(func() {
			if err := task(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	if c.cfg.Status != "" {
		ln, err := Listen(c.cfg.Status)
		if err != nil {
			return fmt.Errorf("run controller: %w", err)
		}
		start("serve status", func(ctx context.Context) error { return Serve(ctx, ln, c.Handler()) })
	}
	start("watch registry", c.watch)
	start("watch network", c.watchNetwork)
	if c.cfg.Limits != nil {
		start("limit connections", c.keepLimits)
	}
	if c.cfg.Relieve != nil {
		start("forget ended connections", c.makeRoom)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// Run is New and Controller.Run.
func Run(ctx context.Context, cfg Config) error {
	c, err := New(cfg)
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// watchNetwork keeps one worker for each switch of the network. Workers that
// are no longer wanted leave their switches as they are.
func (c *Controller) watchNetwork(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	stops := map[string]context.CancelFunc{}
	take := func(n Network) {
		if err := validate(n.Fabric, n.Datapaths); err != nil {
			c.cfg.Logger.Error("the network contradicts itself; the last one stays", "error", err)
			return
		}
		workers := map[string]*worker{}
		for _, dp := range n.Datapaths {
			if w, ok := c.workers[dp.Name]; ok && w.sameWay(dp) {
				w.place(n, dp.Datapath)
				workers[dp.Name] = w
				continue
			}
			if stop, ok := stops[dp.Name]; ok {
				stop()
			}
			w := newWorker(c, n, dp)
			child, stop := context.WithCancel(ctx)
			workers[dp.Name], stops[dp.Name] = w, stop
			running.Go(func() { w.run(child) })
		}
		for name, stop := range stops {
			if workers[name] == nil {
				stop()
				delete(stops, name)
			}
		}
		c.mu.Lock()
		c.workers = workers
		c.mu.Unlock()
	}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	if c.cfg.Networks == nil {
		take(Network{Fabric: c.cfg.Fabric, Datapaths: c.cfg.Datapaths})
		<-ctx.Done()
		return ctx.Err()
	}
	return c.cfg.Networks(ctx, take)
}

// each are the workers, by name.
func (c *Controller) each() []*worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*worker
	for _, name := range slices.Sorted(maps.Keys(c.workers)) {
		out = append(out, c.workers[name])
	}
	return out
}

// Handler is what the status socket serves.
func (c *Controller) Handler() http.Handler { return (&status{c}).handler() }

// limitsRetry is how often limits are set again, as a switch that starts has
// none, and room is made for new connections.
const limitsRetry = time.Second

// limitsTimeout bounds one such round: a list of 200,000 connections takes some
// seconds, and an Open vSwitch that does not answer is asked again.
const limitsTimeout = 10 * time.Second

// zones are the limits of connections of all switches, and the run directories
// of the Open vSwitches that keep them. Switches of one Open vSwitch share
// them, so of several limits of a zone the lowest counts. all is false while
// the limits of a switch are not known yet.
func (c *Controller) zones() (zones map[uint16]uint32, homes map[string]bool, all bool) {
	zones, homes, all = map[uint16]uint32{}, map[string]bool{}, true
	for _, w := range c.each() {
		own, ok := w.zones()
		all = all && ok
		if home := w.dp.Home(); home != "" && len(own) > 0 {
			homes[home] = true
		}
		for zone, limit := range own {
			if have, ok := zones[zone]; !ok || limit < have {
				zones[zone] = limit
			}
		}
	}
	return zones, homes, all
}

// keepLimits sets the limits of connections.
func (c *Controller) keepLimits(ctx context.Context) error {
	return c.eachRound(ctx, c.limits, "limits of connections are not in force", func(ctx context.Context) error {
		zones, homes, all := c.zones()
		if !all {
			return nil // those that are set stay
		}
		c.limitedBy(len(homes))
		return c.cfg.Limits(ctx, zones)
	})
}

// makeRoom has ended connections forgotten. It waits neither for the limits to
// be set nor for a switch that is not there.
func (c *Controller) makeRoom(ctx context.Context) error {
	return c.eachRound(ctx, nil, "ended connections still count for their limits", func(ctx context.Context) error {
		if zones, _, _ := c.zones(); len(zones) == 0 {
			return nil
		}
		return c.cfg.Relieve(ctx, c.forget)
	})
}

// eachRound calls f every second, and when asked, until ctx ends. The first
// failure of several in a row is logged.
func (c *Controller) eachRound(ctx context.Context, asked <-chan struct{}, failure string, f func(context.Context) error) error {
	again := time.NewTicker(limitsRetry)
	defer again.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-asked:
		case <-again.C:
		}
		if !c.active() {
			continue
		}
		round, end := context.WithTimeout(ctx, limitsTimeout)
		err := f(round)
		end()
		if err != nil && !failing && ctx.Err() == nil {
			c.cfg.Logger.Warn(failure, "error", err)
		}
		failing = err != nil
	}
}

// limitedBy notes how many Open vSwitches keep limits of connections. Several
// count each for itself, which is not what Consul's configuration says.
func (c *Controller) limitedBy(count int) {
	warning := ""
	if count > 1 {
		warning = fmt.Sprintf("limits of connections: each of %d Open vSwitches counts the clients at its own switches, so together they let in up to %[1]d times as many", count)
	}
	c.mu.Lock()
	changed := warning != c.limitWarning
	c.limitWarning = warning
	c.mu.Unlock()
	if changed && warning != "" {
		c.cfg.Logger.Warn(warning)
	}
}

// Experimenter is a switch that takes experimenter messages.
type Experimenter interface {
	// Experiment sends messages with these bodies and waits until they have
	// been carried out.
	Experiment(ctx context.Context, bodies [][]byte) error
}

// forget sends messages to any switch of an Open vSwitch: they share what
// they remember.
func (c *Controller) forget(ctx context.Context, runDir string, bodies [][]byte) error {
	for _, w := range c.each() {
		if sw, _ := w.look(); sw != nil && w.dp.Home() == runDir {
			if e, ok := sw.(Experimenter); ok {
				return e.Experiment(ctx, bodies)
			}
		}
	}
	return fmt.Errorf("no switch of the Open vSwitch in %s is connected", runDir)
}

// Names are those of a connection through the mesh, as far as they are known.
type Names struct {
	Call     mesh.Upstream
	Host     string // of the client
	Service  string // of the instance
	Instance mesh.Instance
}

// Names tells whose connection it is by the client's address, the bind port
// and the number of the instance.
func (c *Controller) Names(client netip.Addr, bindPort uint16, instance uint32) Names {
	var n Names
	for _, w := range c.each() {
		where, _ := w.placement()
		h, ok := hostOf(where, client)
		if _, local := where.dp.Access[h.Name]; !ok || !local {
			continue
		}
		n.Host = h.Name
		w.with(func(p *pipeline.Compiler) {
			n.Call, _ = p.Call(client, bindPort)
			n.Service, n.Instance, _ = p.Instance(instance)
		})
	}
	return n
}

// active tells whether the controller may speak to switches.
func (c *Controller) active() bool {
	if c.cfg.Active == nil {
		return true
	}
	select {
	case <-c.cfg.Active:
		return true
	default:
		return false
	}
}
