package imports

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The longest names of a lab file, in bytes (topo).
const (
	maxNodeName    = 14
	maxServiceName = 63
	maxLabName     = 32
)

// Names of other things (topo): the first of hosts that a lab has without
// being told, so that no switch may have them, the second of devices, so that
// no node may.
var (
	automaticHosts = []string{"client", "consul-server"}
	devices        = []string{"lo", "ovs-system", "ovs-netdev"}
)

// reserved is true for a name that the device may not have.
func reserved(dev *device, name string) bool {
	return slices.Contains(devices, name) || dev.sw && slices.Contains(automaticHosts, name)
}

// names gives each device its name in the lab: its own when a lab can have
// that, else one like it.
func (d *draft) names() {
	used := map[string]bool{}
	own := map[*device]bool{}
	for _, dev := range d.devices {
		want := clean(dev.given, "_-", maxNodeName)
		if want == dev.given && !used[want] && !reserved(dev, want) {
			dev.name, own[dev], used[want] = want, true, true
		}
	}
	for _, dev := range d.devices {
		if own[dev] {
			continue
		}
		want := clean(dev.given, "_-", maxNodeName)
		if reserved(dev, want) {
			want = clean(map[bool]string{true: "sw-", false: "node-"}[dev.sw]+want, "_-", maxNodeName)
		}
		dev.name = unique(orElse(want, "node"), maxNodeName, used)
		d.notef(dev.at, "%s is %s in the lab: a name has up to 14 of a-z, 0-9, _ and -", quote(dev.given), dev.name)
	}
}

// clean makes a name of small letters, digits and the characters of keep out
// of another one: it begins with a letter or digit, and ends with one too.
func clean(s, keep string, limit int) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if b.Len() >= limit {
			break
		}
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case r < 0x80 && strings.ContainsRune(keep, r):
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	out := strings.TrimLeft(b.String(), "-_")
	if out != s { // a name that fits stays as it is
		out = strings.TrimRight(out, "-_")
	}
	return out
}

// unique returns the name, with a number behind it when it is used already.
func unique(name string, limit int, used map[string]bool) string {
	got := name
	for i := 2; used[got]; i++ {
		suffix := "-" + strconv.Itoa(i)
		got = name[:min(len(name), limit-len(suffix))] + suffix
	}
	used[got] = true
	return got
}

// serviceName makes a DNS label, as the names of services and requests are.
func serviceName(s string) string {
	return orElse(strings.Trim(clean(s, "-", maxServiceName), "-"), "service")
}

// labName checks and mends the lab's name.
func (d *draft) labName() {
	given := d.name
	d.name = orElse(clean(given, "_-", maxLabName), "imported")
	if given != "" && d.name != given {
		d.notef(at{d.file, 0}, "the lab %s is called %s: a name has up to 32 of a-z, 0-9, _ and -", quote(given), d.name)
	}
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
