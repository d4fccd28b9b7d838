// Package kubetest gives tests a Kubernetes: a real kube-apiserver on a real
// etcd, with RBAC, and where a test wants them stand-ins for what a cluster has
// beside these. The stand-ins are named so. There are no images: the containers
// of HashiCups run this project's own services.
//
// All of it runs in PID, mount and network namespaces of the test program's
// own, with a /run and a folder for temporary files in memory: when the test
// program ends, however it ends, nothing is left.
package kubetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Timeout bounds each wait of a test; a busy machine needs some of it.
const Timeout = 2 * time.Minute

// Variables of the environment by which the test program knows what it is.
const (
	insideVariable    = "KUBETEST_INSIDE"    // set: it is in its namespaces
	containerVariable = "KUBETEST_CONTAINER" // set: it is what a container runs
)

// enterScript makes the namespaces a place to work in, and becomes the command.
const enterScript = `
mount -t tmpfs -o mode=755 kubetest /run
mkdir -m 1777 /run/tmp
ip link set lo up
exec "$@"`

// Main runs the tests in namespaces of their own and returns the exit code:
// func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }. It is also what
// containers start, so nothing comes before it. The first time on a machine it
// builds kube-apiserver, which takes some minutes.
func Main(m *testing.M) int {
	switch {
	case os.Getenv(containerVariable) != "":
		return containerMain()
	case os.Getenv(confinedVariable) != "":
		fmt.Fprintln(os.Stderr, "kubetest: run a confined process:", confinedMain())
		return 1
	case os.Getenv(insideVariable) != "":
		return m.Run()
	}
	// Outside, because there is no network inside. A test that needs what is
	// not there says so.
	if err := ensurePrograms(); err != nil {
		fmt.Fprintln(os.Stderr, "kubetest:", err)
	}
	code, err := enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubetest: enter namespaces of the tests' own:", err)
		return 1
	}
	return code
}

// enter runs this program again inside, and returns its exit code.
func enter() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	args := []string{"--mount", "--pid", "--net", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-ec", enterScript, "sh", self}
	cmd := exec.Command("unshare", append(args, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), insideVariable+"=yes", "TMPDIR=/run/tmp")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A Ctrl-C reaches all of the terminal's processes; this one waits.
	signal.Ignore(syscall.SIGINT)
	// The main goroutine is on the main thread until it blocks, and the signal
	// above comes when the thread ends that started the child (prctl(2)).
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- cmd.Run()
	}()
	err = <-result
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Eventually polls until check returns nil, and fails the test with its last
// error when it has not after Timeout.
func Eventually(t testing.TB, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("wait for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// inside stops a test whose TestMain does not call Main.
func inside(t testing.TB) {
	t.Helper()
	if os.Getenv(insideVariable) == "" {
		t.Fatal("kubetest: TestMain must call kubetest.Main")
	}
}

// moduleDir is the folder of this module's sources.
func moduleDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".ci", "kube-apiserver")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no .ci/kube-apiserver above the working directory: run the tests by go test")
}
