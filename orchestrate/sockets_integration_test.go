//go:build integration

package orchestrate

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// portsVar makes this test program a switch with so many ports.
const portsVar = "MESHLAB_TEST_PORTS"

func TestMain(m *testing.M) {
	ports := 0
	if _, err := fmt.Sscan(os.Getenv(portsVar), &ports); err != nil {
		os.Exit(m.Run())
	}
	for range ports {
		if _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); err != nil {
			panic(err)
		}
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
}

// The packet sockets of a lab's switch are taken over, those of others not,
// and the end of the lab closes them.
func TestKillTakesPacketSockets(t *testing.T) {
	const ports = 30
	program := filepath.Join(t.TempDir(), switchProgram)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	start := func() (pid int) {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", portsVar, ports))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it may have ended
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return cmd.Process.Pid
	}
	mine, others := start(), start()
	before := openFiles(t)
	sockets := takePacketSockets(mine)
	if len(sockets) != ports {
		t.Errorf("took %d sockets of %d", len(sockets), ports)
	}
	closeTogether(sockets)
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, and %d before", after, before)
	}

	started, err := StartTime(mine)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Record{Name: "t", PID: mine, StartTime: started}).Kill(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("after the end of the lab %d files are open, and %d before", after, before)
	}
	if _, err := StartTime(others); err != nil {
		t.Errorf("the other lab: %v", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
