// Package export writes result documents in the formats of other programs.
// It says what was measured, in their words: it computes no ratio and decides
// nothing, and what a format has no place for is left out (docs/export.md
// lists it).
package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"meshlab.dev/meshlab/scenarios"
)

// What can be wrong with an export.
var (
	ErrUnknownFormat = errors.New("unknown format")
	ErrNothing       = errors.New("nothing to export")
	ErrManyFiles     = errors.New("the format needs one file for each measurement: name a directory")
)

// Format is a form in which results are written.
type Format struct {
	Name      string
	Extension string // of a file, with its dot
	Summary   string // one line, for people
	Directory bool   // it takes a file for each measurement: see WriteDir
}

// encoder makes the files of a format, without their directory, in the order
// in which they are to be listed.
type encoder func(runs []run) ([]file, error)

type file struct {
	name    string
	content []byte
}

type codec struct {
	Format
	encode encoder
}

// codecs are all formats by name.
func codecs() []codec {
	return []codec{
		{Format{"benchfmt", ".txt", "Go benchmark format, a line for each attempt and trial: for benchstat", false}, single("results.txt", writeBenchfmt)},
		{Format{"csv", ".csv", "a row for each attempt and trial: for spreadsheets, R and pandas", false}, single("results.csv", writeCSV)},
		{Format{"fortio", ".json", "a file for each attempt and each side of a duet: for fortio report", true}, fortioFiles},
		{Format{"openmetrics", ".prom", "OpenMetrics 1.0 text, histograms and quantiles: for Prometheus", false}, single("results.prom", writeOpenMetrics)},
		{Format{"smp", ".json", "Service Mesh Performance specification, in the JSON form of its messages", false}, single("results.json", writeSMP)},
	}
}

func single(name string, write func(io.Writer, []run) error) encoder {
	return func(runs []run) ([]file, error) {
		var b bytes.Buffer
		if err := write(&b, runs); err != nil {
			return nil, err
		}
		return []file{{name, b.Bytes()}}, nil
	}
}

// Formats returns all formats, by name.
func Formats() []Format {
	var all []Format
	for _, c := range codecs() {
		all = append(all, c.Format)
	}
	return all
}

// Write writes the results to w, in their order, all at once or not at all.
// The same results always give the same bytes.
//
// It returns ErrUnknownFormat, with the names there are; ErrNothing for a
// result without cells, duets and ramps; and ErrManyFiles when the format
// takes a directory, as fortio does.
func Write(w io.Writer, format string, results []*scenarios.Result) error {
	f, files, err := encode(format, results)
	if err != nil {
		return err
	}
	if f.Directory {
		return fmt.Errorf("export as %s: %w (there are %d)", format, ErrManyFiles, len(files))
	}
	if _, err := w.Write(files[0].content); err != nil {
		return fmt.Errorf("export as %s: %w", format, err)
	}
	return nil
}

func encode(format string, results []*scenarios.Result) (Format, []file, error) {
	var names []string
	for _, c := range codecs() {
		names = append(names, c.Name)
		if c.Name != format {
			continue
		}
		runs, err := flatten(results)
		if err != nil {
			return c.Format, nil, fmt.Errorf("export as %s: %w", format, err)
		}
		files, err := c.encode(runs)
		if err != nil {
			return c.Format, nil, fmt.Errorf("export as %s: %w", format, err)
		}
		return c.Format, files, nil
	}
	return Format{}, nil, fmt.Errorf("export as %q: %w: want one of %s", format, ErrUnknownFormat, strings.Join(names, ", "))
}
