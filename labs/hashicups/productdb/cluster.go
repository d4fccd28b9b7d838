package productdb

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// How clients of the lab reach the database; the same words as in the images of
// the original application.
const (
	superuser = "postgres"
	password  = "password"
	database  = "products"
)

//go:embed products.sql
var productsSQL string

// hba lets every address of the lab in, with the password. The lab's network is
// closed; which of its hosts may connect is the mesh's business.
// Format: PostgreSQL 15, section 21.1.
const hba = `# type database user address  method
local  all      all           scram-sha-256
host   all      all  all      scram-sha-256
`

// cluster is a database cluster on disk.
type cluster struct {
	programs programs
	identity identity
	dir      string // the folder that holds the cluster's folder; absolute
	version  string // of postgres, its major number
}

func (c cluster) data() string { return filepath.Join(c.dir, "data") }

// ensure makes the cluster when it is missing, and reports whether it did. A
// cluster of another major version of Postgres is an error.
func (c cluster) ensure(ctx context.Context) (made bool, err error) {
	have, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	if err == nil {
		if v := strings.TrimSpace(string(have)); v != c.version {
			return false, fmt.Errorf("open %s: it was made by Postgres %s and this is Postgres %s: remove the folder, and it is made again", c.data(), v, c.version)
		}
		return false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at the database folder: %w", err)
	}
	if _, err := os.Lstat(c.data()); err == nil {
		return false, fmt.Errorf("open %s: it is there but holds no Postgres cluster: move it away, or start in another folder", c.data())
	}
	return true, c.make(ctx)
}

// make builds the cluster aside and renames it into place.
func (c cluster) make(ctx context.Context) error {
	aside := c.data() + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("remove what an interrupted start left: %w", err)
	}
	if err := c.initdb(ctx, aside); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(aside, "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		return fmt.Errorf("write the access rules: %w", err)
	}
	if err := c.single(ctx, aside, "postgres", "CREATE DATABASE "+database+" TEMPLATE template0;"); err != nil {
		return fmt.Errorf("create database %s: %w", database, err)
	}
	if err := c.single(ctx, aside, database, productsSQL); err != nil {
		return fmt.Errorf("fill database %s: %w", database, err)
	}
	if err := os.Rename(aside, c.data()); err != nil {
		return fmt.Errorf("put the database folder into place: %w", err)
	}
	return nil
}

func (c cluster) initdb(ctx context.Context, target string) error {
	secret := target + ".password"
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return fmt.Errorf("write the password for initdb: %w", err)
	}
	defer func() { _ = os.Remove(secret) }() // a leftover is overwritten by the next start
	_, err := c.output(ctx, "", c.programs.initdb,
		"--pgdata", target, "--username", superuser, "--pwfile", secret, "--auth", "scram-sha-256",
		"--locale", "C", "--encoding", "UTF8", "--no-sync", "--no-instructions")
	if err != nil {
		return fmt.Errorf("make the database cluster: %w", err)
	}
	return nil
}

// single runs SQL in single-user mode, where nobody else can be connected. With
// -j a statement ends at a semicolon and an empty line (PostgreSQL 15, postgres,
// "Options for Single-User Mode").
func (c cluster) single(ctx context.Context, data, db, sql string) error {
	_, err := c.output(ctx, strings.TrimSpace(sql)+"\n\n", c.programs.postgres,
		"--single", "-j", "-D", data, "-c", "exit_on_error=on", "-c", "fsync=off",
		"-c", "log_checkpoints=off", "-c", "timezone=UTC", db)
	return err
}

// output runs a program to its end; what it printed is part of the error.
func (c cluster) output(ctx context.Context, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.dir
	cmd.Env = childEnv()
	cmd.SysProcAttr = c.identity.attributes()
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("run %s: %w", program, context.Cause(ctx))
		}
		return "", fmt.Errorf("run %s: %w: %s", program, err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// childEnv is the whole environment of Postgres' programs: a locale without
// data files, and no PG* variable of the user's.
func childEnv() []string {
	return []string{"LC_ALL=C", "TZ=UTC", "PATH=/usr/bin:/bin"}
}
