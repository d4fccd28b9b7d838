// Package register tells Consul what runs on this machine, and takes back what
// no longer does. Each instance has a lease: a check that passes only for as
// long as this process renews it, so that instances of a machine that died are
// first unhealthy and then gone. What runs here is handed in.
package register

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// Instance is one copy of a service, or a caller of services. It is comparable.
type Instance struct {
	ID      string // unique at the Consul agent; without /
	Service string
	Addr    netip.Addr
	Port    uint16 // 0: it only calls others
	Ready   bool   // it may get connections
	Source  string // what it is, for people: NAMESPACE/NAME of a pod
}

// Config says where to register, and what.
type Config struct {
	Client *api.Client // of a Consul agent; requests about instances go to it alone
	Owner  string      // this machine: instances that say so are ours, from before a restart too
	// Instances calls emit, from one goroutine, with all that runs here each
	// time it changes, until ctx ends, and returns ctx's error then.
	Instances func(ctx context.Context, emit func([]Instance)) error
	Lease     time.Duration // how long instances stay healthy unless renewed; 0: DefaultLease
	Logger    *slog.Logger  // nil: silent
}

// DefaultLease outlives the start of a new version of the agent.
const DefaultLease = 30 * time.Second

// Times and names.
const (
	renewals = 3 // of a lease, while it runs
	// longest bounds one request; less if a renewal is due before. A connection
	// that nobody answers at, and nobody ends, would hold all leases up.
	longest = 10 * time.Second
	// deregister is after which an instance whose lease has ended is forgotten:
	// the least that Consul takes ("DeregisterCriticalServiceAfter").
	deregister = time.Minute
	// blind is for how many leases instances of before a restart are kept while
	// nobody tells what runs here: 10 minutes of the default's.
	blind = 20
	// standing outlives any lease: that an instance is ready ends by word only.
	standing = 24 * time.Hour

	metaOwner  = "meshlab-owner"
	metaSource = "meshlab-source"

	leaseName = "lease of the machine"

	leaseNote, readyNote, unreadyNote = "renewed by the meshlab agent", "ready", "not ready"
)

// Keep keeps Consul so until ctx ends, and returns ctx's error then. What is
// registered stays, so that a restart is not seen: what comes after must renew
// the leases before they end. It does so from the start; before Instances has told
// what runs here, it registers and removes nothing, and gives up after 20 leases.
// Consul that does not answer is asked again for ever; what it forgets is told
// again within a third of the lease.
func Keep(ctx context.Context, cfg Config) error {
	if cfg.Client == nil || cfg.Owner == "" || cfg.Instances == nil {
		return errors.New("register instances: Config.Client, Config.Owner or Config.Instances is missing")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Lease = cmp.Or(cfg.Lease, DefaultLease)
	k := &keeper{Config: cfg, want: map[string]Instance{}}
	news := make(chan []Instance, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	watching.Go(func() {
		end(cfg.Instances(ctx, func(all []Instance) {
			select {
			case <-news: // nobody has taken it yet
			default:
			}
			news <- all
		}))
	})
	renew := time.NewTicker(cfg.Lease / renewals)
	defer renew.Stop()
	// Until then what runs here has been told, as a rule.
	again := time.NewTimer(min(cfg.Lease/renewals, time.Second))
	begin := time.Now()
	told := false // what is here has been told
	gaveUp := false
	failing := false
	due := false // leases are to be renewed
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case all := <-news:
			told = true
			clear(k.want)
			for _, i := range all {
				k.want[i.ID] = i
			}
		case <-renew.C:
			due = true
		case <-again.C:
		}
		var err error
		switch {
		case told:
			err = k.step(ctx, due)
		case time.Since(begin) < blind*cfg.Lease:
			err = k.stand(ctx)
		case !gaveUp:
			gaveUp = true
			cfg.Logger.Warn("nobody tells what runs here; leases from before the start are not renewed any more", "after", blind*cfg.Lease)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil && !failing:
			cfg.Logger.Warn("Consul does not take registrations; trying again", "error", err, "mend", "look at the agent's address of Consul, and at its token: it needs service:write")
		case err != nil:
			cfg.Logger.Debug("Consul does not take registrations yet", "error", err)
		case failing:
			cfg.Logger.Info("Consul takes registrations again")
		}
		if failing = err != nil; failing {
			again.Reset(min(cfg.Lease/renewals, time.Second))
		} else {
			due = false
		}
	}
}

type keeper struct {
	Config
	want  map[string]Instance
	known map[string]Instance // as Consul has it; a zero Service: as somebody registered it; nil: not read yet
}

// step does what there is to do. It does all that it can, whatever fails.
func (k *keeper) step(ctx context.Context, renew bool) error {
	if k.known == nil {
		if err := k.read(ctx); err != nil {
			return err
		}
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(k.known)) {
		if _, ok := k.want[id]; ok {
			continue
		}
		err := k.deregister(ctx, id)
		if err != nil {
			errs = append(errs, fmt.Errorf("deregister %s: %w", id, err))
			if late(err) {
				return errors.Join(errs...)
			}
			continue
		}
		delete(k.known, id)
	}
	for _, id := range slices.Sorted(maps.Keys(k.want)) {
		err := k.tell(ctx, k.want[id], renew)
		errs = append(errs, err)
		if late(err) {
			break
		}
	}
	return errors.Join(errs...)
}

// stand renews the leases of what was registered before this process began, and
// has not ended: nobody has told yet what has stopped since.
func (k *keeper) stand(ctx context.Context) error {
	if err := k.read(ctx); err != nil { // each time: another machine may have taken one over
		return err
	}
	var valid map[string]*api.AgentCheck
	err := k.ask(ctx, func(q *api.QueryOptions) (err error) {
		valid, err = k.Client.Agent().ChecksWithFilterOpts(fmt.Sprintf("Name == %q and Status == %q", leaseName, api.HealthPassing), q)
		return err
	})
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(k.known)) {
		if valid[leaseOf(id)] == nil {
			continue
		}
		if err := k.renew(ctx, id); err != nil && !forgotten(err) {
			errs = append(errs, fmt.Errorf("renew %s: %w", id, err))
			if late(err) {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// late tells whether nobody has answered: others would wait as long.
func late(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// ask makes one request, in the time that one has.
func (k *keeper) ask(ctx context.Context, request func(*api.QueryOptions) error) error {
	ctx, cancel := context.WithTimeout(ctx, min(longest, k.Lease/renewals))
	defer cancel()
	return request((&api.QueryOptions{}).WithContext(ctx))
}

// deregister takes back an instance, unless another machine has registered it
// since: a pod that was made anew there has the same ID, if both have one Consul
// agent.
func (k *keeper) deregister(ctx context.Context, id string) error {
	var have *api.AgentService
	err := k.ask(ctx, func(q *api.QueryOptions) (err error) {
		have, _, err = k.Client.Agent().Service(id, q)
		return err
	})
	if err == nil && have.Meta[metaOwner] != k.Owner {
		k.Logger.Info("another machine has the instance now", "instance", id, "owner", have.Meta[metaOwner])
		return nil
	}
	if err == nil {
		err = k.ask(ctx, func(q *api.QueryOptions) error { return k.Client.Agent().ServiceDeregisterOpts(id, q) })
	}
	if err != nil && !forgotten(err) {
		return err
	}
	k.Logger.Info("deregistered", "instance", id)
	return nil
}

// read finds what was registered before this process began.
func (k *keeper) read(ctx context.Context) error {
	var have map[string]*api.AgentService
	err := k.ask(ctx, func(q *api.QueryOptions) (err error) {
		have, err = k.Client.Agent().ServicesWithFilterOpts(fmt.Sprintf("Meta[%q] == %q", metaOwner, k.Owner), q)
		return err
	})
	if err != nil {
		return fmt.Errorf("list what is registered: %w", err)
	}
	k.known = map[string]Instance{}
	for id := range have {
		k.known[id] = Instance{ID: id}
	}
	return nil
}

// tell brings one instance in step.
func (k *keeper) tell(ctx context.Context, i Instance, renew bool) error {
	was, ok := k.known[i.ID]
	same := was
	same.Ready = i.Ready
	if !ok || same != i {
		return k.register(ctx, i)
	}
	var err error
	if renew {
		err = k.renew(ctx, i.ID)
	}
	if err == nil && (renew || was.Ready != i.Ready) {
		err = k.ready(ctx, i)
	}
	switch {
	case err != nil && forgotten(err): // Consul has lost it, or given it up
		return k.register(ctx, i)
	case err != nil:
		return fmt.Errorf("renew %s: %w", i.ID, err)
	}
	k.known[i.ID] = i
	return nil
}

func (k *keeper) register(ctx context.Context, i Instance) error {
	delete(k.known, i.ID)
	registration := &api.AgentServiceRegistration{
		ID: i.ID, Name: i.Service, Address: i.Addr.String(), Port: int(i.Port),
		Meta: map[string]string{metaOwner: k.Owner, metaSource: i.Source},
		Checks: api.AgentServiceChecks{
			{
				CheckID: leaseOf(i.ID), Name: leaseName, TTL: k.Lease.String(), Status: api.HealthPassing, Notes: leaseNote,
				DeregisterCriticalServiceAfter: deregister.String(),
			},
			{CheckID: readyOf(i.ID), Name: "readiness", TTL: standing.String(), Status: health(i.Ready)},
		},
	}
	err := k.ask(ctx, func(q *api.QueryOptions) error {
		return k.Client.Agent().ServiceRegisterOpts(registration, api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(q.Context()))
	})
	// A check that was there keeps its state, be it of a lease that has ended.
	if err == nil {
		err = k.renew(ctx, i.ID)
	}
	if err == nil {
		err = k.ready(ctx, i)
	}
	if err != nil {
		// It may have been taken, and must be taken back if it is not wanted.
		k.known[i.ID] = Instance{ID: i.ID}
		return fmt.Errorf("register %s: %w", i.ID, err)
	}
	k.Logger.Info("registered", "instance", i.ID, "service", i.Service, "address", i.Addr, "port", i.Port, "ready", i.Ready)
	k.known[i.ID] = i
	return nil
}

// renew renews the lease of an instance that is registered.
func (k *keeper) renew(ctx context.Context, id string) error {
	return k.ask(ctx, func(q *api.QueryOptions) error {
		return k.Client.Agent().UpdateTTLOpts(leaseOf(id), leaseNote, api.HealthPassing, q)
	})
}

// ready tells whether an instance that is registered may get connections.
func (k *keeper) ready(ctx context.Context, i Instance) error {
	return k.ask(ctx, func(q *api.QueryOptions) error {
		return k.Client.Agent().UpdateTTLOpts(readyOf(i.ID), note(i.Ready), health(i.Ready), q)
	})
}

func leaseOf(id string) string { return id + ".lease" }
func readyOf(id string) string { return id + ".ready" }

func health(ready bool) string {
	if ready {
		return api.HealthPassing
	}
	return api.HealthCritical
}

func note(ready bool) string {
	if ready {
		return readyNote
	}
	return unreadyNote
}

// forgotten tells whether Consul does not know what it was asked about.
func forgotten(err error) bool {
	status := api.StatusError{}
	return errors.As(err, &status) && (status.Code == 404 || status.Code == 500 && isUnknown(status.Body))
}

// isUnknown reads the answers of agents that give 500 to an ID that they do
// not know.
func isUnknown(body string) bool {
	for _, text := range []string{"does not have associated TTL", "Unknown check", "Unknown service", "unknown check"} {
		if strings.Contains(body, text) {
			return true
		}
	}
	return false
}
