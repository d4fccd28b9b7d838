package imports

import (
	"slices"
	"strconv"
	"strings"
)

// bridge makes a switch of the device. what says what kind of bridge it was,
// "" when that is Open vSwitch's.
func (s *script) bridge(where at, name, what string) {
	s.dev.sw = true
	if slices.Contains(s.dev.bridges, name) {
		return
	}
	s.dev.bridges = append(s.dev.bridges, name)
	switch {
	case len(s.dev.bridges) > 1:
		s.notef(where, "%s has several bridges; they are one switch in the lab", s.dev.given)
	case what != "":
		s.notef(where, "the %s of %s becomes an Open vSwitch switch", what, s.dev.given)
	}
}

func (s *script) bridgePort(bridge, name string) {
	s.bridge(s.dev.at, bridge, "")
	if !slices.Contains(s.dev.ports, name) {
		s.dev.ports = append(s.dev.ports, name)
	}
}

func (s *script) brctl(c command) {
	switch w := c.words; {
	case len(w) == 3 && w[1] == "addbr":
		s.bridge(c.at, w[2], "Linux bridge")
	case len(w) >= 4 && w[1] == "addif":
		for _, name := range w[3:] {
			s.bridgePort(w[2], name)
		}
	case len(w) > 1 && (w[1] == "show" || w[1] == "stp"):
	default:
		s.notef(c.at, "not carried over: %s", c)
	}
}

// vsctl understands the commands of one call of ovs-vsctl, which "--"
// separates (ovs-vsctl(8)).
func (s *script) vsctl(c command) {
	s.dev.sw = true
	var part []string
	flush := func() {
		for len(part) > 0 && strings.HasPrefix(part[0], "-") {
			part = part[1:]
		}
		if len(part) > 0 {
			s.vsctlCommand(c, part)
		}
		part = nil
	}
	for _, w := range c.words[1:] {
		if w == "--" {
			flush()
			continue
		}
		part = append(part, w)
	}
	flush()
}

func (s *script) vsctlCommand(c command, w []string) {
	switch {
	case w[0] == "add-br" && len(w) >= 2:
		s.bridge(c.at, w[1], "")
	case w[0] == "add-port" && len(w) >= 3:
		s.bridgePort(w[1], w[2])
		for _, column := range w[3:] {
			s.notef(c.at, "%s of port %s is not carried over", column, w[2])
		}
	case w[0] == "set" && len(w) >= 4:
		for _, column := range w[3:] {
			s.vsctlSet(c, strings.ToLower(w[1]), w[2], column)
		}
	case w[0] == "init" || w[0] == "show" || strings.HasPrefix(w[0], "list") || w[0] == "get":
	case w[0] == "set-controller", w[0] == "set-fail-mode", w[0] == "del-controller":
		s.notef(c.at, "%s is not carried over: the controller of the mesh has the switches of a lab", w[0])
	default:
		s.notef(c.at, "not carried over: ovs-vsctl %s", strings.Join(w, " "))
	}
}

func (s *script) vsctlSet(c command, table, record, column string) {
	key, value, _ := strings.Cut(column, "=")
	value = strings.Trim(value, `"`)
	switch key = strings.ReplaceAll(key, "_", "-"); {
	case abbreviates(table, "bridge") && key == "other-config:datapath-id":
		if n, err := strconv.ParseUint(value, 16, 64); err == nil && n != 0 {
			for _, o := range s.devices {
				if o != s.dev && o.dpid == n {
					s.notef(c.at, "datapath id %s is also that of %s, and is left out", value, o.given)
					return
				}
			}
			s.dev.dpid = n
			return
		}
		s.notef(c.at, "%s is no datapath id", quote(value))
	case abbreviates(table, "interface") && key == "ofport-request":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			s.notef(c.at, "%s is no OpenFlow port", quote(value))
			return
		}
		if s.dev.requests == nil {
			s.dev.requests = map[string]int{}
		}
		s.dev.requests[record] = int(n)
	default:
		s.notef(c.at, "not carried over: %s of %s", column, record)
	}
}
