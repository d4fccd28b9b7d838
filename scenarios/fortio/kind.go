package fortio

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// kindOf names the fault that kept an answer from coming, in the few words
// under which errors are counted.
func kindOf(err error) string {
	var dns *net.DNSError
	switch {
	case isTimeout(err):
		return "timeout"
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
	case errors.Is(err, errTooLong):
		return errTooLong.Error()
	case errors.As(err, &dns):
		return "name not found"
	case isNetwork(err):
		return "network error"
	default:
		return "malformed answer"
	}
}

func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// notSent and cutShort name what the limit of an attempt left undone.
func notSent(limit time.Duration) string  { return fmt.Sprintf("not sent within %v", limit) }
func cutShort(limit time.Duration) string { return fmt.Sprintf("unanswered after %v", limit) }

// excerpt quotes at most 40 bytes of an expected text.
func excerpt(b []byte) string {
	const most = 40
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
