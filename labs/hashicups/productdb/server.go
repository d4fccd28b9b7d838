package productdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// ErrRoot says that Postgres was started under user id 0, which it refuses.
var ErrRoot = errors.New("postgres refuses to run as user id 0: start it under another user id, or in a user namespace that maps one")

const (
	debianRoot = "/usr/lib/postgresql"
	// stopTimeout is how long a fast shutdown may take before it is cut short.
	stopTimeout = 5 * time.Second
)

// Run runs Postgres in the working directory until ctx ends, then stops it fast
// (open transactions are rolled back) and returns nil. It reads BIND_ADDRESS and
// PATH. It returns ErrRoot under user id 0, ErrNotInstalled without Postgres.
func Run(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	if err := s.Err(); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return fmt.Errorf("start product-db: %w", ErrRoot)
	}
	p, err := find(env("PATH"), debianRoot)
	if err != nil {
		return fmt.Errorf("start product-db: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("start product-db: %w", err)
	}
	id, err := identify()
	if err != nil {
		return fmt.Errorf("start product-db: %w", err)
	}
	c := cluster{programs: p, identity: id, dir: dir}
	if c.version, err = c.majorVersion(ctx); err != nil {
		return err
	}

	began := time.Now()
	made, err := c.ensure(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it was being made; the next start begins anew
		}
		return fmt.Errorf("start product-db: %w", err)
	}
	log.Info("database folder is ready", "folder", c.data(), "made", made, "took", time.Since(began).Round(time.Millisecond))
	return c.serve(ctx, address, log)
}

// versionPattern finds the major number in "postgres (PostgreSQL) 15.14 (Debian ...)".
var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func (c cluster) majorVersion(ctx context.Context) (string, error) {
	out, err := c.output(ctx, "", c.programs.postgres, "--version")
	if err != nil {
		return "", fmt.Errorf("ask for the version of Postgres: %w", err)
	}
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("ask for the version of Postgres: %s printed %q", c.programs.postgres, strings.TrimSpace(out))
	}
	return m[1], nil
}

// serve keeps Postgres as a child until ctx ends. Postgres ends with this
// process, however this process ends.
func (c cluster) serve(ctx context.Context, address string, log *slog.Logger) error {
	// The death signal is tied to the thread that started the child (prctl(2),
	// PR_SET_PDEATHSIG), so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	args, err := serverArgs(c.data(), address)
	if err != nil {
		return err
	}
	printed := &lineLogger{log: log}
	cmd := exec.CommandContext(ctx, c.programs.postgres, args...)
	cmd.Dir = c.dir
	cmd.Env = childEnv()
	cmd.Stdout, cmd.Stderr = printed, printed
	cmd.SysProcAttr = c.identity.attributes()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
	cmd.SysProcAttr.Setpgid = true                                          // a Ctrl-C in a terminal is for this process to pass on
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // fast shutdown
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.programs.postgres, err)
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		log.Info("stopped")
		return nil
	}
	if err == nil {
		return errors.New("run postgres: it ended by itself; its last lines are in the log")
	}
	return fmt.Errorf("run postgres: %w: %s", err, printed.last)
}

// serverArgs are the arguments of a server for a lab. The settings are those of
// PostgreSQL 15, chapter 20.
func serverArgs(data, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("read address %q: %w", address, err)
	}
	if host == "" {
		host = "*"
	}
	settings := []string{
		"listen_addresses=" + host,
		"port=" + port,
		// Relative to the data folder, thus the working directory: the absolute
		// path may be longer than the 107 bytes of a socket address (unix(7)).
		"unix_socket_directories=..",
		"max_connections=200",
		"shared_buffers=32MB",
		// Files in the data folder instead of /dev/shm, which may be shared with
		// the rest of the machine: after a kill nothing stays behind there.
		"dynamic_shared_memory_type=mmap",
		"fsync=off",
		"synchronous_commit=off",
		"full_page_writes=off",
		"wal_level=minimal",
		"max_wal_senders=0",
		"jit=off",
		"timezone=UTC",
		"log_timezone=UTC",
		"log_checkpoints=off",
	}
	args := []string{"-D", data}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args, nil
}
