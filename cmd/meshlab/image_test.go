//go:build integration

package main

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/jackc/pgx/v5"

	"meshlab.dev/meshlab/orchestrate/image"
)

// The verb pushes an image, and what a registry gives back of it runs by itself
// in a folder that has nothing else: the program, and Postgres under it.
func TestImage(t *testing.T) {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	p := root(t)
	p.fails(t, exitUsage, []string{"image", "push", "Not A Name"}, "it is no name of an image")
	out := strings.TrimSpace(p.ok(t, "image", "push", strings.TrimPrefix(s.URL, "http://")+"/lab/meshlab"))
	ref, err := name.ParseReference(out)
	if err != nil {
		t.Fatalf("the verb prints %q: %v", out, err)
	}
	pulled, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unpack := exec.Command("tar", "--extract", "--same-permissions", "--directory", dir)
	unpack.Stdin = mutate.Extract(pulled)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// What an engine adds.
	null := filepath.Join(dir, "dev", "null")
	if err := os.Mkdir(filepath.Dir(null), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mknod(null, syscall.S_IFCHR|0o666, 1<<8|3); err != nil { // Documentation/admin-guide/devices.txt
		t.Fatal(err)
	}
	if err := os.Chmod(null, 0o666); err != nil {
		t.Fatal(err)
	}
	inside := func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, image.Program, args...)
		cmd.Dir = "/tmp"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: image.PostgresUID, Gid: image.PostgresUID}}
		return cmd
	}
	if out, err := inside(t.Context(), "--version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "meshlab ") {
		t.Fatalf("meshlab --version in the image: %v: %s", err, out)
	}
	ctx, stop := context.WithCancel(t.Context())
	db := inside(ctx, "service", "hashicups/product-db")
	db.Cancel = func() error { return db.Process.Signal(syscall.SIGTERM) }
	db.Env = []string{"BIND_ADDRESS=127.0.0.1:15432", "PATH=/usr/bin:/bin"}
	var said strings.Builder
	db.Stdout, db.Stderr = &said, &said
	if err := db.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = db.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	eventually(t, verbLimit, func() error {
		c, err := pgx.Connect(ctx, "postgres://postgres:password@127.0.0.1:15432/products")
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		var coffees int
		return c.QueryRow(ctx, "SELECT count(*) FROM coffees").Scan(&coffees)
	})
}
