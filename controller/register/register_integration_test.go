//go:build integration

package register_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/register"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
)

// catalog is what Consul says of our services: "ID@ADDR:PORT=HEALTH".
func catalog(t *testing.T, client *api.Client, services ...string) string {
	var out []string
	for _, name := range services {
		entries, _, err := client.Health().Service(name, "", false, nil)
		if err != nil {
			return err.Error()
		}
		for _, e := range entries {
			out = append(out, fmt.Sprintf("%s@%s:%d=%s", e.Service.ID, e.Service.Address, e.Service.Port, e.Checks.AggregatedStatus()))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func until(t *testing.T, what, want string, ask func() string) {
	t.Helper()
	deadline := time.Now().Add(consultest.Timeout)
	for {
		got := ask()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: it is %q, want %q", what, got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestRegistrationsFollowInstances(t *testing.T) {
	client := consultest.Cluster(t, "server")[0].Client
	web := register.Instance{ID: "meshlab.default.web", Service: "web", Addr: netip.MustParseAddr("10.1.1.1"), Port: 80, Ready: true, Source: "default/web"}
	caller := register.Instance{ID: "meshlab.default.load", Service: "load", Addr: netip.MustParseAddr("10.1.1.2"), Ready: true, Source: "default/load"}
	unready, moved := web, web
	unready.Ready = false
	moved.Addr = netip.MustParseAddr("10.1.1.9")
	now := func() string { return catalog(t, client, "web", "load", "other") }
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "theirs", Name: "other", Address: "10.9.9.9", Port: 9}); err != nil {
		t.Fatal(err)
	}
	const theirs, load = " theirs@10.9.9.9:9=passing", "meshlab.default.load@10.1.1.2:0=passing "

	tell, stop := keep(t, client, time.Hour)
	tell(web, caller)
	until(t, "two pods", load+"meshlab.default.web@10.1.1.1:80=passing"+theirs, now)
	tell(unready, caller)
	until(t, "one is not ready", load+"meshlab.default.web@10.1.1.1:80=critical"+theirs, now)
	tell(moved, caller)
	until(t, "it has another address", load+"meshlab.default.web@10.1.1.9:80=passing"+theirs, now)
	stop()
	if got := now(); got != load+"meshlab.default.web@10.1.1.9:80=passing"+theirs {
		t.Errorf("after a stop there is %q", got)
	}
	// The next one finds what has stopped meanwhile, and leaves others' alone.
	tell, _ = keep(t, client, time.Second)
	tell(moved)
	until(t, "a pod stopped while nobody looked", "meshlab.default.web@10.1.1.9:80=passing"+theirs, now)
	// What Consul loses is told again.
	created := func() uint64 {
		entries, _, err := client.Health().Service("web", "", false, nil)
		if err != nil || len(entries) != 1 {
			return 0
		}
		return entries[0].Service.CreateIndex
	}
	first := created()
	if err := client.Agent().ServiceDeregister(web.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "somebody deregisters it", "true", func() string { return fmt.Sprint(created() > first) })
	until(t, "it is as it was", "meshlab.default.web@10.1.1.9:80=passing"+theirs, now)
	tell()
	until(t, "no pods", strings.TrimSpace(theirs), now)
}

// A pod that is made anew elsewhere has the same ID, and its new machine may be
// the first to tell.
func TestAnInstanceThatAnotherMachineHas(t *testing.T) {
	client := consultest.Cluster(t, "server")[0].Client
	web := register.Instance{ID: "meshlab.default.web-0", Service: "web", Addr: netip.MustParseAddr("10.1.1.1"), Port: 80, Ready: true}
	other := register.Instance{ID: "meshlab.default.other", Service: "other", Addr: netip.MustParseAddr("10.1.1.2"), Port: 80, Ready: true}
	now := func() string { return catalog(t, client, "web", "other") }
	tell, _ := keep(t, client, time.Hour)
	tell(web)
	until(t, "it is here", "meshlab.default.web-0@10.1.1.1:80=passing", now)
	if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: web.ID, Name: "web", Address: "10.1.1.9", Port: 80, Meta: map[string]string{"meshlab-owner": "n2"},
	}); err != nil {
		t.Fatal(err)
	}
	tell(other) // what has gone is taken back before this is told
	until(t, "it is there", "meshlab.default.other@10.1.1.2:80=passing meshlab.default.web-0@10.1.1.9:80=passing", now)
}

// A machine that dies renews nothing.
func TestLeaseEnds(t *testing.T) {
	client := consultest.Cluster(t, "server")[0].Client
	web := register.Instance{ID: "meshlab.default.web", Service: "web", Addr: netip.MustParseAddr("10.1.1.1"), Port: 80, Ready: true}
	tell, stop := keep(t, client, time.Second)
	tell(web)
	until(t, "it is there", "meshlab.default.web@10.1.1.1:80=passing", func() string { return catalog(t, client, "web") })
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		if got := catalog(t, client, "web"); got != "meshlab.default.web@10.1.1.1:80=passing" {
			t.Fatalf("while it is renewed it is %q", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	until(t, "its lease has ended", "meshlab.default.web@10.1.1.1:80=critical", func() string { return catalog(t, client, "web") })
	// Whoever comes back does not wait for the next renewal.
	tell, _ = keep(t, client, time.Hour)
	tell(web)
	until(t, "it is back", "meshlab.default.web@10.1.1.1:80=passing", func() string { return catalog(t, client, "web") })
}

// An agent that is started anew while nobody can tell it what runs here keeps the
// leases that there are.
func TestLeaseWhileNobodyTells(t *testing.T) {
	client := consultest.Cluster(t, "server")[0].Client
	web := register.Instance{ID: "meshlab.default.web", Service: "web", Addr: netip.MustParseAddr("10.1.1.1"), Port: 80, Ready: true}
	const lease = 6 * time.Second // a busy machine stands still for seconds
	tell, stop := keep(t, client, lease)
	tell(web)
	until(t, "it is there", "meshlab.default.web@10.1.1.1:80=passing", func() string { return catalog(t, client, "web") })
	stop()
	keep(t, client, lease)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * lease); time.Now().Before(end); <-tick.C {
		if got := catalog(t, client, "web"); got != "meshlab.default.web@10.1.1.1:80=passing" {
			t.Fatalf("while nobody tells it is %q", got)
		}
	}
}
