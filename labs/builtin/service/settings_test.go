package service

import (
	"strings"
	"testing"
)

func env(pairs map[string]string) func(string) string {
	return func(k string) string { return pairs[k] }
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name  string
		value string
		read  func(*Settings)
		err   string // "": none
	}{
		{"a port alone", ":20863", func(s *Settings) { s.Address("X") }, ""},
		{"address and port", "192.168.1.11:20863", func(s *Settings) { s.Address("X") }, ""},
		{"IPv6", "[::1]:80", func(s *Settings) { s.Address("X") }, ""},
		{"localhost", "localhost:80", func(s *Settings) { s.Address("X") }, ""},
		{"no address", "", func(s *Settings) { s.Address("X") }, "not set"},
		{"no port", "192.168.1.11", func(s *Settings) { s.Address("X") }, "not of the form"},
		{"a name", "h1:80", func(s *Settings) { s.Address("X") }, "not an IP address"},
		{"port too high", ":65536", func(s *Settings) { s.Address("X") }, "from 1 to 65535"},
		{"port 0", ":0", func(s *Settings) { s.Address("X") }, "from 1 to 65535"},
		{"a URL", "http://192.168.1.250:9340", func(s *Settings) { s.URL("X") }, ""},
		{"no scheme", "192.168.1.250:9340", func(s *Settings) { s.URL("X") }, "http://host:port"},
		{"a wrong scheme", "ftp://h", func(s *Settings) { s.URL("X") }, "http://host:port"},
		{"no URL", "", func(s *Settings) { s.URL("X") }, "not set"},
		{"no optional URL", "", func(s *Settings) { s.OptionalURL("X") }, ""},
		{"a broken optional URL", "x", func(s *Settings) { s.OptionalURL("X") }, "http://host:port"},
		{"a number", "32", func(s *Settings) { s.Int("X", 1, 1, 100) }, ""},
		{"a number too high", "101", func(s *Settings) { s.Int("X", 1, 1, 100) }, "from 1 to 100"},
		{"no number", "many", func(s *Settings) { s.Int("X", 1, 1, 100) }, "from 1 to 100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewSettings(env(map[string]string{"X": tt.value}))
			tt.read(s)
			err := s.Err()
			if tt.err == "" && err != nil {
				t.Errorf("unexpected: %v", err)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "read X")) {
				t.Errorf("got %v, want one with %q", err, tt.err)
			}
		})
	}
}

func TestSettingsFallback(t *testing.T) {
	s := NewSettings(env(map[string]string{"N": "7", "S": "set"}))
	if s.Int("N", 1, 0, 10) != 7 || s.Int("M", 3, 0, 10) != 3 || s.String("S", "x") != "set" || s.String("T", "x") != "x" {
		t.Error("a value or a fallback is wrong")
	}
}
