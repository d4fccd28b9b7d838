package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// ErrNotReady says that an agent did not join a cluster with a leader.
var ErrNotReady = errors.New("consul agent is not ready")

// pollInterval is how often the waits ask; an answer takes some 1 ms.
const pollInterval = 25 * time.Millisecond

// Client talks to the agent behind an HTTP unix socket. It does not connect
// yet. It may be used by several goroutines.
func Client(socketPath string) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{Address: "unix://" + socketPath, Scheme: "http"})
	if err != nil {
		return nil, fmt.Errorf("make a client for consul at %s: %w", socketPath, err)
	}
	return c, nil
}

// WaitReady returns when the agent answers, knows a leader and is itself in
// the catalog, in good health. Registrations made from then on reach the other
// agents within 3 s, or by [Announce]. The error wraps ErrNotReady and ctx.Err().
func WaitReady(ctx context.Context, client *api.Client) error {
	last := errors.New("it has not answered")
	err := poll(ctx, func() (done bool) {
		last = ready(ctx, client, last)
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("wait for the consul agent: %w: %w: %w; its log says more", ErrNotReady, last, err)
	}
	return nil
}

// ready returns what is still missing. A request that ctx cut short says
// nothing new, so previous stays.
func ready(ctx context.Context, client *api.Client, previous error) error {
	q := (&api.QueryOptions{}).WithContext(ctx)
	leader, err := client.Status().LeaderWithQueryOptions(q)
	if ctx.Err() != nil {
		return previous
	}
	if err != nil {
		return err
	}
	if leader == "" {
		return errors.New("the servers have no leader yet")
	}
	// Agent().NodeName would not heed ctx.
	var self struct{ Config struct{ NodeName string } }
	if _, err := client.Raw().Query("/v1/agent/self", &self, q); err != nil {
		return err
	}
	name := self.Config.NodeName
	checks, _, err := client.Health().Node(name, q)
	if ctx.Err() != nil {
		return previous
	}
	if err != nil {
		return err
	}
	for _, c := range checks {
		if c.CheckID == "serfHealth" && c.Status == api.HealthPassing {
			return nil
		}
	}
	return fmt.Errorf("the leader does not list node %s yet", name)
}

// Register registers services with the agent. Doing it again changes nothing
// unless the registration differs: it replaces the former one.
func Register(ctx context.Context, client *api.Client, regs []*api.AgentServiceRegistration) error {
	for _, reg := range regs {
		opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
		if err := client.Agent().ServiceRegisterOpts(reg, opts); err != nil {
			return fmt.Errorf("register %s with consul: %w", reg.ID, err)
		}
	}
	return nil
}

// Failure is an instance that is not healthy, and why.
type Failure struct {
	Service  string
	Instance string
	Node     string // "" when the catalog does not list the instance
	Reason   string // the failing check and what it printed
}

func (f Failure) String() string {
	if f.Node == "" {
		return f.Instance + ": " + f.Reason
	}
	return f.Instance + " on " + f.Node + ": " + f.Reason
}

// UnhealthyError lists the instances that did not become healthy in time.
type UnhealthyError struct {
	Failing []Failure
	Err     error // why the wait ended
}

func (e *UnhealthyError) Error() string {
	texts := make([]string, len(e.Failing))
	for i, f := range e.Failing {
		texts[i] = f.String()
	}
	return fmt.Sprintf("wait for healthy services: %v; still failing: %s", e.Err, strings.Join(texts, "; "))
}

func (e *UnhealthyError) Unwrap() error { return e.Err }

// WaitHealthy returns when the agent's view of the catalog lists every given
// registration, and its sidecar's, with all checks passing. The error is an
// *UnhealthyError that wraps ctx.Err().
func WaitHealthy(ctx context.Context, client *api.Client, regs []*api.AgentServiceRegistration) error {
	waiting := instances(regs)
	var failing []Failure
	err := poll(ctx, func() bool {
		var left []instance
		var now []Failure
		for _, i := range waiting {
			if f := failure(ctx, client, i); f != nil {
				left, now = append(left, i), append(now, *f)
			}
		}
		if ctx.Err() == nil || failing == nil {
			failing = now
		}
		waiting = left
		return len(waiting) == 0
	})
	if err != nil {
		return &UnhealthyError{Failing: failing, Err: err}
	}
	return nil
}

type instance struct{ service, id string }

func instances(regs []*api.AgentServiceRegistration) []instance {
	var all []instance
	for _, r := range regs {
		all = append(all, instance{r.Name, r.ID})
		if r.Connect != nil && r.Connect.SidecarService != nil {
			all = append(all, instance{r.Name + sidecarSuffix, r.ID + sidecarSuffix})
		}
	}
	return all
}

// failure returns why an instance is not healthy, nil when it is.
func failure(ctx context.Context, client *api.Client, i instance) *Failure {
	f := &Failure{Service: i.service, Instance: i.id}
	entries, _, err := client.Health().Service(i.service, "", false, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		f.Reason = "ask consul: " + err.Error()
		return f
	}
	for _, e := range entries {
		if e.Service.ID != i.id {
			continue
		}
		for _, c := range e.Checks {
			if c.Status != api.HealthPassing {
				f.Node = e.Node.Node
				f.Reason = describe(c)
				return f
			}
		}
		return nil
	}
	f.Reason = "not in the catalog"
	return f
}

func describe(c *api.HealthCheck) string {
	text := fmt.Sprintf("check %q is %s", c.Name, c.Status)
	if out := strings.TrimSpace(c.Output); out != "" {
		return text + ": " + out
	}
	return text + ", it has not run yet"
}

// poll calls done until it returns true or ctx ends.
func poll(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if done() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
