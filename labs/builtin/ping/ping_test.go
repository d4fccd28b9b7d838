package ping_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"fortio.org/fortio/fgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"meshlab.dev/meshlab/labs/builtin/ping"
)

// listening is a log writer that tells the address a service logs.
type listening chan string

func (l listening) Write(p []byte) (int, error) {
	if _, rest, ok := strings.Cut(string(p), "address="); ok {
		l <- strings.TrimSpace(rest)
	}
	return len(p), nil
}

type run = func(context.Context, func(string) string, *slog.Logger) error

// start runs a service on a free port and returns its address, and what stops
// it and waits for its end.
func start(t *testing.T, f run) (address string, stop func()) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bind := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(listening, 1), make(chan error, 1)
	go func() {
		ended <- f(ctx, func(string) string { return bind }, slog.New(slog.NewTextHandler(told, nil)))
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("end: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("it does not end")
		}
	}
	t.Cleanup(stop)
	select {
	case address = <-told:
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("it does not listen")
	}
	return address, stop
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGRPC(t *testing.T) {
	address, stop := start(t, ping.RunGRPC)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, payload := range []string{"", "hello", strings.Repeat("x", 60_000)} {
		before := time.Now().UnixNano()
		got, err := fgrpc.NewPingServerClient(conn).Ping(ctx, &fgrpc.PingMessage{Seq: 7, Payload: payload})
		if err != nil || got.GetSeq() != 7 || got.GetPayload() != payload || got.GetTs() < before {
			t.Errorf("%d bytes: %d, %d bytes, %v", len(payload), got.GetSeq(), len(got.GetPayload()), err)
		}
	}
	stop() // also while the client is connected
}

func TestTCP(t *testing.T) {
	address, stop := start(t, ping.RunTCP)
	for range 2 { // side by side
		c := dial(t, "tcp", address)
		for _, size := range []int{1, 65_507} {
			sent := bytes.Repeat([]byte{byte(size)}, size)
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, size)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes: %v, equal %v", size, err, bytes.Equal(got, sent))
			}
		}
		defer func() {
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("after the end: %d bytes, %v", n, err)
			}
		}()
	}
	stop() // ends the connections too
}

func TestUDP(t *testing.T) {
	address, stop := start(t, ping.RunUDP)
	c := dial(t, "udp", address)
	for _, size := range []int{0, 1, 1472, 65_507} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 70_000)
		if n, err := c.Read(got); err != nil || !bytes.Equal(got[:n], sent) {
			t.Errorf("%d bytes: %d, %v", size, n, err)
		}
	}
	stop()
}
