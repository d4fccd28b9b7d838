package fortio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// ceilingBody is the size of the answers of the bare server, in bytes.
const ceilingBody = 1024

// Ceiling measures what the generator itself reaches: an attempt against a
// server on the loopback interface that answers every request with the same
// 1 KiB. The server runs as goroutines of this process and takes its share of
// the same cores, as the services of a lab on one machine do, so the figure
// is a lower bound of what the generator could do alone.
//
// The loopback interface of the calling process' network namespace must be
// up. Ceiling returns an error when any request fails.
func Ceiling(ctx context.Context, connections, requests int) (_ scenarios.Ceiling, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return scenarios.Ceiling{}, fmt.Errorf("listen on the loopback interface: %w", err)
	}
	body := bytes.Repeat([]byte("meshlab "), ceilingBody/8)
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(body) // a client that is gone is counted where it is
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		if cerr := server.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("close the bare server: %w", cerr)
		}
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) && err == nil {
			err = fmt.Errorf("run the bare server: %w", serr)
		}
	}()

	spec := scenarios.LoadSpec{
		RequestSpec: scenarios.RequestSpec{
			URL:    "http://" + listener.Addr().String() + "/",
			Method: http.MethodGet, Status: http.StatusOK, Contains: []string{"meshlab"},
		},
		Connections: connections,
		Timeout:     10 * time.Second, Limit: time.Minute,
	}
	// A short warm-up: the first connections of a process are slower.
	spec.Requests = connections
	if _, err := Run(ctx, spec); err != nil {
		return scenarios.Ceiling{}, err
	}
	spec.Requests = requests
	a, err := Run(ctx, spec)
	if err != nil {
		return scenarios.Ceiling{}, err
	}
	if a.Errors > 0 {
		return scenarios.Ceiling{}, fmt.Errorf("measure the generator's ceiling: %d of %d requests failed: %v",
			a.Errors, a.Requests, a.ErrorKind)
	}
	return scenarios.Ceiling{Connections: connections, Attempt: a}, nil
}
