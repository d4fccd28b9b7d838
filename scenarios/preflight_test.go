package scenarios

import (
	"strings"
	"testing"
)

func TestPreflight(t *testing.T) {
	p, err := LookAtMachine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.validate(); err != nil || p.Busy == 0 && p.Load1 == 0 {
		t.Errorf("%+v: %v", p, err)
	}
	for _, tt := range []struct {
		given *Preflight
		want  string
	}{
		{nil, ""},
		{&Preflight{Busy: 0.05, Steal: 0.01}, ""},
		{&Preflight{Busy: 0.5, Load1: 4}, "50 % of the processors before the labs came up (load average 4.0)"},
		{&Preflight{Steal: 0.05}, "hypervisor took 5.0 %"},
	} {
		if got := tt.given.Warning(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", tt.given, got, tt.want)
		}
	}
	if err := (&Preflight{Busy: 2}).validate(); err == nil {
		t.Error("busy 200 %: no error")
	}
}
