package explain

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

const said = `Flow: tcp,in_port=1,vlan_tci=0x0000

bridge("s1")
------------
 0. in_port=1,dl_src=00:00:00:00:00:01, priority 200, cookie 0x4d4c000000000001
    resubmit(,48)
    48. No match.
    resubmit(,47)
    47. reg0=0x2, priority 0
            drop
    resubmit(,90)
90. priority 1
    output:3

bridge("s3")
------------
 0. in_port=1, priority 200, cookie 0x4d4c000000000003
    drop

Final flow: unchanged
Datapath actions: drop

===============================================================================
recirc(0x2) - resume conntrack with ct_state=inv|trk
===============================================================================

Flow: recirc_id=0x2

bridge("s1")
------------
    thaw
        Resuming from table 74
74. tcp, priority 1, cookie 0x4d4c000000000004
    drop
`

func TestParseOVS(t *testing.T) {
	got, err := ParseOVS(said)
	if err != nil {
		t.Fatal(err)
	}
	want := []OVSStep{
		{Bridge: "s1", Table: 0, Match: "in_port=1,dl_src=00:00:00:00:00:01", Priority: 200, Cookie: 0x4d4c000000000001},
		{Bridge: "s1", Table: 48, Miss: true},
		{Bridge: "s1", Table: 47, Miss: true, Match: "reg0=0x2"},
		{Bridge: "s1", Table: 90, Priority: 1},
		{Bridge: "s3", Table: 0, Match: "in_port=1", Priority: 200, Cookie: 0x4d4c000000000003},
		{Bridge: "s1", Table: 74, Match: "tcp", Priority: 1, Cookie: 0x4d4c000000000004},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, text := range []string{"", "Bad openflow flow syntax", "999. priority 1", "1. priority 99999", "1. tcp, priority 1, cookie 0xzz"} {
		if steps, err := ParseOVS(text); err == nil {
			t.Errorf("%q: read as %+v", text, steps)
		}
	}
}

func hop() Hop {
	return Hop{Switch: "s1", OVS: []string{"ofproto/trace", "s1", "tcp"}, Steps: []Step{
		{Table: 0, Cookie: "0x4d4c000000000001", Priority: 200, Match: "dl_src=00:00:00:00:00:01,in_port=1"},
		{Table: 48, Cookie: "0x4d4d000000000000", Reason: "learned"},
		{Table: 47, Miss: true},
		{Table: 90, Cookie: "0x4d4c000000000009", Priority: 1},
	}}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Hop) string // gives what Open vSwitch says
		choice bool
		want   string // empty: they agree
	}{
		{"alike", func(*Hop) string { return said }, false, ""},
		{"another cookie", func(h *Hop) string { h.Steps[0].Cookie = "0x4d4c000000000002"; return said }, false, "step 1: it meets table 0"},
		{"no cookies, fields in another order", func(*Hop) string { return strings.ReplaceAll(said, ", cookie 0x4d4c000000000001", "") }, false, ""},
		{"no cookies, another match", func(h *Hop) string {
			h.Steps[0].Match = "in_port=2"
			return strings.ReplaceAll(said, ", cookie 0x4d4c000000000001", "")
		}, false, "step 1"},
		{"another priority", func(h *Hop) string { h.Steps[3].Priority = 2; return said }, false, "step 4"},
		{"another table", func(h *Hop) string { h.Steps[3].Table = 91; return said }, false, "step 4"},
		{"a match in place of none", func(h *Hop) string { h.Steps[2].Miss = false; return said }, false, "step 3"},
		{"it ends early", func(h *Hop) string { h.Steps = append(h.Steps, Step{Table: 91}); return said }, false, "ends after 4 steps"},
		{"it goes on", func(h *Hop) string { h.Steps = h.Steps[:3]; return said }, false, "after 3 steps it goes on to table 90"},
		{"another choice", func(h *Hop) string { h.Steps[2].Group = true; h.Steps[3].Table = 91; return said }, true, ""},
		{"no choice", func(h *Hop) string { h.Steps[3].Group = true; h.Steps = append(h.Steps, Step{Table: 91}); return said }, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hop()
			steps, err := ParseOVS(c.change(&h))
			if err != nil {
				t.Fatal(err)
			}
			a := Compare(h, steps)
			if a.OK() != (c.want == "") || !strings.Contains(a.Difference, c.want) || a.Choice != c.choice {
				t.Errorf("%+v: want choice %t, difference %q", a, c.choice, c.want)
			}
		})
	}
}

func TestCheckReportsFailures(t *testing.T) {
	tr := Trace{There: Way{Hops: []Hop{hop()}}, Back: &Way{Hops: []Hop{hop()}}}
	answer := func(text string, err error) func(context.Context, string, []string) (string, error) {
		return func(context.Context, string, []string) (string, error) { return text, err }
	}
	if a, err := Check(t.Context(), tr, answer(said, nil)); err != nil || !a.OK() || a.Steps != 8 || len(a.Switches) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	broken := errors.New("no such switch")
	if _, err := Check(t.Context(), tr, answer("", broken)); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if _, err := Check(t.Context(), tr, answer("nonsense", nil)); err == nil {
		t.Error("nonsense was read")
	}
}

func FuzzParseOVS(f *testing.F) {
	f.Add(said)
	real, err := os.ReadFile("testdata/ofproto-trace.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(real))
	f.Add(" 0. priority 0\n")
	f.Add("bridge(\"\")\n1. , priority 1, cookie 0x1")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := ParseOVS(text)
		if (err == nil) != (len(steps) > 0) {
			t.Fatalf("%d steps, error %v", len(steps), err)
		}
		_ = Compare(hop(), steps)
	})
}
