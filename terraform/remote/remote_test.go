package remote

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/terraform/remote/remotetest"
)

func answer(command string) (string, error) {
	switch command {
	case "hang":
		return "", remotetest.ErrHang
	case "fail":
		return "", errors.New("no such file")
	}
	return "said\n", nil
}

func TestOutput(t *testing.T) {
	host, _ := remotetest.Key(t)
	mine, text := remotetest.Key(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	remotetest.Serve(t, ln, host, mine.PublicKey(), answer)
	dir := t.TempDir()
	m := Machine{User: "meshlab", Address: ln.Addr().String(), Key: filepath.Join(dir, "key"), KnownHosts: filepath.Join(dir, "known_hosts")}
	if err := os.WriteFile(m.Key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // met, and met again
		if out, err := m.Output(t.Context(), "say"); err != nil || string(out) != "said\n" {
			t.Fatalf("%q, %v", out, err)
		}
	}
	if st, err := os.Stat(m.KnownHosts); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("known hosts: %v, %v", st, err)
	}
	if text, err := os.ReadFile(m.KnownHosts); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("known hosts hold %q, %v", text, err)
	}
	var f *Fault
	if _, err := m.Output(t.Context(), "fail"); !errors.As(err, &f) || f.Said != "no such file" {
		t.Errorf("a command that fails: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := m.Output(ctx, "hang"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that hangs: %v", err)
	}

	// Another machine at the same address.
	ln.Close()
	again, err := net.Listen("tcp", m.Address)
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := remotetest.Key(t)
	remotetest.Serve(t, again, stranger, mine.PublicKey(), answer)
	if _, err := m.Output(t.Context(), "say"); !errors.Is(err, ErrHostKey) {
		t.Errorf("another machine: %v", err)
	}
	m.KnownHosts += ".new"
	if _, err := m.Output(t.Context(), "say"); err != nil {
		t.Errorf("met for the first time: %v", err)
	}
	// A key that it does not let in.
	_, other := remotetest.Key(t)
	if err := os.WriteFile(m.Key, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Output(t.Context(), "say"); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("with another key: %v", err)
	}
	again.Close()
	if _, err := m.Output(t.Context(), "say"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
}
