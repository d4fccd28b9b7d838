package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"meshlab.dev/meshlab/orchestrate"
)

func TestRollBack(t *testing.T) {
	cause := errors.New("a step failed")
	claimed := func() (orchestrate.State, *orchestrate.Claim) {
		s := orchestrate.State{Dir: filepath.Join(t.TempDir(), "meshlab", "mine")}
		claim, err := s.Claim(func(orchestrate.Record) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(claim.Release)
		return s, claim
	}
	s, claim := claimed()
	if err := rollBack(t.Context(), cause, s, orchestrate.Record{}, claim); !errors.Is(err, cause) || errors.Is(err, ErrLeft) {
		t.Errorf("roll back of what was never started: %v", err)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state folder stays: %v", err)
	}
	// A thread has no pidfd of its own (pidfd_open(2)): it cannot be killed.
	s, claim = claimed()
	if err := rollBack(t.Context(), cause, s, orchestrate.Record{PID: otherThread(t)}, claim); !errors.Is(err, cause) || !errors.Is(err, ErrLeft) {
		t.Errorf("roll back of what will not end: %v", err)
	}
	if _, err := os.Stat(s.Dir); err != nil {
		t.Errorf("`down` has nothing to find the lab by: %v", err)
	}
}

// otherThread is the number of a thread of this process that is not its first.
func otherThread(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n != os.Getpid() {
			return n
		}
	}
	t.Fatal("this process has one thread")
	return 0
}
