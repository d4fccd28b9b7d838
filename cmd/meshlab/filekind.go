package main

import (
	"bytes"
	"errors"
	"regexp"

	"meshlab.dev/meshlab/topo"
)

// fileKind is what a file of ours holds, by the keys that only such a file has
// at its top.
type fileKind struct {
	key  *regexp.Regexp
	told string // to a user who named it in the place of another kind
}

var (
	labFile      = fileKind{regexp.MustCompile(`(?m)^nodes[ \t]*:`), "this is a lab file: name it without --scenario"}
	scenarioFile = fileKind{regexp.MustCompile(`(?m)^(?:open|closed)[ \t]*:`), "this is a scenario file: validate, bench and compare take it with --scenario"}
	resultFile   = fileKind{regexp.MustCompile(`^\s*\{\s*"schema_version"`), "these are results: 'meshlab report' and 'meshlab export' read them"}
)

// wrongKind is what a user is told of a file with mistakes: all of them, or
// that it is of another kind than the one wanted, which would be behind each.
func wrongKind(err error, source []byte, want fileKind) error {
	var mistakes *topo.ParseError
	if !errors.As(err, &mistakes) || want.key.Match(source) {
		return err
	}
	for _, kind := range []fileKind{resultFile, labFile, scenarioFile} {
		if at := kind.key.FindIndex(source); at != nil {
			line := 1 + bytes.Count(source[:at[0]], []byte("\n"))
			return &topo.ParseError{File: mistakes.File, Problems: []topo.Problem{{Line: line, Column: 1, Message: kind.told}}}
		}
	}
	return err
}
