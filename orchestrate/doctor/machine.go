package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/consul"
)

// machine is what the checks look at: this one, or one that a test plays.
type machine struct {
	root   string // folder that the files of the machine are in
	uid    int    // user who asks
	path   []string
	getenv func(string) string

	release    string                           // of the kernel, uname(2)
	datapath   func() error                     // asks for the kernel's datapath of Open vSwitch
	tun        func() error                     // opens /dev/net/tun for reading and writing
	namespaces func(context.Context) error      // tries the namespaces of a lab
	version    func(string, ...string) string   // first line that a program prints
	consul     func() (consul.Binary, error)    // finds Consul
	goTool     func() (string, error)           // finds the go command
	engine     func(string) (engineInfo, error) // asks a container engine at a socket
}

// here is the machine that this program runs on.
func here(ctx context.Context) machine {
	return machine{
		root: "/", uid: os.Geteuid(), path: filepath.SplitList(os.Getenv("PATH")), getenv: os.Getenv,
		release: kernelRelease(),
		datapath: func() error {
			_, err := netlink.GenlFamilyGet("ovs_datapath")
			return err
		},
		tun: func() error {
			file, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
			if err == nil {
				_ = file.Close()
			}
			return err
		},
		namespaces: tryNamespaces,
		version:    func(program string, args ...string) string { return firstLine(ctx, program, args...) },
		consul:     func() (consul.Binary, error) { return consul.Lookup(ctx, consul.Options{}) },
		goTool:     consul.GoTool,
		engine:     func(socket string) (engineInfo, error) { return askEngine(ctx, socket) },
	}
}

// at is where a file of the machine is.
func (m machine) at(path string) string { return filepath.Join(m.root, path) }

func (m machine) read(path string) (string, error) {
	text, err := os.ReadFile(m.at(path))
	return string(text), err
}

// number reads a file with a number in it; -1 when there is no such file or no
// number in it.
func (m machine) number(path string) int {
	text, err := m.read(path)
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return -1
	}
	return n
}

// folders are the places of programs on the machine: those of the PATH, and
// those for daemons, which an ordinary user's PATH lacks.
func (m machine) folders() []string {
	var out []string
	for _, d := range withDaemons(m.path) {
		out = append(out, m.at(d))
	}
	return out
}

func (m machine) exists(path string) bool {
	_, err := os.Stat(m.at(path))
	return err == nil
}

func (m machine) has(program string) bool {
	_, missing := findAll(m.folders(), program)
	return len(missing) == 0
}

// needsTun tells whether Open vSwitch has to open /dev/net/tun here: an
// ordinary user has no right to the kernel's datapath.
func (m machine) needsTun() bool { return m.uid != 0 || m.datapath() != nil }

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// isMissing tells whether an error says that a file or device is not there.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}
