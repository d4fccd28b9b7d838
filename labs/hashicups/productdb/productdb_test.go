package productdb

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func program(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"lib/9/bin/postgres", "lib/9/bin/initdb", "lib/15/bin/postgres", "lib/15/bin/initdb", "lib/16/bin/initdb", "lib/common/bin/postgres", "half/postgres", "own/postgres", "own/initdb"} {
		program(t, filepath.Join(root, p))
	}
	lib := filepath.Join(root, "lib")
	tests := []struct {
		name, path, root, want string // want: folder below root; "": ErrNotInstalled
	}{
		{"on the PATH", filepath.Join(root, "own"), lib, "own"},
		{"the newest with both programs", filepath.Join(root, "half"), lib, "lib/15/bin"},
		{"empty PATH", "", lib, "lib/15/bin"},
		{"nowhere", filepath.Join(root, "half"), filepath.Join(root, "none"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := find(tt.path, tt.root)
			if tt.want == "" {
				if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "meshlab doctor") {
					t.Errorf("got %+v, %v", p, err)
				}
				return
			}
			if err != nil || p.postgres != filepath.Join(root, tt.want, "postgres") || p.initdb != filepath.Join(root, tt.want, "initdb") {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func TestRunAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test is about user id 0")
	}
	err := Run(t.Context(), func(string) string { return "127.0.0.1:1" }, slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrRoot) {
		t.Errorf("got %v", err)
	}
}

func TestServerArgs(t *testing.T) {
	tests := []struct{ address, listen, port string }{
		{":5432", "listen_addresses=*", "port=5432"},
		{"192.168.1.21:9567", "listen_addresses=192.168.1.21", "port=9567"},
		{"[::1]:5432", "listen_addresses=::1", "port=5432"},
	}
	for _, tt := range tests {
		args, err := serverArgs("/d", tt.address)
		if err != nil || !slices.Contains(args, tt.listen) || !slices.Contains(args, tt.port) {
			t.Errorf("%s: %q, %v", tt.address, args, err)
		}
	}
	if _, err := serverArgs("/d", "nonsense"); err == nil {
		t.Error("an address without a port was accepted")
	}
}

// TestSQLIsOneTransaction holds what single-user mode asks of the file: a
// semicolon before an empty line would end a statement early.
func TestSQLIsOneTransaction(t *testing.T) {
	if strings.Contains(strings.TrimSpace(productsSQL), ";\n\n") {
		t.Error("products.sql has an empty line after a semicolon")
	}
}

func TestEnsureRefuses(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(data string) error
		want    string
	}{
		{"another version", func(data string) error {
			return errors.Join(os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600))
		}, "made by Postgres 9 and this is Postgres 15"},
		{"a folder of something else", func(data string) error { return os.Mkdir(data, 0o700) }, "holds no Postgres cluster"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := cluster{dir: t.TempDir(), version: "15"}
			if err := tt.prepare(c.data()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ensure(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLineLogger(t *testing.T) {
	var out strings.Builder
	l := &lineLogger{log: slog.New(slog.NewTextHandler(&out, nil))}
	for _, part := range []string{"LOG:  one\nFATAL:  t", "wo\nLOG:  three"} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if l.last != "FATAL:  two" || !strings.Contains(out.String(), `level=INFO msg=postgres line="LOG:  one"`) ||
		!strings.Contains(out.String(), `level=ERROR msg=postgres line="FATAL:  two"`) || strings.Contains(out.String(), "three") {
		t.Errorf("last %q, log:\n%s", l.last, out.String())
	}
}
