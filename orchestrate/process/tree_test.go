package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
)

// stateOf is the state of a process as ps(1) has it; "": there is none, or a
// dead one that nobody has waited for.
func stateOf(pid int) string {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return ""
	}
	stat, err := p.Stat()
	if err != nil || stat.State == "Z" {
		return ""
	}
	return stat.State
}

// The backends of Postgres lead sessions of their own: they must stand still
// and end with it all the same.
func TestWholeTree(t *testing.T) {
	m := newManager(t)
	file := filepath.Join(t.TempDir(), "child")
	s := sh("parent", `setsid sleep 1000 & echo $! >`+file+`; wait`)
	s.KeepRunning = true
	if err := m.Start(s); err != nil {
		t.Fatal(err)
	}
	child := 0
	until(t, m, "parent", func(Info, string) bool {
		text, _ := os.ReadFile(file)
		child, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return child != 0 && stateOf(child) == "S"
	})
	if err := m.Pause("parent"); err != nil {
		t.Fatal(err)
	}
	until(t, m, "parent", func(p Info, _ string) bool { return stateOf(p.PID) == "T" && stateOf(child) == "T" })
	if err := m.Resume("parent"); err != nil {
		t.Fatal(err)
	}
	until(t, m, "parent", func(p Info, _ string) bool { return stateOf(p.PID) == "S" && stateOf(child) == "S" })
	if err := m.Hold("parent"); err != nil {
		t.Fatal(err)
	}
	until(t, m, "parent", func(p Info, _ string) bool { return p.State == Held && stateOf(child) == "" })
}
