package imports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// lab writes the lab file of a draft.
func (d *draft) lab(format Format) ([]byte, error) {
	if len(d.devices) == 0 {
		return nil, d.errorf(at{d.file, 0}, "there is no device in it")
	}
	d.labName()
	d.names()
	f, err := d.fabric()
	if err != nil {
		return nil, err
	}
	hosts, vip, err := f.addresses()
	if err != nil {
		return nil, err
	}
	d.runs = slices.DeleteFunc(d.runs, func(r *run) bool {
		if r.dev.sw {
			d.notef(r.at, "a service of %s is left out: services run on hosts, and it is a switch", r.dev.given)
		}
		return r.dev.sw
	})
	m, err := d.mesh()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(d.notes, compareNotes)

	var b bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# Made by `meshlab import` from %s (%s).", oneLine(path.Base(d.file)), format)
	say("name: %s", scalar(d.name))
	if d.description != "" {
		say("description: %s", scalar(oneLine(d.description)))
	}
	d.writeMesh(say, vip.IsValid(), vip.String())

	say("\nnodes:")
	for _, dev := range d.devices {
		say("  %s: %s", scalar(dev.name), nodeText(dev, hosts[dev]))
	}
	if len(f.links) > 0 {
		say("\nlinks:")
		for _, l := range f.links {
			mtu := ""
			if l.mtu != 0 {
				mtu = fmt.Sprintf("\n    mtu: %d", l.mtu)
			}
			say("  - endpoints: [%s, %s]%s", doubleQuoted(l.a), doubleQuoted(l.b), mtu)
		}
	}
	m.write(say)
	return b.Bytes(), nil
}

type sayer func(format string, args ...any)

func (d *draft) writeMesh(say sayer, known bool, vip string) {
	var keys []string
	if known {
		keys = append(keys, "vip: "+vip)
	}
	for _, dev := range d.devices {
		if dev.server && !dev.sw {
			keys = append(keys, "server: "+scalar(dev.name))
			break
		}
	}
	if len(keys) > 0 {
		say("\nmesh: { %s }", strings.Join(keys, ", "))
	}
}

func nodeText(dev *device, s stated) string {
	if dev.sw {
		if dev.dpid != 0 {
			return fmt.Sprintf(`{ kind: switch, dpid: "%016x" }`, dev.dpid)
		}
		return "{ kind: switch }"
	}
	out := "{ kind: host"
	if s.ipv4.IsValid() {
		out += ", ipv4: " + s.ipv4.String()
	}
	if s.mac != nil {
		out += ", mac: " + doubleQuoted(s.mac.String())
	}
	return out + " }"
}

func (m *mesh) write(say sayer) {
	if len(m.services) == 0 {
		say("\n# No service was found. Name one for each program that listens on a TCP port:\n#")
		say("# services:\n#   web:\n#     node: %s\n#     port: 8080\n#     command: [python3, -m, http.server, \"{{ port }}\"]", m.anyHost())
		say("# client:\n#   upstreams: { web: 9001 }")
		return
	}
	say("\nservices:")
	for i, s := range m.services {
		if i > 0 {
			say("")
		}
		s.write(say)
	}
	if len(m.client) > 0 {
		say("\nclient:\n  upstreams: %s", upstreamText(m.client))
	}
	if len(m.requests) == 0 {
		say("\n# Add a request: without one, no load can be sent.\n#")
		say("# requests:\n#   page:\n#     to: %s", m.client[0].service)
		return
	}
	say("\nrequests:")
	for _, r := range m.requests {
		say("  %s:\n    to: %s", scalar(r.name), scalar(r.to))
		for _, k := range r.keys {
			say("    %s", k)
		}
	}
}

func (m *mesh) anyHost() string {
	for _, dev := range m.devices {
		if !dev.sw {
			return dev.name
		}
	}
	return "h1"
}

func (s *service) write(say sayer) {
	if s.standIn != "" {
		say("  # Stands in for %s: put a command of your own", oneLine(s.standIn))
		say("  # in the place of builtin, and the variables that it reads.")
		if len(s.hint) > 0 {
			say("  # It was started as: %s", oneLine(strings.Join(s.hint, " ")))
		}
		if len(s.was) > 0 {
			say("  # Its variables were:")
		}
		for _, v := range s.was {
			say("  #   %s", oneLine(scalar(v.name)+": "+scalar(oneLine(v.value))))
		}
	}
	say("  %s:", scalar(s.instance))
	if s.instance != s.service {
		say("    service: %s", scalar(s.service))
	}
	say("    node: %s\n    port: %d", scalar(s.dev.name), s.port)
	switch {
	case s.builtin != "":
		say("    builtin: %s", s.builtin)
	case s.image != "":
		say("    image: %s", scalar(s.image))
	case len(s.command) == 0:
		say("    builtin: %s", echo)
	}
	if s.builtin == "" && len(s.command) > 0 {
		var words []string
		for _, w := range s.command {
			words = append(words, scalar(w))
		}
		say("    command: [%s]", strings.Join(words, ", "))
	}
	if s.limits != (limits{}) {
		say("    limits: %s", s.limits)
	}
	if len(s.env) > 0 {
		say("    environment:")
		for _, v := range s.env {
			say("      %s: %s", scalar(v.name), scalar(v.value))
		}
	}
	if len(s.upstreams) > 0 {
		say("    upstreams: %s", upstreamText(s.upstreams))
	}
	if s.publish == 0 {
		say("    publish: 0 # any free port of your loopback, for a browser")
	} else if s.publish > 0 {
		say("    publish: %d", s.publish)
	}
}

// String is the limits as YAML.
func (l limits) String() string {
	var out []string
	if l.cpus > 0 {
		out = append(out, "cpus: "+strconv.FormatFloat(l.cpus, 'f', -1, 64))
	}
	switch m := l.memory; {
	case m == 0:
	case m%(1<<20) == 0:
		out = append(out, fmt.Sprintf("memory: %dMiB", m>>20))
	default:
		out = append(out, fmt.Sprintf("memory: %d.%03dkB", m/1000, m%1000))
	}
	return "{ " + strings.Join(out, ", ") + " }"
}

func upstreamText(list []upstream) string {
	var out []string
	for _, u := range list {
		out = append(out, scalar(u.service)+": "+strconv.Itoa(u.port))
	}
	return "{ " + strings.Join(out, ", ") + " }"
}

// plain is a word that may stand without quotes, in lists and mappings too,
// unless YAML takes it for something else than text.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*[.]?$`)

// scalar is a text as YAML: bare where that is read as the same text, else in
// the quotes that need the fewest escapes.
func scalar(s string) string {
	if plain.MatchString(s) {
		var back any
		if err := yaml.Unmarshal([]byte(s), &back); err == nil && back == s {
			return s
		}
	}
	if strings.Contains(s, `"`) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f || r == '\'' }) {
		return "'" + s + "'"
	}
	return doubleQuoted(s)
}

// doubleQuoted is a text in double quotes, with the escapes of JSON, which
// YAML has too (YAML 1.2.2, section 1.2).
func doubleQuoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(strings.ToValidUTF8(s, "?")) // of a string into memory
	return strings.TrimSuffix(b.String(), "\n")
}

func compareNotes(a, b Note) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	return a.Line - b.Line
}
