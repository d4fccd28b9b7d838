package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of faults.
const (
	Quota       = "quota"       // refuse the creation: the subscription's quota is used up
	Denied      = "denied"      // refuse it: the caller may not
	Credentials = "credentials" // refuse everything: the login has expired
	Slow        = "slow"        // make it, but take Seconds until it is said to be there
	Silent      = "silent"      // no cluster's API server answers this address, as after a move
)

// Fault is something that goes wrong on demand. A resource that already exists
// needs none: put it into the cloud before.
type Fault struct {
	Kind    string  `json:"kind"`
	Type    string  `json:"type,omitempty"`    // type of the resource; empty: any
	After   int     `json:"after,omitempty"`   // creations of that type that go well before
	Seconds float64 `json:"seconds,omitempty"` // of Slow
}

// Resource is something that exists in the cloud.
type Resource struct {
	Type       string          `json:"type"`
	ID         string          `json:"id"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
	Created    time.Time       `json:"created"`
}

// State is all that the stand-in cloud holds.
type State struct {
	StandIn   string         `json:"stand_in"` // says that none of this is real
	Resources []Resource     `json:"resources"`
	Faults    []Fault        `json:"faults,omitempty"`
	Creations map[string]int `json:"creations,omitempty"` // asked for, by type

	// What takes the place of the lab's clusters and registry, for a rehearsal of
	// what is done with them: kubeconfigs of clusters that run somewhere else, by
	// aks and ovs, and a registry's HOST:PORT. Nothing here makes or removes them.
	Clusters map[string]string `json:"clusters,omitempty"`
	Registry string            `json:"registry,omitempty"`
}

// Cloud is a stand-in cloud: a file. Processes may use it at once.
type Cloud struct{ Path string }

// Load reads the cloud; a file that is not there is an empty cloud.
func (c Cloud) Load() (State, error) {
	var s State
	err := c.Change(func(now *State) error { s = *now; return errUnchanged })
	return s, err
}

var errUnchanged = errors.New("nothing to write")

// Change reads the cloud, lets f change it, and writes it. Others wait
// meanwhile. When f fails nothing is written.
func (c Cloud) Change(f func(*State) error) error {
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the stand-in cloud: %w", err)
	}
	lock, err := os.OpenFile(c.Path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the stand-in cloud: %w", err)
	}
	defer lock.Close()
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return fmt.Errorf("lock the stand-in cloud %s: %w", c.Path, err)
	}
	var s State
	text, err := os.ReadFile(c.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read the stand-in cloud: %w", err)
	default:
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("read the stand-in cloud %s: %w", c.Path, err)
		}
	}
	if err := f(&s); err != nil {
		if errors.Is(err, errUnchanged) {
			return nil
		}
		return err
	}
	s.StandIn = "a stand-in for Azure: nothing in this file exists anywhere else"
	if text, err = json.MarshalIndent(s, "", "  "); err != nil {
		return fmt.Errorf("write the stand-in cloud: %w", err)
	}
	if err := os.WriteFile(c.Path+".new", text, 0o600); err != nil {
		return fmt.Errorf("write the stand-in cloud: %w", err)
	}
	return os.Rename(c.Path+".new", c.Path)
}

// fault is what shall go wrong with a creation of that type, which it counts.
func (s *State) fault(kind string) (Fault, bool) {
	if s.Creations == nil {
		s.Creations = map[string]int{}
	}
	before := s.Creations[kind]
	all := 0
	for _, n := range s.Creations {
		all += n
	}
	s.Creations[kind]++
	for _, f := range s.Faults {
		done := before
		if f.Type == "" {
			done = all
		}
		if (f.Type == "" || f.Type == kind) && f.Kind != Credentials && f.Kind != Silent && done >= f.After {
			return f, true
		}
	}
	return Fault{}, false
}

// find returns the place of a resource, or -1. Azure does not look at the case
// of IDs.
func (s *State) find(kind, id string) int {
	return slices.IndexFunc(s.Resources, func(r Resource) bool { return r.Type == kind && strings.EqualFold(r.ID, id) })
}

// exists tells whether anything has that ID.
func (s *State) exists(id string) bool {
	return slices.ContainsFunc(s.Resources, func(r Resource) bool { return strings.EqualFold(r.ID, id) })
}

// remove deletes a resource and what is in it. What something else still uses
// is not deleted, but for a whole group.
func (s *State) remove(kind, id string) error {
	at := s.find(kind, id)
	if at < 0 {
		return nil
	}
	inside := func(r Resource) bool {
		return r.Type == kind && strings.EqualFold(r.ID, id) || strings.HasPrefix(strings.ToLower(r.ID), strings.ToLower(id)+"/")
	}
	if kind != "azurerm_resource_group" {
		for _, r := range s.Resources {
			if !inside(r) && slices.Contains(references(r.Attributes), strings.ToLower(id)) && r.ID != id {
				return fmt.Errorf("it is in use by %s %s (409 Conflict: InUse...CannotBeDeleted)", r.Type, r.ID)
			}
		}
	}
	s.Resources = slices.DeleteFunc(s.Resources, inside)
	if kind == "azurerm_kubernetes_cluster" || kind == "azurerm_resource_group" {
		s.dropReleases()
	}
	return nil
}

// dropReleases removes what was installed in clusters that have gone.
func (s *State) dropReleases() {
	hosts := s.hosts()
	s.Resources = slices.DeleteFunc(s.Resources, func(r Resource) bool {
		host, _, _ := strings.Cut(strings.TrimPrefix(r.ID, helmPrefix), "#")
		return r.Type == "helm_release" && !slices.Contains(hosts, host)
	})
}

// hosts are the API servers of the clusters that exist.
func (s *State) hosts() []string {
	var all []string
	for _, r := range s.Resources {
		if r.Type == "azurerm_kubernetes_cluster" {
			all = append(all, hostOf(r.ID))
		}
	}
	return all
}

// reach fails when no cluster has that API server, or none answers. The real
// provider cannot tell the one from the other.
func (s *State) reach(host string) error {
	silent := slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Kind == Silent })
	if silent || !slices.Contains(s.hosts(), host) {
		//lint:ignore ST1005 these are Helm's words
		return fmt.Errorf("Kubernetes cluster unreachable: Get %q: dial tcp: i/o timeout", host+"/version")
	}
	return nil
}

// references lists the IDs that attributes name, in lower case.
func references(attributes json.RawMessage) []string {
	var v any
	if json.Unmarshal(attributes, &v) != nil {
		return nil
	}
	ids := map[string]bool{}
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case string:
			if key != "id" && strings.HasPrefix(v, "/subscriptions/") {
				ids[strings.ToLower(v)] = true
			}
		case []any:
			for _, e := range v {
				walk(key, e)
			}
		case map[string]any:
			for k, e := range v {
				walk(k, e)
			}
		}
	}
	walk("", v)
	return slices.Sorted(maps.Keys(ids))
}

// Advance lets the cloud's own workflows do what is due at that time: those
// with a trigger that has started, an action that deletes a group, and a role
// that allows it. It returns the IDs of the groups that they deleted.
func (c Cloud) Advance(now time.Time) (deleted []string, err error) {
	err = c.Change(func(s *State) error {
		for _, action := range slices.Clone(s.Resources) {
			if action.Type != "azurerm_logic_app_action_custom" {
				continue
			}
			group, err := s.dueDeletion(action, now)
			if err != nil {
				return err
			}
			if group == "" {
				continue
			}
			if err := s.remove("azurerm_resource_group", group); err != nil {
				return err
			}
			deleted = append(deleted, group)
		}
		return nil
	})
	return deleted, err
}

// dueDeletion is the group that an action deletes now; empty: none.
func (s *State) dueDeletion(action Resource, now time.Time) (string, error) {
	var a struct {
		LogicAppID string `json:"logic_app_id"`
		Body       string `json:"body"`
	}
	var body struct {
		Type   string
		Inputs struct {
			Method, URI    string
			Authentication struct{ Type string }
		}
	}
	if err := errors.Join(json.Unmarshal(action.Attributes, &a)); err != nil {
		return "", err
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		return "", fmt.Errorf("body of %s: %w", action.ID, err)
	}
	group, ok := strings.CutPrefix(body.Inputs.URI, "https://management.azure.com")
	group, _, versioned := strings.Cut(group, "?api-version=")
	if !ok || !versioned || body.Type != "Http" || body.Inputs.Method != "DELETE" || body.Inputs.Authentication.Type != "ManagedServiceIdentity" {
		return "", nil
	}
	at := s.find("azurerm_logic_app_workflow", a.LogicAppID)
	if at < 0 || s.find("azurerm_resource_group", group) < 0 {
		return "", nil
	}
	var workflow struct {
		Identity []struct {
			PrincipalID string `json:"principal_id"`
		}
	}
	if err := json.Unmarshal(s.Resources[at].Attributes, &workflow); err != nil || len(workflow.Identity) == 0 {
		return "", err
	}
	due, allowed := false, false
	for _, r := range s.Resources {
		var v struct {
			LogicAppID  string    `json:"logic_app_id"`
			StartTime   time.Time `json:"start_time"`
			Scope       string    `json:"scope"`
			Role        string    `json:"role_definition_name"`
			PrincipalID string    `json:"principal_id"`
		}
		switch r.Type {
		case "azurerm_logic_app_trigger_recurrence", "azurerm_role_assignment":
			if err := json.Unmarshal(r.Attributes, &v); err != nil {
				return "", fmt.Errorf("attributes of %s: %w", r.ID, err)
			}
			due = due || v.LogicAppID == a.LogicAppID && !now.Before(v.StartTime)
			allowed = allowed || strings.EqualFold(v.Scope, group) && v.PrincipalID == workflow.Identity[0].PrincipalID && v.Role == "Contributor"
		}
	}
	if !due || !allowed {
		return "", nil
	}
	return group, nil
}
