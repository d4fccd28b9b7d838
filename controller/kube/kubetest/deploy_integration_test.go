//go:build integration

package kubetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	authorization "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"meshlab.dev/meshlab/controller/kube/deploy"
	"meshlab.dev/meshlab/controller/kube/kubetest"
)

// deployment are the values of a test's agents.
func deployment(more string) (deploy.Values, error) {
	return deploy.Parse(fmt.Appendf(nil, `{image: "meshlab:test", config: {vip: %s, bridges: [%s], kubernetes: {network: %s}}}`,
		kubetest.VirtualIP, kubetest.Bridge, kubetest.HashiCupsNetwork), func(values map[string]any) {
		var add map[string]any
		if err := yaml.Unmarshal([]byte(more), &add); err != nil {
			panic(err)
		}
		for key, value := range add {
			values["config"].(map[string]any)[key] = value
		}
	})
}

// rights are the service account of the manifests and what it may do: an agent
// of these tests may do no more.
var rights = func() string {
	v, err := deployment("")
	if err != nil {
		panic(err)
	}
	objects, err := v.Objects()
	if err != nil {
		panic(err)
	}
	var all []string
	for _, o := range objects {
		switch o.(type) {
		case *corev1.ServiceAccount, *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
			text, err := yaml.Marshal(o)
			if err != nil {
				panic(err)
			}
			all = append(all, string(text))
		}
	}
	return strings.Join(all, "---\n")
}()

// TestDeployed runs agents as the manifests say, on two nodes: their arguments
// and configuration, their service account, a read-only root, no capability.
// All of the manifests goes through a real API server.
func TestDeployed(t *testing.T) {
	program, err := meshlab()
	if err != nil {
		t.Fatal(err)
	}
	c := kubetest.StandInCluster(t, "one", "two")
	pods := c.ApplyHashiCups()
	var agents []*kubetest.Daemon
	for i, n := range c.Nodes {
		// They share a network namespace here, so each has a port of its own.
		v, err := deployment(fmt.Sprintf(`metrics: ":%d"`, 9464+i))
		if err != nil {
			t.Fatal(err)
		}
		v.Name, v.Attachment.Name = "agent-"+n.Name, "mesh-"+n.Name
		text, err := v.Plain()
		if err != nil {
			t.Fatal(err)
		}
		c.ApplyText(text)
		agents = append(agents, c.RunDaemonSet(n, v.Namespace, v.Name, program))
	}
	for _, a := range agents {
		a.Ready()
		confined(t, a)
	}
	coffees(t, c, pods["load-testing"])
	tunnelled(t, c)

	bad := c.Ready("app", "payments")
	if _, err := c.Client.CoreV1().Pods(bad.Namespace).Patch(t.Context(), bad.Name, "application/merge-patch+json",
		[]byte(`{"metadata": {"annotations": {"meshlab.dev/upstreams": "nonsense"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, "an event and a condition", func(ctx context.Context) error {
		events, err := c.Client.EventsV1().Events(bad.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		pod, err := c.Client.CoreV1().Pods(bad.Namespace).Get(ctx, bad.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == "meshlab.dev/mesh" }) {
			return fmt.Errorf("conditions are %v", pod.Status.Conditions)
		}
		for _, e := range events.Items {
			if e.Reason == "BadAnnotation" && e.Regarding.Name == bad.Name {
				return nil
			}
		}
		return errors.New("no event")
	})
	for _, a := range agents {
		a.Stop()
	}
	if _, err := c.Coffees(pods["load-testing"]); err != nil {
		t.Errorf("without agents the bridges have lost their flows: %v", err)
	}
}

// confined checks that an agent has what its security context allows.
func confined(t *testing.T, a *kubetest.Daemon) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the agent of %s has not %q in its status:\n%s", a.Node.Name, want, status)
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", a.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"/", "/run/openvswitch"} {
		if !slices.ContainsFunc(strings.Split(string(mounts), "\n"), func(line string) bool {
			f := strings.Fields(line)
			return len(f) > 3 && f[1] == folder && slices.Contains(strings.Split(f[3], ","), "ro")
		}) {
			t.Errorf("%s of the agent of %s is not read-only:\n%s", folder, a.Node.Name, mounts)
		}
	}
}

// TestRights compares what the manifests' service account may do with what one
// without any role may: the difference is what docs/kubernetes.md lists.
func TestRights(t *testing.T) {
	s := kubetest.Start(t)
	v, err := deployment("")
	if err != nil {
		t.Fatal(err)
	}
	withConsul, err := deployment(`consul: {address: "10.0.0.4:8500"}`)
	if err != nil {
		t.Fatal(err)
	}
	withConsul.Name = "with-consul"
	for _, v := range []deploy.Values{v, withConsul} {
		text, err := v.Plain()
		if err != nil {
			t.Fatal(err)
		}
		s.ApplyText(text)
	}
	s.ApplyText("{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: kube-system}}")
	nobody := allowed(t, s, "nobody")
	base := []string{
		"/nodes list", "/nodes watch", "/pods list", "/pods watch", "/pods/status patch", "events.k8s.io/events create",
	}
	slices := []string{"discovery.k8s.io/endpointslices list", "discovery.k8s.io/endpointslices watch"}
	compare(t, "without Consul", without(allowed(t, s, v.Name), nobody), append(slices, base...))
	compare(t, "with Consul", without(allowed(t, s, withConsul.Name), nobody), base)
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s, the agent may %q, want %q", what, got, want)
	}
}

func without(all, some []string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return slices.Contains(some, s) })
}

// allowed is what the API server says that a service account may do in a
// namespace that is not its own, as GROUP/RESOURCE VERB.
func allowed(t *testing.T, s *kubetest.Server, account string) []string {
	t.Helper()
	client, err := kubernetes.NewForConfig(s.ServiceAccount("kube-system", account))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	kubetest.Eventually(t, "the rules of "+account, func(ctx context.Context) error {
		review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorization.SelfSubjectRulesReview{
			Spec: authorization.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		all = nil
		for _, r := range review.Status.ResourceRules {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					for _, verb := range r.Verbs {
						all = append(all, fmt.Sprintf("%s/%s %s%s", group, resource, verb, strings.Join(r.ResourceNames, ",")))
					}
				}
			}
		}
		if review.Status.Incomplete || len(all) == 0 || account != "nobody" && !slices.Contains(all, "/pods list") {
			return fmt.Errorf("%+v", review.Status) // the authorizer has yet to see the binding
		}
		return nil
	})
	return all
}

// TestEachRightIsNeeded takes the rights away one by one: an agent that lacks
// one says so, with what mends it.
func TestEachRightIsNeeded(t *testing.T) {
	c := kubetest.StandInCluster(t, "one")
	c.ApplyText(strings.ReplaceAll(outcast, "NETWORK", kubetest.HashiCupsNetwork))
	c.Ready("app", "outcast")
	v, err := deployment("")
	if err != nil {
		t.Fatal(err)
	}
	program, err := meshlab()
	if err != nil {
		t.Fatal(err)
	}
	for resource, want := range map[string]string{
		"pods": "the last state stands", "nodes": "the last state stands", "endpointslices": "the last state stands",
		"pods/status": "a pod was not told what is wrong with it", "events": "a pod was not told what is wrong with it",
	} {
		t.Run(resource, func(t *testing.T) {
			v.Name = "no-" + strings.ReplaceAll(resource, "/", "-")
			objects, err := v.Objects()
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				if role, ok := o.(*rbacv1.ClusterRole); ok {
					for i := range role.Rules {
						role.Rules[i].Resources = without(role.Rules[i].Resources, []string{resource})
					}
					role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return len(r.Resources) == 0 })
				}
				text, err := yaml.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				c.ApplyText(string(text))
			}
			a := c.RunDaemonSet(c.Nodes[0], v.Namespace, v.Name, program)
			kubetest.Eventually(t, "the agent to say what it lacks", func(context.Context) error {
				for line := range strings.Lines(strings.ReplaceAll(a.Log(), `\"`, `"`)) {
					if strings.Contains(line, want) && strings.Contains(line, fmt.Sprintf("resource %q", resource)) && strings.Contains(line, "RBAC") {
						return nil
					}
				}
				return errors.New(a.Log())
			})
			a.Stop()
			// The next one starts with a pod that nobody told anything.
			pod := c.Ready("app", "outcast")
			pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == "meshlab.dev/mesh" })
			if _, err := c.Client.CoreV1().Pods(pod.Namespace).UpdateStatus(t.Context(), &pod, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// outcast is a pod that is not in the network that its service needs.
const outcast = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: outcast }
spec:
  replicas: 1
  selector: { matchLabels: { app: outcast } }
  template:
    metadata: { labels: { app: outcast }, annotations: { meshlab.dev/service: outcast, meshlab.dev/network: NETWORK } }
    spec:
      serviceAccountName: outcast
      containers: [{ name: curl, image: curl }]
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: outcast }
`
