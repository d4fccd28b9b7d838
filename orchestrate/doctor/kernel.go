package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// checkDatapath asks for the kernel's own datapath. Asking for the family
// loads its module when the asking user may do that.
func (m machine) checkDatapath() Finding {
	f := Finding{Name: "Open vSwitch kernel datapath"}
	if m.datapath() == nil {
		f.Status, f.Detail = OK, "loaded"
		return f
	}
	f.Status = Warn
	list, err := m.read(filepath.Join("/lib/modules", m.release, "modules.dep"))
	switch {
	case err == nil && lists(list, "openvswitch"):
		f.Detail = "not loaded; bridges would forward in user space, which is slower"
		f.Remedy = "sudo modprobe openvswitch"
	default:
		f.Detail = "this kernel has none; bridges forward in user space, which is slower"
	}
	return f
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
func (m machine) checkTun() Finding { return judgeTun(m.tun()) }

// judgeTun reads the error of opening the device for reading and writing.
func judgeTun(err error) Finding {
	f := Finding{Name: tunDevice, Status: Missing}
	switch {
	case err == nil:
		f.Status, f.Detail = OK, "may be opened"
	case errors.Is(err, fs.ErrPermission):
		f.Detail = "this user may not write it, and Open vSwitch needs it in user space"
		f.mend("chmod 0666 " + tunDevice)
	case isMissing(err):
		f.Detail = "the kernel's tun driver is not loaded"
		f.mend("modprobe tun")
	default:
		f.Detail = err.Error()
	}
	return f
}

// mend names the command for root that mends a finding, and for Install too.
func (f *Finding) mend(command string) {
	f.Remedy, f.fixes = "sudo "+command, []string{command}
}

func (m machine) checkNamespaces(ctx context.Context) Finding {
	return judgeNamespaces(m.namespaces(ctx), m.uid, m.limits())
}

// tryNamespaces starts a process in the namespaces of a lab, and has it
// mount something there: AppArmor lets a user make the namespaces and then
// forbids all that they are good for.
func tryNamespaces(ctx context.Context) error {
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
	return err
}

// limits are the switches by which kernels and distributions forbid user
// namespaces; -1 stands for one that this kernel does not have.
type limits struct {
	maxUser  int // user.max_user_namespaces, user_namespaces(7)
	clone    int // kernel.unprivileged_userns_clone, Debian's own
	appArmor int // kernel.apparmor_restrict_unprivileged_userns, Ubuntu's own
}

func (m machine) limits() limits {
	return limits{
		maxUser:  m.number("/proc/sys/user/max_user_namespaces"),
		clone:    m.number("/proc/sys/kernel/unprivileged_userns_clone"),
		appArmor: m.number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
	}
}

// forbids tells whether one of them forbids namespaces to ordinary users.
func (l limits) forbids() bool { return l.maxUser == 0 || l.clone == 0 || l.appArmor == 1 }

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
	case l.forbids():
		// Each that forbids has to go: a second one would stop the user next.
		var commands []string
		if l.maxUser == 0 {
			f.Detail = "the kernel allows no user namespaces"
			commands = append(commands, "user.max_user_namespaces=28633")
		}
		if l.clone == 0 {
			f.Detail = orElse(f.Detail, "the kernel allows user namespaces to root only")
			commands = append(commands, "kernel.unprivileged_userns_clone=1")
		}
		if l.appArmor == 1 {
			f.Detail = orElse(f.Detail, "AppArmor takes all rights from a user's namespaces")
			commands = append(commands, "kernel.apparmor_restrict_unprivileged_userns=0")
		}
		f.mend("sysctl -w " + strings.Join(commands, " "))
	default:
		f.Detail = "this user may not make them: " + err.Error()
		f.Remedy = "sudo meshlab up"
	}
	return f
}
