package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Of the files that look half-written, those are left whose writer is gone.
func TestLeftUnfinished(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * youngest)
	aged := func(path string) string {
		t.Helper()
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unfinished := func() *os.File {
		t.Helper()
		f, err := Unfinished(filepath.Join(dir, "result.json"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	held := unfinished()
	defer held.Close()
	aged(held.Name())

	dead := unfinished()
	dead.Close() // as the kernel does for a program that is killed
	aged(dead.Name())

	young := unfinished()
	young.Close()

	strangers := filepath.Join(dir, ".result.json.123")
	if err := os.WriteFile(strangers, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	aged(strangers)

	left, err := LeftUnfinished(dir)
	if err != nil || !slices.Equal(left, []string{dead.Name()}) {
		t.Errorf("left: %v, %v; want %s alone", left, err, dead.Name())
	}
	if left, err := LeftUnfinished(filepath.Join(dir, "none")); err != nil || len(left) != 0 {
		t.Errorf("without a folder: %v, %v", left, err)
	}
}

// A pipe, and what /dev/stdout leads to, are written to and stay what they are.
func TestWriteFileToAStream(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0) // which waits for no writer
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := WriteFile(pipe, []byte("verdict")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Fatalf("the pipe became %v, %v", info, err)
	}
	got := make([]byte, 20)
	if n, err := reader.Read(got); err != nil || string(got[:n]) != "verdict" {
		t.Errorf("the pipe holds %q, %v", got[:n], err)
	}

	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	link := filepath.Join(dir, "stdout")
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", out.Fd()), link); err != nil {
		t.Fatal(err)
	}
	for _, write := range []func() error{
		func() error { _, err := out.WriteString("table\n"); return err },
		func() error { return WriteFile(link, []byte("verdict\n")) },
		func() error { return WriteFile(fmt.Sprintf("/dev/fd/%d", out.Fd()), []byte("again\n")) },
		func() error { _, err := out.WriteString("end\n"); return err },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link became %v, %v", info, err)
	}
	if b, err := os.ReadFile(out.Name()); err != nil || string(b) != "table\nverdict\nagain\nend\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := WriteFile(file, nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                       "",
		filepath.Join(dir, "new"):  "",
		"/dev/stdout":              "",
		dir:                        "it is a folder",
		filepath.Join(file, "x"):   "is not a folder",
		filepath.Join(dir, "no/x"): "make the folder first",
	} {
		err := Writable(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("it made files: %v", left)
	}
}
