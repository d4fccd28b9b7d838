package datapath

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// mostAnswer is the longest answer that is read, in bytes: a zone of 200,000
// connections makes some 50 MB of text.
const mostAnswer = 64 << 20

// session is a connection to the control socket of ovs-vswitchd. It carries
// JSON-RPC 1.0 without framing: one JSON value follows the other
// (Documentation/ref/ovsdb.7.rst, RFC 7047 section 4).
type session struct {
	conn    net.Conn
	limit   *io.LimitedReader
	decoder *json.Decoder
	id      uint64
	stop    func() bool
}

type request struct {
	Method string   `json:"method"`
	Params []string `json:"params"`
	ID     uint64   `json:"id"`
}

// serverError is an answer that says why a command failed.
type serverError string

func (e serverError) Error() string { return string(e) }

// Is makes what Open vSwitch says of a missing operation an ErrUnsupported.
func (e serverError) Is(target error) bool {
	return target == ErrUnsupported &&
		(strings.Contains(string(e), "(Operation not supported)") || strings.Contains(string(e), "is not a valid command"))
}

// dial connects. The connection breaks when ctx ends.
func dial(ctx context.Context, path string) (*session, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to ovs-vswitchd: %w", err)
	}
	limit := &io.LimitedReader{R: conn}
	return &session{
		conn: conn, limit: limit, decoder: json.NewDecoder(limit),
		stop: context.AfterFunc(ctx, func() { conn.Close() }),
	}, nil
}

func (s *session) close() {
	s.stop()
	s.conn.Close()
}

// call runs a command and returns what it prints. A command that fails is a
// serverError.
func (s *session) call(method string, params ...string) (string, error) {
	s.id++
	question, err := json.Marshal(request{method, append([]string{}, params...), s.id}) // never null
	if err != nil {
		return "", fmt.Errorf("ask ovs-vswitchd for %s: %w", method, err)
	}
	if _, err := s.conn.Write(question); err != nil {
		return "", fmt.Errorf("ask ovs-vswitchd for %s: %w", method, err)
	}
	s.limit.N = mostAnswer
	text, err := decodeAnswer(s.decoder, s.id)
	if err != nil {
		return "", fmt.Errorf("answer of ovs-vswitchd to %s: %w", method, err)
	}
	return text, nil
}

// decodeAnswer reads one answer and checks whose it is.
func decodeAnswer(d *json.Decoder, id uint64) (string, error) {
	var a struct {
		ID     *uint64         `json:"id"`
		Result *string         `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := d.Decode(&a); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", fmt.Errorf("ends early, or is longer than %d bytes: %w", mostAnswer, io.ErrUnexpectedEOF)
		}
		return "", err
	}
	if a.ID == nil || *a.ID != id {
		return "", errors.New("it answers another question")
	}
	if len(a.Error) > 0 && !bytes.Equal(a.Error, []byte("null")) {
		var text string
		if err := json.Unmarshal(a.Error, &text); err != nil {
			return "", fmt.Errorf("read its error: %w", err)
		}
		return "", serverError(strings.TrimSpace(text))
	}
	if a.Result == nil {
		return "", nil // a command that prints nothing
	}
	return *a.Result, nil
}
