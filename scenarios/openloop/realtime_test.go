package openloop

import (
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The generator runs before everything else where that is allowed, and says
// so; who starts it does not.
func TestRealTime(t *testing.T) {
	want := mayRunRealTime(t)
	p := start(t, "generate", generatorSpec(serve(t, nil)))
	if got := mustTrial(t, p, trialSpec()).Generator.RealTime; got != want {
		t.Errorf("the generator says that it runs in real time: %v, want %v", got, want)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 10 { // on whatever thread
		if err := startRealTime(exec.Command("/bin/true")); err != nil {
			t.Fatal(err)
		}
		if realTime() {
			t.Fatal("the thread that started it kept the priority")
		}
	}
}

// mayRunRealTime tries it on a thread that is thrown away.
func mayRunRealTime(t *testing.T) bool {
	t.Helper()
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this
		a := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		done <- unix.SchedSetAttr(0, &a, 0) == nil
	}()
	return <-done
}
