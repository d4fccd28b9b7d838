package imports

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
)

// kathara reads lab.conf and the startup files beside it.
func (d *draft) kathara() error {
	src, err := d.read(d.file, maxSource)
	if err != nil {
		return err
	}
	entries, err := parseLabConf(src, func(line int, format string, args ...any) error {
		return d.errorf(at{d.file, line}, format, args...)
	})
	if err != nil {
		return err
	}
	k := &katharaLab{draft: d, devices: map[string]*device{}, domains: map[string]*segment{}, first: map[[2]string]int{}, images: map[*device]string{}}
	for _, e := range entries {
		if err := k.entry(e); err != nil {
			return err
		}
	}
	switch n := len(d.devices); {
	case n == 0:
		return d.errorf(at{d.file, 0}, "no line is device[key]=value: there is no device in it")
	case n > maxNodes:
		return d.errorf(at{d.file, 0}, "%d devices; a lab may have at most %d nodes", n, maxNodes)
	}
	if err := k.startups(); err != nil {
		return err
	}
	for _, dev := range d.devices {
		if len(dev.bridges) > 0 {
			dev.sw = true
		}
	}
	k.programs()
	k.publish()
	for _, dev := range d.devices { // in the order of their numbers, as Kathará makes them
		slices.SortStableFunc(dev.ifaces, func(a, b *iface) int { return number(a.name) - number(b.name) })
	}
	for _, s := range d.segments {
		slices.SortStableFunc(s.ends, func(a, b end) int { return slices.Index(d.devices, a.dev) - slices.Index(d.devices, b.dev) })
	}
	return nil
}

// katharaLab is what lab.conf has said so far.
type katharaLab struct {
	*draft
	devices map[string]*device
	domains map[string]*segment
	first   map[[2]string]int // line that states a key of a device
	images  map[*device]string
	execs   []entry
	ports   []entry // published
}

func number(name string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "eth"))
	if err != nil {
		return 1 << 16
	}
	return n
}

// many are the keys that a device may have more than once.
var many = []string{"exec", "env", "port", "sysctl", "ulimit", "volume"}

func (k *katharaLab) entry(e entry) error {
	where := at{k.file, e.line}
	if e.device == "" {
		switch e.key {
		case "LAB_NAME":
			k.name = e.value
		case "LAB_DESCRIPTION":
			k.description = e.value
		case "LAB_VERSION", "LAB_AUTHOR", "LAB_EMAIL", "LAB_WEB":
		default:
			k.notef(where, "%s is not carried over: it is no key that is known here", e.key)
		}
		return nil
	}
	id := [2]string{e.device, e.key}
	if line := k.first[id]; line != 0 && !slices.Contains(many, e.key) {
		return k.errorf(where, "%s[%s] is stated twice; the first is in line %d", e.device, e.key, line)
	}
	k.first[id] = e.line
	dev := k.devices[e.device]
	if dev == nil {
		dev = &device{at: where, given: e.device}
		k.devices[e.device] = dev
		k.draft.devices = append(k.draft.devices, dev)
	}
	if i, ok := ifaceIndex(e.key); ok {
		return k.iface(where, dev, i, e.value)
	}
	switch e.key {
	case "image":
		k.images[dev] = e.value
		img := knownImage(e.value)
		dev.sw, dev.server = img.sw, img.consul
	case "env":
		name, value, _ := strings.Cut(e.value, "=")
		dev.setenv(name, value)
	case "exec":
		k.execs = append(k.execs, e)
	case "port":
		k.ports = append(k.ports, e)
	case "mem", "cpus", "num_terms", "shell", "bridged", "privileged":
		// Of containers and terminals; a lab has neither.
	default:
		k.notef(where, "%s[%s] is not carried over: a lab has nothing like it", e.device, e.key)
	}
	return nil
}

// iface reads an interface: a collision domain, and its MAC address if there
// is one behind a slash.
func (k *katharaLab) iface(where at, dev *device, index int, value string) error {
	domain, mac, has := strings.Cut(value, "/")
	if domain == "" {
		return k.errorf(where, "%s[%d] names no collision domain", dev.given, index)
	}
	name := "eth" + strconv.Itoa(index)
	if len(dev.ifaces) >= maxIfaces {
		return k.errorf(where, "%s has more than %d interfaces", dev.given, maxIfaces)
	}
	i := dev.iface(name, where)
	if has {
		hw, err := net.ParseMAC(mac)
		if err != nil || len(hw) != 6 {
			return k.errorf(where, "%s is no MAC address", quote(mac))
		}
		i.mac, i.macAt = hw, where
	}
	s := k.domains[domain]
	if s == nil {
		s = &segment{at: where, name: domain}
		k.domains[domain] = s
		k.segments = append(k.segments, s)
	}
	s.ends = append(s.ends, end{at: where, dev: dev, iface: name})
	return nil
}

// startups reads the startup files.
func (k *katharaLab) startups() error {
	dir := path.Dir(k.file)
	shared := path.Join(dir, "shared.startup")
	common, err := k.optional(shared)
	if err != nil {
		return err
	}
	for _, dev := range k.draft.devices {
		if common != nil {
			k.script(dev, at{shared, 1}, string(common))
		}
		for _, e := range k.execs {
			if e.device == dev.given {
				k.script(dev, at{k.file, e.line}, e.value)
			}
		}
		if !fs.ValidPath(dev.given) {
			continue // it can have no file
		}
		name := path.Join(dir, dev.given+".startup")
		src, err := k.optional(name)
		if err != nil {
			return err
		}
		if src != nil {
			k.script(dev, at{name, 1}, string(src))
		}
	}
	return k.unread(dir)
}

// unread tells which files of the lab's folder are not read.
func (k *katharaLab) unread(dir string) error {
	entries, err := fs.ReadDir(k.fsys, dir)
	if err != nil {
		return fmt.Errorf("read folder %s: %w", dir, err)
	}
	for _, e := range entries {
		name, file := e.Name(), at{path.Join(dir, e.Name()), 0}
		base, startup := strings.CutSuffix(name, ".startup")
		switch {
		case e.IsDir() && (k.devices[name] != nil || name == "shared"):
			k.notef(file, "the files for %s are not carried over: a host sees the files of this machine", name)
		case name == "lab.dep":
			k.notef(file, "the order of starting is not carried over: all services of a lab start at once")
		case name == "lab.ext":
			k.notef(file, "links to the machine's own interfaces are not carried over: a lab has no way out")
		case strings.HasSuffix(name, ".shutdown"):
			k.notef(file, "nothing is run when a lab goes down")
		case startup && base != "shared" && k.devices[base] == nil:
			k.notef(file, "lab.conf has no device %s: the file is not read", quote(base))
		}
	}
	return nil
}

// optional reads a file that need not be there; nil: it is not.
func (d *draft) optional(name string) ([]byte, error) {
	src, err := d.read(name, maxStartup)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid):
		return nil, nil
	case err != nil:
		return nil, err
	case src == nil:
		return []byte{}, nil
	}
	return src, nil
}

// programs adds the services that images start by themselves, where no
// startup file starts them already.
func (k *katharaLab) programs() {
	for _, dev := range k.draft.devices {
		ref := k.images[dev]
		if ref == "" {
			continue
		}
		where := at{k.file, k.first[[2]string{dev.given, "image"}]}
		k.fromImage(dev, where, ref)
	}
}

// fromImage adds the builtins that an image has the programs of, but for
// those that run on the host already. It tells whether there were any.
func (d *draft) fromImage(dev *device, where at, ref string) []*run {
	var out []*run
	img := knownImage(ref)
	if dev.sw {
		return nil
	}
	for _, b := range img.builtins {
		if slices.ContainsFunc(d.runs, func(r *run) bool { return r.dev == dev && r.builtin == b }) {
			continue
		}
		r := &run{at: where, dev: dev, builtin: b, publish: -1}
		if b == frontend {
			r.publish = 0
		}
		if len(img.builtins) == 1 {
			r.port = portOf(nil, dev.env)
		}
		out = append(out, r)
	}
	d.runs = append(d.runs, out...)
	if len(out) > 0 {
		d.notef(where, "the image %s of %s is known by its name: %s", quote(ref), dev.given, became(out))
	}
	return out
}

// became tells which builtins stand for programs of an image.
func became(runs []*run) string {
	var names []string
	for _, r := range runs {
		names = append(names, r.builtin)
	}
	if len(names) == 1 {
		return "the builtin " + names[0] + " takes the place of its program"
	}
	return "the builtins " + strings.Join(names, " and ") + " take the place of its programs"
}

// publish finds the services at the ports that devices publish.
func (k *katharaLab) publish() {
	for _, e := range k.ports {
		p, ok := parsePublished(e.value)
		i := slices.IndexFunc(k.runs, func(r *run) bool {
			return r.dev == k.devices[e.device] && orPort(r.port, parts[r.builtin].port) == p.port
		})
		if !ok || i < 0 {
			k.notef(at{k.file, e.line}, "the port %s of %s is not carried over: no service is known there", quote(e.value), e.device)
			continue
		}
		k.runs[i].publish = max(p.published, 0)
	}
}
