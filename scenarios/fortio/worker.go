package fortio

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"fortio.org/fortio/periodic"

	"meshlab.dev/meshlab/scenarios"
)

// maxBody is the most of an answer that is read, in bytes.
const maxBody = 64 << 20

var errTooLong = fmt.Errorf("answer longer than %d MiB", maxBody>>20)

// worker is one connection of an attempt. Fortio calls its Run from one
// goroutine only.
type worker struct {
	ctx     context.Context // of the attempt: ends it at its limit
	limit   time.Duration
	timeout time.Duration
	request *prepared
	dialer  net.Dialer

	conn      net.Conn // nil: the next request connects first
	unwatch   func() bool
	reader    *bufio.Reader
	body      bytes.Buffer
	sent      int
	latencies []time.Duration // of successes
	errors    map[string]int  // by kind
}

func newWorker(ctx context.Context, spec scenarios.LoadSpec, p *prepared) *worker {
	// Fortio gives the first connection the remainder of the division.
	most := spec.Requests/spec.Connections + spec.Requests%spec.Connections
	return &worker{
		ctx:       ctx,
		limit:     spec.Limit,
		timeout:   spec.Timeout,
		request:   p,
		reader:    bufio.NewReader(nil),
		latencies: make([]time.Duration, 0, most),
		errors:    make(map[string]int),
	}
}

// Run sends one request, reads its answer and books the outcome. Fortio's
// context carries the thread's number and no end, so the attempt's own is
// used.
func (w *worker) Run(_ context.Context, _ periodic.ThreadID) (ok bool, details string) {
	if w.ctx.Err() != nil {
		return false, "not sent"
	}
	w.sent++
	start := time.Now()
	status, err := w.exchange(start.Add(w.timeout))
	took := time.Since(start)
	kind := ""
	switch {
	case err != nil && w.ctx.Err() != nil:
		kind = cutShort(w.limit)
	case err != nil:
		kind = kindOf(err)
	default:
		kind = w.verdict(status)
	}
	if err != nil {
		w.disconnect()
	}
	if kind != "" {
		w.errors[kind]++
		return false, kind
	}
	w.latencies = append(w.latencies, took)
	return true, ""
}

// verdict returns what is wrong with a complete answer, or nothing.
func (w *worker) verdict(status int) string {
	if status != w.request.status {
		return fmt.Sprintf("status %d", status)
	}
	for _, want := range w.request.contains {
		if !bytes.Contains(w.body.Bytes(), want) {
			return fmt.Sprintf("body without %s", excerpt(want))
		}
	}
	return ""
}

// exchange sends the request and reads the whole answer into w.body.
func (w *worker) exchange(deadline time.Time) (status int, err error) {
	if w.conn == nil {
		if err := w.connect(deadline); err != nil {
			return 0, err
		}
	}
	if err := w.conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	if _, err := w.conn.Write(w.request.wire); err != nil {
		return 0, err
	}
	resp, err := w.answer()
	if err != nil {
		return 0, err
	}
	w.body.Reset()
	n, err := w.body.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return 0, err
	}
	if n > maxBody {
		return 0, errTooLong
	}
	if resp.Close || w.reader.Buffered() > 0 {
		// The server asked for it, or sent more than it announced.
		w.disconnect()
	}
	return resp.StatusCode, nil
}

// answer reads the head of the final answer, past any interim one (RFC 9110,
// section 15.2).
func (w *worker) answer() (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(w.reader, w.request.request)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
}

func (w *worker) connect(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(w.ctx, deadline)
	defer cancel()
	conn, err := w.dialer.DialContext(ctx, "tcp", w.request.address)
	if err != nil {
		return err
	}
	w.conn = conn
	w.reader.Reset(conn)
	// Closing wakes up whoever reads or writes; the error it gets there says
	// that the attempt was over.
	w.unwatch = context.AfterFunc(w.ctx, func() { _ = conn.Close() })
	return nil
}

// disconnect closes the connection, if there is one. An error of Close tells
// nothing about the requests that went over it.
func (w *worker) disconnect() {
	if w.conn == nil {
		return
	}
	w.unwatch()
	_ = w.conn.Close()
	w.conn = nil
}

// isTimeout tells a passed deadline, of the dialer or of the connection.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
