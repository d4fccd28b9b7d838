package terraform

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/terraform/standin"
)

// made is a lab that is up, and its settings.
func (r rig) made(t *testing.T, s Settings) Settings {
	t.Helper()
	l := r.open(t, s)
	if err := up(t, l, nil); err != nil {
		t.Fatal(err)
	}
	l.Close()
	kept, err := LoadSettings(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// The provider of releases asks the cluster while it plans when it is told to
// install over what is there, and in a new lab there is no cluster to ask.
func TestPlanningAsksNoCluster(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	s.Clusters = []string{"aks"}
	l := r.open(t, s)
	path := filepath.Join(filepath.Dir(l.work), "modules", "aks-consul", "main.tf")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	asking := strings.Replace(string(text), "  create_namespace = true\n", "  create_namespace = true\n  upgrade_install  = true\n", 1)
	if err := os.WriteFile(path, []byte(asking), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Plan(t.Context(), Prices{}); !IsProblem(err, ClusterSilent) {
		t.Errorf("with upgrade_install a plan of a new lab ends with %v", err)
	}
}

// Whose address has changed cannot reach the API server, and mends that.
func TestCallerHasMoved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	s.Clusters = []string{"aks"}
	s = r.made(t, s)
	r.fault(t, standin.Fault{Kind: standin.Silent})
	s.From = "198.51.100.8/32"
	l := r.open(t, s)
	plan, err := l.Plan(t.Context(), Prices{})
	if err != nil {
		t.Fatalf("plan from another address: %v", err)
	}
	if len(plan.Create)+len(plan.Delete) > 0 || !slices.ContainsFunc(plan.Change, func(i Item) bool { return i.Type == "azurerm_kubernetes_cluster" }) {
		t.Errorf("it would make %v, delete %v, change %v", plan.Create, plan.Delete, plan.Change)
	}
	if err := l.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	r.fault(t)
	if plan, err := l.Plan(t.Context(), Prices{}); err != nil || !plan.Empty() {
		t.Errorf("afterwards there is to do: %+v, %v", plan, err)
	}
}

// A cluster that is not wanted any more goes, and what was installed in it.
func TestFewerClusters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.made(t, settings())
	s.Clusters = []string{"ovs"}
	l := r.open(t, s)
	before := exists(t, l)
	const release = "module.aks_consul[0].helm_release.consul"
	plan, err := l.Plan(t.Context(), Prices{})
	if err != nil || len(plan.Create)+len(plan.Change) > 0 || !slices.ContainsFunc(plan.Delete, func(i Item) bool { return i.Address == release }) {
		t.Errorf("planned: %+v, %v", plan, err)
	}
	if after := exists(t, l); len(after) != len(before) || !slices.ContainsFunc(after, isRelease) {
		t.Errorf("planning leaves %d of %d resources in the state", len(after), len(before))
	}
	if err := l.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range r.left(t) {
		if strings.Contains(id, "managedClusters") || strings.HasPrefix(id, "helm:") {
			t.Errorf("left: %s", id)
		}
	}
	if plan, err := l.Plan(t.Context(), Prices{}); err != nil || !plan.Empty() {
		t.Errorf("afterwards there is to do: %+v, %v", plan, err)
	}
}

// What nobody was shown is not done, though the state alone could be shown.
func TestMoreThanWasShown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.made(t, settings())
	s.Clusters = []string{"ovs"}
	l := r.open(t, s)
	if _, err := l.Plan(t.Context(), Prices{}); err != nil {
		t.Fatal(err)
	}
	err := r.cloud.Change(func(s *standin.State) error {
		s.Resources = slices.DeleteFunc(s.Resources, func(e standin.Resource) bool { return e.Type == "azurerm_linux_virtual_machine_scale_set" })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const nodes = "module.ovs_cluster[0].azurerm_linux_virtual_machine_scale_set.nodes"
	if err := l.Apply(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "more to do than was shown: make "+nodes+"; look again: meshlab cloud plan lab") {
		t.Errorf("it ends with %v", err)
	}
	if plan, err := l.Plan(t.Context(), Prices{}); err != nil || len(plan.Create) != 1 {
		t.Errorf("the next plan is %+v, %v", plan, err)
	}
}

// Machines stay as they are when another version of meshlab writes other data for
// new ones, and a plan says when it would change their size.
func TestMachinesStay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.made(t, settings())
	s.Manifest = "image: IMAGE\nnew: true\n"
	l := r.open(t, s)
	if plan, err := l.Plan(t.Context(), Prices{}); err != nil || !plan.Empty() || len(plan.Machines) != 0 || plan.Joining {
		t.Errorf("another manifest: %+v, %v", plan, err)
	}
	l.Close()
	s.Nodes = 3
	l = r.open(t, s)
	prices, err := LoadPrices()
	if err != nil {
		t.Fatal(err)
	}
	larger, err := l.Plan(t.Context(), prices)
	before, _ := Sum(exists(t, l))
	if after, _ := Sum(larger.After); err != nil || len(larger.Change) != 2 || !larger.Joining || after-before < 2*0.0832 || after-before > 2*0.1 {
		t.Errorf("a node more in each cluster: %+v, %v; %.4f USD an hour, and %.4f before", larger.Change, err, after, before)
	}
	l.Close()
	s.Size, s.Kubernetes = "Standard_B4ms", "1.36"
	plan, err := r.open(t, s).Plan(t.Context(), Prices{})
	said := strings.Join(plan.Machines, "\n")
	if err != nil || len(plan.Machines) != 2 || !strings.Contains(said, "is Standard_B2ms and would be Standard_B4ms") || !strings.Contains(said, "would be Standard_B4ms with Kubernetes 1.36") {
		t.Errorf("another size: %q, %v", said, err)
	}
}

// What Azure and Helm say, in their words, has a remedy.
func TestRemedies(t *testing.T) {
	for text, want := range map[string]struct {
		cause  Cause
		remedy string
	}{
		"The VM size of Standard_B2ms is not allowed in your subscription in location 'eastus'. The available VM sizes are":               {SizeRefused, "meshlab cloud down lab"},
		"SkuNotAvailable: The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: Standard_B2s'":        {SizeRefused, "az vm list-skus"},
		"RequestDisallowedByAzure: Resource 'lab-network' was disallowed by Azure: This policy maintains a set of best available regions": {SizeRefused, "--location"},
		"K8sVersionNotSupported: Managed cluster lab-aks is on version 1.32.11, which is only available for Long-Term Support (LTS).":     {VersionOld, "--kubernetes"},
		`Kubernetes cluster unreachable: Get "https://lab.hcp.eastus.azmk8s.io:443/version": dial tcp 203.0.113.1:443: i/o timeout`:       {ClusterSilent, "meshlab cloud up lab --from ADDRESS"},
		"cannot re-use a name that is still in use": {ReleaseThere, "helm uninstall consul"},
		"Operation could not be completed as it results in exceeding approved standardBSFamily Cores quota. Location: westeurope, Current Limit: 4": {QuotaUsedUp, "--location westeurope"},
	} {
		var p *Problem
		err := problemOf("make the lab", "lab", []diagnostic{{Severity: "error", Summary: text}}, errors.New("exit status 1"))
		if !errors.As(err, &p) || p.Cause != want.cause || !strings.Contains(p.Remedy, want.remedy) {
			t.Errorf("%s\nis %v, want %s and %s", text, err, want.cause, want.remedy)
		}
	}
}

// What is only planned is not kept, and when Azure deletes a lab is what the
// workflow in it says.
func TestPlansAreNotKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	s.Clusters = []string{"ovs"}
	l := r.open(t, s)
	if _, err := l.Plan(t.Context(), Prices{}); err != nil {
		t.Fatal(err)
	}
	if kept, err := LoadSettings(r.dir); !errors.Is(err, ErrNoLab) {
		t.Errorf("a plan of a lab that is not there keeps %+v, %v", kept, err)
	}
	l.Close()
	if err := Discard(r.dir, "down"); err != nil || isThere(r.dir) {
		t.Errorf("down leaves what the plan wrote: %v", err)
	}

	s = r.made(t, s)
	if err := Discard(r.dir, "down"); err == nil || !isThere(r.dir) {
		t.Fatalf("the folder of a lab that exists is discarded: %v", err)
	}
	in := func(after time.Duration) Settings {
		at := time.Now().Add(after).UTC().Truncate(time.Second)
		changed := s
		changed.Expires = &at
		return changed
	}
	expires := func(l *Lab, want *time.Time) {
		t.Helper()
		if got := Expires(exists(t, l)); (got == nil) != (want == nil) || got != nil && !got.Equal(*want) {
			t.Errorf("the lab goes at %v, want %v", got, want)
		}
	}
	l = r.open(t, in(3*time.Hour))
	if plan, err := l.Plan(t.Context(), Prices{}); err != nil || Expires(plan.After) == nil {
		t.Errorf("the plan does not say when the lab would go: %v", err)
	}
	expires(l, nil)
	if kept, err := LoadSettings(r.dir); err != nil || kept.Expires != nil {
		t.Errorf("a plan keeps %v, %v", kept.Expires, err)
	}
	l.Close()

	r.fault(t, standin.Fault{Kind: standin.Denied, Type: "azurerm_logic_app_workflow"})
	three := in(3 * time.Hour)
	l = r.open(t, three)
	if err := up(t, l, nil); !IsProblem(err, NotAllowed) {
		t.Fatalf("up ends with %v", err)
	}
	expires(l, nil)
	r.fault(t)
	if err := up(t, l, nil); err != nil {
		t.Fatal(err)
	}
	expires(l, three.Expires)
	l.Close()
	l = r.open(t, in(9*time.Hour))
	if _, err := l.Plan(t.Context(), Prices{}); err != nil {
		t.Fatal(err)
	}
	expires(l, three.Expires)
	if kept, err := LoadSettings(r.dir); err != nil || !kept.Expires.Equal(*three.Expires) {
		t.Errorf("a plan keeps %v, %v", kept.Expires, err)
	}
}

// A backend that only a plan has named is not where the state is.
func TestPlanWithABackend(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	s.Clusters = []string{"ovs"}
	elsewhere := s
	elsewhere.Backend = &Backend{Kind: "local", Config: []string{"path=" + filepath.Join(t.TempDir(), "elsewhere.tfstate")}}
	l := r.open(t, elsewhere)
	if _, err := l.Plan(t.Context(), Prices{}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	r.made(t, s)
	if isThere(strings.TrimPrefix(elsewhere.Backend.Config[0], "path=")) || !isThere(filepath.Join(l.work, "terraform.tfstate")) {
		t.Error("the state is not in the lab's folder")
	}
}

// A lab does not move: another region would delete everything and make it anew.
func TestLabStaysInItsRegion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	s.Clusters = []string{"ovs"}
	s = r.made(t, s)
	s.Location = "West US"
	_, err := r.open(t, s).Plan(t.Context(), Prices{})
	if err == nil || !strings.Contains(err.Error(), "the lab is in eastus and does not move to West US: give its own --location, take it down first (meshlab cloud down lab), or take another name") {
		t.Errorf("another region: %v", err)
	}
}

// What is deleted and made anew is no change; machines are not, unless they were
// never whole.
func TestReplacements(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	s.Clusters = []string{"ovs"}
	s = r.made(t, s)
	const plane, registry = "module.ovs_cluster[0].azurerm_linux_virtual_machine.control_plane", "module.registry.azurerm_container_registry.lab"
	replaces := func(p Plan, address string) bool {
		return slices.ContainsFunc(p.Replace, func(i Item) bool { return i.Address == address })
	}

	moved := s
	moved.Suffix = "other"
	l := r.open(t, moved)
	plan, err := l.Plan(t.Context(), Prices{})
	if err != nil || !replaces(plan, registry) || len(plan.Machines) != 0 || plan.Empty() || slices.ContainsFunc(plan.Change, func(i Item) bool { return i.Address == registry }) {
		t.Errorf("another name of the registry: %+v, %v", plan, err)
	}
	l.Close()

	l = r.open(t, s)
	if err := l.tf.Taint(t.Context(), plane); err != nil {
		t.Fatal(err)
	}
	if plan, err := l.Plan(t.Context(), Prices{}); err != nil || !replaces(plan, plane) || len(plan.Machines) != 0 || len(plan.Needed()) != len(plan.Create)+len(plan.Replace) {
		t.Errorf("a machine that was never whole: replaced %t, refused %v, %v", replaces(plan, plane), plan.Machines, err)
	}
	if err := l.tf.Untaint(t.Context(), plane); err != nil {
		t.Fatal(err)
	}
	l.Close()

	for _, lost := range []string{l.SSHKey(), l.SSHKey() + ".pub"} {
		if err := os.Remove(lost); err != nil {
			t.Fatal(err)
		}
	}
	plan, err = r.open(t, s).Plan(t.Context(), Prices{})
	if said := strings.Join(plan.Machines, "\n"); err != nil || !replaces(plan, plane) || !strings.Contains(said, plane+" would be deleted and made anew, for admin_ssh_key") {
		t.Errorf("another key: refused %q, %v", said, err)
	}
}
