package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Check(t.Context()) {
		if seen[f.Name] {
			t.Errorf("two findings are called %s", f.Name)
		}
		seen[f.Name] = true
		if f.Detail == "" {
			t.Errorf("%s: no detail", f.Name)
		}
		if f.Status != OK && f.Status != Warn && f.Status != Missing {
			t.Errorf("%s: status %q", f.Name, f.Status)
		}
		if strings.Contains(f.Remedy, "\n") || f.Status == OK && f.Remedy != "" {
			t.Errorf("%s: remedy %q, want one command and none when all is well", f.Name, f.Remedy)
		}
	}
}

func TestUsable(t *testing.T) {
	if !Usable([]Finding{{Status: OK}, {Status: Warn}}) {
		t.Error("a warning makes the machine unusable")
	}
	if Usable([]Finding{{Status: OK}, {Status: Missing}}) {
		t.Error("a machine without something is usable")
	}
}

func TestJudgeNamespaces(t *testing.T) {
	refused := errors.New("fork/exec /bin/mount: operation not permitted")
	open := limits{maxUser: 1000, clone: -1, appArmor: -1}
	for name, tc := range map[string]struct {
		err        error
		uid        int
		limits     limits
		status     Status
		wantRemedy string
	}{
		"user, allowed":     {nil, 1000, open, OK, ""},
		"root, allowed":     {nil, 0, open, OK, ""},
		"root in container": {refused, 0, open, Missing, ""},
		"none at all":       {refused, 1000, limits{0, 1, 1}, Missing, "user.max_user_namespaces"},
		"Debian 10":         {refused, 1000, limits{1000, 0, -1}, Missing, "kernel.unprivileged_userns_clone=1"},
		"Ubuntu 24.04":      {refused, 1000, limits{1000, 1, 1}, Missing, "kernel.apparmor_restrict_unprivileged_userns=0"},
		"unknown reason":    {refused, 1000, open, Missing, "sudo meshlab up"},
	} {
		t.Run(name, func(t *testing.T) {
			f := judgeNamespaces(tc.err, tc.uid, tc.limits)
			if f.Status != tc.status || (tc.wantRemedy == "") != (f.Remedy == "") || !strings.Contains(f.Remedy, tc.wantRemedy) {
				t.Errorf("got %+v, want %s with remedy %q", f, tc.status, tc.wantRemedy)
			}
		})
	}
}

func TestJudgeTun(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status Status
		remedy string
	}{
		"fine":         {nil, OK, ""},
		"not writable": {&fs.PathError{Err: unix.EACCES}, Missing, "sudo chmod 0666 /dev/net/tun"},
		"no device":    {&fs.PathError{Err: unix.ENOENT}, Missing, "sudo modprobe tun"},
		"no driver":    {&fs.PathError{Err: unix.ENODEV}, Missing, "sudo modprobe tun"},
		"other":        {&fs.PathError{Err: unix.EIO}, Missing, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if f := judgeTun(tc.err); f.Status != tc.status || f.Remedy != tc.remedy {
				t.Errorf("got %+v, want %s, %q", f, tc.status, tc.remedy)
			}
		})
	}
}

func TestListsModule(t *testing.T) {
	dep := "kernel/net/openvswitch/openvswitch.ko.xz: kernel/net/nsh/nsh.ko.xz\nkernel/net/openvswitch/vport-vxlan.ko: kernel/x.ko\n"
	for module, want := range map[string]bool{"openvswitch": true, "vport-vxlan": true, "nsh": false, "open": false} {
		if got := lists(dep, module); got != want {
			t.Errorf("lists %s: %v, want %v", module, got, want)
		}
	}
}

func TestJudgeMemory(t *testing.T) {
	for name, tc := range map[string]struct {
		meminfo string
		status  Status
		detail  string
	}{
		"plenty":  {"MemTotal:  8000000 kB\nMemAvailable:    4194304 kB\n", OK, "4.0 GiB available"},
		"little":  {"MemAvailable:    524288 kB\n", Warn, "512 MiB available"},
		"absent":  {"MemTotal: 8000000 kB\n", Warn, "does not tell"},
		"strange": {"MemAvailable: much\n", Warn, "much"},
	} {
		t.Run(name, func(t *testing.T) {
			if f := judgeMemory(tc.meminfo); f.Status != tc.status || !strings.Contains(f.Detail, tc.detail) {
				t.Errorf("got %+v, want %s, %q", f, tc.status, tc.detail)
			}
		})
	}
}

func TestJudgeDiskAndFiles(t *testing.T) {
	if f := judgeDisk("/c", 2*gibibyte, wantDisk); f.Status != OK {
		t.Errorf("enough space: %+v", f)
	}
	if f := judgeDisk("/c", 2*gibibyte, wantBuildDisk); f.Status != Warn || f.Remedy == "" {
		t.Errorf("too little to build: %+v", f)
	}
	if f := judgeFiles(wantFiles); f.Status != OK {
		t.Errorf("enough files: %+v", f)
	}
	if f := judgeFiles(1024); f.Status != Warn || f.Remedy == "" {
		t.Errorf("too few files: %+v", f)
	}
}

func TestFreeSpaceOfFolderToBe(t *testing.T) {
	here := t.TempDir()
	if free, err := freeSpace(filepath.Join(here, "not", "yet")); err != nil || free == 0 {
		t.Errorf("got %d, %v", free, err)
	}
}

func TestPostgresBin(t *testing.T) {
	install := func(dir string, programs ...string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, p := range programs {
			if err := os.WriteFile(filepath.Join(dir, p), []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, own, half := t.TempDir(), t.TempDir(), t.TempDir()
	install(own, "postgres", "initdb")
	install(half, "postgres")
	install(filepath.Join(root, "9", "bin"), "postgres", "initdb")
	install(filepath.Join(root, "15", "bin"), "postgres", "initdb")
	install(filepath.Join(root, "16", "bin"), "initdb")
	links := t.TempDir()
	for _, p := range []string{"postgres", "initdb"} {
		if err := os.Symlink(filepath.Join(own, p), filepath.Join(links, p)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		path []string
		root string
		want string
	}{
		"of the PATH":                    {[]string{half, own}, root, own},
		"through links":                  {[]string{links}, root, own},
		"15 is newer than 9, 16 is half": {[]string{half}, root, filepath.Join(root, "15", "bin")},
		"none":                           {[]string{half}, t.TempDir(), ""},
		"no such root":                   {nil, "/nonexistent", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := postgresBin(tc.path, tc.root)
			if got != tc.want || errors.Is(err, ErrNoPostgres) != (tc.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestOVSPathHasDaemonFolders(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/usr/sbin")
	if got := fmt.Sprint(OVSPath()); got != "[/usr/bin /usr/sbin /usr/local/sbin /sbin]" {
		t.Errorf("got %s", got)
	}
}

func TestVersionIn(t *testing.T) {
	for line, want := range map[string]string{
		"ovs-vswitchd (Open vSwitch) 3.1.0":   "3.1.0",
		"ovs-vswitchd (Open vSwitch) 2.17.9~": "2.17.9",
		"no version here":                     "",
	} {
		if got, ok := versionIn(line); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
}
