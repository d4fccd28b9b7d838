//go:build integration

package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWriteOnFullDisk writes to a disk of 64 KiB: what was there stays, and
// nothing half-written does.
func TestWriteOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("meshlab-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	path := filepath.Join(dir, "result.json")
	small := sampleResult(t)
	if err := Write(path, small); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	large := sampleResult(t)
	large.Labs[0].SVG = strings.Repeat("x", 128<<10)
	if err := Write(path, large); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want that no space is left", err)
	}
	calibration := &Calibration{Fingerprint: "0123456789ab", Lab: strings.Repeat("x", 128<<10)}
	if err := StoreCalibration(dir, calibration); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("calibration: got %v, want that no space is left", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the earlier result has changed: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}
