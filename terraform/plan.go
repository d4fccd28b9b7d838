package terraform

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"
	tfjson "github.com/hashicorp/terraform-json"
)

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
