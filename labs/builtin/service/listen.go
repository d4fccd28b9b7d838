package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen listens for TCP connections at "host:port"; the error says how its
// cause is mended.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, listenError(address, err)
	}
	return ln, nil
}

// ListenPacket is Listen for UDP.
func ListenPacket(ctx context.Context, address string) (net.PacketConn, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, listenError(address, err)
	}
	return conn, nil
}

// listenError adds to err how the cause is mended.
func listenError(address string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = ": another process has this port; stop it, or choose another port in BIND_ADDRESS"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = ": no interface of this host has this address; correct BIND_ADDRESS"
	case errors.Is(err, syscall.EACCES):
		hint = ": ports below 1024 need a privilege; choose another port in BIND_ADDRESS"
	}
	return fmt.Errorf("listen on %s: %w%s", address, err, hint)
}
