package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"meshlab.dev/meshlab/controller/metrics"
)

// safeBuffer collects what a terminal shows.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// On a terminal the view has the screen for itself, ends with q, and gives
// back the screen and the keyboard as they were.
func TestScreen(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 20, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	shown := &safeBuffer{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = shown.Write(buf[:n])
			if err != nil || strings.Contains(shown.String(), "\x1b[?1049l") {
				return
			}
		}
	}()
	before, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openScreen(slave, slave)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	source := &fakeTraffic{traffic: func(int) (metrics.Traffic, error) { return shopTraffic(time.Now()), nil }}
	first := true
	if err := follow(ctx, source, time.Hour, s.keys(), func(v view, err error) error {
		if err != nil {
			return err
		}
		if first {
			first = false
			if _, err := master.WriteString("q"); err != nil {
				return err
			}
		}
		return s.show(v)
	}); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("q did not end the view")
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	<-read
	after, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *after != *before {
		t.Error("the keyboard is not as it was")
	}
	text := shown.String()
	if !strings.HasPrefix(text, "\x1b[?1049h\x1b[?25l\x1b[H\x1b[1mLab shop") {
		t.Errorf("it begins with %q", text[:min(len(text), 60)])
	}
	if !strings.Contains(text, "\x1b[31mguest  *") {
		t.Errorf("what is denied is not red: %q", text)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		plain := strings.NewReplacer("\x1b[?1049h", "", "\x1b[?25l", "", "\x1b[H", "", "\x1b[J", "", "\x1b[K", "", "\x1b[1m", "", "\x1b[0m", "", "\x1b[31m", "", "\x1b[?25h", "", "\x1b[?1049l", "").Replace(line)
		if n := len([]rune(plain)); n > 40 {
			t.Errorf("a line of %d letters on a terminal of 40: %q", n, line)
		}
		if strings.Contains(plain, "\x1b") {
			t.Errorf("a name controls the terminal: %q", line)
		}
	}
}

func TestCutRunes(t *testing.T) {
	for text, want := range map[string]string{"": "", "abc": "abc", "abcd": "abc", "äöüß": "äöü"} {
		if got := cutRunes(text, 3); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
