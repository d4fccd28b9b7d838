//go:build integration

package hashicups_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func count(address, table string) (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, connection(address))
	if err != nil {
		return 0, err
	}
	err = conn.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n)
	return n, errors.Join(err, conn.Close(ctx))
}

// TestDatabaseIsFullWhenItAnswers holds that the first connection that is
// accepted finds the content: there is no moment of an open port without it. It
// also holds that a second start keeps what was stored, that what an interrupted
// first start left does not harm, and that a long path does not.
func TestDatabaseIsFullWhenItAnswers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	for start, want := range []int{9, 10} {
		began := time.Now()
		db := child(t, "hashicups/product-db", dir, "BIND_ADDRESS="+address)
		poll(t, "database", 20*time.Second, func() error {
			n, err := count(address, "coffees")
			if err == nil && n != want {
				t.Fatalf("start %d: the first answer has %d coffees, want %d", start+1, n, want)
			}
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !strings.Contains(err.Error(), "57P03") {
				return fmt.Errorf("connect: %w", err)
			}
			return err
		})
		t.Logf("start %d: answered after %s", start+1, time.Since(began).Round(time.Millisecond))
		if start == 0 {
			ctx := t.Context()
			conn, err := pgx.Connect(ctx, connection(address))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(ctx, "INSERT INTO coffees (name, price) VALUES ('Tenth', 1)"); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := pgx.Connect(ctx, strings.Replace(connection(address), "password=password", "password=wrong", 1)); err == nil {
				t.Error("connected with a wrong password")
			}
		}
		stopChild(t, db)
	}
	if _, err := os.Stat(filepath.Join(dir, "data.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data.new is still there: %v", err)
	}
}

// TestDatabaseEndsWithItsParent holds that Postgres does not outlive product-db,
// even when that is killed.
func TestDatabaseEndsWithItsParent(t *testing.T) {
	address := freeAddress(t)
	dir := t.TempDir()
	db := child(t, "hashicups/product-db", dir, "BIND_ADDRESS="+address)
	poll(t, "database", 20*time.Second, func() error { _, err := count(address, "coffees"); return err })
	if err := db.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = db.Wait() // it was killed
	poll(t, "end of Postgres", 10*time.Second, func() error {
		if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
			return errors.New("postmaster.pid is still there")
		}
		return nil
	})
}
