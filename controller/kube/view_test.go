package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlab.dev/meshlab/controller/mesh"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// member is a pod of the mesh; age orders pods, the oldest first.
func member(name, service, addr string, age int, upstreams string) *Pod {
	pod := podOf(name, keyService, service, keyUpstreams, upstreams, keyStatus, status(addr))
	pod.UID = "uid-" + "of-" + pod.UID
	pod.CreationTimestamp = metav1.NewTime(epoch.Add(time.Duration(age) * time.Second))
	return Parse(pod, "")
}

func with(p *Pod, change func(*Pod)) *Pod {
	out := *p
	change(&out)
	return &out
}

func put(v *view, pods ...*Pod) {
	for _, p := range pods {
		v.setPod(p.Key(), p, epoch)
	}
}

// tell is a snapshot in text.
func tell(s mesh.Snapshot) string {
	var out []string
	for _, svc := range s.Services {
		text := svc.Name + "="
		for _, i := range svc.Instances {
			text += fmt.Sprintf("%s@%v", i.ID, i.Addr)
			if !i.Healthy {
				text += "!"
			}
			text += ","
		}
		out = append(out, text)
	}
	for _, u := range s.Upstreams {
		out = append(out, fmt.Sprintf("%v:%s>%s:%d", u.Client, u.Source, u.Destination, u.BindPort))
	}
	return strings.Join(out, " ")
}

func want(t *testing.T, v *view, text string) mesh.Snapshot {
	t.Helper()
	s := v.snapshot()
	if got := tell(s); got != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
	return s
}

func TestViewFollowsPods(t *testing.T) {
	v := newView("n1", true)
	a, b := member("a", "web", "10.1.1.1", 1, "api:9090"), member("b", "api", "10.1.1.2", 2, "")
	put(v, a, b)
	const both = "api.default=default/b@10.1.1.2:8080, web.default=default/a@10.1.1.1:8080, 10.1.1.1:web.default>api.default:9090"
	first := want(t, v, both)
	if first.Since != epoch {
		t.Errorf("the change is of %v", first.Since)
	}
	if v.setPod(a.Key(), with(a, func(p *Pod) { p.version = "2" }), epoch) {
		t.Error("a state that says the same counts as a change")
	}
	put(v, with(b, func(p *Pod) { p.Ready = false }))
	s := want(t, v, strings.Replace(both, "10.1.1.2:8080", "10.1.1.2:8080!", 1))
	if s.Services[1] != first.Services[1] || &s.Upstreams[0] != &first.Upstreams[0] {
		t.Error("what has not changed has lost its pointer")
	}
	put(v, with(b, func(p *Pod) { p.Gone = true }))
	want(t, v, "web.default=default/a@10.1.1.1:8080, 10.1.1.1:web.default>api.default:9090")
	v.setPod(a.Key(), nil, epoch)
	want(t, v, "")
	if len(v.owners)+len(v.named)+len(v.pods)+len(v.mine)+len(v.services)+len(v.network()) > 0 {
		t.Errorf("something is left: %+v", v)
	}
}

func TestNamesWithConsulAreAsPodsSay(t *testing.T) {
	v := newView("n1", false)
	put(v, member("a", "web", "10.1.1.1", 1, "api:9090"))
	want(t, v, "web=default/a@10.1.1.1:8080, 10.1.1.1:web>api:9090")
}

func TestUpstreamOfAnotherNamespace(t *testing.T) {
	v := newView("n1", true)
	put(v, member("a", "web", "10.1.1.1", 1, "api.prod:9090"))
	want(t, v, "web.default=default/a@10.1.1.1:8080, 10.1.1.1:web.default>api.prod:9090")
}

func TestTwoPodsWithOneAddress(t *testing.T) {
	v := newView("n1", false)
	old, young := member("z-old", "web", "10.1.1.1", 1, "x:1"), member("a-young", "api", "10.1.1.1", 2, "y:2")
	put(v, young, old)
	want(t, v, "api= web=default/z-old@10.1.1.1:8080, 10.1.1.1:web>x:1")
	var clashes []string
	for _, p := range v.local() {
		for _, b := range p.Problems {
			clashes = append(clashes, p.Name+" "+b.Reason)
		}
		if p.Attached() != (p.Name == "z-old") {
			t.Errorf("%s attached: %v", p.Name, p.Attached())
		}
	}
	if !slices.Equal(clashes, []string{"a-young " + ReasonAddress}) {
		t.Errorf("told: %v", clashes)
	}
	if h := v.network(); len(h) != 1 || h[0].Name != "default/z-old" {
		t.Errorf("hosts: %+v", h)
	}
	// A Deployment that replaces a pod: who stays has the address at once.
	put(v, with(old, func(p *Pod) { p.Stopping, p.Ready = true, false }))
	want(t, v, "api=default/a-young@10.1.1.1:8080, web= 10.1.1.1:api>y:2")
	if h := v.network(); len(h) != 1 || h[0].Name != "default/a-young" {
		t.Errorf("hosts: %+v", h)
	}
	v.setPod(old.Key(), nil, epoch)
	want(t, v, "api=default/a-young@10.1.1.1:8080, 10.1.1.1:api>y:2")
	for _, p := range v.local() {
		if len(p.Problems) > 0 {
			t.Errorf("%s: %v", p.Name, p.Problems)
		}
	}
}

func sliceOf(name, service string, port int32, pods ...string) *Slice {
	yes := true
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
	}
	for _, p := range pods {
		e := discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: strings.TrimPrefix(p, "!")}}
		if no := false; strings.HasPrefix(p, "!") {
			e.Conditions.Ready = &no
		} else {
			e.Conditions.Ready = &yes
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return ParseSlice(s)
}

func TestSlicesNamePodsThatDoNot(t *testing.T) {
	v := newView("n1", true)
	silent := Parse(podOf("s", keyStatus, status("10.1.1.3")), "")
	put(v, silent, member("a", "web", "10.1.1.1", 1, ""))
	v.setSlice("default/web-1", sliceOf("web-1", "web", 81, "a", "s", "absent"), epoch)
	v.setSlice("default/dns-1", sliceOf("dns-1", "dns", 53, "other"), epoch)
	want(t, v, "web.default=default/a@10.1.1.1:8080,default/s@10.1.1.3:81,")
	// A pod that comes after its slice.
	put(v, Parse(podOf("absent", keyStatus, status("10.1.1.4")), ""))
	want(t, v, "web.default=default/a@10.1.1.1:8080,default/absent@10.1.1.4:81,default/s@10.1.1.3:81,")
	v.setSlice("default/web-1", sliceOf("web-1", "web", 81, "!s"), epoch)
	want(t, v, "web.default=default/a@10.1.1.1:8080,default/s@10.1.1.3:81!,")
	v.setSlice("default/web-1", nil, epoch)
	want(t, v, "web.default=default/a@10.1.1.1:8080,")
	put(v, with(silent, func(p *Pod) { p.Ready = false }))
	v.setSlice("default/dns-1", nil, epoch)
	if len(v.behind)+len(v.sliced)+len(v.slices) > 0 {
		t.Errorf("something is left: behind %v, sliced %v", v.behind, v.sliced)
	}
}

func TestNetworkKeepsItsSlice(t *testing.T) {
	v := newView("n1", false)
	a := member("a", "web", "10.1.1.1", 1, "")
	put(v, a)
	v.setNode("n1", &Node{Name: "n1", Addr: "192.0.2.1"}, epoch)
	first := v.network()
	if len(first) != 2 || first[0] != (Host{Name: "default/a", Addr: a.Addr, MAC: "02:00:00:aa:00:02", At: "n1", PodUID: a.UID, Interface: "net1"}) {
		t.Fatalf("hosts: %+v", first)
	}
	put(v, with(a, func(p *Pod) { p.Ready = false }))
	if now := v.network(); !one(first, now) {
		t.Error("readiness makes another network, for which every switch is compiled anew")
	}
	v.setNode("n1", nil, epoch)
	if now := v.network(); len(now) != 1 {
		t.Errorf("hosts: %+v", now)
	}
}

// A machine that joined again under another name: tunnels to its address are
// to the node whose pods are there.
func TestNodesWithOneAddress(t *testing.T) {
	v := newView("n1", false)
	v.setNode("a-new", &Node{Name: "a-new", Addr: "192.0.2.2", Created: epoch}, epoch)
	v.setNode("b-newer", &Node{Name: "b-newer", Addr: "192.0.2.2", Created: epoch.Add(time.Hour)}, epoch)
	v.setNode("c-old", &Node{Name: "c-old", Addr: "192.0.2.2", Created: epoch.Add(-time.Hour)}, epoch)
	if hosts := v.network(); len(hosts) != 1 || hosts[0].Name != "b-newer" {
		t.Errorf("hosts: %+v", hosts)
	}
	// It is made anew under its first name.
	v.setNode("a-new", &Node{Name: "a-new", Addr: "192.0.2.2", Created: epoch.Add(2 * time.Hour)}, epoch)
	if hosts := v.network(); len(hosts) != 1 || hosts[0].Name != "a-new" {
		t.Errorf("hosts: %+v", hosts)
	}
}

// The family of a Service is that of the cluster's network, where the mesh is
// not.
func TestSliceOfIPv6(t *testing.T) {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}, AddressType: discoveryv1.AddressTypeIPv6}
	s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"fd00::1"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "a"}}}
	if got := ParseSlice(s); len(got.Pods) != 1 || got.Pods[0].Pod != "a" {
		t.Errorf("%+v", got)
	}
}

func BenchmarkReadinessAmongPods(b *testing.B) {
	for _, pods := range []int{1000, 10000} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			v := newView("n1", true)
			var all []*Pod
			for i := range pods {
				p := member(fmt.Sprintf("p%d", i), fmt.Sprintf("s%d", i/10), fmt.Sprintf("10.%d.%d.1", 1+i/250, i%250), i, "x:1,y:2")
				p.Node = fmt.Sprintf("n%d", i%50)
				all = append(all, p)
			}
			put(v, all...)
			v.snapshot()
			for i := 0; b.Loop(); i++ {
				p := all[i%pods]
				p = with(p, func(p *Pod) { p.Ready = !p.Ready })
				all[i%pods] = p
				put(v, p)
				v.snapshot()
				v.network()
				v.local()
			}
		})
	}
}
