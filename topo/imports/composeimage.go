package imports

import (
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"meshlab.dev/meshlab/topo"
)

// Bounds of limits in a lab file (topo).
const (
	minMemory = 6 << 20 // bytes
	maxMemory = 1 << 50 // bytes
	minCPUs   = 0.01
	maxCPUs   = 4096
)

// container takes what says how the image of a service runs: its command and
// limits. Builtins that take the place of an image need neither.
func (c *compose) container(r *run, k key, s types.ServiceConfig, img image) {
	if s.Build != nil || !topo.IsReference(s.Image) || img.consul || len(img.builtins) > 0 {
		return
	}
	if len(s.Entrypoint) > 0 {
		c.notef(at{c.file, k.value.lineOf("entrypoint")}, "entrypoint of %s is not carried over: the image's own runs", k.name)
	}
	if len(s.Command) > 0 {
		unfit := strings.TrimSpace(s.Command[0]) == "" || slices.ContainsFunc(s.Command, func(w string) bool { return strings.ContainsRune(w, 0) })
		if unfit {
			c.notef(at{c.file, k.value.lineOf("command")}, "command of %s is not carried over: it begins with an empty word, or holds a zero byte", k.name)
		} else {
			for _, w := range s.Command {
				r.command = append(r.command, literal(w))
			}
		}
	}
	cpus, memory := float32(s.CPUS), int64(s.MemLimit)
	if s.Deploy != nil && s.Deploy.Resources.Limits != nil {
		l := s.Deploy.Resources.Limits
		if v := l.NanoCPUs.Value(); v != 0 {
			cpus = v
		}
		if l.MemoryBytes != 0 {
			memory = int64(l.MemoryBytes)
		}
	}
	// The nearest short decimal: 0.1 of 32 bits is no 0.1 of 64.
	if v, err := strconv.ParseFloat(strconv.FormatFloat(float64(cpus), 'f', -1, 32), 64); err == nil && v >= minCPUs && v <= maxCPUs {
		r.limits.cpus = v
	} else if cpus != 0 {
		c.notef(r.at, "the limit of %s to %v processors is not carried over: it is out of bounds", k.name, cpus)
	}
	switch {
	case memory >= minMemory && memory <= maxMemory:
		r.limits.memory = memory
	case memory != 0:
		c.notef(r.at, "the limit of %s to %d bytes of memory is not carried over: it is out of bounds", k.name, memory)
	}
}
