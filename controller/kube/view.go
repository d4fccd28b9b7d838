package kube

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// view puts what the API server tells together. An event costs what it
// changes: a service whose instances are as they were keeps its pointer.
type view struct {
	node   string // whose pods are local
	scoped bool   // services are those of a namespace: NAME.NAMESPACE

	pods   map[string]*Pod // by key: those that join the mesh
	mine   map[string]bool // keys of those of this node
	slices map[string]*Slice
	nodes  map[string]*Node
	owners map[netip.Addr][]string // keys of the pods that say they have it; the first has it

	named    map[string]map[string]bool // service -> keys of pods that name it
	sliced   map[string]map[string]bool // service -> keys of slices
	behind   map[string]map[string]bool // key of a pod -> services whose slices list it
	services map[string]*mesh.Service
	dirty    map[string]bool // services to make anew

	all       []*mesh.Service
	upstreams []mesh.Upstream
	calls     bool // upstreams may have changed
	hosts     []Host
	placed    bool // hosts or nodes may have changed
	since     time.Time
}

func newView(node string, scoped bool) *view {
	return &view{
		node: node, scoped: scoped, pods: map[string]*Pod{}, mine: map[string]bool{}, slices: map[string]*Slice{}, nodes: map[string]*Node{},
		owners: map[netip.Addr][]string{}, named: map[string]map[string]bool{}, sliced: map[string]map[string]bool{},
		behind: map[string]map[string]bool{}, services: map[string]*mesh.Service{}, dirty: map[string]bool{},
		calls: true, placed: true,
	}
}

// name is what the mesh calls a service that is named in a namespace.
func (v *view) name(service, namespace string) string {
	if !v.scoped {
		return service
	}
	for _, c := range service {
		if c == '.' { // it says the namespace itself
			return service
		}
	}
	return service + "." + namespace
}

// setPod takes a pod's state in; nil: it has gone. It tells whether anything
// has changed.
func (v *view) setPod(key string, now *Pod, at time.Time) bool {
	if now != nil && (!now.Joins() || now.Gone) {
		now = nil
	}
	old := v.pods[key]
	if old == nil && now == nil || old != nil && now != nil && samePod(old, now) {
		if now != nil {
			v.pods[key] = now
		}
		return false
	}
	v.changed(at)
	delete(v.mine, key)
	if now == nil {
		delete(v.pods, key)
	} else {
		v.pods[key] = now
		if now.Node == v.node {
			v.mine[key] = true
		}
	}
	if old != nil {
		v.touch(old, key)
		if old.Service != "" {
			unlink(v.named, v.name(old.Service, old.Namespace), key)
		}
	}
	if now != nil {
		v.touch(now, key)
		if now.Service != "" {
			link(v.named, v.name(now.Service, now.Namespace), key)
		}
	}
	if old != nil && old.Addr.IsValid() {
		v.own(old.Addr, key)
	}
	if now != nil && now.Addr.IsValid() {
		v.own(now.Addr, key)
	}
	if old == nil || now == nil || old.Addr != now.Addr || old.MAC != now.MAC || old.Node != now.Node ||
		old.UID != now.UID || old.Interface != now.Interface {
		v.placed, v.calls = true, true
	}
	if old == nil || now == nil || old.Service != now.Service || !slices.Equal(old.Upstreams, now.Upstreams) {
		v.calls = true
	}
	return true
}

// samePod tells whether two states of a pod are one for the mesh.
func samePod(a, b *Pod) bool {
	return a.UID == b.UID && a.Node == b.Node && a.Service == b.Service && a.Port == b.Port && a.Addr == b.Addr &&
		a.MAC == b.MAC && a.Interface == b.Interface && a.Ready == b.Ready && a.Stopping == b.Stopping && a.Condition == b.Condition &&
		slices.Equal(a.Upstreams, b.Upstreams) && slices.Equal(a.Problems, b.Problems)
}

func (v *view) changed(at time.Time) {
	if v.since.IsZero() {
		v.since = at
	}
}

// touch marks the services that a pod is of.
func (v *view) touch(p *Pod, key string) {
	if p.Service != "" {
		v.dirty[v.name(p.Service, p.Namespace)] = true
	}
	for service := range v.behind[key] {
		v.dirty[service] = true
	}
}

// own works out anew who has an address that a pod has, had or wants: the
// oldest of those that do not stop, so that a pod that takes another's address
// takes nothing from it.
func (v *view) own(addr netip.Addr, key string) {
	had := v.owner(addr)
	keys := slices.DeleteFunc(v.owners[addr], func(k string) bool { return k == key })
	if p := v.pods[key]; p != nil && p.Addr == addr {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, y := v.pods[a], v.pods[b]
		if x.Stopping != y.Stopping {
			return cmp.Compare(btoi(x.Stopping), btoi(y.Stopping))
		}
		return cmp.Or(x.Created.Compare(y.Created), cmp.Compare(a, b))
	})
	if len(keys) == 0 {
		delete(v.owners, addr)
	} else {
		v.owners[addr] = keys
	}
	if has := v.owner(addr); has != had {
		v.placed, v.calls = true, true
		for _, k := range []string{had, has} {
			if p := v.pods[k]; p != nil {
				v.touch(p, k)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// owner is the key of the pod that has an address.
func (v *view) owner(addr netip.Addr) string {
	if keys := v.owners[addr]; len(keys) > 0 {
		return keys[0]
	}
	return ""
}

// has tells whether a pod has the address that it says.
func (v *view) has(p *Pod) bool { return p.Addr.IsValid() && v.owner(p.Addr) == p.Key() }

// setSlice takes a slice in; nil: it has gone.
func (v *view) setSlice(key string, now *Slice, at time.Time) {
	v.changed(at)
	old := v.slices[key]
	if old != nil && old.Service != "" {
		name := v.name(old.Service, old.Namespace)
		unlink(v.sliced, name, key)
		v.dirty[name] = true
	}
	delete(v.slices, key)
	if now != nil && now.Service != "" {
		name := v.name(now.Service, now.Namespace)
		v.slices[key] = now
		link(v.sliced, name, key)
		v.dirty[name] = true
	}
	for _, s := range []*Slice{old, now} {
		if s == nil || s.Service == "" {
			continue
		}
		name := v.name(s.Service, s.Namespace)
		for _, e := range s.Pods {
			pod := s.Namespace + "/" + e.Pod
			if v.lists(name, pod) {
				link(v.behind, pod, name)
			} else {
				unlink(v.behind, pod, name)
			}
		}
	}
}

// lists tells whether a slice of a service lists a pod.
func (v *view) lists(service, pod string) bool {
	for key := range v.sliced[service] {
		s := v.slices[key]
		if slices.ContainsFunc(s.Pods, func(e Endpoint) bool { return s.Namespace+"/"+e.Pod == pod }) {
			return true
		}
	}
	return false
}

func (v *view) setNode(name string, now *Node, at time.Time) bool {
	old := v.nodes[name]
	if old != nil && now != nil && old.Addr == now.Addr && old.Created.Equal(now.Created) || old == nil && now == nil {
		return false
	}
	v.changed(at)
	v.placed = true
	if now == nil {
		delete(v.nodes, name)
	} else {
		v.nodes[name] = now
	}
	return true
}

func link(m map[string]map[string]bool, from, to string) {
	if m[from] == nil {
		m[from] = map[string]bool{}
	}
	m[from][to] = true
}

func unlink(m map[string]map[string]bool, from, to string) {
	if delete(m[from], to); len(m[from]) == 0 {
		delete(m, from)
	}
}

// snapshot is the mesh of now, without policy.
func (v *view) snapshot() mesh.Snapshot {
	v.renew()
	if v.calls {
		v.renewCalls()
	}
	since := v.since
	v.since = time.Time{}
	return mesh.Snapshot{Services: v.all, Upstreams: v.upstreams, Since: since}
}

// renew makes the dirty services anew.
func (v *view) renew() {
	if len(v.dirty) == 0 {
		return
	}
	set := false // the set of names has changed
	for name := range v.dirty {
		old, now := v.services[name], v.service(name)
		switch {
		case now == nil:
			set = set || old != nil
			delete(v.services, name)
		case old == nil:
			set = true
			v.services[name] = now
		case !slices.EqualFunc(old.Instances, now.Instances, sameInstance):
			v.services[name] = now
		}
	}
	if set {
		v.all = make([]*mesh.Service, 0, len(v.services))
		for _, name := range slices.Sorted(maps.Keys(v.services)) {
			v.all = append(v.all, v.services[name])
		}
	} else {
		var all []*mesh.Service
		for name := range v.dirty {
			at, found := slices.BinarySearchFunc(v.all, name, func(s *mesh.Service, name string) int { return cmp.Compare(s.Name, name) })
			if found && v.all[at] != v.services[name] {
				if all == nil {
					all = slices.Clone(v.all)
				}
				all[at] = v.services[name]
			}
		}
		if all != nil {
			v.all = all
		}
	}
	clear(v.dirty)
}

func sameInstance(a, b mesh.Instance) bool {
	return a.ID == b.ID && a.Node == b.Node && a.Addr == b.Addr && a.Healthy == b.Healthy && a.Weight == b.Weight
}

// service is a service as its pods and slices make it; nil: there is none. A
// pod that names itself counts as it says; what slices list besides are pods
// that a Service selects.
func (v *view) service(name string) *mesh.Service {
	if len(v.named[name])+len(v.sliced[name]) == 0 {
		return nil
	}
	s := &mesh.Service{Name: name}
	add := func(p *Pod, port uint16, ready bool) {
		if port > 0 && v.has(p) {
			s.Instances = append(s.Instances, mesh.Instance{
				ID: p.Key(), Node: p.Node, Addr: netip.AddrPortFrom(p.Addr, port), Healthy: ready, Weight: 1,
			})
		}
	}
	for key := range v.named[name] {
		p := v.pods[key]
		add(p, p.Port, p.Ready)
	}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(v.sliced[name])) {
		slice := v.slices[key]
		for _, e := range slice.Pods {
			pod := slice.Namespace + "/" + e.Pod
			if p := v.pods[pod]; p != nil && !v.named[name][pod] && !seen[pod] {
				seen[pod] = true
				add(p, slice.Port, p.Ready && e.Ready)
			}
		}
	}
	if len(v.named[name])+len(s.Instances) == 0 { // a Service of pods that are not of the mesh
		return nil
	}
	slices.SortFunc(s.Instances, func(a, b mesh.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

func (v *view) renewCalls() {
	v.calls = false
	var out []mesh.Upstream
	for _, p := range v.pods {
		if len(p.Upstreams) == 0 || p.Service == "" || !v.has(p) {
			continue
		}
		for _, u := range p.Upstreams {
			out = append(out, mesh.Upstream{
				Client: p.Addr, Source: v.name(p.Service, p.Namespace), Destination: v.name(u.Service, p.Namespace), BindPort: u.Port,
			})
		}
	}
	slices.SortFunc(out, mesh.CompareUpstreams)
	if !slices.Equal(out, v.upstreams) {
		v.upstreams = out
	}
}
