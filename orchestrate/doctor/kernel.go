package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// checkDatapath asks for the kernel's own datapath. Asking for the family
// loads its module when the asking user may do that.
func checkDatapath() Finding {
	f := Finding{Name: "Open vSwitch kernel datapath"}
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err == nil {
		f.Status, f.Detail = OK, "loaded"
		return f
	}
	f.Status = Warn
	list, err := os.ReadFile(filepath.Join("/lib/modules", kernelRelease(), "modules.dep"))
	switch {
	case err == nil && lists(string(list), "openvswitch"):
		f.Detail = "not loaded; bridges would forward in user space, which is slower"
		f.Remedy = "sudo modprobe openvswitch"
	default:
		f.Detail = "this kernel has none; bridges forward in user space, which is slower"
	}
	return f
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// lists tells whether modules.dep, see depmod(8), has a module.
func lists(modulesDep, module string) bool {
	for line := range strings.Lines(modulesDep) {
		file, _, _ := strings.Cut(line, ":")
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		if name == module {
			return true
		}
	}
	return false
}

const tunDevice = "/dev/net/tun"

// checkTun opens the device from which Open vSwitch makes the ports of its
// datapath in user space.
func checkTun() Finding {
	file, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err == nil {
		_ = file.Close()
	}
	return judgeTun(err)
}

// judgeTun reads the error of opening the device for reading and writing.
func judgeTun(err error) Finding {
	f := Finding{Name: tunDevice, Status: Missing}
	switch {
	case err == nil:
		f.Status, f.Detail = OK, "may be opened"
	case errors.Is(err, fs.ErrPermission):
		f.Detail = "this user may not write it, and Open vSwitch needs it in user space"
		f.Remedy = "sudo chmod 0666 " + tunDevice
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		f.Detail = "the kernel's tun driver is not loaded"
		f.Remedy = "sudo modprobe tun"
	default:
		f.Detail = err.Error()
	}
	return f
}

// checkNamespaces starts a process in the namespaces of a lab, and has it
// mount something there: AppArmor lets a user make the namespaces and then
// forbids all that they are good for.
func checkNamespaces(ctx context.Context) Finding {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	cmd := exec.CommandContext(ctx, "/bin/mount", "-t", "tmpfs", "tmpfs", "/tmp")
	if os.Geteuid() == 0 {
		// Unshareflags, other than Cloneflags, makes all mounts private first.
		attr.Unshareflags = syscall.CLONE_NEWNS
	} else {
		attr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return judgeNamespaces(err, os.Geteuid(), readLimits())
}

// limits are the switches by which kernels and distributions forbid user
// namespaces; -1 stands for one that this kernel does not have.
type limits struct {
	maxUser  int // user.max_user_namespaces, user_namespaces(7)
	clone    int // kernel.unprivileged_userns_clone, Debian's own
	appArmor int // kernel.apparmor_restrict_unprivileged_userns, Ubuntu's own
}

func readLimits() limits {
	return limits{
		maxUser:  readNumber("/proc/sys/user/max_user_namespaces"),
		clone:    readNumber("/proc/sys/kernel/unprivileged_userns_clone"),
		appArmor: readNumber("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
	}
}

// readNumber returns -1 when there is no such file or no number in it.
func readNumber(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	return n
}

// judgeNamespaces explains the error of the attempt.
func judgeNamespaces(err error, uid int, l limits) Finding {
	f := Finding{Name: "namespaces", Status: Missing}
	switch {
	case err == nil && uid == 0:
		f.Status, f.Detail = OK, "root may make them"
	case err == nil:
		f.Status, f.Detail = OK, "this user may make them without root"
	case uid == 0:
		f.Detail = "root may not make them, as in a container without --privileged: " + err.Error()
	case l.maxUser == 0:
		f.Detail = "the kernel allows no user namespaces"
		f.Remedy = "sudo sysctl -w user.max_user_namespaces=28633"
	case l.clone == 0:
		f.Detail = "the kernel allows user namespaces to root only"
		f.Remedy = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case l.appArmor == 1:
		f.Detail = "AppArmor takes all rights from a user's namespaces"
		f.Remedy = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	default:
		f.Detail = "this user may not make them: " + err.Error()
		f.Remedy = "sudo meshlab up"
	}
	return f
}
