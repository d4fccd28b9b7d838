package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// merged is a machine whose /bin and /lib64 are in /usr, like most.
func merged(t *testing.T) machine {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "usr/lib64", "etc", "home", "opt"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"bin": "usr/bin", "lib64": "usr/lib64", "etc/resolv.conf": "../run/resolv.conf"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"etc/hosts", "etc/hostname"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := lookAt(root)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMachineWithoutHostname has a machine where the engine could not make one
// of its files in /etc.
func TestMachineWithoutHostname(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/ssl"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/hosts", "etc/resolv.conf", "etc/passwd"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(root, "etc/dangling")); err != nil {
		t.Fatal(err)
	}
	m, err := lookAt(root)
	if err != nil {
		t.Fatal(err)
	}
	var mounted []string
	for _, o := range m.mounts() {
		mounted = append(mounted, o.Target)
	}
	if !slices.Equal(mounted, []string{"/etc/passwd", "/etc/ssl"}) {
		t.Errorf("mounts: %v", mounted)
	}
}

func TestMachine(t *testing.T) {
	m := merged(t)
	if !slices.Equal(m.folders, []string{"etc", "usr"}) || fmt.Sprint(m.links) != "map[bin:usr/bin lib64:usr/lib64]" {
		t.Errorf("machine: %+v", m)
	}
	var mounted []string
	for _, o := range m.mounts("etc") {
		mounted = append(mounted, o.Source+"="+o.Target+fmt.Sprint(o.ReadOnly))
	}
	if !slices.Equal(mounted, []string{"/usr=/usrtrue"}) {
		t.Errorf("mounts without /etc: %v", mounted)
	}
	for path, want := range map[string]bool{
		"/usr/bin/python3": true, "/bin/sh": true, "/lib64/ld.so": true, "/etc/passwd": true,
		"/lib/ld.so": false, "/home/me/service": false, "/usr/../home/x": false, "/": false,
	} {
		if m.has(path) != want {
			t.Errorf("has %s: %v", path, !want)
		}
	}
}

func TestCheckProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m, err := lookAt("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.checkProgram(self); err != nil {
		t.Errorf("this program: %v", err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.checkProgram(script); !errors.Is(err, ErrUnlinked) {
		t.Errorf("a script: %v", err)
	}
	// /bin/sh is linked dynamically everywhere; here nothing of the machine is mounted.
	err = machine{}.checkProgram("/bin/sh")
	if !errors.Is(err, ErrUnlinked) || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("a program whose loader is missing: %v", err)
	}
}

func TestLayer(t *testing.T) {
	var out bytes.Buffer
	l := layer{machine: merged(t), program: strings.NewReader("program, and what was written since"), programBytes: 7}
	for range 2 { // as often as one likes
		out.Reset()
		if n, err := l.write(&out); err != nil || n != int64(out.Len()) {
			t.Fatalf("%d bytes of %d: %v", n, out.Len(), err)
		}
	}
	var all []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %o %s%s", h.Name, h.Mode, h.Linkname, content)))
	}
	want := []string{
		"home/ 755", "root/ 700", "run/ 755", "tmp/ 1777", "var/ 755", "var/tmp/ 1777", "etc/ 755", "usr/ 755",
		"bin 777 usr/bin", "lib64 777 usr/lib64", "meshlab 755 program",
	}
	if !slices.Equal(all, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadMessages(t *testing.T) {
	for name, tc := range map[string]struct{ in, err string }{
		"well":        {`{"stream":"Step 1/2"}{"aux":{"ID":"sha256:1"}}` + "\n", ""},
		"its error":   {`{"stream":"Step 1/2"}{"error":"no space left on device","errorDetail":{}}`, "no space left on device"},
		"cut off":     {`{"stream":"Step`, "unexpected EOF"},
		"not JSON":    {`<html>`, "invalid character"},
		"wrong types": {`{"stream":7}`, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			err := readMessages(strings.NewReader(tc.in), nil)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

func TestTail(t *testing.T) {
	var passed bytes.Buffer
	out := &tail{to: &passed}
	for i := range 1000 {
		fmt.Fprintf(out, "line %d\n", i)
	}
	if want := "line 990\nline 991"; !strings.HasPrefix(out.last(), want) || strings.Count(out.last(), "\n") != 9 {
		t.Errorf("last: %q", out.last())
	}
	if n := strings.Count(passed.String(), "\n"); n != 1000 {
		t.Errorf("%d lines passed on", n)
	}
	fmt.Fprint(out, strings.Repeat("ü", tailBytes)) // cut in the middle of a letter
	if got := out.last(); len(got) > tailBytes+3 || !strings.HasSuffix(got, "ü") {
		t.Errorf("%d bytes kept", len(got))
	}
	if got := (&tail{}).last(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
