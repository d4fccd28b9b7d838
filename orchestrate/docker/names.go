package docker

import "strings"

// containerName names the container of a host, or with a process that of the
// process: meshlab-LAB.HOST or meshlab-LAB.HOST.PROCESS. Names of labs and
// hosts have no dots (topo), so no two are the same. A process called
// "consul@h1" is consul on h1.
func containerName(lab, node, process string) string {
	name := "meshlab-" + sanitize(lab) + "." + sanitize(node)
	if process != "" {
		process = strings.TrimSuffix(process, "@"+node)
		name += "." + sanitize(process)
	}
	return name
}

// sanitize replaces what the engine does not take in names (Docker Engine API,
// ContainerCreate: [a-zA-Z0-9][a-zA-Z0-9_.-]+).
func sanitize(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, s)
}
