package service

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
)

// Settings reads a service's settings from its environment and collects every
// complaint, so that a user mends them all in one round. It is not safe for
// concurrent use.
type Settings struct {
	env  func(key string) string
	errs []error
}

// NewSettings reads from env, which answers "" for a variable that is not set.
func NewSettings(env func(key string) string) *Settings {
	return &Settings{env: env}
}

// Err returns all complaints joined, or nil.
func (s *Settings) Err() error {
	return errors.Join(s.errs...)
}

// Complain records one more complaint about a variable.
func (s *Settings) Complain(key, format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("read %s: %s", key, fmt.Sprintf(format, args...)))
}

// String returns the variable's value, or fallback when it is not set.
func (s *Settings) String(key, fallback string) string {
	if v := s.env(key); v != "" {
		return v
	}
	return fallback
}

// Required returns the variable's value; that it is not set is a complaint
// which shows the example.
func (s *Settings) Required(key, example string) string {
	v := s.env(key)
	if v == "" {
		s.Complain(key, "not set: set it, for example %s=%q", key, example)
	}
	return v
}

// Address returns a required "host:port" to listen on; the host may be empty
// (every address) and must otherwise be an IP address or "localhost".
func (s *Settings) Address(key string) string {
	v := s.Required(key, ":8080")
	if v == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		s.Complain(key, "%q is not of the form \":port\" or \"address:port\"", v)
		return ""
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		s.Complain(key, "%q is not an IP address", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		s.Complain(key, "port %q is not a number from 1 to 65535", port)
	}
	return v
}

// URL returns a required absolute http or https URL.
func (s *Settings) URL(key string) *url.URL {
	v := s.Required(key, "http://192.168.1.250:9340")
	if v == "" {
		return nil
	}
	return s.parseURL(key, v)
}

// OptionalURL is URL for a variable that may be missing: the result is nil then.
func (s *Settings) OptionalURL(key string) *url.URL {
	v := s.env(key)
	if v == "" {
		return nil
	}
	return s.parseURL(key, v)
}

func (s *Settings) parseURL(key, value string) *url.URL {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		s.Complain(key, "%q is not a URL of the form http://host:port", value)
		return nil
	}
	return u
}

// Int returns a whole number from lowest to highest, or fallback when the
// variable is not set.
func (s *Settings) Int(key string, fallback, lowest, highest int) int {
	v := s.env(key)
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lowest || n > highest {
		s.Complain(key, "%q is not a whole number from %d to %d", v, lowest, highest)
		return fallback
	}
	return n
}
