//go:build integration

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A user without rights has switches that are machines too: what a full mesh of
// tunnels carries, in small and in bulk, and what it does when one of them
// fails.
func TestOrdinaryUserOnMachines(t *testing.T) {
	p := ordinary(t)
	before := inventory(t)
	file := p.writeFile(t, "tunnels.yaml", machines(t, true))
	l := p.up(t, "mine", file)
	l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
	t.Run("bulk", func(t *testing.T) { bulk(t, l) })
	l.strikes(t, map[string]strike{
		"kill a switch":    {[]string{"kill", "s2"}, "", true},
		"pause a switch":   {[]string{"pause", "s1"}, "", true},
		"partition":        {[]string{"partition", "s1,s3", "s2"}, "(s2-s3, s1-s2)", true},
		"degrade a tunnel": {[]string{"degrade", "s1-s3", "--loss", "100%"}, "", true},
	})
	p.ok(t, "down", "mine")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error { return same(t, before) })
}

const bulkBytes = 100 << 20

// bulk sends a hundred MiB over one TCP connection through a tunnel. No host
// and no switch cuts packets up or puts any together, and the segments are as
// large as the MTU allows.
func bulk(t *testing.T, l lab) {
	const from, to, port = "client", "h3", "9"
	test := filepath.Join(os.Getenv(binVar), "bin", "test")
	pieces := func() string {
		var all []string
		for _, node := range []string{from, to, "s2", "s3"} {
			r := l.exec(t, "", node, "cat", "/proc/net/snmp")
			if r.code != 0 {
				t.Fatal(r)
			}
			ip := snmp(t, r.stdout, "Ip:")
			for _, name := range []string{"ReasmReqds", "ReasmFails", "FragOKs", "FragFails", "FragCreates"} { // RFC 4293
				all = append(all, fmt.Sprint(node, " ", name, " ", ip[name]))
			}
		}
		return strings.Join(all, "\n")
	}
	before := pieces()
	listening := make(chan result, 1)
	go func() {
		listening <- l.run(t, "", "exec", "--lab", l.name, to, "--", "/usr/bin/env", stageVar+"=swallow", test, ":"+port)
	}()
	var r poured
	eventually(t, 30*time.Second, func() error {
		got := l.exec(t, "", from, "/usr/bin/env", stageVar+"=pour", test, "192.168.1.13:"+port, fmt.Sprint(bulkBytes))
		if got.code != 0 {
			return errors.New(got.stderr)
		}
		decode(t, got.stdout, &r)
		return nil
	})
	if got := <-listening; got.code != 0 {
		t.Error(got)
	}
	if r.Arrived != bulkBytes {
		t.Errorf("%d bytes of %d arrived", r.Arrived, bulkBytes)
	}
	// 1450 bytes less the headers of IPv4 and TCP with its time stamps (RFC 7323,
	// section 3.2).
	if want := 1450 - 20 - 20 - 12; r.Segment != want {
		t.Errorf("segments of %d bytes, want %d", r.Segment, want)
	}
	if after := pieces(); after != before {
		t.Errorf("packets were cut up: before\n%s\nand after\n%s", before, after)
	}
	t.Logf("%d MiB in %.2f s: %.0f Mbit/s", bulkBytes>>20, r.Seconds, float64(bulkBytes)*8/1e6/r.Seconds)
}

// snmp reads one protocol's counters of /proc/net/snmp (proc_pid_net(5)): a line
// of names, and one of values.
func snmp(t *testing.T, text, protocol string) map[string]string {
	t.Helper()
	var rows [][]string
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == protocol {
			rows = append(rows, f)
		}
	}
	if len(rows) != 2 || len(rows[0]) != len(rows[1]) {
		t.Fatalf("no %s in:\n%s", protocol, text)
	}
	all := map[string]string{}
	for i, name := range rows[0] {
		all[name] = rows[1][i]
	}
	return all
}

// poured is what a sender has seen.
type poured struct {
	Arrived int64 // bytes, as the receiver tells
	Segment int   // bytes, the largest
	Seconds float64
}

// pour sends so many bytes to an address, and prints what came of it.
func pour(args []string) error {
	var size int64
	if _, err := fmt.Sscan(args[1], &size); err != nil {
		return err
	}
	c, err := net.Dial("tcp4", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	conn := c.(*net.TCPConn)
	begin := time.Now()
	if _, err := io.CopyN(conn, zeros{}, size); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	var p poured
	if _, err := fmt.Fscan(conn, &p.Arrived); err != nil {
		return fmt.Errorf("the receiver's count: %w", err)
	}
	p.Seconds = time.Since(begin).Seconds()
	if p.Segment, err = segment(conn); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p)
}

// swallow takes what one connection brings, and answers how much it was.
func swallow(args []string) error {
	l, err := net.Listen("tcp4", args[0])
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := io.Copy(io.Discard, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c, n)
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// segment is the size of the largest segment that a connection sends now.
func segment(c *net.TCPConn) (bytes int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var asked error
	err = raw.Control(func(fd uintptr) { bytes, asked = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) })
	return bytes, errors.Join(err, asked)
}
