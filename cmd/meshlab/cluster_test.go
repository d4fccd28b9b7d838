package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"meshlab.dev/meshlab/controller/kube"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/register"
	"meshlab.dev/meshlab/controller/tunnel"
)

func TestPeersOf(t *testing.T) {
	ip := netip.MustParseAddr
	node := func(name, addr string) kube.Host { return kube.Host{Name: name, Addr: ip(addr)} }
	pod := func(name, at string) kube.Host {
		return kube.Host{Name: "default/" + name, Addr: ip("10.1.1.1"), MAC: "02:00:00:00:00:01", At: at}
	}
	one, two, three := node("one", "192.168.50.1"), node("two", "192.168.50.2"), node("three", "192.168.50.3")
	to := func(n kube.Host) tunnel.Peer { return tunnel.Peer{Name: n.Name, Addr: n.Addr, Local: one.Addr} }
	for name, c := range map[string]struct {
		hosts []kube.Host
		want  []tunnel.Peer
	}{
		"no node has pods":                  {[]kube.Host{one, two}, nil},
		"one's own pods":                    {[]kube.Host{one, two, pod("a", "one")}, nil},
		"those that have":                   {[]kube.Host{one, two, three, pod("a", "two"), pod("b", "two"), pod("c", "one")}, []tunnel.Peer{to(two)}},
		"pods of a node that is not there":  {[]kube.Host{one, pod("a", "four")}, nil},
		"one's own address is not known":    {[]kube.Host{two, pod("a", "two")}, []tunnel.Peer{{Name: "two", Addr: two.Addr}}},
		"a pod that has the name of a node": {[]kube.Host{one, two, {Name: "two", Addr: ip("10.1.1.1"), MAC: "02:00:00:00:00:01", At: "one"}}, nil},
	} {
		if got := peersOf(c.hosts, "one"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestInstancesOf(t *testing.T) {
	addr := netip.MustParseAddr("10.1.1.1")
	web := &kube.Pod{Namespace: "shop", Name: "web", Service: "web", Addr: addr, Port: 80, Ready: true}
	nameless, homeless, second := *web, *web, *web
	nameless.Service, homeless.Addr = "", netip.Addr{}
	second.Problems = []kube.Problem{{Reason: kube.ReasonAddress}}
	got := instancesOf([]*kube.Pod{&nameless, &homeless, &second, web})
	if want := []register.Instance{{ID: "meshlab.shop.web", Service: "web", Addr: addr, Port: 80, Ready: true, Source: "shop/web"}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestJoin makes one registry of Consul, which the test plays, and of pods: it
// has services from Consul and calls from both, and waits for both.
func TestJoin(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", ResourceVersion: "1", Annotations: map[string]string{
			"meshlab.dev/service": "web", "meshlab.dev/upstreams": "api:9090",
			"k8s.v1.cni.cncf.io/network-status": `[{"name":"shop/lan","interface":"net1","ips":["10.1.1.1"],"mac":"02:00:00:00:00:01"}]`,
		}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	client := fake.NewClientset(pod)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	source, err := kube.New(kube.Config{Client: client, Node: "one", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{source: source, log: log}
	ctx, cancel := context.WithCancel(t.Context())
	consul, got := make(chan mesh.Snapshot), make(chan mesh.Snapshot, 16)
	ended := make(chan error, 2)
	go func() { ended <- source.Run(ctx) }()
	go func() {
		ended <- c.join(ctx, func(ctx context.Context, emit func(mesh.Snapshot)) error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case s := <-consul:
					emit(s)
				}
			}
		}, func(s mesh.Snapshot) { got <- s })
	}()
	defer func() {
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		}
	}()
	call := func(client, source, destination string, port uint16) mesh.Upstream {
		return mesh.Upstream{Client: netip.MustParseAddr(client), Source: source, Destination: destination, BindPort: port}
	}
	until := func(what string, ok func(mesh.Snapshot) bool) {
		t.Helper()
		for deadline := time.After(20 * time.Second); ; {
			select {
			case s := <-got:
				if ok(s) {
					return
				}
			case <-deadline:
				t.Fatalf("no snapshot has %s", what)
			}
		}
	}
	ofPod, ofConsul := call("10.1.1.1", "web", "api", 9090), call("10.1.1.9", "old", "api", 9090)
	api := &mesh.Service{Name: "api"}
	consul <- mesh.Snapshot{Services: []*mesh.Service{api}, Upstreams: []mesh.Upstream{ofConsul}, DefaultDeny: true}
	// The first is whole: without the pod's calls they would be cut.
	if s := <-got; !slices.Equal(s.Upstreams, []mesh.Upstream{ofPod, ofConsul}) || len(s.Services) != 1 || s.Services[0] != api || !s.DefaultDeny {
		t.Fatalf("the first snapshot is %+v", s)
	}
	changed := pod.DeepCopy()
	changed.ResourceVersion, changed.Annotations["meshlab.dev/upstreams"] = "2", "api:9091"
	if _, err := client.CoreV1().Pods("shop").Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until("the pod's new call", func(s mesh.Snapshot) bool {
		return slices.Equal(s.Upstreams, []mesh.Upstream{call("10.1.1.1", "web", "api", 9091), ofConsul}) && len(s.Services) == 1
	})
	consul <- mesh.Snapshot{Services: []*mesh.Service{api}}
	until("the pod's call alone", func(s mesh.Snapshot) bool {
		return slices.Equal(s.Upstreams, []mesh.Upstream{call("10.1.1.1", "web", "api", 9091)}) && !s.DefaultDeny
	})
}
