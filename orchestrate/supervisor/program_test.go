package supervisor

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/orchestrate"
)

// script makes a program of a few lines.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProgramVersion(t *testing.T) {
	for name, tc := range map[string]struct{ script, want, err string }{
		"a meshlab":       {`[ "$*" = --version ] && echo meshlab v1.2-3-gabc`, "v1.2-3-gabc", ""},
		"a development":   {`echo "meshlab (devel)"`, "(devel)", ""},
		"no meshlab":      {`echo sort 9.1`, "", "it is no meshlab"},
		"says nothing":    {`:`, "", "it is no meshlab"},
		"no version":      {`echo "meshlab "`, "", "it is no meshlab"},
		"talks on and on": {`echo meshlab; yes meshlab | head -n 100000`, "", "it is no meshlab"},
		"fails":           {`exit 3`, "", "exit status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			path := script(t, "program", tc.script)
			got, err := ProgramVersion(t.Context(), path)
			if got != tc.want || (err == nil) != (tc.err == "") {
				t.Fatalf("%q, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), path)) {
				t.Errorf("%v, want %q and the path", err, tc.err)
			}
		})
	}
	if _, err := ProgramVersion(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestKnowsSockets(t *testing.T) {
	if err := knowsSockets(t.Context(), execServer(t)); err != nil {
		t.Errorf("this program's own: %v", err)
	}
	for name, tc := range map[string]struct {
		answer string
		old    bool
	}{
		"an old one":    {`{"exit":0,"error":"receive files of command: 0 instead of 3"}` + "\n", true},
		"one that ends": {"", false},
	} {
		path := filepath.Join(t.TempDir(), "exec.sock")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go accept(l, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 64))
			_, _ = c.Write([]byte(tc.answer))
		})
		if err := knowsSockets(t.Context(), path); err == nil || errors.Is(err, ErrTooOld) != tc.old {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What an older supervisor does not know is told as that, and what it knows
// and refuses is not.
func TestClientOfOldSupervisor(t *testing.T) {
	state := orchestrate.State{Dir: filepath.Join(t.TempDir(), "shop")}
	path := state.Control()
	if err := errors.Join(os.Mkdir(state.Dir, 0o700), state.Write(orchestrate.Record{Name: "shop", Version: "v0.1"})); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", func(w http.ResponseWriter, _ *http.Request) { fail(w, http.StatusNotFound, errors.New("no such log")) })
	mux.HandleFunc("GET /links", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode([]LinkCounters{{A: "h1:eth0"}})
	})
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	c := NewClient(path)
	if _, err := c.Cost(t.Context()); !errors.Is(err, ErrTooOld) || !strings.Contains(err.Error(), "/cost") ||
		!strings.Contains(err.Error(), "lab shop was brought up by meshlab v0.1: `meshlab down shop`") {
		t.Errorf("what it does not know: %v", err)
	}
	if _, err := c.Logs(t.Context(), "web", 1); err == nil || errors.Is(err, ErrTooOld) {
		t.Errorf("what it refuses: %v", err)
	}
	if links, err := c.Links(t.Context()); err != nil || len(links) != 1 || links[0].A != "h1:eth0" {
		t.Errorf("what it knows: %+v, %v", links, err)
	}
}
