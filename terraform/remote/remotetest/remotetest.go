// Package remotetest is a machine for tests that answers SSH: golang.org/x/crypto's
// server, with commands that are functions.
package remotetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"
)

// ErrHang is what a command answers that does not end.
var ErrHang = errors.New("it hangs")

// Key makes a key, as a file has it and as a server takes it.
func Key(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// Serve is a machine with a host key that lets one user's key in. What it prints
// for a command, run says; an error is printed too, and the command fails.
func Serve(t testing.TB, ln net.Listener, host ssh.Signer, allowed ssh.PublicKey, run func(command string) (string, error)) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed.Marshal()) {
			return nil, errors.New("not this key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn, config, run)
		}
	}()
	t.Cleanup(func() { ln.Close() })
}

func serve(conn net.Conn, config *ssh.ServerConfig, run func(string) (string, error)) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var command struct{ Text string }
			_ = ssh.Unmarshal(r.Payload, &command) // RFC 4254, section 6.5
			_ = r.Reply(true, nil)
			code := struct{ Code uint32 }{}
			out, err := run(command.Text)
			if errors.Is(err, ErrHang) {
				continue
			}
			if err != nil {
				_, _ = io.WriteString(channel.Stderr(), err.Error()+"\n")
				code.Code = 1
			}
			_, _ = io.WriteString(channel, out)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(code))
			channel.Close()
		}
	}
}
