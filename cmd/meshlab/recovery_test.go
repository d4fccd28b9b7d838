//go:build integration

package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// Every part of a lab that is killed comes back, and the lab answers again.
func TestRecovery(t *testing.T) {
	l := root(t).up(t, "recovery", "hashicups")
	for _, tc := range []struct {
		process string
		also    func(lab) error // beside coffees for the client
	}{
		{process: "public-api"},
		{process: "product-api"},
		{process: "product-db"},
		{process: "controller", also: allFlowsPresent(t)},
		{process: "ovs-vswitchd", also: both(allFlowsPresent(t), sequenceCheckOff(t))},
		{process: "ovsdb-server", also: databaseAnswers(t)},
		{process: "consul@h1", also: allPassing(t)},
		{process: "consul@consul_server", also: allPassing(t)},
	} {
		t.Run(tc.process, func(t *testing.T) {
			before, err := l.process(t, tc.process)
			if err != nil {
				t.Fatal(err)
			}
			if r := l.exec(t, "", "h1", "sh", "-c", fmt.Sprintf("kill -9 %d", before.PID)); r.code != 0 {
				t.Fatal(r)
			}
			begin := time.Now()
			eventually(t, patience, func() error {
				now, err := l.process(t, tc.process)
				if err != nil {
					return err
				}
				if now.State != process.Running || now.Restarts == before.Restarts {
					return fmt.Errorf("it is %s after %d restarts", now.State, now.Restarts)
				}
				got, err := l.prices(t, "client", "http://192.168.1.250:9191/api")
				if err != nil {
					return err
				}
				if len(got) != 9 {
					return fmt.Errorf("%d coffees", len(got))
				}
				if tc.also != nil {
					return tc.also(l)
				}
				return nil
			})
			t.Logf("answers again after %v", time.Since(begin).Round(10*time.Millisecond))
		})
	}
	if err := allPassing(t)(l); err != nil {
		t.Error(err)
	}
}

// process finds a process of the lab by its name.
func (l lab) process(t *testing.T, name string) (process.Info, error) {
	t.Helper()
	st, err := l.now(t)
	if err != nil {
		return process.Info{}, err
	}
	for _, p := range st.Processes {
		if p.Name == name {
			return p, nil
		}
	}
	return process.Info{}, fmt.Errorf("no process %s", name)
}

// now asks how the lab is doing.
func (l lab) now(t *testing.T) (st supervisor.Status, err error) {
	t.Helper()
	r := l.run(t, "", "ps", "--lab", l.name, "--output", "json")
	if r.code != 0 {
		return st, errors.New(r.stderr)
	}
	decode(t, r.stdout, &st)
	return st, nil
}

func allPassing(t *testing.T) func(lab) error {
	return func(l lab) error {
		st, err := l.now(t)
		if err != nil {
			return err
		}
		for _, s := range st.Services {
			if s.Health != "passing" {
				return fmt.Errorf("service %s is %s", s.Name, s.Health)
			}
		}
		return nil
	}
}

func allFlowsPresent(t *testing.T) func(lab) error {
	return func(l lab) error {
		r := l.run(t, "", "flows", "--lab", l.name, "--output", "json")
		if r.code != 0 {
			return errors.New(r.stderr)
		}
		var f controller.Flows
		decode(t, r.stdout, &f)
		switches := 0
		for _, n := range l.status.Nodes {
			if n.DPID != "" {
				switches++
			}
		}
		if len(f.Datapaths) != switches {
			return fmt.Errorf("%d switches instead of %d", len(f.Datapaths), switches)
		}
		for _, d := range f.Datapaths {
			if len(d.Flows) == 0 || d.Error != "" {
				return fmt.Errorf("switch %s: %d flows, %s", d.Name, len(d.Flows), d.Error)
			}
			for _, flow := range d.Flows {
				if !flow.Present {
					return fmt.Errorf("missing in %s: %s", d.Name, flow.Reason)
				}
			}
		}
		return nil
	}
}

func sequenceCheckOff(t *testing.T) func(lab) error {
	return func(l lab) error {
		r := l.exec(t, "", "s1", "ovs-appctl", "dpctl/ct-get-tcp-seq-chk")
		if !strings.Contains(r.stdout, "disabled") {
			return fmt.Errorf("sequence check of connection tracking: %v", r)
		}
		return nil
	}
}

func databaseAnswers(t *testing.T) func(lab) error {
	return func(l lab) error {
		r := l.exec(t, "", "s1", "ovs-vsctl", "--timeout=5", "list-br")
		if r.stdout != "s1\ns2\ns3\n" {
			return fmt.Errorf("bridges in the database: %v", r)
		}
		return nil
	}
}

func both(a, b func(lab) error) func(lab) error {
	return func(l lab) error { return errors.Join(a(l), b(l)) }
}

// A sidecar that is killed comes back too.
func TestSidecarRecovery(t *testing.T) {
	l := root(t).up(t, "sidecars", "single-upstream", "--mesh", "consul-connect", "--no-publish")
	st, err := l.now(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.Processes {
		if p.Part != process.PartSidecar {
			continue
		}
		if r := l.exec(t, "", "h1", "sh", "-c", fmt.Sprintf("kill -9 %d", p.PID)); r.code != 0 {
			t.Fatal(r)
		}
	}
	eventually(t, patience, func() error {
		_, err := l.fetch(t, "h1", http.MethodGet, "http://localhost:8080/", "") // web asks backend
		return err
	})
}
