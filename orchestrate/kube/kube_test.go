package kube

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/topo"
)

// shop is a lab: front calls api, api calls db; a client calls front.
func shop() *topo.Lab {
	node := func(name string) topo.Node { return topo.Node{Name: name, Kind: topo.KindHost} }
	return &topo.Lab{
		Name:  "shop",
		Nodes: []topo.Node{node("h1"), node("h2"), node("server"), node("outside")},
		Services: []topo.Service{
			{Name: "front", Service: "front", Node: "h1", Port: 80, Builtin: "echo", Upstreams: []topo.Upstream{{Service: "api", BindPort: 9001}},
				Environment: map[string]string{"API": `http://{{ upstream "api" }}`, "ME": "{{ address }}:{{ port }}"}, Healthcheck: topo.Healthcheck{TCP: true}},
			{Name: "api", Service: "api", Node: "h2", Port: 81, Image: "registry.example/api:1", Upstreams: []topo.Upstream{{Service: "db", BindPort: 9002}}},
			{Name: "db", Service: "db", Node: "h2", Port: 82, Builtin: "db"},
		},
		Client: &topo.Client{Node: "outside", Upstreams: []topo.Upstream{{Service: "front", BindPort: 9000}}},
	}
}

func plan(lab *topo.Lab) Plan {
	return Plan{
		Run: "20260301T120000Z-0a1b2c3d", Suffix: "MN", Lab: lab, Meshes: orchestrate.Meshes(), Image: "meshlab:1", Program: "/meshlab",
		Hosts: map[string]string{"h1": "n1", "h2": "n2", "outside": "n1"}, Named: []string{"db"}, NamedUser: 999,
		Switches: Switches{VIP: netip.MustParseAddr("10.1.1.254"), Bridge: "br1", Assign: true, Labels: map[string]string{"mesh": "on"}},
	}
}

func TestServicePod(t *testing.T) {
	p := plan(shop())
	front, db := p.Lab.Services[0], p.Lab.Services[2]
	addresses := map[string]netip.Addr{"api-direct": netip.MustParseAddr("10.244.1.7")}
	for mesh, want := range map[orchestrate.Mesh]string{
		orchestrate.Direct: "http://10.244.1.7:81", orchestrate.OVS: "http://10.1.1.254:9001", orchestrate.ConsulConnect: "http://127.0.0.1:9001",
	} {
		pod, err := p.servicePod(front, mesh, addresses, netip.MustParsePrefix("10.1.1.2/24"))
		if err != nil {
			t.Fatal(err)
		}
		c := pod.Spec.Containers[0]
		env := map[string]string{}
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
		if env["API"] != want || env["ME"] != "$(MESHLAB_POD_IP):80" || c.Env[0].Name != ownAddress {
			t.Errorf("%s: environment %+v", mesh, c.Env)
		}
		if c.Image != "meshlab:1" || !slices.Equal(c.Command, []string{"/meshlab", "service", "echo"}) || *c.SecurityContext.RunAsUser != nobody || !*c.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s: container %+v", mesh, c)
		}
		if pod.Spec.NodeSelector[corev1.LabelHostname] != "n1" || pod.Namespace != "meshlab-20260301t120000z-0a1b2c3d-mn" || c.ReadinessProbe == nil {
			t.Errorf("%s: pod %+v", mesh, pod)
		}
		inject := pod.Annotations[keyInject]
		if (mesh == orchestrate.ConsulConnect) != (inject == "true") {
			t.Errorf("%s: %s is %q", mesh, keyInject, inject)
		}
		switch mesh {
		case orchestrate.OVS:
			if pod.Annotations[keyService] != "front-ovs-0a1b2c3d" || pod.Annotations[keyUpstreams] != "api-ovs-0a1b2c3d:9001" || pod.Labels["mesh"] != "on" ||
				!strings.Contains(pod.Annotations[keyNetworks], `"ips":["10.1.1.2/24"]`) {
				t.Errorf("%s: %v %v", mesh, pod.Annotations, pod.Labels)
			}
		case orchestrate.ConsulConnect:
			if pod.Annotations[keyConnectUpstreams] != "api-connect-0a1b2c3d:9001" || pod.Annotations[keyConnectPort] != "80" || pod.Spec.ServiceAccountName != "front-connect-0a1b2c3d" {
				t.Errorf("%s: %v", mesh, pod.Annotations)
			}
		}
	}
	if pod, err := p.servicePod(db, orchestrate.Direct, nil, netip.Prefix{}); err != nil || *pod.Spec.Containers[0].SecurityContext.RunAsUser != 999 {
		t.Errorf("the database runs as another than the user with a name: %v", err)
	}
	if _, err := p.servicePod(front, orchestrate.Direct, nil, netip.Prefix{}); err == nil || !strings.Contains(err.Error(), "api has no pod yet") {
		t.Errorf("without its upstream: %v", err)
	}
}

func TestLoadPodIsInAllMeshes(t *testing.T) {
	p := plan(shop())
	pod := p.loadPod(netip.MustParsePrefix("10.1.1.2/24"))
	if pod.Annotations[keyUpstreams] != "front-ovs-0a1b2c3d:9000" || pod.Annotations[keyConnectUpstreams] != "front-connect-0a1b2c3d:9000" ||
		pod.Annotations[keyConnectPort] != "" || pod.Spec.ServiceAccountName != "load-connect-0a1b2c3d" || !*pod.Spec.AutomountServiceAccountToken {
		t.Errorf("%v, account %s", pod.Annotations, pod.Spec.ServiceAccountName)
	}
	role, binding := p.rights()
	if len(role.Rules) != 1 || !slices.Equal(role.Rules[0].Resources, []string{"configmaps"}) || binding.Subjects[0].Name != pod.Spec.ServiceAccountName {
		t.Errorf("the load may %+v, as %+v", role.Rules, binding.Subjects)
	}
	p.Meshes = p.Meshes[:1]
	if pod = p.loadPod(netip.Prefix{}); pod.Spec.ServiceAccountName != "load" || pod.Annotations[keyInject] != "false" {
		t.Errorf("of mesh direct alone: %v", pod.Annotations)
	}
}

func TestConnectObjects(t *testing.T) {
	p := plan(shop())
	accounts, services := p.connectServices()
	var names []string
	for i := range accounts {
		if accounts[i].Name != services[i].Name || services[i].Spec.Selector[keySelect] != services[i].Name {
			t.Errorf("account %s, service %+v", accounts[i].Name, services[i])
		}
		names = append(names, services[i].Name)
	}
	if want := []string{"front-connect-0a1b2c3d", "api-connect-0a1b2c3d", "db-connect-0a1b2c3d", "load-connect-0a1b2c3d"}; !slices.Equal(names, want) {
		t.Errorf("services %q", names)
	}
	if n := len(p.intentions()); n != 3 {
		t.Errorf("%d intentions without agents that ask Consul, want 3", n)
	}
	p.Switches.Consul = true
	var calls []string
	for _, o := range p.intentions() {
		spec := o.Object["spec"].(map[string]any)
		for _, s := range spec["sources"].([]any) {
			calls = append(calls, fmt.Sprint(s.(map[string]any)["name"], ">", o.GetName()))
		}
	}
	want := []string{"front-connect-0a1b2c3d>api-connect-0a1b2c3d", "api-connect-0a1b2c3d>db-connect-0a1b2c3d", "load-connect-0a1b2c3d>front-connect-0a1b2c3d",
		"front-ovs-0a1b2c3d>api-ovs-0a1b2c3d", "api-ovs-0a1b2c3d>db-ovs-0a1b2c3d", "load-ovs-0a1b2c3d>front-ovs-0a1b2c3d"}
	slices.Sort(want)
	if slices.Sort(calls); !slices.Equal(calls, want) {
		t.Errorf("intentions %q", calls)
	}
}

func TestLayers(t *testing.T) {
	lab := shop()
	all, err := layers(lab)
	if err != nil || len(all) != 3 || all[0][0].Name != "db" || all[2][0].Name != "front" {
		t.Errorf("%v: %v", err, all)
	}
	lab.Services[2].Upstreams = []topo.Upstream{{Service: "front", BindPort: 1}}
	if _, err := layers(lab); err == nil || !strings.Contains(err.Error(), "front, api, db call each other in a circle") {
		t.Errorf("a circle: %v", err)
	}
}

func TestPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		nodes  []string
		single bool
		want   string
		err    string
	}{
		"a node for each":    {nodes: []string{"a", "b", "c"}, want: "map[h1:a h2:b outside:c]"},
		"in turn":            {nodes: []string{"a", "b"}, want: "map[h1:a h2:b outside:a]"},
		"one host":           {nodes: []string{"a", "b"}, single: true, want: "map[h1:a outside:b]"},
		"one host, one node": {nodes: []string{"a"}, single: true, want: "map[h1:a outside:a]"},
		"several, one node":  {nodes: []string{"a"}, err: "only one node of the cluster takes pods (a)"},
		"no node":            {err: "kubectl get nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := shop()
			for i := range lab.Services {
				if tc.single {
					lab.Services[i].Node = "h1"
				}
			}
			got, err := Place(lab, tc.nodes)
			if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) || err == nil && fmt.Sprint(got) != tc.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestAssign(t *testing.T) {
	p := plan(shop())
	p.Switches.VIP = netip.MustParseAddr("10.1.1.5")
	p.Switches.Reserved = map[netip.Addr]string{netip.MustParseAddr("10.1.1.3"): "other/pod"}
	all, err := p.assign()
	if err != nil {
		t.Fatal(err)
	}
	// .3 is another's, .4 the hairpin, .5 the virtual address.
	if got := fmt.Sprint(all); got != "map[api-ovs:10.1.1.7/24 db-ovs:10.1.1.8/24 front-ovs:10.1.1.6/24 load:10.1.1.2/24]" {
		t.Errorf("%s", got)
	}
	for a := netip.MustParseAddr("10.1.1.2"); a != netip.MustParseAddr("10.1.1.254"); a = a.Next() {
		p.Switches.Reserved[a] = "other/pod"
	}
	if _, err := p.assign(); err == nil || !strings.Contains(err.Error(), "no 4 addresses left") {
		t.Errorf("a full network: %v", err)
	}
}

func TestValidate(t *testing.T) {
	if err := plan(shop()).Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Plan){
		"no client":           func(p *Plan) { p.Lab.Client = nil },
		"--image REF":         func(p *Plan) { p.Image = "" },
		"runs a command":      func(p *Plan) { p.Lab.Services[0].Builtin = ""; p.Lab.Services[0].Command = []string{"sh"} },
		"is a file":           func(p *Plan) { p.Lab.Services[1].Image = "api.tar" },
		"both be called":      func(p *Plan) { p.Lab.Services[1].Name = "FRONT" },
		"is too long":         func(p *Plan) { p.Lab.Services[1].Service = strings.Repeat("x", 60) },
		"give it with --vip":  func(p *Plan) { p.Switches.VIP = netip.Addr{} },
		"want NAMESPACE/NAME": func(p *Plan) { p.Switches.Network = "lan" },
		"in a circle":         func(p *Plan) { p.Lab.Services[2].Upstreams = p.Lab.Services[0].Upstreams },
	} {
		p := plan(shop())
		change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestChunks(t *testing.T) {
	noise := make([]byte, 2*maxChunk+5) // it does not compress
	_, _ = rand.Read(noise)
	for _, text := range [][]byte{[]byte("{}"), noise} {
		all, err := pack(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != len(text)/maxChunk+1 {
			t.Errorf("%d chunks of %d bytes", len(all), len(text))
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(bytes.Join(all, nil)))
		if got, err := assemble(all, sum); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes come back as %d: %v", len(text), len(got), err)
		}
		if _, err := assemble(append(all[1:], all[0], nil)[:len(all)-1], sum); err == nil {
			t.Error("a chunk that lacks is not seen")
		}
	}
	if _, err := cut(make([]byte, maxChunk*maxChunks+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// Without the capability, Multus hands a pod's addresses on by CNI_ARGS alone.
func TestAttachmentTakesAddresses(t *testing.T) {
	spec, _ := plan(shop()).attachment().Object["spec"].(map[string]any)
	text, _ := spec["config"].(string)
	var config struct {
		Capabilities map[string]bool
		IPAM         struct{ Type string }
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if config.IPAM.Type != "static" || !config.Capabilities["ips"] {
		t.Errorf("the attachment is %s; want IPAM static, with the capability ips", text)
	}
}
