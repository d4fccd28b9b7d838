// Package imports makes lab files of the networks of other tools: Kathará
// labs, containerlab topologies and compose files. It reads what they say and
// says what it could not carry over; nothing is started, and no program or
// image of them is looked into. A lab file is text: who keeps it is others'
// business.
package imports

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"meshlab.dev/meshlab/topo"
)

// Format is the tool whose files are read.
type Format string

// The formats.
const (
	Kathara      Format = "kathara"      // a folder with lab.conf and startup files
	Containerlab Format = "containerlab" // a topology file
	Compose      Format = "compose"      // a compose file
)

// Formats returns all formats.
func Formats() []Format { return []Format{Kathara, Containerlab, Compose} }

// Bounds of what is read. They keep the time and memory that any input can
// take small.
const (
	maxSource  = 256 << 10 // bytes of lab.conf, of a topology or a compose file
	maxStartup = 32 << 10  // bytes of a startup file, whose parser recurses
	maxScripts = 256 << 10 // bytes of all scripts, as shared.startup counts for each device
	maxIfaces  = 256       // of a device
	maxNodes   = 900       // of a lab; topo allows 1000, and some may be added
	maxLinks   = 3000
	maxRuns    = 500  // programs that become services
	maxNotes   = 2000 // a file of noise still gives an answer that can be read
)

var (
	// ErrFormat is in the error of Import for what is in none of the formats.
	ErrFormat = errors.New("neither a Kathará lab, a containerlab topology nor a compose file")

	// ErrUnfit is in the error of Import when topo.Parse refuses the lab that
	// came out: a mistake of this package.
	ErrUnfit = errors.New("the lab that came out is not right")
)

// SourceError is a mistake in a file that is imported.
type SourceError struct {
	File    string
	Line    int // from 1; 0: the file as a whole
	Message string
}

// Error returns file:line: message.
func (e *SourceError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
}

// Note is one thing that was not carried over, was changed, or is left to the
// user.
type Note struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1; 0: the file as a whole
	Text string `json:"text"`
}

// String returns file:line: text.
func (n Note) String() string { return (&SourceError{n.File, n.Line, n.Text}).Error() }

// Options of Import. The zero value finds out the format and the name.
type Options struct {
	Format   Format   // "": recognised
	Name     string   // of the lab; "": what the source says
	Fallback string   // name of the lab when the source says none
	Folder   string   // stands before the names of files in notes and errors
	Builtins []string // builtin services that a lab may have; nil: any
}

// Result is a lab file and what it does not say.
type Result struct {
	Name   string // of the lab
	Format Format
	Source string // the file that was read, with the folder of the options
	Lab    []byte // the lab file; topo.Parse accepts it
	Notes  []Note // in the order of the files
}

// Import reads the lab at a path of fsys: a file, or a folder with one, "."
// for fsys itself. The same files give the same result. The error wraps
// ErrFormat when none of the formats fits, is a *SourceError when a file has
// mistakes, or is that of reading it.
func Import(fsys fs.FS, name string, opt Options) (*Result, error) {
	format, file, err := find(fsys, name, opt.Format)
	if err != nil {
		return nil, err
	}
	d := &draft{fsys: fsys, folder: opt.Folder, file: file}
	switch format {
	case Kathara:
		err = d.kathara()
	case Containerlab:
		err = d.containerlab()
	case Compose:
		err = d.compose()
	}
	if err != nil {
		return nil, err
	}
	d.name = orElse(opt.Name, d.name)
	if d.name == "" {
		d.name = orElse(clean(opt.Fallback, "_-", maxLabName), "imported")
	}
	text, err := d.lab(format)
	if err != nil {
		return nil, err
	}
	if _, err := topo.Parse(file, text, topo.Options{Builtins: opt.Builtins}); err != nil {
		return nil, fmt.Errorf("import %s: %w: %w", d.shown(file), ErrUnfit, err)
	}
	return &Result{Name: d.name, Format: format, Source: d.shown(file), Lab: text, Notes: d.notes}, nil
}

const labConf = "lab.conf"

// composeNames are in the order in which compose looks for them
// (compose-spec, "The Compose file").
var composeNames = []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}

// find returns the format of what is at a path, and the file to begin with.
func find(fsys fs.FS, name string, want Format) (Format, string, error) {
	if want != "" && !slices.Contains(Formats(), want) {
		return "", "", fmt.Errorf("unknown format %q", want)
	}
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return "", "", fmt.Errorf("read %s: %w", name, err)
	}
	if info.IsDir() {
		return findIn(fsys, name, want)
	}
	base := path.Base(name)
	switch {
	case want == Kathara && base != labConf:
		return "", "", fmt.Errorf("import %s: %w: a Kathará lab is a folder with %s", name, ErrFormat, labConf)
	case want != "":
		return want, name, nil
	case base == labConf:
		return Kathara, name, nil
	case isClab(base):
		return Containerlab, name, nil
	case slices.Contains(composeNames, base):
		return Compose, name, nil
	}
	format, err := sniff(fsys, name)
	return format, name, err
}

// findIn looks for a lab in a folder.
func findIn(fsys fs.FS, dir string, want Format) (Format, string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return "", "", fmt.Errorf("read folder %s: %w", dir, err)
	}
	var names, clabs []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
			if isClab(e.Name()) {
				clabs = append(clabs, e.Name())
			}
		}
	}
	if (want == "" || want == Kathara) && slices.Contains(names, labConf) {
		return Kathara, path.Join(dir, labConf), nil
	}
	if want == "" || want == Containerlab {
		switch {
		case len(clabs) == 1:
			return Containerlab, path.Join(dir, clabs[0]), nil
		case len(clabs) > 1:
			return "", "", fmt.Errorf("import %s: %w: it has several topologies, name one of %s", dir, ErrFormat, strings.Join(clabs, ", "))
		}
	}
	if want == "" || want == Compose {
		for _, n := range composeNames {
			if slices.Contains(names, n) {
				return Compose, path.Join(dir, n), nil
			}
		}
	}
	return "", "", fmt.Errorf("import %s: %w: the folder has no %s, no *.clab.yml and no %s", dir, ErrFormat, labConf, composeNames[0])
}

func isClab(name string) bool {
	return strings.HasSuffix(name, ".clab.yml") || strings.HasSuffix(name, ".clab.yaml")
}

// sniff tells the format of a YAML file by its keys.
func sniff(fsys fs.FS, name string) (Format, error) {
	src, err := read(fsys, name, maxSource)
	if err != nil {
		return "", err
	}
	refused := func(why string) error { return fmt.Errorf("import %s: %w: %s", name, ErrFormat, why) }
	root, err := readTree(src)
	switch {
	case err != nil:
		return "", refused("it is not YAML")
	case root.get("topology") != nil:
		return Containerlab, nil
	case root.get("nodes") != nil && root.get("links") != nil:
		return "", refused("it looks like a lab file of meshlab, which needs no import")
	case root.get("services") != nil:
		return Compose, nil
	}
	return "", refused("its top level has neither topology nor services")
}

// read returns a file of at most so many bytes.
func read(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(src)) > limit {
		return nil, &SourceError{File: name, Message: fmt.Sprintf("the file has more than %d bytes, which no lab needs", limit)}
	}
	return src, nil
}
