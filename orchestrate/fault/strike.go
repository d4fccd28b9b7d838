package fault

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// Process is what is to be known of a process of a lab.
type Process struct {
	Name string
	Node string // "": that of no node
}

// Strike is what a fault does to a lab.
type Strike struct {
	Fault     scenarios.Fault
	Processes []string // that are killed or paused
	Links     []Link   // that are cut or degraded
}

// Link is a link of the lab.
type Link struct {
	Index int    // in topo.Lab.Links
	Name  string // of topo.Lab.LinkNames
}

// Names lists what is struck, for people and for comparison.
func (s Strike) Names() []string {
	names := slices.Clone(s.Processes)
	for _, l := range s.Links {
		names = append(names, l.Name)
	}
	return names
}

// switchProcess is the one process that all switches of a lab share.
const switchProcess = "ovs-vswitchd"

// Plan finds out what of a lab a fault strikes. processes are those that the
// lab has. The error names what there is instead, where a target does not
// exist.
func Plan(lab *topo.Lab, processes []Process, f scenarios.Fault) (Strike, error) {
	s := Strike{Fault: f}
	err := f.Validate()
	if err != nil {
		return s, err
	}
	switch f.Kind {
	case scenarios.Kill, scenarios.Pause:
		s.Processes, s.Links, err = struck(lab, processes, f.Target)
	case scenarios.Cut, scenarios.Degrade:
		var i int
		if i, err = lab.FindLink(f.Target); err == nil {
			s.Links = links(lab, func(at int, _ topo.Link) bool { return at == i })
		}
	case scenarios.Partition:
		s.Links, err = between(lab, f.Groups[0], f.Groups[1])
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", f, err)
	}
	return s, nil
}

// struck are the processes and links that go when a target does.
func struck(lab *topo.Lab, processes []Process, target string) (names []string, gone []Link, err error) {
	for _, p := range processes { // the narrowest first: a service may have the name of its host
		if p.Name == target {
			return []string{target}, nil, nil
		}
	}
	i := slices.IndexFunc(lab.Nodes, func(n topo.Node) bool { return n.Name == target })
	if i < 0 {
		return nil, nil, fmt.Errorf("lab %s has no process and no node of that name: it has %s", lab.Name, list(targets(lab, processes)))
	}
	for _, p := range processes {
		if p.Node == target {
			names = append(names, p.Name)
		}
	}
	if lab.Nodes[i].Kind == topo.KindSwitch {
		if lab.Switches != topo.SwitchesIsolated {
			return nil, nil, fmt.Errorf("all switches of lab %s are one process, %s, which can be killed or paused as a whole; `switches: isolated` in the lab file gives each a process of its own", lab.Name, switchProcess)
		}
		if len(names) == 0 {
			return nil, nil, fmt.Errorf("switch %s has no process", target)
		}
		return names, nil, nil
	}
	// A machine that is off or stands still answers nobody.
	return names, links(lab, func(_ int, l topo.Link) bool { return l.A.Node == target || l.B.Node == target }), nil
}

// targets are what can be killed or paused.
func targets(lab *topo.Lab, processes []Process) []string {
	var all []string
	for _, p := range processes {
		all = append(all, p.Name)
	}
	for _, n := range lab.Nodes {
		if (n.Kind != topo.KindSwitch || lab.Switches == topo.SwitchesIsolated) && !slices.Contains(all, n.Name) {
			all = append(all, n.Name)
		}
	}
	return all
}

// links are those of a lab for which is tells true.
func links(lab *topo.Lab, is func(index int, l topo.Link) bool) []Link {
	var all []Link
	names := lab.LinkNames()
	for i, l := range lab.Links {
		if is(i, l) {
			all = append(all, Link{Index: i, Name: names[i]})
		}
	}
	return all
}

// between lists the links that join two groups of switches. It is an error
// when there is none, or when another switch joins the groups all the same.
func between(lab *topo.Lab, a, b []string) ([]Link, error) {
	kinds := map[string]topo.Kind{}
	var switches []string
	for _, n := range lab.Nodes {
		kinds[n.Name] = n.Kind
		if n.Kind == topo.KindSwitch {
			switches = append(switches, n.Name)
		}
	}
	for _, name := range slices.Concat(a, b) {
		switch kind, ok := kinds[name]; {
		case !ok:
			return nil, fmt.Errorf("lab %s has no switch %s: it has %s", lab.Name, name, list(switches))
		case kind != topo.KindSwitch:
			return nil, fmt.Errorf("%s is a host, and hosts follow their switch: name that", name)
		}
	}
	rest := map[string][]string{}
	cut := links(lab, func(_ int, l topo.Link) bool {
		x, y := l.A.Node, l.B.Node
		if slices.Contains(a, x) && slices.Contains(b, y) || slices.Contains(a, y) && slices.Contains(b, x) {
			return true
		}
		rest[x], rest[y] = append(rest[x], y), append(rest[y], x)
		return false
	})
	if way := detour(rest, a, b); way != "" {
		return nil, fmt.Errorf("%s would still join them: put it into one of the groups", way)
	}
	if len(cut) == 0 {
		return nil, fmt.Errorf("no link joins them")
	}
	return cut, nil
}

// detour names a node of neither group through which the groups still reach
// each other; "": there is none.
func detour(neighbours map[string][]string, a, b []string) string {
	via := map[string]string{} // the node after the group that a node was reached by
	queue := slices.Clone(a)
	for _, n := range a {
		via[n] = ""
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, next := range neighbours[n] {
			if _, seen := via[next]; seen {
				continue
			}
			if slices.Contains(b, next) {
				return n
			}
			via[next] = n
			queue = append(queue, next)
		}
	}
	return ""
}

func list(names []string) string {
	const most = 30
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
