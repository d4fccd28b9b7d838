package builtin

import (
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	want := []string{"echo", "hashicups/frontend", "hashicups/payments", "hashicups/product-api", "hashicups/product-db", "hashicups/public-api", "ping/grpc", "ping/tcp", "ping/udp"}
	if got := Names(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, b := range All() {
		if b.Summary == "" || b.Run == nil {
			t.Errorf("%s: no summary or nothing to run", b.Name)
		}
		if b.Unprivileged != (b.Name == "hashicups/product-db") {
			t.Errorf("%s: Unprivileged is %v", b.Name, b.Unprivileged)
		}
	}
}

func TestLookup(t *testing.T) {
	if b, ok := Lookup("hashicups/payments"); !ok || b.Name != "hashicups/payments" {
		t.Errorf("got %q, %v", b.Name, ok)
	}
	if _, ok := Lookup("hashicups/tea"); ok {
		t.Error("found a service that is not there")
	}
}

// TestMissingVariables holds that each service names every variable that it
// needs and has not, at once.
func TestMissingVariables(t *testing.T) {
	needs := map[string][]string{
		"echo":                  {"BIND_ADDRESS"},
		"hashicups/frontend":    {"BIND_ADDRESS", "PUBLIC_API_URI"},
		"hashicups/payments":    {"BIND_ADDRESS"},
		"hashicups/product-api": {"BIND_ADDRESS", "DB_CONNECTION"},
		"hashicups/product-db":  {"BIND_ADDRESS"},
		"hashicups/public-api":  {"BIND_ADDRESS", "PRODUCT_API_URI", "PAYMENT_API_URI"},
		"ping/grpc":             {"BIND_ADDRESS"},
		"ping/tcp":              {"BIND_ADDRESS"},
		"ping/udp":              {"BIND_ADDRESS"},
	}
	for _, b := range All() {
		t.Run(b.Name, func(t *testing.T) {
			err := b.Run(t.Context(), func(string) string { return "" }, slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal("no error")
			}
			for _, key := range needs[b.Name] {
				if !strings.Contains(err.Error(), "read "+key+": not set") {
					t.Errorf("the error does not name %s: %v", key, err)
				}
			}
		})
	}
}

// TestPortInUse holds that a service says what to do when its port is taken.
func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	datagrams, err := net.ListenPacket("udp", taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = datagrams.Close() })
	env := map[string]string{
		"BIND_ADDRESS":    taken.Addr().String(),
		"PUBLIC_API_URI":  "http://127.0.0.1:1",
		"PRODUCT_API_URI": "http://127.0.0.1:1",
		"PAYMENT_API_URI": "http://127.0.0.1:1",
		"DB_CONNECTION":   "host=127.0.0.1 port=1 user=u dbname=d sslmode=disable",
	}
	for _, b := range All() {
		if b.Unprivileged {
			continue // Postgres itself listens, and says so in its log
		}
		t.Run(b.Name, func(t *testing.T) {
			err := b.Run(t.Context(), func(k string) string { return env[k] }, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), "BIND_ADDRESS") {
				t.Errorf("port in use: %v", err)
			}
		})
	}
}
