package service

import (
	"net"
	"net/http"
	"time"
)

// maxIdleConnsPerHost holds the connections of the largest load scenario (200
// in parallel) with room to spare: with fewer, connections are closed and
// opened under load and the measurement is one of TCP handshakes.
const maxIdleConnsPerHost = 256

// NewTransport returns a transport for calls to upstreams of the lab. It keeps
// connections alive, heeds no proxy variable, and gives up an idle connection
// before the server of this package does.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		MaxIdleConnsPerHost:   maxIdleConnsPerHost,
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		DisableCompression:    true,
	}
}

// NewClient returns a client over NewTransport for short calls.
func NewClient() *http.Client {
	return &http.Client{Transport: NewTransport(), Timeout: 30 * time.Second}
}
