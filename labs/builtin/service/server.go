package service

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
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

// Server is one HTTP service. It speaks HTTP/1.1, and HTTP/2 without TLS with
// clients that begin with that (RFC 9113, section 3.3), and honours DelayHeader.
type Server struct {
	Address string // "host:port" to listen on; an empty host is every address
	Handler http.Handler
	Log     *slog.Logger
}

// Run listens and serves until ctx ends, then lets running requests finish for
// five seconds. It returns nil after a stop by ctx, and an error when it could
// not listen.
func (s Server) Run(ctx context.Context) error {
	ln, err := Listen(ctx, s.Address)
	if err != nil {
		return err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           http.MaxBytesHandler(delayed(s.Handler), MaxBodyBytes),
		Protocols:         &protocols,
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
