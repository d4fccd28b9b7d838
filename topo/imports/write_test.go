package imports

import (
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// What scalar writes is read as the same text, alone and in a list.
func FuzzScalar(f *testing.F) {
	for _, s := range []string{"", "a", "yes", "1", "0x1", "1e3", "~", "null", "a b", "a: b", "#", "- a", "'", `"`, "{{ x }}", "a,b", "[", "\t", "\n", "é", "1.2.3.4/8", "02:00", "2026-01-01", "=", "<<", ".", "..", "a.", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		text := scalar(s)
		var got struct {
			A string
			B []string
		}
		if err := yaml.Unmarshal([]byte("a: "+text+" # comment\nb: ["+text+", "+text+"]\n"), &got); err != nil || got.A != s || len(got.B) != 2 || got.B[0] != s {
			t.Errorf("%q is written %s and read %q %q: %v", s, text, got.A, got.B, err)
		}
	})
}

func TestClean(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"fits":          {"h1", "h1"},
		"underscore":    {"consul_server", "consul_server"},
		"ends oddly":    {"h1_", "h1_"},
		"capitals":      {"Host_A", "host_a"},
		"begins oddly":  {"-_h1", "h1"},
		"too long":      {"a-very-long-name-of-a-host", "a-very-long-na"},
		"cut at a dash": {"thirteenchars-and", "thirteenchars"},
		"other letters": {"é.h", "h"},
		"nothing left":  {"???", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clean(tc.in, "_-", maxNodeName); got != tc.want {
				t.Errorf("%q instead of %q", got, tc.want)
			}
		})
	}
}

func TestPortOf(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		env  []variable
		want int
	}{
		"none":             {[]string{"-v", "x"}, nil, 0},
		"a flag":           {[]string{"--port", "8081"}, nil, 8081},
		"a flag and value": {[]string{"-Dserver.port=13427"}, nil, 13427},
		"an address":       {[]string{"--listen=0.0.0.0:81"}, nil, 81},
		"alone":            {[]string{":20863"}, nil, 20863},
		"Python":           {[]string{"-m", "http.server", "8000"}, nil, 8000},
		"Python's default": {[]string{"-m", "http.server"}, nil, 8000},
		"socat":            {[]string{"TCP-LISTEN:90,fork", "STDOUT"}, nil, 90},
		"netcat":           {[]string{"-l", "99"}, nil, 99},
		"too high":         {[]string{"--port", "99999"}, nil, 0},
		"the environment":  {nil, []variable{{"BIND_ADDRESS", "127.0.0.1:77"}}, 77},
	} {
		t.Run(name, func(t *testing.T) {
			if got := portOf(tc.args, tc.env); got != tc.want {
				t.Errorf("%d instead of %d", got, tc.want)
			}
		})
	}
}
