package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// screen is a terminal that a view has for itself. A nil screen has no keys.
type screen struct {
	out   *os.File
	in    *os.File
	was   *term.State // of in; nil: it is no terminal
	typed chan byte
}

// openScreen switches a terminal to its second screen, and the keyboard to
// single keys if in is one.
func openScreen(out, in *os.File) (*screen, error) {
	s := &screen{out: out, in: in}
	if term.IsTerminal(int(in.Fd())) {
		was, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return nil, fmt.Errorf("take over the keyboard: %w", err)
		}
		s.was, s.typed = was, make(chan byte)
		go s.read()
	}
	// xterm's control sequences: alternate screen, cursor off.
	if _, err := io.WriteString(out, "\x1b[?1049h\x1b[?25l"); err != nil {
		return nil, errors.Join(fmt.Errorf("take over the terminal: %w", err), s.close())
	}
	return s, nil
}

// read passes keys on. It ends with the program: a read of a terminal cannot
// be broken off.
func (s *screen) read() {
	for {
		var key [1]byte
		if n, err := s.in.Read(key[:]); err != nil || n == 0 {
			return
		}
		s.typed <- key[0]
	}
}

func (s *screen) keys() <-chan byte {
	if s == nil {
		return nil
	}
	return s.typed
}

// close gives the terminal back as it was.
func (s *screen) close() error {
	_, err := io.WriteString(s.out, "\x1b[?25h\x1b[?1049l")
	if s.was != nil {
		err = errors.Join(err, term.Restore(int(s.in.Fd()), s.was))
	}
	return err
}

// show fills the screen with a view.
func (s *screen) show(v view) error {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	var lines []string
	for i, l := range v.lines(height) {
		text := cutRunes(l.text, width)
		switch {
		case i == 0 || l.kind == headLine:
			text = "\x1b[1m" + text + "\x1b[0m" // bold
		case l.kind == alertLine:
			text = "\x1b[31m" + text + "\x1b[0m" // red
		}
		lines = append(lines, text+"\x1b[K") // and nothing behind it
	}
	return s.draw(lines)
}

// say shows why there is no view.
func (s *screen) say(text string) error { return s.draw([]string{cutRunes(text, 200) + "\x1b[K"}) }

func (s *screen) draw(lines []string) error {
	var b bytes.Buffer
	b.WriteString("\x1b[H")                    // to the upper left corner
	b.WriteString(strings.Join(lines, "\r\n")) // raw mode: \n alone does not go back
	b.WriteString("\x1b[J")                    // nothing below
	_, err := s.out.Write(b.Bytes())
	return err
}

func cutRunes(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n])
	}
	return text
}
