//go:build integration

package kubetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/kube/kubetest"
)

const (
	scaleNodes    = 50
	scaleServices = 100 // that the pods belong to in turn; a pod of the agent's node calls all of them
	scaleChanges  = 300 // of readiness that are measured
	scaleJoins    = 50  // pods that come and go
	settled       = 60 * time.Millisecond
)

// scaleCaller is a pod that calls all services of the benchmark.
const scaleCaller = `
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: { name: ovs-net-vlan-hashicups }
spec: { config: '{"cniVersion": "0.4.0", "type": "ovs", "bridge": "br1", "mtu": 1430, "ipam": {"type": "whereabouts", "range": "10.1.1.0/24"}}' }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: caller }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: caller }
spec:
  replicas: 1
  selector: { matchLabels: { app: caller } }
  template:
    metadata: { labels: { app: caller }, annotations: { k8s.v1.cni.cncf.io/networks: ovs-net-vlan-hashicups, meshlab.dev/service: caller, meshlab.dev/upstreams: "UPSTREAMS" } }
    spec:
      serviceAccountName: caller
      nodeSelector: { kubernetes.io/hostname: one }
      containers: [{ name: echo, image: "hashicorp/http-echo:1.0", args: ["-listen=:8080", "-text=hello"], ports: [{ containerPort: 8080 }] }]
`

// BenchmarkPodToRule measures how long the agent of one node takes from what
// is written to the API server to the rule in its switch, which has confirmed
// it, while the cluster has so many pods on 50 nodes; and the agent's memory.
// Nodes but one and pods but one are objects of the API only, the agent, its
// switch, the API server and etcd are real.
//
//	go test -tags integration -run '^$' -bench PodToRule -benchtime 1x ./controller/kube/kubetest
func BenchmarkPodToRule(b *testing.B) {
	for _, pods := range []int{1000, 10000} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			for b.Loop() {
				podToRule(b, pods)
			}
		})
	}
}

func podToRule(b *testing.B, count int) {
	c := kubetest.StandInCluster(b, "one")
	c.ApplyText(rights)
	var upstreams []string
	for i := range scaleServices {
		upstreams = append(upstreams, fmt.Sprintf("s%d:%d", i, 1000+i))
	}
	c.ApplyText(strings.Replace(scaleCaller, "UPSTREAMS", strings.Join(upstreams, ","), 1))
	c.Ready("app", "caller")
	c.ObjectNodes(scaleNodes)
	pods := make([]kubetest.ObjectPod, count+scaleJoins)
	for i := range pods {
		pods[i] = kubetest.ObjectPod{
			Name: fmt.Sprint("far-", i), Node: kubetest.ObjectNode(i % scaleNodes), Number: i, Service: fmt.Sprint("s", i%scaleServices), Port: 80,
		}
	}
	c.ObjectPods(pods[:count]...)
	if _, err := meshlab(); err != nil { // built before it is timed
		b.Fatal(err)
	}
	begun := time.Now()
	a := startAgent(b, c, c.Nodes[0])
	started := time.Since(begun)
	a.settle()
	requests := len(c.Requests(agentUser))

	ready, attach, leave := &times{name: "a pod becomes ready, or not"}, &times{name: "a pod comes to the network"}, &times{name: "a pod goes"}
	for i := range scaleChanges {
		p := pods[i*37%count]
		for _, now := range []bool{false, true} {
			ready.add(a.measure(onlyMesh, func(ctx context.Context) error { return c.ReadyObjectPod(ctx, p, now) }))
		}
	}
	joined := &times{name: "a pod that has come becomes ready"}
	for i := range scaleJoins {
		p := pods[count+i]
		if err := c.CreateObjectPod(b.Context(), p, false); err != nil {
			b.Fatal(err)
		}
		attach.add(a.measure(network, func(ctx context.Context) error { return c.AttachObjectPod(ctx, p) }))
		joined.add(a.measure(onlyMesh, func(ctx context.Context) error { return c.ReadyObjectPod(ctx, p, true) }))
		inSwitch(b, c, p, true)
		leave.add(a.measure(network, func(ctx context.Context) error { return c.DeleteObjectPod(ctx, p) }))
		inSwitch(b, c, p, false)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n| %d pods on %d nodes | changes | from the API p50 | p99 | from the agent's watch p50 | p99 |\n|---|---|---|---|---|---|\n", count, scaleNodes)
	for _, t := range []*times{ready, attach, joined, leave} {
		fmt.Fprintln(&table, t)
	}
	pss, anonymous, peak := memory(b, a)
	fmt.Fprintf(&table, "agent: well %v after its start, memory %.0f MiB (PSS), of that %.0f its own and the rest of its program, at most %.0f MiB (RSS); it sent %d requests to begin, %d for all these changes; load of the machine %s\n",
		started.Round(time.Millisecond), pss, anonymous, peak, requests, len(c.Requests(agentUser))-requests, loadAverage())
	b.Log(table.String())
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(percentile(ready.whole, 50)), "ready-p50-ms")
	b.ReportMetric(ms(percentile(ready.whole, 99)), "ready-p99-ms")
	b.ReportMetric(ms(percentile(attach.whole, 50)), "join-p50-ms")
	b.ReportMetric(ms(percentile(attach.whole, 99)), "join-p99-ms")
	b.ReportMetric(pss, "MiB-PSS")
}

// inSwitch checks whether the switch knows the way to a pod.
func inSwitch(b *testing.B, c *kubetest.Cluster, p kubetest.ObjectPod, want bool) {
	b.Helper()
	if flows := c.Nodes[0].Ofctl("dump-flows", kubetest.Bridge); strings.Contains(flows, "nw_dst="+p.Addr()+" ") != want {
		b.Errorf("that the switch has a flow to %s is not %v", p.Addr(), want)
	}
}

var inSync = regexp.MustCompile(`msg="in sync".* took=(\S+)`)

// settle waits until the agent has had nothing to do for a second.
func (a *agent) settle() {
	a.t.Helper()
	last, at := len(a.out.since(0)), time.Now()
	kubetest.Eventually(a.t, "the agent to settle", func(context.Context) error {
		if now := len(a.out.since(0)); now != last {
			last, at = now, time.Now()
		}
		if time.Since(at) < time.Second {
			return errors.New("it prints")
		}
		return nil
	})
}

// concern is what a change concerns.
type concern int

const (
	onlyMesh concern = iota
	network          // hosts too: the agent tells when it knows
)

// measure does a change, and returns the time from its begin to the last
// confirmation of the switch that followed from it, and the part of that which
// the agent says that it took from its watch on.
func (a *agent) measure(of concern, change func(context.Context) error) (whole, own time.Duration) {
	a.t.Helper()
	seen := len(a.out.since(0))
	begun := time.Now()
	if err := change(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	var last logLine
	known := of == onlyMesh
	for deadline := begun.Add(kubetest.Timeout); ; {
		for _, line := range a.out.since(seen) {
			seen++
			known = known || strings.Contains(line.text, "msg=network ")
			if m := inSync.FindStringSubmatch(line.text); m != nil && known {
				last = line
				took, err := time.ParseDuration(m[1])
				if err != nil {
					a.t.Fatal(err)
				}
				own = max(own, took)
			}
		}
		now := time.Now()
		if !last.at.IsZero() && now.Sub(last.at) > settled {
			return last.at.Sub(begun), own
		}
		if now.After(deadline) {
			a.t.Fatal("the switch has not been told of a change")
		}
		time.Sleep(time.Millisecond) // between two looks at what it printed
	}
}

// times are those of changes of one kind.
type times struct {
	name       string
	whole, own []time.Duration
}

func (t *times) add(whole, own time.Duration) {
	t.whole, t.own = append(t.whole, whole), append(t.own, own)
}

func (t *times) String() string {
	return fmt.Sprintf("| %s | %d | %.1f ms | %.1f ms | %.1f ms | %.1f ms |", t.name, len(t.whole),
		ms(percentile(t.whole, 50)), ms(percentile(t.whole, 99)), ms(percentile(t.own, 50)), ms(percentile(t.own, 99)))
}

func percentile(all []time.Duration, p int) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)*p/100, len(all)-1)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// memory is the agent's in MiB: its share now (PSS), the part of it that is of
// no file, and the most that it had (RSS).
func memory(t testing.TB, a *agent) (pss, anonymous, peak float64) {
	t.Helper()
	read := func(file, key string) float64 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", a.cmd.Process.Pid, file))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^` + key + `:\s+(\d+) kB$`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s has no %s", file, key)
		}
		kib, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return kib / 1024
	}
	return read("smaps_rollup", "Pss"), read("status", "RssAnon"), read("status", "VmHWM")
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
