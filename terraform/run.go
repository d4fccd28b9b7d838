package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"
	tfjson "github.com/hashicorp/terraform-json"
)

// Event is something that happens to a resource while Terraform works.
type Event struct {
	Kind    EventKind
	Address string
	Action  string // create, update, delete, read
	Elapsed time.Duration
}

// EventKind says what happens.
type EventKind string

// What may happen to a resource.
const (
	Started EventKind = "started"
	Waiting EventKind = "waiting" // it takes long
	Done    EventKind = "done"
	Failed  EventKind = "failed"
)

// log takes Terraform's JSON log line by line.
// https://developer.hashicorp.com/terraform/internals/machine-readable-ui
type log struct {
	rest  []byte
	told  []diagnostic
	event func(Event)
}

func (l *log) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		text, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.take(text)
		l.rest = slices.Clone(rest)
	}
}

func (l *log) take(text []byte) {
	var m struct {
		Type       string     `json:"type"`
		Diagnostic diagnostic `json:"diagnostic"`
		Hook       struct {
			Resource struct {
				Addr string `json:"addr"`
			} `json:"resource"`
			Action  string  `json:"action"`
			Elapsed float64 `json:"elapsed_seconds"`
		} `json:"hook"`
	}
	if json.Unmarshal(text, &m) != nil {
		return // not all that Terraform prints is for programs
	}
	kind, ok := map[string]EventKind{"apply_start": Started, "apply_progress": Waiting, "apply_complete": Done, "apply_errored": Failed}[m.Type]
	switch {
	case m.Type == "diagnostic":
		l.told = append(l.told, m.Diagnostic)
	case ok && l.event != nil && m.Hook.Action != "read":
		l.event(Event{kind, m.Hook.Resource.Addr, m.Hook.Action, time.Duration(m.Hook.Elapsed * float64(time.Second))})
	}
}

// Init fetches the providers and finds the state.
func (l *Lab) Init(ctx context.Context) error {
	if l.inits {
		return nil
	}
	opts := []tfexec.InitOption{tfexec.Upgrade(false)}
	if b := l.Settings.Backend; b == nil {
		// A plan that named a backend has left its name, and was not agreed to.
		if err := os.Remove(filepath.Join(l.work, ".terraform", "terraform.tfstate")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("prepare terraform: %w", err)
		}
	} else {
		opts = append(opts, tfexec.Reconfigure(true))
		for _, kv := range b.Config {
			opts = append(opts, tfexec.BackendConfig(kv))
		}
	}
	var out log
	if err := l.tf.InitJSON(ctx, &out, opts...); err != nil {
		return l.problem("prepare terraform", out, err)
	}
	l.inits = true
	return nil
}

func (l *Lab) problem(doing string, out log, err error) error {
	return problemOf(doing, l.Settings.Name, out.told, err)
}

// quiet keeps the JSON log of an earlier command from getting what the next
// one prints.
func (l *Lab) quiet() { l.tf.SetStdout(nil) }

// Apply keeps the settings and does what Plan has said. When it fails, or ctx ends, what exists by then
// is in the state: Terraform is interrupted, ends what it has begun, and writes
// it down. The error is a *Problem, or matches ctx's.
func (l *Lab) Apply(ctx context.Context, event func(Event)) error {
	if err := l.Keep(); err != nil {
		return fmt.Errorf("keep the lab's settings: %w", err)
	}
	if len(l.releases) > 0 {
		if err := l.planWithout(ctx); err != nil {
			return err
		}
	}
	return l.apply(ctx, "make the lab", event)
}

func (l *Lab) apply(ctx context.Context, doing string, event func(Event)) error {
	path := filepath.Join(l.dir, planFile)
	defer os.Remove(path) // it holds secrets, and is of no use a second time
	out := log{event: event}
	err := l.tf.ApplyJSON(ctx, &out, tfexec.DirOrPlan(path))
	l.quiet()
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	case err != nil:
		return l.problem(doing, out, err)
	}
	return nil
}

// Destroy removes all that the state knows, in whatever condition an earlier
// run has left it. Destroying twice is no error.
//
// Terraform deletes resource by resource. What an interrupted run has made
// without writing it down gets in its way: a machine that nobody knows uses a
// network card. Then the group goes as a whole, with all that is in it.
func (l *Lab) Destroy(ctx context.Context, event func(Event)) error {
	items, err := l.Exists(ctx, Prices{})
	if err != nil || len(items) == 0 {
		return err
	}
	// Helm's releases are in the cluster and go with it. A cluster that does not
	// answer, or has gone, could not be asked for them.
	if err := l.forget(ctx, items, isRelease); err != nil {
		return err
	}
	err = l.destroy(ctx, event)
	if !IsProblem(err, Other) {
		return err
	}
	at := slices.IndexFunc(items, func(i Item) bool { return i.Address == groupAddress })
	if at < 0 {
		return err
	}
	group := items[at].ID
	rest, listErr := l.Exists(ctx, Prices{})
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	inGroup := func(i Item) bool { return strings.HasPrefix(strings.ToLower(i.ID), strings.ToLower(group)+"/") }
	if err := l.forget(ctx, rest, inGroup); err != nil {
		return err
	}
	return l.destroy(ctx, event)
}

// groupAddress is the group that everything of a lab is in.
const groupAddress = "azurerm_resource_group.lab"

func (l *Lab) destroy(ctx context.Context, event func(Event)) error {
	if _, err := l.plan(ctx, Prices{}, tfexec.Destroy(true)); err != nil {
		return err
	}
	// A plan without deletions is applied too: it takes out of the state what
	// has gone by itself.
	return l.apply(ctx, "take the lab down", event)
}

// forget takes resources out of the state.
func (l *Lab) forget(ctx context.Context, items []Item, which func(Item) bool) error {
	for _, i := range items {
		if !which(i) {
			continue
		}
		if err := l.tf.StateRm(ctx, i.Address); err != nil {
			return problemOf("take "+i.Address+" out of the state", l.Settings.Name, nil, err)
		}
	}
	return nil
}

// Unlock takes away a lock of the state that a run has left.
func (l *Lab) Unlock(ctx context.Context, id string) error {
	if err := l.Init(ctx); err != nil {
		return err
	}
	l.quiet()
	if err := l.tf.ForceUnlock(ctx, id); err != nil {
		return fmt.Errorf("take lock %s away: %w", id, err)
	}
	return nil
}

// Exists lists what the state says that exists, and what it costs. It does not
// ask the cloud.
func (l *Lab) Exists(ctx context.Context, prices Prices) ([]Item, error) {
	if err := l.Init(ctx); err != nil {
		return nil, err
	}
	l.quiet()
	state, err := l.tf.Show(ctx)
	if err != nil {
		return nil, problemOf("read the state", l.Settings.Name, nil, err)
	}
	var all []Item
	if state.Values != nil {
		all = collect(state.Values.RootModule, prices)
	}
	slices.SortFunc(all, func(a, b Item) int { return strings.Compare(a.Address, b.Address) })
	return all, nil
}

func collect(m *tfjson.StateModule, prices Prices) []Item {
	if m == nil {
		return nil
	}
	var all []Item
	for _, r := range m.Resources {
		if r.Mode != tfjson.ManagedResourceMode {
			continue
		}
		id, _ := r.AttributeValues["id"].(string)
		i := Item{Address: r.Address, Type: r.Type, ID: id, values: r.AttributeValues}
		i.Costs = prices.of(i)
		all = append(all, i)
	}
	for _, c := range m.ChildModules {
		all = append(all, collect(c, prices)...)
	}
	return all
}

// Expires tells when Azure is to delete the lab, by the workflow among items; nil:
// nothing in Azure does.
func Expires(items []Item) *time.Time {
	for _, i := range items {
		if i.Type != "azurerm_logic_app_trigger_recurrence" {
			continue
		}
		if at, err := time.Parse(time.RFC3339, values(i.values).text("start_time")); err == nil {
			return &at
		}
	}
	return nil
}

// Access is how to reach what was made.
type Access struct {
	ResourceGroup string `json:"resource_group"`
	Registry      string `json:"registry"`
	SSH           string `json:"ssh,omitempty"`            // user@address of the control plane
	Machine       string `json:"machine,omitempty"`        // ID of its virtual machine
	Bastion       string `json:"bastion,omitempty"`        // name of the Bastion host
	Kubeconfig    string `json:"kubeconfig,omitempty"`     // path of AKS' kubeconfig
	OVSKubeconfig string `json:"ovs_kubeconfig,omitempty"` // of the other cluster's, once it has been fetched
}

// Access reads the outputs, and writes AKS' kubeconfig, which only the owner may
// read, into the lab's folder.
func (l *Lab) Access(ctx context.Context) (Access, error) {
	var a Access
	l.quiet()
	out, err := l.tf.Output(ctx)
	if err != nil {
		return a, fmt.Errorf("read the lab's outputs: %w", err)
	}
	for name, to := range map[string]*string{
		"resource_group": &a.ResourceGroup, "registry": &a.Registry, "ovs_ssh": &a.SSH, "ovs_control_plane_id": &a.Machine, "bastion": &a.Bastion,
	} {
		if v, ok := out[name]; ok && string(v.Value) != "null" {
			if err := json.Unmarshal(v.Value, to); err != nil {
				return a, fmt.Errorf("read output %s: %w", name, err)
			}
		}
	}
	if path := l.Kubeconfig("ovs"); isThere(path) {
		a.OVSKubeconfig = path
	}
	items, err := l.Exists(ctx, Prices{})
	if err != nil {
		return a, err
	}
	for _, i := range items {
		text, ok := i.values["kube_config_raw"].(string)
		if i.Type != "azurerm_kubernetes_cluster" || !ok {
			continue
		}
		a.Kubeconfig = l.Kubeconfig("aks")
		if err := os.WriteFile(a.Kubeconfig, []byte(text), 0o600); err != nil {
			return a, fmt.Errorf("write the kubeconfig: %w", err)
		}
	}
	return a, nil
}

func isThere(path string) bool { _, err := os.Stat(path); return err == nil }

// IsProblem tells whether err is a Problem of that cause.
func IsProblem(err error, cause Cause) bool {
	var p *Problem
	return errors.As(err, &p) && p.Cause == cause
}
