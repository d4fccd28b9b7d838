package docker

import "testing"

func TestContainerName(t *testing.T) {
	for _, tc := range []struct{ lab, node, process, want string }{
		{"shop", "h1", "", "meshlab-shop.h1"},
		{"shop", "h1", "consul@h1", "meshlab-shop.h1.consul"},
		{"shop", "h1", "consul@h2", "meshlab-shop.h1.consul-h2"},
		{"shop", "h1", "public-api", "meshlab-shop.h1.public-api"},
		{"shop", "h1", "h1", "meshlab-shop.h1.h1"},
		{"a-b", "c", "", "meshlab-a-b.c"},
		{"a", "b-c", "", "meshlab-a.b-c"},
		{"shop", "h1", "side/car ünit", "meshlab-shop.h1.side-car--nit"},
	} {
		if got := containerName(tc.lab, tc.node, tc.process); got != tc.want {
			t.Errorf("%s, %s, %s: %s, want %s", tc.lab, tc.node, tc.process, got, tc.want)
		}
	}
}

func TestExit(t *testing.T) {
	for want, x := range map[string]Exit{
		"exit status 0":      {},
		"exit status 3":      {Code: 3},
		"signal: killed":     {Code: 137},
		"signal: terminated": {Code: 143},
		"exit status 255":    {Code: 255},
		"killed: out of memory (its limit is 64 MiB)": {Code: 137, OutOfMemory: true, Limit: 64 << 20},
		"killed: out of memory":                       {Code: 137, OutOfMemory: true},
	} {
		if got := x.String(); got != want {
			t.Errorf("%+v: %q, want %q", x, got, want)
		}
	}
}
