//go:build integration

package ovs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vishvananda "github.com/vishvananda/netns"

	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/process"
)

// Two instances side by side, each in a namespace of its own, know nothing of
// each other, though their bridges have one name.
func TestTwoInstances(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("outside a lab only root may make namespaces")
	}
	_, err := os.Stat("/run/netns")
	fresh := errors.Is(err, fs.ErrNotExist)
	dir, err := os.MkdirTemp("", "ovs") // not t.TempDir: a unix socket's path has at most 107 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(dir)
		if fresh {
			_ = os.Remove("/run/netns") // unless somebody else uses it by now
		}
	})
	procs, err := process.NewManager(filepath.Join(dir, "log"), process.Namespaces{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []Instance
	for _, end := range []string{"a", "b"} {
		i := Instance{
			Name: fmt.Sprintf("meshlabovs-%d-%s", os.Getpid(), end), Run: filepath.Join(dir, end), Data: filepath.Join(dir, end, "data"),
		}
		if err := netns.Create(i.Name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := vishvananda.DeleteNamed(i.Name); err != nil {
				t.Error(err)
			}
		})
		daemons, err := i.Daemons(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range daemons {
			if err := procs.Start(d); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := procs.Stop(context.Background(), d.Name); err != nil {
					t.Error(err)
				}
			})
			if err := i.WaitDatabase(ctx); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, i)
	}
	for n, i := range all {
		db, err := i.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Initialise(ctx); err != nil {
			t.Fatal(err)
		}
		listen := fmt.Sprintf("ptcp:66%02d:127.0.0.1", n)
		// In user space, so that the test needs no module and leaves no datapath.
		if err := db.AddBridges(ctx, DatapathUserspace, []Bridge{{Name: "br0", DPID: uint64(n + 1), Listen: listen}}); err != nil {
			t.Fatalf("%s: %v", i.Name, err)
		}
		vsctl, err := Program("ovs-vsctl")
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(ctx, vsctl, "--db=unix:"+i.dbSocket(), "get-controller", "br0").CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != listen {
			t.Errorf("%s takes connections at %q, %v; want %q", i.Name, got, err, listen)
		}
		if err := waitSocket(ctx, i.ManagementSocket("br0")); err != nil {
			t.Errorf("%s: %v", i.Name, err)
		}
	}
}
