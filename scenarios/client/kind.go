package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"meshlab.dev/meshlab/scenarios"
)

// Cancelled is the kind of a request that ended because its context did.
const Cancelled = "cancelled"

// maxBody is the most of an answer that is read, in bytes.
const maxBody = 64 << 20

var (
	errTooLong = fmt.Errorf("answer longer than %d MiB", maxBody>>20)
	errDiffers = errors.New("echo differs")
	errAgain   = errors.New("sent again by gRPC")
	errConnect = errors.New("no connection")
)

// kindOf names the fault that kept an answer from coming, in the few words
// under which errors are counted.
func kindOf(protocol scenarios.Protocol, err error) string {
	var (
		dns    *net.DNSError
		stream http2.StreamError
	)
	switch {
	case isTimeout(err) && protocol == scenarios.UDPEcho:
		return "lost"
	case isTimeout(err):
		return "timeout"
	case errors.Is(err, errTooLong), errors.Is(err, errDiffers), errors.Is(err, errAgain):
		return err.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed early"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to host"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no local port left"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files"
	case errors.As(err, &stream): // that the server reset: RFC 9113, section 5.4.2
		return "stream reset: " + stream.Code.String()
	case errors.As(err, &dns):
		return "name not found"
	case isNetwork(err):
		return "network error"
	case errors.Is(err, errConnect):
		return errConnect.Error()
	case protocol == scenarios.GRPC:
		return "grpc " + status.Code(err).String()
	default:
		return "malformed answer"
	}
}

// isTimeout tells a passed deadline, of the dialer, of the connection or of a
// call.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout() ||
		status.Code(err) == codes.DeadlineExceeded
}

func isNetwork(err error) bool {
	var (
		op    *net.OpError
		errno syscall.Errno
	)
	return errors.As(err, &op) || errors.As(err, &errno)
}
