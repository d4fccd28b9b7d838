package imports

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"strings"
)

// at is where something stands in the source.
type at struct {
	file string
	line int
}

// draft is a lab on its way: what the source says of it, in the source's
// terms, and what there is to tell the user.
type draft struct {
	fsys   fs.FS
	folder string
	file   string // the file that the import began with

	name        string
	description string
	devices     []*device
	segments    []*segment
	runs        []*run
	virtual     []pinned // addresses that hosts were told by hand
	notes       []Note
	truncated   bool
	scripted    int // bytes of scripts that were read
}

// device is a machine of the source.
type device struct {
	at
	given  string // its name in the source
	name   string // in the lab
	sw     bool   // a switch
	server bool   // runs a Consul server
	env    []variable
	ifaces []*iface
	joined bool // a host: has its link

	bridges  []string       // bridges made on it
	ports    []string       // interfaces of the bridges, in the order of their making
	requests map[string]int // OpenFlow port that an interface asks for
	dpid     uint64
	taken    map[int]bool   // OpenFlow ports that links have
	portOf   map[string]int // OpenFlow port of an interface; nil: not numbered yet
}

// iface is an interface of a device, with what the source says of it.
type iface struct {
	at
	name  string
	addrs []address
	mac   net.HardwareAddr
	macAt at
	mtu   int
	inNet bool // an end of a segment
}

type address struct {
	at
	netip.Prefix
}

// pinned is an address that a host was told the MAC address of.
type pinned struct {
	at
	addr netip.Addr
}

type variable struct{ name, value string }

// segment is a broadcast domain: two ends make a link, more need a switch.
type segment struct {
	at
	name string
	ends []end
	mtu  int // 0: not stated
}

type end struct {
	at
	dev   *device
	iface string
}

// iface returns an interface by name, a new one when there is none.
func (d *device) iface(name string, where at) *iface {
	for _, i := range d.ifaces {
		if i.name == name {
			return i
		}
	}
	i := &iface{at: where, name: name}
	d.ifaces = append(d.ifaces, i)
	return i
}

func (d *device) getenv(name string) string {
	for _, v := range d.env {
		if v.name == name {
			return v.value
		}
	}
	return ""
}

func (d *device) setenv(name, value string) {
	for i := range d.env {
		if d.env[i].name == name {
			d.env[i].value = value
			return
		}
	}
	d.env = append(d.env, variable{name, value})
}

// shown is how a file is named to the user.
func (d *draft) shown(file string) string { return path.Join(d.folder, file) }

func (d *draft) notef(where at, format string, args ...any) {
	if len(d.notes) >= maxNotes {
		if !d.truncated {
			d.truncated = true
			d.notes = append(d.notes, Note{File: d.shown(d.file), Text: "more was not carried over than is listed here"})
		}
		return
	}
	d.notes = append(d.notes, Note{File: d.shown(where.file), Line: where.line, Text: oneLine(fmt.Sprintf(format, args...))})
}

func (d *draft) errorf(where at, format string, args ...any) error {
	return &SourceError{File: d.shown(where.file), Line: where.line, Message: oneLine(fmt.Sprintf(format, args...))}
}

// read returns a file, with errors in the user's terms.
func (d *draft) read(name string, limit int64) ([]byte, error) {
	src, err := read(d.fsys, name, limit)
	var se *SourceError
	if errors.As(err, &se) {
		return nil, &SourceError{d.shown(se.File), se.Line, se.Message}
	}
	return src, err
}

// maxShown bounds how many characters of the source a message repeats.
const maxShown = 200

// oneLine makes a text fit for a line of a message or a comment: printable,
// and not too long.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff' || r == '\ufffd':
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > 2*maxShown {
		s = string(r[:2*maxShown]) + "..."
	}
	return s
}

// quote shows a word of the source in a message, shortened when it is long.
func quote(s string) string {
	if r := []rune(s); len(r) > maxShown {
		s = string(r[:maxShown]) + "..."
	}
	return fmt.Sprintf("%q", s)
}
