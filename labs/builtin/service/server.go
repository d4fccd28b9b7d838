package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Limits of the HTTP server. The idle timeout is longer than the client's, so
// that a connection is always given up by the side that knows whether a request
// is on its way: a POST on a connection that the server just closed would fail.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	serverIdleTimeout = 120 * time.Second
	maxHeaderBytes    = 64 << 10
	stopTimeout       = 2 * time.Second

	// MaxBodyBytes is the largest request body that a service accepts.
	MaxBodyBytes = 1 << 20
)

// Server is one HTTP service.
type Server struct {
	Address string // "host:port" to listen on; an empty host is every address
	Handler http.Handler
	Log     *slog.Logger
}

// Run listens and serves until ctx ends, then lets running requests finish for
// five seconds. It returns nil after a stop by ctx, and an error when it could
// not listen.
func (s Server) Run(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.Address)
	if err != nil {
		return listenError(s.Address, err)
	}
	srv := &http.Server{
		Handler:           http.MaxBytesHandler(s.Handler, MaxBodyBytes),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       serverIdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	s.Log.Info("listening", "address", ln.Addr().String())

	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", s.Address, err)
	case <-ctx.Done():
	}

	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		s.Log.Warn("requests were still running when the service stopped", "waited", stopTimeout)
		_ = srv.Close() // the listener is closed already; what remains are those requests
	}
	<-served
	s.Log.Info("stopped")
	return nil
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
