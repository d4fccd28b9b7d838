//go:build integration

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"meshlab.dev/meshlab/terraform/standin"
)

// rehearse is a user without rights, and a stand-in cloud of theirs.
func rehearse(t *testing.T) (person, standin.Cloud, []string) {
	t.Helper()
	p := ordinary(t)
	cloud := standin.Cloud{Path: filepath.Join(p.dir, "cloud.json")}
	return p, cloud, []string{"--from", "198.51.100.7", "--stand-in", cloud.Path, "--yes"}
}

func cloudFault(t *testing.T, p person, cloud standin.Cloud, faults ...standin.Fault) {
	t.Helper()
	if err := cloud.Change(func(s *standin.State) error { s.Faults = faults; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{cloud.Path, cloud.Path + ".lock"} {
		if err := os.Chown(path, p.uid, p.uid); err != nil {
			t.Fatal(err)
		}
	}
}

func cloudHolds(t *testing.T, cloud standin.Cloud) int {
	t.Helper()
	s, err := cloud.Load()
	if err != nil {
		t.Fatal(err)
	}
	return len(s.Resources)
}

// The whole way with stand-ins, as a user without rights: what is planned is
// made, listed with its cost, removed, and removed again. Terraform is real.
func TestCloud(t *testing.T) {
	p, cloud, flags := rehearse(t)
	p.fails(t, 2, []string{"cloud", "up", "--from", "198.51.100.7", "--stand-in", cloud.Path}, "give --yes")

	out := p.ok(t, append([]string{"cloud", "up", "mine", "--ttl", "3h"}, flags...)...)
	for _, want := range []string{"2 x vm Standard_B2ms", "Cost: about 0.46 USD an hour", "Azure tries to delete it by itself at", "Resource group: meshlab-mine", "Remove it: meshlab cloud down mine"} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	var status struct {
		Resources []any
		USD       float64 `json:"usd_per_hour"`
		StandIns  string  `json:"stand_ins"`
		Access    struct{ Kubeconfig string }
	}
	decode(t, p.ok(t, "cloud", "status", "--output", "json"), &status)
	if len(status.Resources) != cloudHolds(t, cloud) || len(status.Resources) < 25 || status.USD < 0.4 || status.USD > 0.5 || status.StandIns != cloud.Path {
		t.Errorf("status tells %d resources, %.2f USD, stand-ins %q; the cloud holds %d", len(status.Resources), status.USD, status.StandIns, cloudHolds(t, cloud))
	}
	folder := filepath.Join(p.dir, ".local", "state", "meshlab", "cloud", "mine")
	for _, private := range []string{folder, filepath.Join(folder, "id_rsa"), filepath.Join(folder, "terraform", "lab", "terraform.tfstate"), status.Access.Kubeconfig} {
		if info, err := os.Stat(private); err != nil || info.Mode().Perm()&0o077 != 0 && filepath.Base(private) != "terraform.tfstate" {
			t.Errorf("%s: %v, %v", private, info, err)
		}
	}
	if out := p.ok(t, "cloud", "down"); !strings.Contains(out, "the stand-in cloud holds nothing of it") {
		t.Errorf("down says %q", out)
	}
	if n := cloudHolds(t, cloud); n != 0 {
		t.Errorf("the cloud holds %d resources", n)
	}
	if out := p.ok(t, "cloud", "down", "mine"); !strings.Contains(out, "nothing to do") {
		t.Errorf("the second down says %q", out)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the lab's folder is left: %v", err)
	}
}

// When a lab goes by itself is what exists says, and not what a plan or a
// refused `up` was asked for.
func TestCloudExpiryIsThatOfAzure(t *testing.T) {
	p, cloud, flags := rehearse(t)
	p.ok(t, append([]string{"cloud", "up", "mine", "--clusters", "ovs"}, flags...)...)
	promised := func() bool { return strings.Contains(p.ok(t, "cloud", "status"), "Azure tries to delete it by itself") }

	if out := p.ok(t, "cloud", "plan", "--ttl", "3h"); !strings.Contains(out, "Once that is done, Azure tries to delete it by itself") {
		t.Errorf("the plan says %q", out)
	}
	p.fails(t, 1, []string{"cloud", "up", "--location", "westus", "--yes"}, "does not move to westus", "meshlab cloud down mine")
	if promised() {
		t.Error("after a plan with --ttl, status promises that the lab is deleted")
	}
	if out := p.ok(t, "cloud", "plan", "--from", "198.51.100.8"); !strings.Contains(out, "To change in eastus") {
		t.Errorf("after another --location was refused, the plan says %q", out)
	}
	term := newTerminal(t, 50, 200)
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	cmd := p.command(ctx, "cloud", "up", "--ttl", "2h")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.slave, term.slave, term.slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, verbLimit, func() error {
		if !strings.Contains(term.String(), "Only yes is taken for a yes") {
			return errors.New("it does not ask: " + term.String())
		}
		return nil
	})
	term.typed(t, "no\n")
	if code := exitCodeOf(t, cmd); code != 1 || promised() {
		t.Errorf("refused, up ends with %d, and status promises %t: %s", code, promised(), term)
	}

	// Another run was agreed to and failed before the workflow was there; the
	// time has passed.
	folder := filepath.Join(p.dir, ".local", "state", "meshlab", "cloud", "mine")
	exchange(t, filepath.Join(folder, "lab.json"), `"bastion": false,`, `"bastion": false, "expires": "2026-01-01T00:00:00Z",`)
	r := p.fails(t, 1, []string{"cloud", "kubeconfig"}, "there is nothing to measure")
	if promised() || strings.Contains(r.stderr, "Azure was to delete it") {
		t.Errorf("without a workflow kubeconfig says %s", r.stderr)
	}
	p.ok(t, "cloud", "up", "--ttl", "3h", "--yes")
	if !promised() {
		t.Error("after up with --ttl, status does not say when the lab is deleted")
	}
	exchange(t, filepath.Join(folder, "terraform", "lab", "terraform.tfstate"), `"start_time": "20`, `"start_time": "19`)
	p.fails(t, 1, []string{"cloud", "kubeconfig"}, "Azure was to delete it at 19", "meshlab cloud down mine")
	if out := p.ok(t, "cloud", "status"); !strings.Contains(out, "Azure was to delete it at 19") {
		t.Errorf("after its time status says %q", out)
	}
	p.ok(t, "cloud", "down")
	if n := cloudHolds(t, cloud); n != 0 {
		t.Errorf("the cloud holds %d resources", n)
	}
	// What a plan leaves goes with down.
	p.ok(t, append([]string{"cloud", "plan", "mine"}, flags[:4]...)...)
	p.fails(t, 1, []string{"cloud", "status", "mine"}, "there is no such lab")
	p.ok(t, "cloud", "down", "mine")
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder of a plan is left: %v", err)
	}
}

// exchange writes another text into a file in the place of one.
func exchange(t *testing.T, path, old, text string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(before), old) {
		t.Fatalf("%s has no %s: %v", path, old, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(before), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Half-way, a failure says why, what exists and what it costs; down works.
func TestCloudFailsHalfWay(t *testing.T) {
	p, cloud, flags := rehearse(t)
	cloudFault(t, p, cloud, standin.Fault{Kind: standin.Quota, Type: "azurerm_kubernetes_cluster"})
	r := p.fails(t, 1, append([]string{"cloud", "up"}, flags...), "approved standardBSFamily Cores quota", "az vm list-usage --location eastus",
		"This exists now:", "module.network.azurerm_nat_gateway.egress", "USD an hour", "Remove it: meshlab cloud down meshlab")
	if n := cloudHolds(t, cloud); n < 10 || strings.Count(r.stderr, "\n  module.") < n/2 {
		t.Errorf("the cloud holds %d resources, up says\n%s", n, r.stderr)
	}
	p.ok(t, "cloud", "down")
	if n := cloudHolds(t, cloud); n != 0 {
		t.Errorf("the cloud holds %d resources", n)
	}
	p.ok(t, "cloud", "down")
}

// Ctrl-C while a machine is being made: Terraform ends first, up says what
// exists, and down removes what no state knows.
func TestCloudInterrupted(t *testing.T) {
	p, cloud, flags := rehearse(t)
	cloudFault(t, p, cloud, standin.Fault{Kind: standin.Slow, Type: "azurerm_linux_virtual_machine", Seconds: 600})
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	cmd := p.command(ctx, append([]string{"cloud", "up", "--clusters", "ovs"}, flags...)...)
	r := finish(t, cmd, func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		eventually(t, verbLimit, func() error { return cloudHas(cloud, "azurerm_linux_virtual_machine") })
		// The terminal sends it to the whole group.
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Error(err)
		}
		return cmd.Wait()
	})
	if r.code != exitInterrupted || !strings.Contains(r.stderr, "This exists now:") || !strings.Contains(r.stderr, "meshlab cloud down meshlab") {
		t.Errorf("interrupted, up ends as %v", r)
	}
	if strings.Contains(r.stderr, "Two interrupts") {
		t.Errorf("terraform was interrupted twice: %s", r.stderr)
	}
	cloudFault(t, p, cloud)
	p.ok(t, "cloud", "down")
	if n := cloudHolds(t, cloud); n != 0 {
		t.Errorf("the cloud holds %d resources", n)
	}
}

// Killed in the middle, meshlab writes nothing down any more, and Terraform not
// either; down still removes everything.
func TestCloudKilled(t *testing.T) {
	p, cloud, flags := rehearse(t)
	cloudFault(t, p, cloud, standin.Fault{Kind: standin.Slow, Type: "azurerm_linux_virtual_machine", Seconds: 600})
	ctx, cancel := context.WithTimeout(t.Context(), verbLimit)
	defer cancel()
	cmd := p.command(ctx, append([]string{"cloud", "up", "--clusters", "ovs"}, flags...)...)
	finish(t, cmd, func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		eventually(t, verbLimit, func() error { return cloudHas(cloud, "azurerm_linux_virtual_machine") })
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		return cmd.Wait()
	})
	cloudFault(t, p, cloud)
	out := p.ok(t, "cloud", "status")
	if !strings.Contains(out, "azurerm_resource_group.lab") {
		t.Errorf("status says %q", out)
	}
	p.ok(t, "cloud", "down")
	if n := cloudHolds(t, cloud); n != 0 {
		t.Errorf("the cloud holds %d resources", n)
	}
}

// cloudHas fails while the cloud holds nothing of that type.
func cloudHas(cloud standin.Cloud, kind string) error {
	s, err := cloud.Load()
	if err != nil {
		return err
	}
	for _, r := range s.Resources {
		if r.Type == kind {
			return nil
		}
	}
	return errNotYet(kind)
}

type errNotYet string

func (e errNotYet) Error() string { return "the cloud holds no " + string(e) + " yet" }
