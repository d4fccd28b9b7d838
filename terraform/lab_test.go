package terraform

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/terraform/standin"
)

// rig is a lab over a stand-in cloud.
type rig struct {
	config string
	cloud  standin.Cloud
	dir    string
}

func newRig(t *testing.T) rig {
	t.Helper()
	config, cloud := standIns(t)
	return rig{config, cloud, filepath.Join(t.TempDir(), "lab")}
}

// settings are those of a small lab with both clusters.
func settings() Settings {
	return Settings{Name: "lab", Location: "eastus", Clusters: []string{"aks", "ovs"}, From: "198.51.100.7/32", Size: "Standard_B2ms", Nodes: 2, Manifest: "image: IMAGE\n"}
}

func (r rig) open(t *testing.T, s Settings) *Lab {
	t.Helper()
	s.StandIns = r.cloud.Path
	l, err := Open(t.Context(), Config{
		Dir: r.dir, Terraform: terraformPath(t), Settings: s, CLIConfig: r.config, Doing: "up",
		Environment: []string{"ARM_SUBSCRIPTION_ID=00000000-0000-0000-0000-000000000001"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func (r rig) fault(t *testing.T, faults ...standin.Fault) {
	t.Helper()
	if err := r.cloud.Change(func(s *standin.State) error { s.Faults = faults; return nil }); err != nil {
		t.Fatal(err)
	}
}

func (r rig) left(t *testing.T) []string {
	t.Helper()
	s, err := r.cloud.Load()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range s.Resources {
		all = append(all, e.ID)
	}
	return all
}

func up(t *testing.T, l *Lab, event func(Event)) error {
	t.Helper()
	if _, err := l.Plan(t.Context(), Prices{}); err != nil {
		return err
	}
	return l.Apply(t.Context(), event)
}

func exists(t *testing.T, l *Lab) []Item {
	t.Helper()
	prices, err := LoadPrices()
	if err != nil {
		t.Fatal(err)
	}
	items, err := l.Exists(t.Context(), prices)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// The whole way: plan, up, what exists and what it costs, down, down again.
func TestUpAndDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	expires := time.Now().Add(2 * time.Hour)
	s.Expires = &expires
	l := r.open(t, s)
	prices, err := LoadPrices()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := l.Plan(t.Context(), prices)
	if err != nil {
		t.Fatal(err)
	}
	// 4 nodes, a control plane, their disks, NAT, two addresses, the registry.
	const want = 4*0.0832 + 0.0416 + 2*0.00723 + 3*0.00329 + 0.045 + 2*0.005 + 0.00694
	if usd, complete := Sum(plan.Create); !complete || usd < want-0.001 || usd > want+0.001 {
		t.Errorf("the plan costs %.4f USD an hour, complete %t; want %.4f", usd, complete, want)
	}
	if left := r.left(t); len(left) != 0 {
		t.Fatalf("planning made %v", left)
	}
	kinds := map[EventKind]int{}
	var order []string // what begins, and what is done
	note := func(e Event) { kinds[e.Kind]++; order = append(order, string(e.Kind)+" "+e.Address) }
	if err := l.Apply(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	const trigger, nat = "module.expiry[0].azurerm_logic_app_trigger_recurrence.expiry", "module.network.azurerm_nat_gateway.egress"
	if slices.Index(order, "done "+trigger) > slices.Index(order, "started "+nat) {
		t.Errorf("something costs before its expiry is set: %v", order)
	}
	if kinds[Started] != len(plan.Create) || kinds[Done] != len(plan.Create) || kinds[Failed] != 0 {
		t.Errorf("%d resources were planned, progress told %v", len(plan.Create), kinds)
	}
	items := exists(t, l)
	if len(items) != len(plan.Create) || len(r.left(t)) != len(items) {
		t.Errorf("%d planned, %d in the state, %d in the cloud", len(plan.Create), len(items), len(r.left(t)))
	}
	checkCloudInit(t, r)
	access, err := l.Access(t.Context())
	if err != nil || !strings.HasPrefix(access.SSH, "meshlab@203.0.113.") || access.ResourceGroup != "meshlab-lab" {
		t.Errorf("access is %+v, %v", access, err)
	}
	if info, err := os.Stat(access.Kubeconfig); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig is %v, %v", info, err)
	}
	if again, err := l.Plan(t.Context(), prices); err != nil || !again.Empty() {
		t.Errorf("planned again: %+v, %v", again, err)
	}
	order = nil
	for i := range 2 {
		if err := l.Destroy(t.Context(), note); err != nil {
			t.Fatalf("down %d: %v", i+1, err)
		}
		if left := r.left(t); len(left) != 0 {
			t.Fatalf("down %d leaves %v", i+1, left)
		}
	}
	if slices.Index(order, "started "+trigger) < slices.Index(order, "done "+nat) {
		t.Errorf("the expiry goes before what costs: %v", order)
	}
	if items := exists(t, l); len(items) != 0 {
		t.Errorf("the state holds %d resources", len(items))
	}
}

// A failure in the middle says why, in a form to act upon, and leaves a state
// from which both another up and down work.
func TestFailureHalfWay(t *testing.T) {
	for name, tc := range map[string]struct {
		fault        standin.Fault
		cause        Cause
		text, remedy string
		mended       bool // then up again works, instead of down
	}{
		"quota":           {standin.Fault{Kind: standin.Quota, Type: "azurerm_linux_virtual_machine_scale_set"}, QuotaUsedUp, "exceeding approved standardBSFamily Cores quota", "az vm list-usage --location eastus", true},
		"role assignment": {standin.Fault{Kind: standin.Denied, Type: "azurerm_role_assignment", After: 1}, NotAllowed, "does not have authorization", "Role Based Access Control Administrator", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			l := r.open(t, settings())
			r.fault(t, tc.fault)
			err := up(t, l, nil)
			if !IsProblem(err, tc.cause) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), tc.remedy) {
				t.Fatalf("up fails with %v", err)
			}
			items := exists(t, l)
			if len(items) < 5 || len(items) != len(r.left(t)) {
				t.Errorf("the state has %d resources, the cloud %d", len(items), len(r.left(t)))
			}
			if usd, _ := Sum(items); usd == 0 {
				t.Errorf("what exists costs nothing")
			}
			if tc.mended {
				r.fault(t)
				if err := up(t, l, nil); err != nil {
					t.Fatalf("up again: %v", err)
				}
			}
			if err := l.Destroy(t.Context(), nil); err != nil {
				t.Fatalf("down: %v", err)
			}
			if left := r.left(t); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// An interrupted creation is in the cloud and in no state; down removes it too.
func TestInterruptedApply(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.open(t, settings())
	r.fault(t, standin.Fault{Kind: standin.Slow, Type: "azurerm_linux_virtual_machine", Seconds: 300})
	if _, err := l.Plan(t.Context(), Prices{}); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	err := l.Apply(ctx, func(e Event) {
		if e.Kind == Waiting && strings.Contains(e.Address, "azurerm_linux_virtual_machine.") {
			interrupt()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted, apply ends with %v", err)
	}
	orphan := false
	for _, id := range r.left(t) {
		orphan = orphan || strings.HasSuffix(id, "virtualMachines/lab-ovs-control-plane")
	}
	for _, i := range exists(t, l) {
		if i.Address == "module.ovs_cluster[0].azurerm_linux_virtual_machine.control_plane" {
			orphan = false
		}
	}
	if !orphan {
		t.Fatalf("there is no machine that the state does not know; the test shows nothing")
	}
	r.fault(t)
	if err := l.Destroy(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left := r.left(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// The state is where the backend has it, and not in the lab's folder.
func TestBackend(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	s.Clusters = []string{"aks"}
	state := filepath.Join(t.TempDir(), "elsewhere.tfstate")
	s.Backend = &Backend{Kind: "local", Config: []string{"path=" + state}}
	l := r.open(t, s)
	if err := up(t, l, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(state); err != nil {
		t.Errorf("the backend holds no state: %v", err)
	}
	if _, err := os.Stat(filepath.Join(l.work, "terraform.tfstate")); err == nil {
		t.Error("the lab's folder holds a state too")
	}
	// Another run, which has only what the folder keeps.
	l.Close()
	kept, err := LoadSettings(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	l = r.open(t, kept)
	if items := exists(t, l); len(items) != len(r.left(t)) {
		t.Errorf("the state tells %d resources, the cloud %d", len(items), len(r.left(t)))
	}
	if err := l.Destroy(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left := r.left(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// After its time the cloud deletes the lab by itself, and down still works.
func TestExpiry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := settings()
	expires := time.Now().Add(2 * time.Hour)
	s.Expires = &expires
	l := r.open(t, s)
	if err := up(t, l, nil); err != nil {
		t.Fatal(err)
	}
	if early, err := r.cloud.Advance(expires.Add(-time.Minute)); err != nil || len(early) != 0 {
		t.Fatalf("before its time the cloud deletes %v, %v", early, err)
	}
	late, err := r.cloud.Advance(expires.Add(time.Minute))
	if err != nil || len(late) != 1 || !strings.HasSuffix(late[0], "/resourceGroups/meshlab-lab") {
		t.Fatalf("after its time the cloud deletes %v, %v", late, err)
	}
	if left := r.left(t); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
	if err := l.Destroy(t.Context(), nil); err != nil {
		t.Fatalf("down after expiry: %v", err)
	}
	if items := exists(t, l); len(items) != 0 {
		t.Errorf("the state holds %d resources", len(items))
	}
}

func TestProblems(t *testing.T) {
	t.Run("expired login", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		l := r.open(t, settings())
		r.fault(t, standin.Fault{Kind: standin.Credentials})
		if err := up(t, l, nil); !IsProblem(err, LoginExpired) || !strings.Contains(err.Error(), "az login") {
			t.Errorf("plan fails with %v", err)
		}
	})
	t.Run("a group of that name", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		l := r.open(t, settings())
		const id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/meshlab-lab"
		err := r.cloud.Change(func(s *standin.State) error {
			s.Resources = append(s.Resources, standin.Resource{Type: "azurerm_resource_group", ID: id})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := up(t, l, nil); !IsProblem(err, AlreadyThere) || !strings.Contains(err.Error(), "az resource show --ids "+id) {
			t.Errorf("up fails with %v", err)
		}
		if err := l.Destroy(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if left := r.left(t); len(left) != 1 {
			t.Errorf("down removes what is not the lab's: left is %v", left)
		}
	})
	t.Run("another run in the folder", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.open(t, settings())
		s := settings()
		s.StandIns = r.cloud.Path
		_, err := Open(t.Context(), Config{Dir: r.dir, Terraform: terraformPath(t), Settings: s, CLIConfig: r.config, Doing: "down"})
		var busy *BusyError
		if !errors.As(err, &busy) || !strings.Contains(err.Error(), "`meshlab cloud up`, process") {
			t.Errorf("open fails with %v", err)
		}
	})
	t.Run("the state is locked", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		l := r.open(t, settings())
		if err := l.Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		hold(t, r, l)
		_, err := l.Plan(t.Context(), Prices{})
		var p *Problem
		if !errors.As(err, &p) || p.Cause != StateLocked || p.LockID == "" || p.Who == "" || !strings.Contains(p.Remedy, "--unlock "+p.LockID) {
			t.Errorf("plan fails with %#v, %v", p, err)
		}
	})
}

// hold locks a lab's state by another Terraform, which waits for an answer, until
// the test ends.
func hold(t *testing.T, r rig, l *Lab) {
	t.Helper()
	cmd := exec.Command(terraformPath(t), "apply", "-no-color")
	cmd.Dir = l.work
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+r.config, "CHECKPOINT_DISABLE=1", "ARM_SUBSCRIPTION_ID=00000000-0000-0000-0000-000000000001")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(l.work, ".terraform.tfstate.lock.info")); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the other terraform has not locked the state")
		}
	}
}
