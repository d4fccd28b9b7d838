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

// Plan is what Terraform would do.
type Plan struct {
	Create, Change, Delete []Item
	Replace                []Item // deleted, and made anew
	After                  []Item // all that exists, and costs, once it is applied
	// Machines are the changes that would give the machines of a cluster that is
	// there another size, or Kubernetes another version, or make them or the
	// lab's group anew. Nodes of kubeadm do not come back from that, so it is not
	// to be applied.
	Machines []string
	// Joining tells that virtual machines are added to a cluster that is there.
	// Their token of kubeadm ends two hours after its control plane's start.
	Joining bool
}

// Empty tells that there is nothing to do.
func (p Plan) Empty() bool { return len(p.Create)+len(p.Replace)+len(p.Change)+len(p.Delete) == 0 }

// Needed is what the region must have room for.
func (p Plan) Needed() []Item { return slices.Concat(p.Create, p.Replace) }

// Item is a resource that is planned or exists.
type Item struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	ID      string `json:"id,omitempty"`
	Costs   []Cost `json:"costs,omitempty"` // what it costs by the hour; none: nothing
	values  map[string]any
}

// Plan says what Apply would do; it asks the cloud what exists, and changes
// nothing, in the state neither.
func (l *Lab) Plan(ctx context.Context, prices Prices) (Plan, error) {
	items, err := l.Exists(ctx, Prices{})
	if err != nil {
		return Plan{}, err
	}
	if err := l.stays(items); err != nil {
		return Plan{}, err
	}
	var opts []tfexec.PlanOption
	l.releases = nil
	if !slices.Contains(l.Settings.Clusters, "aks") {
		l.releases = slices.DeleteFunc(items, func(i Item) bool { return !isRelease(i) })
	}
	if len(l.releases) > 0 {
		// The releases go with their cluster, and without it in the configuration
		// nobody knows where to ask for them. Apply looks at the rest again.
		opts = append(opts, tfexec.Refresh(false))
	}
	p, err := l.plan(ctx, prices, opts...)
	if IsProblem(err, ClusterSilent) {
		// The caller's address has changed, and the API server answers the old
		// one: what mends that must not begin by asking it.
		p, err = l.plan(ctx, prices, tfexec.Refresh(false))
	}
	l.shown = p
	return p, err
}

// stays fails when what exists is in another region than the settings say.
func (l *Lab) stays(items []Item) error {
	region := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }
	for _, i := range items {
		is, shall := values(i.values).text("location"), l.Settings.Location
		if i.Address == groupAddress && region(is) != region(shall) {
			return fmt.Errorf("the lab is in %s and does not move to %s: give its own --location, take it down first (meshlab cloud down %s), or take another name", is, shall, l.Settings.Name)
		}
	}
	return nil
}

// planWithout takes the releases that go with their cluster out of the state, and
// plans the rest. It fails when that is more than has been shown.
func (l *Lab) planWithout(ctx context.Context) error {
	if err := l.forget(ctx, l.releases, isRelease); err != nil {
		return err
	}
	l.releases = nil
	p, err := l.plan(ctx, Prices{})
	if err != nil {
		return err
	}
	if more := p.beyond(l.shown); len(more) > 0 {
		return fmt.Errorf("the cloud is not as the state says, so that there is more to do than was shown: %s; look again: meshlab cloud plan %s", strings.Join(more, ", "), l.Settings.Name)
	}
	return nil
}

// beyond lists what p does and other does not.
func (p Plan) beyond(other Plan) []string {
	does := func(p Plan) (all []string) {
		for verb, items := range map[string][]Item{"make ": p.Create, "make anew ": p.Replace, "change ": p.Change, "remove ": p.Delete} {
			for _, i := range items {
				all = append(all, verb+i.Address)
			}
		}
		slices.Sort(all)
		return all
	}
	shown := does(other)
	return slices.DeleteFunc(does(p), func(s string) bool { return slices.Contains(shown, s) })
}

func isRelease(i Item) bool { return i.Type == "helm_release" }

func (l *Lab) plan(ctx context.Context, prices Prices, opts ...tfexec.PlanOption) (Plan, error) {
	var p Plan
	if err := l.Init(ctx); err != nil {
		return p, err
	}
	path := filepath.Join(l.dir, planFile)
	var out log
	if _, err := l.tf.PlanJSON(ctx, &out, append(opts, tfexec.Out(path))...); err != nil {
		return p, l.problem("plan", out, err)
	}
	l.quiet()
	shown, err := l.tf.ShowPlanFile(ctx, path)
	if err != nil {
		return p, fmt.Errorf("read the plan: %w", err)
	}
	if shown.PlannedValues != nil {
		p.After = collect(shown.PlannedValues.RootModule, prices)
	}
	for _, r := range shown.ResourceChanges {
		if r.Mode != tfjson.ManagedResourceMode || r.Change == nil {
			continue
		}
		after, _ := r.Change.After.(map[string]any)
		item := Item{Address: r.Address, Type: r.Type, values: after}
		item.Costs = prices.of(item)
		switch a := r.Change.Actions; {
		case a.Create():
			p.Create = append(p.Create, item)
		case a.Delete():
			p.Delete = append(p.Delete, item)
		case a.Replace():
			p.Replace = append(p.Replace, item)
		case a.Update():
			p.Change = append(p.Change, item)
		}
		before, _ := r.Change.Before.(map[string]any)
		is, shall := machinesOf(r.Type, before), machinesOf(r.Type, after)
		switch a := r.Change.Actions; {
		case a.Update() && is != shall:
			p.Machines = append(p.Machines, fmt.Sprintf("%s is %s and would be %s", r.Address, is, shall))
		case a.Replace() && r.ActionReason == tfjson.ActionReasonReplaceBecauseTainted: // it was never whole
		case a.Replace() && (is != "" || r.Address == groupAddress):
			p.Machines = append(p.Machines, fmt.Sprintf("%s would be deleted and made anew, for %s", r.Address, attributes(r.Change.ReplacePaths)))
		}
		p.Joining = p.Joining || before != nil && values(before).number("instances") < values(after).number("instances")
	}
	return p, nil
}

// attributes names what paths of Terraform begin with: the attributes for which
// a resource is replaced.
func attributes(paths []any) string {
	var all []string
	for _, path := range paths {
		if steps, _ := path.([]any); len(steps) > 0 {
			all = append(all, fmt.Sprint(steps[0]))
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
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
