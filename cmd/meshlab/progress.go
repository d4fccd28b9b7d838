package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// progress tells a person how long work is going: on a terminal a line that
// changes, with the time that has passed; in a pipe one line per finished step.
type progress struct {
	w    io.Writer
	tty  bool
	cols int

	mu      sync.Mutex
	running []string // steps under way, in the order they began
	began   map[string]time.Time
	note    string // what the step reports of itself
	quit    chan struct{}
	done    chan struct{}
}

func newProgress(f *os.File) *progress {
	p := &progress{w: f, tty: term.IsTerminal(int(f.Fd())), began: map[string]time.Time{}}
	if !p.tty {
		return p
	}
	p.cols = 80
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
		p.cols = w
	}
	p.quit, p.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.done)
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-p.quit:
				return
			case <-t.C:
				p.mu.Lock()
				p.draw()
				p.mu.Unlock()
			}
		}
	}()
	return p
}

// event shows a step of bringing up a lab.
func (p *progress) event(e supervisor.Event) {
	switch {
	case e.Done:
		p.finish(e.Step, e.Detail, time.Duration(e.Seconds*float64(time.Second)))
	case e.Detail != "": // it is under way
		p.report(e.Detail)
	default:
		p.start(e.Step)
	}
}

func (p *progress) start(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.began[step]; !ok {
		p.running = append(p.running, step)
	}
	p.began[step] = time.Now()
	p.draw()
}

// report replaces the note behind the running steps.
func (p *progress) report(note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = note
	p.draw()
}

func (p *progress) finish(step, detail string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.w, "  %-14s %7.2f s  %s\n", step, took.Seconds(), detail)
	delete(p.began, step)
	for i, s := range p.running {
		if s == step {
			p.running = append(p.running[:i], p.running[i+1:]...)
			break
		}
	}
	p.note = ""
	p.draw()
}

// line prints a line above whatever is running.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
	p.draw()
}

// stop takes the changing line away; calling it again does nothing.
func (p *progress) stop() {
	if p.quit == nil {
		return
	}
	p.mu.Lock()
	p.running = nil
	p.clear()
	p.mu.Unlock()
	select {
	case <-p.quit:
	default:
		close(p.quit)
	}
	<-p.done
}

func (p *progress) clear() {
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) draw() {
	if !p.tty || len(p.running) == 0 {
		return
	}
	parts := make([]string, len(p.running))
	for i, s := range p.running {
		parts[i] = fmt.Sprintf("%s %.1f s", s, time.Since(p.began[s]).Seconds())
	}
	text := "  " + strings.Join(parts, ", ")
	if p.note != "" {
		text += ": " + p.note
	}
	if r := []rune(text); len(r) > p.cols-1 {
		text = string(r[:p.cols-1])
	}
	fmt.Fprint(p.w, "\r\x1b[K"+text)
}

// of is the progress of one of several that work at once. It tells in lines, each
// with that name in front.
func (p *progress) of(name string) *progress {
	return &progress{w: named{p, name}, began: map[string]time.Time{}}
}

// named passes lines on to a progress.
type named struct {
	to   *progress
	name string
}

func (n named) Write(b []byte) (int, error) {
	n.to.line("%s: %s", n.name, strings.TrimSpace(string(b)))
	return len(b), nil
}
