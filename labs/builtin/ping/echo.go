package ping

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"meshlab.dev/meshlab/labs/builtin/service"
)

// RunTCP sends back what comes over each connection, until ctx ends. It reads
// BIND_ADDRESS.
func RunTCP(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	if err := s.Err(); err != nil {
		return err
	}
	ln, err := service.Listen(ctx, address)
	if err != nil {
		return err
	}
	log.Info("listening", "address", ln.Addr().String())
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			log.Info("stopped")
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve on %s: %w", address, err)
		case err != nil: // of one connection, or too many open files for a moment (accept(2))
			log.Warn("accept a connection", "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		open.Go(func() {
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // ends with the client, or with ctx
		})
	}
}

// maxDatagram is one byte more than UDP over IPv4 holds, 65,507 (RFC 768,
// RFC 791): nothing is cut off.
const maxDatagram = 65_508

// RunUDP sends back each datagram, until ctx ends. It reads BIND_ADDRESS.
func RunUDP(ctx context.Context, env func(string) string, log *slog.Logger) error {
	s := service.NewSettings(env)
	address := s.Address("BIND_ADDRESS")
	if err := s.Err(); err != nil {
		return err
	}
	conn, err := service.ListenPacket(ctx, address)
	if err != nil {
		return err
	}
	log.Info("listening", "address", conn.LocalAddr().String())
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			log.Info("stopped")
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve on %s: %w", address, err)
		case err != nil:
			log.Warn("receive a datagram", "error", err)
			continue
		}
		if _, err := conn.WriteTo(buf[:n], from); err != nil && ctx.Err() == nil {
			log.Warn("send a datagram", "to", from.String(), "error", err) // it is lost, as any may be
		}
	}
}
