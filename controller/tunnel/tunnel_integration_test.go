//go:build integration

package tunnel_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/internal/ovstest"
	"meshlab.dev/meshlab/controller/tunnel"
)

const patience = 20 * time.Second

// keep runs Keep until the test ends; peers are what it is to reach.
func keep(t *testing.T, o *ovstest.OVS) chan<- []tunnel.Peer {
	t.Helper()
	peers := make(chan []tunnel.Peer)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg := tunnel.Config{
		OVSDB: "unix:" + filepath.Join(o.RunDir, "db.sock"), Bridge: "br1",
		Peers: func(ctx context.Context, emit func([]tunnel.Peer)) error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case p := <-peers:
					emit(p)
				}
			}
		},
	}
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	go func() { done <- tunnel.Keep(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Keep ended with %v", err)
		}
	})
	return peers
}

// tunnels are the VXLAN ports as the database has them: "PEER>REMOTE".
func tunnels(o *ovstest.OVS) string {
	var out []string
	for line := range strings.Lines(o.Vsctl("--format=csv", "--no-headings", "--columns=name", "find", "Interface", "type=vxlan")) {
		name := strings.Trim(strings.TrimSpace(line), `"`)
		if name == "" {
			continue
		}
		peer := strings.Trim(strings.TrimSpace(o.Vsctl("--if-exists", "get", "Interface", name, "external_ids:meshlab-peer")), `"`)
		remote := strings.Trim(strings.TrimSpace(o.Vsctl("--if-exists", "get", "Interface", name, "options:remote_ip")), `"`)
		out = append(out, peer+">"+remote)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// until polls what the database says.
func until(t *testing.T, what, want string, ask func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := ask()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: it is %q, want %q", what, got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func peer(name, addr string) tunnel.Peer {
	return tunnel.Peer{Name: name, Addr: netip.MustParseAddr(addr)}
}

func TestTunnelsFollowThePeers(t *testing.T) {
	o := ovstest.Start(t)
	peers := keep(t, o) // it waits for the bridge
	o.Vsctl("add-br", "br1", "--", "set", "Bridge", "br1", "datapath_type=netdev")
	until(t, "fail mode", "secure", func() string { return strings.TrimSpace(o.Vsctl("get", "Bridge", "br1", "fail_mode")) })
	if p := o.Vsctl("get", "Bridge", "br1", "protocols"); !strings.Contains(p, "OpenFlow15") {
		t.Errorf("protocols: %s", p)
	}
	now := func() string { return tunnels(o) }
	peers <- []tunnel.Peer{peer("n2", "192.0.2.2"), peer("n3", "192.0.2.3")}
	until(t, "two nodes", "n2>192.0.2.2 n3>192.0.2.3", now)
	peers <- []tunnel.Peer{peer("n2", "192.0.2.22"), peer("n4.a-long-name.example", "192.0.2.4")}
	until(t, "one moves, one comes, one goes", "n2>192.0.2.22 n4.a-long-name.example>192.0.2.4", now)
	o.Vsctl("add-port", "br1", "mine", "--", "set", "Interface", "mine", "type=vxlan", "options:remote_ip=192.0.2.9")
	peers <- []tunnel.Peer{peer("n9", "192.0.2.9")}
	until(t, "one made by hand is used, and stays", ">192.0.2.9", now)
	o.Vsctl("del-port", "br1", "mine")
	until(t, "without it ours comes", "n9>192.0.2.9", now)
	o.Vsctl("--if-exists", "del-port", strings.TrimSpace(strings.Trim(o.Vsctl("--format=csv", "--no-headings", "--columns=name", "find", "Interface", "type=vxlan"), "\"\n")))
	until(t, "one that somebody removes comes back", "n9>192.0.2.9", now)
	peers <- nil
	until(t, "no nodes", "", now)
}

// A restart of Keep changes nothing, and takes over what the last one made.
func TestTunnelsOutliveKeep(t *testing.T) {
	o := ovstest.Start(t)
	o.AddBridge("br1")
	t.Run("first", func(t *testing.T) {
		peers := keep(t, o)
		peers <- []tunnel.Peer{peer("n2", "192.0.2.2"), peer("n3", "192.0.2.3")}
		until(t, "two nodes", "n2>192.0.2.2 n3>192.0.2.3", func() string { return tunnels(o) })
	})
	if got := tunnels(o); got != "n2>192.0.2.2 n3>192.0.2.3" {
		t.Errorf("at its end there are %q", got)
	}
	peers := keep(t, o)
	peers <- []tunnel.Peer{peer("n3", "192.0.2.3")}
	until(t, "one node", "n3>192.0.2.3", func() string { return tunnels(o) })
}
