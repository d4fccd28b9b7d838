package ping

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"fortio.org/fortio/fgrpc"
	"google.golang.org/grpc"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// stopTimeout is how long calls that run may take to finish after the end.
const stopTimeout = 2 * time.Second

// pinger is Fortio's ping service (fgrpc/ping.proto). Fortio's own server ends
// the program when it cannot listen, and has no end.
type pinger struct{}

// Ping returns the message with the time of the server. It heeds no DelayNanos.
func (pinger) Ping(_ context.Context, in *fgrpc.PingMessage) (*fgrpc.PingMessage, error) {
	return &fgrpc.PingMessage{Seq: in.GetSeq(), Ts: time.Now().UnixNano(), Payload: in.GetPayload()}, nil
}

// RunGRPC serves Fortio's ping over gRPC without TLS until ctx ends. It reads
// BIND_ADDRESS.
func RunGRPC(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	if err := s.Err(); err != nil {
		return err
	}
	ln, err := service.Listen(ctx, address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	fgrpc.RegisterPingServerServer(server, pinger{})
	log.Info("listening", "address", ln.Addr().String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", address, err)
	case <-ctx.Done():
	}
	late := time.AfterFunc(stopTimeout, server.Stop)
	defer late.Stop()
	server.GracefulStop()
	<-served
	log.Info("stopped")
	return nil
}
