//go:build integration

package kubetest_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"meshlab.dev/meshlab/controller/kube/kubetest"
	"meshlab.dev/meshlab/orchestrate/consul/consultest"
)

// TestConsulFaults lets go wrong what can with Consul.
func TestConsulFaults(t *testing.T) {
	top := t // Consul comes back for longer than a part
	c := kubetest.StandInCluster(t, "one", "two")
	c.ApplyText(rights)
	c.ApplyDefinitions()
	pods := c.ApplyHashiCups()
	client := pods["load-testing"]
	consul := consultest.Cluster(t, "server")[0]
	flags := []string{"--consul", "unix://" + consul.Socket, "--lease", "6s"}
	agents := []*agent{startAgent(t, c, c.Nodes[0], flags...), startAgent(t, c, c.Nodes[1], flags...)}
	coffees(t, c, client)
	// healthy waits until Consul has an instance of a service that gets connections, or has none.
	healthy := func(service string, want bool) {
		t.Helper()
		kubetest.Eventually(t, fmt.Sprintf("that %s has an instance to be %v", service, want), func(context.Context) error {
			all, _, err := consul.Client.Health().Service(service, "", true, nil)
			if err == nil && len(all) > 0 != want {
				err = fmt.Errorf("it has %d", len(all))
			}
			return err
		})
	}
	healthy("payments", true)

	// over waits until all is over that Consul says in its first seconds.
	over := func(t *testing.T) {
		t.Helper()
		back := time.Now()
		kubetest.Eventually(t, "all that Consul says in its first seconds to be over", func(context.Context) error {
			if took := time.Since(back); took < 6*time.Second { // consul.Config.Recovery and one more
				return fmt.Errorf("%v have passed", took)
			}
			return nil
		})
	}

	t.Run("Consul hangs", func(t *testing.T) {
		l := startLoad(t, c, client)
		l.more(10)
		begin := time.Now()
		consul.Signal(syscall.SIGSTOP)
		for _, a := range agents {
			a.says("Consul does not take registrations")
		}
		kubetest.Eventually(t, "all leases to have ended", func(context.Context) error {
			if took := time.Since(begin); took < 9*time.Second {
				return fmt.Errorf("%v have passed", took)
			}
			return nil
		})
		l.more(20)
		consul.Signal(syscall.SIGCONT)
		over(t)
		l.end()
		healthy("nginx", true)
	})

	t.Run("Consul is away", func(t *testing.T) {
		l := startLoad(t, c, client)
		l.more(10)
		consul.Kill()
		for _, a := range agents {
			a.says("Consul does not take registrations")
		}
		replaced := c.Ready("app", "payments")
		c.SetReady(replaced, corev1.ConditionFalse) // told when it is back
		l.more(20)
		consultest.Start(top, consul.Spec, consul.Files)
		healthy("nginx", true)
		healthy("payments", false)
		over(t)
		l.end()
		c.SetReady(replaced, corev1.ConditionTrue)
		healthy("payments", true)
	})

	t.Run("a node dies", func(t *testing.T) {
		dead := 1
		if client.Spec.NodeName == c.Nodes[1].Name {
			dead = 0
		}
		var app string
		for name, p := range pods {
			if p.Spec.NodeName == c.Nodes[dead].Name {
				app = name
			}
		}
		healthy(app, true)
		agents[dead].end(syscall.SIGKILL)
		c.Nodes[dead].KillSwitch() // its objects are as they were: nobody but the lease tells
		healthy(app, false)
	})
}
