package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podOf is a pod that runs and is ready, with these annotations, in
// alternation of key and value.
func podOf(name string, annotations ...string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "uid-1", Annotations: map[string]string{}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "main", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for i := 0; i < len(annotations); i += 2 {
		p.Annotations[annotations[i]] = annotations[i+1]
	}
	return p
}

// status is what Multus writes for a pod in the cluster's network and in ovs.
func status(addr string) string {
	return `[{"name":"cbr0","interface":"eth0","ips":["10.244.0.9"],"mac":"aa:00:00:00:00:01","default":true,"dns":{}},
		{"name":"default/ovs","interface":"net1","ips":["` + addr + `"],"mac":"02:00:00:AA:00:02","dns":{}}]`
}

// say is a pod in a line.
func say(p *Pod) string {
	text := fmt.Sprintf("%s:%d %v", p.Service, p.Port, p.Upstreams)
	if p.Addr.IsValid() {
		text += fmt.Sprintf(" %v %s %s", p.Addr, p.MAC, p.Interface)
	}
	for _, b := range p.Problems {
		text += " " + b.Reason
	}
	return text
}

func TestParse(t *testing.T) {
	const attached = " 10.1.1.2 02:00:00:aa:00:02 net1"
	thesis := func(more ...string) []string {
		return append([]string{thesisRegister, "true", thesisNetwork, "ovs", keyStatus, status("10.1.1.2")}, more...)
	}
	for name, c := range map[string]struct {
		annotations []string
		labels      map[string]string
		change      func(*corev1.Pod)
		want        string
		problem     string // part of the text of one
	}{
		"not of the mesh":        {want: ":8080 []"},
		"named":                  {annotations: []string{keyService, "web", keyStatus, status("10.1.1.2")}, want: "web:8080 []" + attached},
		"address with a prefix":  {annotations: []string{keyService, "web", keyStatus, status("10.1.1.2/24")}, want: "web:8080 []" + attached},
		"IPv6 beside":            {annotations: []string{keyService, "web", keyStatus, status(`fd00::1","10.1.1.2`)}, want: "web:8080 []" + attached},
		"old name of the status": {annotations: []string{keyService, "web", keyStatusOld, status("10.1.1.2")}, want: "web:8080 []" + attached},
		"upstreams": {annotations: []string{keyService, "web", keyUpstreams, "product-api:9090, payments:9091", keyStatus, status("10.1.1.2")},
			want: "web:8080 [{product-api 9090} {payments 9091}]" + attached},
		"upstream of a namespace": {annotations: []string{keyService, "web", keyUpstreams, "api.other:1", keyStatus, status("10.1.1.2")}, want: "web:8080 [{api.other 1}]" + attached},
		"only upstreams":          {annotations: []string{keyUpstreams, "a:1", keyStatus, status("10.1.1.2")}, labels: map[string]string{"app": "load"}, want: "load:8080 [{a 1}]" + attached},
		"in the network alone":    {annotations: []string{keyStatus, status("10.1.1.2")}, want: ":8080 []" + attached},
		"network with namespace":  {annotations: []string{keyService, "web", keyNetwork, "default/ovs", keyStatus, status("10.1.1.2")}, want: "web:8080 []" + attached},
		"port by number":          {annotations: []string{keyService, "web", keyPort, "99", keyStatus, status("10.1.1.2")}, want: "web:99 []" + attached},
		"port by name": {annotations: []string{keyService, "web", keyPort, "admin", keyStatus, status("10.1.1.2")}, want: "web:81 []" + attached,
			change: func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: "admin", ContainerPort: 81})
			}},
		"first TCP port": {annotations: []string{keyService, "web", keyStatus, status("10.1.1.2")}, want: "web:82 []" + attached,
			change: func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 81, Protocol: corev1.ProtocolUDP}, {ContainerPort: 82, Protocol: corev1.ProtocolTCP}}
			}},
		"thesis, by service": {annotations: thesis(thesisUpstreams, "products-api:9090,payments:9091"), labels: map[string]string{"service": "public-api", "app": "x"},
			want: "public-api:8080 [{products-api 9090} {payments 9091}]" + attached},
		"thesis, a client": {annotations: thesis(thesisUpstreams, "nginx:9099"), labels: map[string]string{"app": "load-testing"},
			change: func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }, want: "load-testing:0 [{nginx 9099}]" + attached},
		"thesis, not registered": {annotations: []string{thesisRegister, "false", thesisUpstreams, "nginx:1"}, labels: map[string]string{"app": "x"}, want: ":8080 []"},
		"ours before the thesis'": {annotations: thesis(keyService, "mine", keyUpstreams, "b:2", thesisUpstreams, "a:1"), labels: map[string]string{"app": "x"},
			want: "mine:8080 [{b 2}]" + attached},
		"thesis, neither true nor false": {annotations: thesis(thesisRegister, "yes"), labels: map[string]string{"app": "x"}, want: ":8080 []" + attached + " BadAnnotation", problem: `"yes"`},
		"thesis, no label":               {annotations: thesis(), want: ":8080 []" + attached + " BadAnnotation", problem: "label service or app"},
		"bad name":                       {annotations: []string{keyService, "a b", keyStatus, status("10.1.1.2")}, want: ":8080 []" + attached + " BadAnnotation", problem: `"a b"`},
		"no port in an upstream":         {annotations: []string{keyService, "w", keyUpstreams, "a,b:2", keyStatus, status("10.1.1.2")}, want: "w:8080 [{b 2}]" + attached + " BadAnnotation", problem: `"a" has no port`},
		"bad port in an upstream":        {annotations: []string{keyService, "w", keyUpstreams, "a:0,b:2,c:65536,d:x", keyStatus, status("10.1.1.2")}, want: "w:8080 [{b 2}]" + attached + " BadAnnotation BadAnnotation BadAnnotation", problem: `"a:0"`},
		"one port twice":                 {annotations: []string{keyService, "w", keyUpstreams, "a:2,b:2", keyStatus, status("10.1.1.2")}, want: "w:8080 [{a 2}]" + attached + " BadAnnotation", problem: "port 2 is that of a and b"},
		"bad port":                       {annotations: []string{keyService, "w", keyPort, "nope", keyStatus, status("10.1.1.2")}, want: "w:0 []" + attached + " BadAnnotation", problem: `"nope"`},
		"status is no JSON":              {annotations: []string{keyService, "w", keyStatus, "{"}, want: "w:8080 [] BadAnnotation", problem: keyStatus},
		"runs without status":            {annotations: []string{keyService, "w"}, want: "w:8080 [] NoMeshNetwork", problem: "Multus"},
		"starts without status":          {annotations: []string{keyService, "w"}, change: func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, want: "w:8080 []"},
		"host network":                   {annotations: []string{keyService, "w"}, change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }, want: "w:8080 [] NoMeshNetwork", problem: "hostNetwork"},
		"not in the network":             {annotations: []string{keyService, "w", keyNetwork, "other", keyStatus, status("10.1.1.2")}, want: "w:8080 [] NoMeshNetwork", problem: "it is in cbr0, default/ovs"},
		"no IPv4":                        {annotations: []string{keyService, "w", keyStatus, status("fd00::1")}, want: "w:8080 [] NoMeshNetwork", problem: "IPv4"},
		"no MAC":                         {annotations: []string{keyService, "w", keyStatus, strings.ReplaceAll(status("10.1.1.2"), "02:00:00:AA:00:02", "")}, want: "w:8080 [] NoMeshNetwork", problem: "MAC"},
		"a stranger without IPv4":        {annotations: []string{keyStatus, status("fd00::1")}, want: ":8080 []"},
		"a stranger without MAC":         {annotations: []string{keyStatus, strings.ReplaceAll(status("10.1.1.2"), "02:00:00:AA:00:02", "")}, want: ":8080 []"},
		"several networks": {annotations: []string{keyService, "w", keyStatus, `[{"name":"a/x","ips":["1.1.1.1"],"mac":"02:00:00:00:00:01"},{"name":"a/y","ips":["1.1.1.2"],"mac":"02:00:00:00:00:02"}]`},
			want: "w:8080 [] NoMeshNetwork", problem: keyNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podOf("p", c.annotations...)
			pod.Labels = c.labels
			if c.change != nil {
				c.change(pod)
			}
			p := Parse(pod, "")
			if got := say(p); got != c.want {
				t.Errorf("got  %s\nwant %s\n%v", got, c.want, p.Problems)
			}
			if !slices.ContainsFunc(p.Problems, func(b Problem) bool { return strings.Contains(b.Text, c.problem) }) && c.problem != "" {
				t.Errorf("no problem tells %q: %v", c.problem, p.Problems)
			}
		})
	}
}

// Whoever may make pods must not fill the memory of all agents.
func TestParseBoundsWhatIsWrong(t *testing.T) {
	p := Parse(podOf("p", keyService, "w", keyUpstreams, "good:1,"+strings.Repeat(",", 200_000)+"late:2", keyStatus, status("10.1.1.2")), "")
	if len(p.Problems) != maxMistakes+1 || !strings.Contains(textOf(p.Problems), "more mistakes") || len(p.Upstreams) != 1 {
		t.Errorf("%d problems, upstreams %v", len(p.Problems), p.Upstreams)
	}
}

// A condition that says what was wrong goes when all annotations have gone.
func TestAPodThatLeftIsTold(t *testing.T) {
	pod := podOf("p", keyUpstreams, "bad")
	pod.Labels = map[string]string{"app": "p"}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: ConditionType, Status: corev1.ConditionFalse, Message: "bad"})
	v := newView("n1", true)
	put(v, Parse(pod, ""))
	clear(pod.Annotations)
	put(v, Parse(pod, ""))
	if mine := v.local(); len(mine) != 1 || len(mine[0].Problems) != 0 {
		t.Errorf("the agent has %v to look after", mine)
	}
	pod.Status.Conditions[1] = corev1.PodCondition{Type: ConditionType, Status: corev1.ConditionTrue}
	put(v, Parse(pod, ""))
	if mine := v.local(); len(mine) != 0 {
		t.Errorf("%v is still looked after", mine)
	}
}

func TestParseReadiness(t *testing.T) {
	for name, c := range map[string]struct {
		change                func(*corev1.Pod)
		ready, stopping, gone bool
	}{
		"ready":         {func(*corev1.Pod) {}, true, false, false},
		"not ready":     {func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }, false, false, false},
		"no conditions": {func(p *corev1.Pod) { p.Status.Conditions = nil }, false, false, false},
		"stopping":      {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, false, true, false},
		"succeeded":     {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false, false, true},
		"failed":        {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podOf("p", keyService, "w", keyStatus, status("10.1.1.2"))
			c.change(pod)
			if p := Parse(pod, ""); p.Ready != c.ready || p.Stopping != c.stopping || p.Gone != c.gone {
				t.Errorf("ready %v, stopping %v, gone %v", p.Ready, p.Stopping, p.Gone)
			}
		})
	}
}

// FuzzParse holds Parse to what it promises whatever a pod says: no crash, no
// port 0 among upstreams, names that a registry takes, an address only with a
// MAC address.
func FuzzParse(f *testing.F) {
	f.Add("web", "a:1,b:2", "ovs", "http", status("10.1.1.2"), "true", "a:1")
	f.Add("", ":", "/", "-1", `[{"ips":[null]}]`, "T", ",,:")
	f.Add("\x00", "a:1:2", "default/ovs", "65536", "null", "maybe", "é:1")
	f.Fuzz(func(t *testing.T, service, upstreams, network, port, networks, register, theirs string) {
		pod := podOf("p", keyService, service, keyUpstreams, upstreams, keyNetwork, network, keyPort, port, keyStatus, networks,
			thesisRegister, register, thesisUpstreams, theirs)
		p := Parse(pod, "")
		if p.Service != "" && !validName(p.Service) {
			t.Errorf("service %q", p.Service)
		}
		for _, u := range p.Upstreams {
			if base, _, _ := strings.Cut(u.Service, "."); u.Port == 0 || !validName(base) {
				t.Errorf("upstream %+v", u)
			}
		}
		if p.Addr.IsValid() != (p.MAC != "") || p.Addr.IsValid() && !p.Addr.Is4() {
			t.Errorf("address %v, MAC %q", p.Addr, p.MAC)
		}
		text, err := json.Marshal(conditionPatch(p, textOf(p.Problems), p.Created))
		if err != nil || !json.Valid(text) {
			t.Errorf("the condition cannot be written: %v", err)
		}
	})
}
