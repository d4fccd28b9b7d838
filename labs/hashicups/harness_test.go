//go:build integration

package hashicups_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/labs/builtin"
)

// asBuiltin makes this test program run one built-in service instead of tests:
// Postgres needs a process, and a user id, of its own.
const asBuiltin = "HASHICUPS_TEST_BUILTIN"

func TestMain(m *testing.M) {
	name := os.Getenv(asBuiltin)
	if name == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, ok := builtin.Lookup(name)
	if !ok {
		fmt.Fprintln(os.Stderr, "no such service:", name)
		os.Exit(2)
	}
	if err := b.Run(ctx, os.Getenv, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// unprivilegedID is the user id that the database sees itself under.
const unprivilegedID = 1070

// child starts a service as a process in dir, under an id other than 0 in a user
// namespace of its own, as a lab does.
func child(t *testing.T, name, dir string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Dir = dir
	cmd.Env = append([]string{asBuiltin + "=" + name, "PATH=" + os.Getenv("PATH")}, env...)
	cmd.Stdout, cmd.Stderr = testWriter{t}, testWriter{t}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: unprivilegedID, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: unprivilegedID, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s in a user namespace: %v (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)", name, err)
	}
	return cmd
}

// stopChild ends a child in order and waits for it.
func stopChild(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop the child: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the child ended with %v", err)
	}
}

// testWriter sends a child's lines to the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// run starts a service inside this process until the test ends.
func run(t *testing.T, name string, env map[string]string) {
	t.Helper()
	b, ok := builtin.Lookup(name)
	if !ok {
		t.Fatalf("no such service: %s", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.Run(ctx, func(k string) string { return env[k] }, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
	})
}

// freeAddress returns a loopback address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// poll tries until done returns nil, at most for the time given.
func poll(t *testing.T, what string, limit time.Duration, done func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// fetch returns status and body of a GET.
func fetch(url string) (int, string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// awaitOK polls a URL until it answers 200.
func awaitOK(t *testing.T, url string) {
	t.Helper()
	poll(t, url, 20*time.Second, func() error {
		status, body, err := fetch(url)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
}

// shop is a running chain; the fields are base URLs.
type shop struct {
	frontend, publicAPI, productAPI, payments string
	database                                  string // "host:port"
}

// open starts the whole chain on loopback and waits until it is ready.
func open(t *testing.T) shop {
	t.Helper()
	var s shop
	s.database = freeAddress(t)
	db := child(t, "hashicups/product-db", t.TempDir(), "BIND_ADDRESS="+s.database)
	t.Cleanup(func() { stopChild(t, db) })

	start := func(name string, env map[string]string) string {
		env["BIND_ADDRESS"] = freeAddress(t)
		run(t, name, env)
		return "http://" + env["BIND_ADDRESS"]
	}
	s.productAPI = start("hashicups/product-api", map[string]string{"DB_CONNECTION": connection(s.database)})
	s.payments = start("hashicups/payments", map[string]string{})
	s.publicAPI = start("hashicups/public-api", map[string]string{"PRODUCT_API_URI": s.productAPI, "PAYMENT_API_URI": s.payments})
	s.frontend = start("hashicups/frontend", map[string]string{"PUBLIC_API_URI": s.publicAPI})
	awaitOK(t, s.publicAPI+"/health")
	awaitOK(t, s.frontend+"/health")
	return s
}

func connection(address string) string {
	host, port, _ := net.SplitHostPort(address)
	return fmt.Sprintf("host=%s port=%s user=postgres password=password dbname=products sslmode=disable", host, port)
}
