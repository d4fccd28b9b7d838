package topo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// maxProblems bounds how many problems one ParseError holds, so that a file
// of noise gives an answer that can be read.
const maxProblems = 200

// maxSuggest is the length in bytes above which a name gets no suggestion:
// the edit distance costs the product of two lengths.
const maxSuggest = 64

// Problem is one thing that is wrong with a lab file.
type Problem struct {
	Line    int // from 1
	Column  int // from 1, in characters
	Message string
}

// ParseError holds every problem found in one lab file, sorted by place. A
// file with more than 200 problems has the first 200, and Truncated set.
type ParseError struct {
	File      string
	Problems  []Problem
	Truncated bool
}

// Error returns one line for each problem: file:line:column: message.
func (e *ParseError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, p.Line, p.Column, p.Message)
	}
	if e.Truncated {
		fmt.Fprintf(&b, "\n%s: more problems follow; the first %d are shown", e.File, len(e.Problems))
	}
	return b.String()
}

// place is where a value stands in the file, both numbers from 1.
type place struct{ line, column int }

// problems collects what is wrong while a file is read.
type problems struct {
	list []Problem
	full bool
}

func (p *problems) addf(at place, format string, args ...any) {
	if len(p.list) >= maxProblems {
		p.full = true
		return
	}
	at.line, at.column = max(at.line, 1), max(at.column, 1)
	p.list = append(p.list, Problem{Line: at.line, Column: at.column, Message: fmt.Sprintf(format, args...)})
}

// unknown reports a name that is not among the known ones, with the nearest
// of them when one is near.
func (p *problems) unknown(at place, what, name string, known []string) {
	if len(p.list) >= maxProblems {
		p.full = true // and spare the search for a near name
		return
	}
	if near := Nearest(name, known); near != "" {
		p.addf(at, "unknown %s %s; did you mean %q?", what, quote(name), near)
		return
	}
	p.addf(at, "unknown %s %s", what, quote(name))
}

// err returns the problems as an error, nil when there are none.
func (p *problems) err(file string) error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &ParseError{File: file, Problems: p.list, Truncated: p.full}
}

// Nearest returns the name among known that a mistyped name most likely
// meant, or "" when none is near: at most a third of its letters, and at
// least one, may differ. Of equally near names the first in the alphabet wins.
func Nearest(name string, known []string) string {
	if len(name) > maxSuggest {
		return ""
	}
	best, bestDistance := "", max(1, len([]rune(name))/3)+1
	for _, k := range known {
		if len(k) > maxSuggest {
			continue
		}
		d := levenshtein.Distance(name, k, levenshtein.NewParams().MaxCost(bestDistance))
		if d < bestDistance || d == bestDistance && best != "" && k < best {
			best, bestDistance = k, d
		}
	}
	return best
}

// quote shows a name of the file in a message, shortened when it is long.
func quote(s string) string {
	if r := []rune(s); len(r) > maxSuggest {
		s = string(r[:maxSuggest]) + "..."
	}
	return fmt.Sprintf("%q", s)
}
