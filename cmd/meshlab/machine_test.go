//go:build integration

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/sandbox"
	"meshlab.dev/meshlab/orchestrate/sandbox/tuntest"
)

// The tests of this package run on a machine of their own: namespaces in
// which they see no process, link, mount or lab of anybody else. They can
// count what is left, remove all labs, and change /dev/net/tun, and the
// kernel cleans up whatever happens to them. The test program starts itself
// again for that; stageVar says what it is this time.
const (
	stageVar = "MESHLAB_TEST_STAGE"
	binVar   = "MESHLAB_TEST_FOLDER" // readable for everybody: bin/meshlab, bin/test, tmp
	dirVar   = "MESHLAB_TEST_PACKAGE"
)

func TestMain(m *testing.M) {
	code, err := stage(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "meshlab tests:", err)
		code = 1
	}
	os.Exit(code)
}

func stage(m *testing.M) (int, error) {
	switch os.Getenv(stageVar) {
	case "":
		return startMachine()
	case "machine":
		if err := os.Setenv(stageVar, "tests"); err != nil {
			return 0, err
		}
		return sandbox.Init(os.Args[1:], 0)
	case "list":
		return m.Run(), nil
	case "fetch":
		return 0, fetch(os.Args[1:])
	case "datagrams":
		return 0, datagrams(os.Args[1:])
	case "pour":
		return 0, pour(os.Args[1:])
	case "swallow":
		return 0, swallow(os.Args[1:])
	case "load":
		connections, err := strconv.Atoi(os.Args[2])
		if err != nil {
			return 0, err
		}
		return 0, generate(os.Args[1], connections)
	case "versions":
		connections, err := strconv.Atoi(os.Args[2])
		if err != nil {
			return 0, err
		}
		return 0, versions(os.Args[1], connections)
	}
	if err := furnish(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// startMachine runs this program again on a machine of its own, or each test
// on one.
func startMachine() (code int, err error) {
	flag.Parse()
	runtime.LockOSThread() // the death signal of the machine is tied to the thread
	dir, err := os.MkdirTemp("", "meshlabtest")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := errors.Join(makeFolders(dir), buildBinaries(dir)); err != nil {
		return 0, err
	}
	if skip, all := sharedOut(); all {
		return shareOut(dir, skip)
	}
	cmd, err := machine(dir, os.Args[1:])
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return exitOf(cmd.Run())
}

// makeFolders makes the folders of a machine, which every user may read.
func makeFolders(dir string) error {
	bin := filepath.Join(dir, "bin")
	tmp := filepath.Join(dir, "tmp")
	return errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755), os.Mkdir(bin, 0o755), os.Mkdir(tmp, 0o777), os.Chmod(tmp, 0o777|os.ModeSticky))
}

// buildBinaries builds meshlab, and copies this program, where every user
// may run them.
func buildBinaries(dir string) error {
	bin := filepath.Join(dir, "bin")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(bin, "meshlab"), ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build meshlab: %w\n%s", err, out)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bin, "test"), self, 0o755)
}

// furnish gives the new machine its loopback device, and a tun device that
// every user may open.
func furnish() error {
	if err := os.Chdir(os.Getenv(dirVar)); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	_ = tuntest.Share() // who may not do that keeps the machine's
	// As on every machine that has been started: unshare(1), which doctor asks,
	// makes it when it is missing (libmount).
	return os.MkdirAll("/run/mount", 0o755)
}
