package process

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// burnVar makes this test program burn that much CPU time and then sleep.
const burnVar = "MESHLAB_TEST_BURN"

func TestMain(m *testing.M) {
	d, err := time.ParseDuration(os.Getenv(burnVar))
	if err != nil {
		os.Exit(m.Run())
	}
	memory := make([]byte, 64<<20)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	for ts := (unix.Timespec{}); time.Duration(ts.Nano()) < d; {
		if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
			panic(err)
		}
	}
	if len(os.Args) > 1 && os.Args[1] == "leashed" {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			panic(err)
		}
	}
	os.Stdout.WriteString("burnt\n")
	time.Sleep(time.Duration(len(os.Args)-1) * time.Hour) // an argument: stay
	if memory[0] != 1 {
		panic("unreachable: keeps the memory")
	}
}

// burn is a process of a part that burns CPU time by the shell's script, which
// calls $0.
func burn(t *testing.T, name string, part Part, d time.Duration, script string) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Name: name, Part: part, Path: "/bin/sh", Args: []string{"-c", script, self},
		Env: []string{"PATH=/usr/bin:/bin", burnVar + "=" + d.String()}}
}

func printed(n int) func(Info, string) bool {
	return func(_ Info, text string) bool { return strings.Count(text, "burnt") >= n }
}

func usageOf(t *testing.T, m *Manager, part Part) Usage {
	t.Helper()
	all, err := m.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all {
		if u.Part == part {
			return u
		}
	}
	t.Fatalf("%s is not in %+v", part, all)
	return Usage{}
}

func TestUsage(t *testing.T) {
	const d = 300 * time.Millisecond
	for name, tc := range map[string]struct {
		script string
		prints int
		want   time.Duration
		memory bool
	}{
		"itself":                 {`exec "$0" stay`, 1, d, true},
		"a child":                {`"$0" stay; :`, 1, d, true},
		"a child that has ended": {`"$0"; sleep 3600`, 1, d, false},
		"two, one has ended":     {`"$0"; "$0" stay; :`, 2, 2 * d, true},
		"an orphan":              {`("$0" stay &); sleep 3600`, 1, d, true},
		// Its group is not killed with the manager's.
		"a child in its own session": {`setsid "$0" leashed; :`, 1, d, true},
		"one that has ended":         {`"$0"`, 1, d, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newManager(t)
			if err := m.Start(sh("other", "sleep 3600")); err != nil {
				t.Fatal(err)
			}
			if err := m.Start(burn(t, "burner", PartSidecar, d, tc.script)); err != nil {
				t.Fatal(err)
			}
			until(t, m, "burner", func(i Info, text string) bool {
				return printed(tc.prints)(i, text) && (name != "one that has ended" || i.State == Exited)
			})
			// Starting shell and program takes some ms each, more with -race, which
			// also takes more memory.
			var got Usage
			for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				// The shell may not have waited for its child yet.
				if got = usageOf(t, m, PartSidecar); got.CPU >= tc.want-20*time.Millisecond || time.Now().After(deadline) {
					break
				}
			}
			if got.CPU < tc.want-20*time.Millisecond || got.CPU > tc.want+300*time.Millisecond {
				t.Errorf("%v instead of %v", got.CPU, tc.want)
			}
			if got.Resident || tc.memory && (got.Memory < 64<<20 || got.Memory > 512<<20) {
				t.Errorf("%d bytes, resident %v", got.Memory, got.Resident)
			}
		})
	}
}

// A process that ends again and again is charged for all of its lives.
func TestUsageOfRestarts(t *testing.T) {
	m := newManager(t)
	s := burn(t, "burner", PartService, 50*time.Millisecond, `"$0"`)
	s.KeepRunning = true
	if err := m.Start(s); err != nil {
		t.Fatal(err)
	}
	last := time.Duration(0)
	until(t, m, "burner", func(_ Info, text string) bool {
		now := usageOf(t, m, PartService).CPU
		if now < last-20*time.Millisecond { // two shells' worth of ticks
			t.Errorf("%v after %v", now, last)
		}
		last = now
		return strings.Count(text, "burnt") >= 4
	})
	if got := usageOf(t, m, PartService).CPU; got < 180*time.Millisecond {
		t.Errorf("%v of four lives of 50 ms", got)
	}
}

// Small amounts are seen, which ticks of 10 ms would not show.
func TestUsageIsFine(t *testing.T) {
	m := newManager(t)
	if err := m.Start(Spec{Name: "cat", Part: PartSwitch, Path: "/bin/cat", Args: []string{"/dev/zero"}, Env: []string{}}); err != nil {
		t.Skip(err)
	}
	a := usageOf(t, m, PartSwitch).CPU
	for deadline := time.Now().Add(10 * time.Second); ; {
		b := usageOf(t, m, PartSwitch).CPU
		if b > a && (b-a)%(10*time.Millisecond) != 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v, then %v", a, b)
		}
	}
}

func TestCPUClockOfNobody(t *testing.T) {
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if d, err := cpuClock(cmd.Process.Pid); err != errEnded {
		t.Errorf("process %s has ended: %v, %v", strconv.Itoa(cmd.Process.Pid), d, err)
	}
}
