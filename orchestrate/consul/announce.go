package consul

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Announce writes an agent's services and checks into the catalog once all of
// the checks pass. The agent does the same by itself, but a client agent that
// has just found its server puts that off by a random time of up to 3 s, lest
// all agents of a large cluster come at once (serverUpIntv in Consul's package
// agent/ae), and nothing in its configuration changes that. Half of the time
// that a lab took to come up was this.
//
// What has been written is compared with the agent's state once more: from
// then on the agent tells of each change itself. Whatever it finds different in
// the catalog when its own turn comes it puts right. An error says that the
// catalog refused, or wraps ctx.Err() and what was missing when ctx ended.
func Announce(ctx context.Context, client *api.Client, node string) error {
	missing := errors.New("not asked yet")
	var written *localState
	var refused error
	err := poll(ctx, func() bool {
		state, err := local(ctx, client)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil: // the agent may be on its way up
			missing = err
			return false
		case written == nil && !state.passing():
			missing = errors.New("checks fail")
			return false
		case written != nil && written.equal(state):
			return true
		}
		refused = state.write(ctx, client, node)
		written, missing = state, errors.New("not compared yet")
		return refused != nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("announce the services of %s: %w: %w", node, err, missing)
	case refused != nil:
		return fmt.Errorf("announce the services of %s: %w", node, refused)
	}
	return nil
}

// localState is what an agent knows of the services that are registered with
// it.
type localState struct {
	services map[string]*api.AgentService
	checks   map[string]*api.AgentCheck
}

func local(ctx context.Context, client *api.Client) (*localState, error) {
	q := (&api.QueryOptions{}).WithContext(ctx)
	s := &localState{}
	var err error
	if s.services, err = client.Agent().ServicesWithFilterOpts("", q); err != nil {
		return nil, err
	}
	if s.checks, err = client.Agent().ChecksWithFilterOpts("", q); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *localState) passing() bool {
	for _, c := range s.checks {
		if c.Status != api.HealthPassing {
			return false
		}
	}
	return true
}

// equal compares what may change of itself: which services there are, and how
// their checks went.
func (s *localState) equal(other *localState) bool {
	if len(s.services) != len(other.services) || len(s.checks) != len(other.checks) {
		return false
	}
	for id := range s.services {
		if other.services[id] == nil {
			return false
		}
	}
	for id, c := range s.checks {
		if o := other.checks[id]; o == nil || o.Status != c.Status {
			return false
		}
	}
	return true
}

func (s *localState) write(ctx context.Context, client *api.Client, node string) error {
	for id, svc := range s.services {
		entry := *svc
		entry.Datacenter = "" // agents tell it, the catalog refuses it
		reg := &api.CatalogRegistration{Node: node, SkipNodeUpdate: true, Service: &entry}
		for _, c := range s.checks {
			if c.ServiceID == id {
				reg.Checks = append(reg.Checks, &api.HealthCheck{
					Node: node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
					ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: svc.Tags, Type: c.Type,
				})
			}
		}
		slices.SortFunc(reg.Checks, func(a, b *api.HealthCheck) int { return strings.Compare(a.CheckID, b.CheckID) })
		if _, err := client.Catalog().Register(reg, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
			return err
		}
	}
	return nil
}
