//go:build integration

package sandbox

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// insideVar makes this test program the first process of a sandbox.
const insideVar = "MESHLAB_TEST_SANDBOX"

func TestMain(m *testing.M) {
	dir := os.Getenv(insideVar)
	switch {
	case dir == "":
		os.Exit(m.Run())
	case os.Getpid() == 1:
		code, err := Init(nil, 0, Bind{dir, "/run/meshlab"}, Bind{filepath.Join(dir, "engine.sock"), "/run/deep/engine.sock"})
		if err != nil {
			panic(err)
		}
		os.Exit(code)
	}
	// Inside: what was bound is there, and nothing else of the machine's /run.
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	c, err := net.Dial("unix", "/run/deep/engine.sock")
	must(err)
	_, err = io.Copy(os.Stdout, c)
	must(err)
	entries, err := os.ReadDir("/run")
	must(err)
	for _, e := range entries {
		os.Stdout.WriteString(" " + e.Name())
	}
	must(os.WriteFile("/run/meshlab/from-inside", nil, 0o600))
}

// A folder and a socket below /run are bound, though the sandbox has a /run of
// its own, and the machine sees what is written there.
func TestBinds(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("writes below /run")
	}
	dir, err := os.MkdirTemp("/run", "meshlab-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "engine.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Write([]byte("engine"))
			c.Close()
		}
	}()
	t.Setenv(insideVar, dir)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Config{Log: log, Held: log})
	if err != nil {
		t.Fatal(err)
	}
	st, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !st.Success() || strings.TrimSpace(string(text)) != "engine deep meshlab" {
		t.Errorf("%v, it printed %s", st, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "from-inside")); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), "/run/deep") {
		t.Error("a mount of the sandbox is seen outside")
	}
}
