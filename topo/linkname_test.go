package topo

import (
	"reflect"
	"strings"
	"testing"
)

func TestFindLink(t *testing.T) {
	host := func(name string) Endpoint { return Endpoint{Node: name, Interface: "eth0"} }
	port := func(name, number string) Endpoint { return Endpoint{Node: name, Interface: number, Port: 1} }
	lab := &Lab{Name: "l", Links: []Link{
		{A: host("h1"), B: port("s1", "1")},
		{A: port("s1", "2"), B: host("product-db")},
		{A: port("s1", "3"), B: port("s2", "3")},
		{A: port("s2", "4"), B: port("s1", "4")},
		{A: host("a"), B: port("b-c", "1")}, // a-b-c
		{A: host("a-b"), B: port("c", "1")}, // a-b-c too
	}}
	names := []string{"h1-s1", "s1-product-db", "s1:3-s2:3", "s2:4-s1:4", "a:eth0-b-c:1", "a-b:eth0-c:1"}
	if got := lab.LinkNames(); !reflect.DeepEqual(got, names) {
		t.Errorf("names %q", got)
	}
	for i, name := range names {
		if got, err := lab.FindLink(name); got != i || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for name, tc := range map[string]struct {
		index int
		err   string
	}{
		"s1-h1":             {index: 0},
		"s1:1-h1":           {index: 0},
		"h1:eth0-s1":        {index: 0},
		"product-db-s1":     {index: 1},
		"s2:3-s1":           {index: 2},
		"s1-s2":             {err: "2 links s1-s2: say which, s1:3-s2:3 or s2:4-s1:4"},
		"a-b-c":             {err: "a:eth0-b-c:1 or a-b:eth0-c:1"},
		"h1-s2":             {err: `no link "h1-s2": it has h1-s1, s1-product-db, s1:3-s2:3`},
		"h1":                {err: "no link"},
		"":                  {err: "no link"},
		"h1-s1-" + "\x00\n": {err: "no link"},
	} {
		got, err := lab.FindLink(name)
		if tc.err == "" && (err != nil || got != tc.index) || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: %d, %v", name, got, err)
		}
	}
}
