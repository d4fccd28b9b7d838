package docker

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// Of what a container prints, the last lines are kept for when it ends: this
// many, of no more than this many bytes.
const (
	tailLines = 10
	tailBytes = 4096
)

// tail passes on what is written to it and keeps the end.
type tail struct {
	to io.Writer // may be nil

	mu   sync.Mutex
	kept []byte
}

// Write never fails: a reader that has gone must not stop a container.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		_, _ = t.to.Write(p)
	}
	t.kept = append(t.kept, p[max(0, len(p)-tailBytes):]...)
	if extra := len(t.kept) - tailBytes; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

// last returns the last whole lines.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimRight(t.kept, "\n"), []byte("\n"))
	lines = lines[max(0, len(lines)-tailLines):]
	return strings.ToValidUTF8(string(bytes.Join(lines, []byte("\n"))), "�")
}
