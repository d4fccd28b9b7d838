package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// In a pipe, progress is a line for each step that has ended.
func TestProgressInPipe(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := newProgress(file)
	p.event(supervisor.Event{Step: "network"})
	p.event(supervisor.Event{Step: "services"})
	p.report("half of it")
	p.event(supervisor.Event{Step: "services", Done: true, Seconds: 0.04, Detail: "5 started"})
	p.line("  a word on the side: %d", 7)
	p.event(supervisor.Event{Step: "network", Done: true, Seconds: 1.234, Detail: "6 hosts"})
	p.stop()
	p.stop()
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	const want = "  services          0.04 s  5 started\n  a word on the side: 7\n  network           1.23 s  6 hosts\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// On a terminal, a line that changes names all steps under way and how long
// they have taken, and never wraps.
func TestProgressOnTerminal(t *testing.T) {
	var out strings.Builder
	p := &progress{w: &out, tty: true, cols: 40, began: map[string]time.Time{}}
	last := func() string {
		text := out.String()
		return text[strings.LastIndex(text, "\x1b[K")+len("\x1b[K"):]
	}
	p.start("consul")
	p.start("services")
	if got := last(); got != "  consul 0.0 s, services 0.0 s" {
		t.Errorf("two steps: %q", got)
	}
	p.began["consul"] = time.Now().Add(-90 * time.Second)
	p.report("compiling 3 of 1000 packages of it all")
	if got := last(); !strings.HasPrefix(got, "  consul 90.0 s") || len(got) != 39 {
		t.Errorf("too long for the line: %q", got)
	}
	p.finish("consul", "a server", 90*time.Second)
	if got := last(); got != "  services 0.0 s" {
		t.Errorf("after the end of one: %q", got)
	}
	if !strings.Contains(out.String(), "\r\x1b[K  consul           90.00 s  a server\n") {
		t.Errorf("the finished step has no line of its own: %q", out.String())
	}
	p.finish("services", "", 0)
	if text := out.String(); !strings.HasSuffix(text, "\n") {
		t.Errorf("something is left on the line: %q", text)
	}
}
