package orchestrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Condition is how a lab is doing, as the machine outside it can tell.
type Condition string

// The conditions of a lab.
const (
	Up       Condition = "up"        // its first process runs
	ComingUp Condition = "coming up" // a meshlab is at work on it: bringing it up, or removing it
	Ended    Condition = "ended"     // its first process is gone, and what the kernel removes with it
)

// Entry is a lab of this user, dead ones included.
type Entry struct {
	// Record has the name alone when there is none, or none that can be read.
	Record
	Dir       string    `json:"dir"` // its state folder
	Condition Condition `json:"state"`
	Problem   string    `json:"problem,omitempty"` // what is wrong with the record; "": nothing
	Orphan    bool      `json:"orphan,omitempty"`  // it lives, and its state folder has been deleted
}

// Newer says that a record has fields that this meshlab does not know: what
// they name it cannot remove.
func (e Entry) Newer() bool { return strings.Contains(e.Problem, unknownFields) }

const unknownFields = "which this meshlab does not know"

// List returns all labs of this user, sorted by name.
func List() ([]Entry, error) { return list(StateRoot()) }

func list(root string) ([]Entry, error) {
	if err := checkRoot(root); err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var all []Entry
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		e, err := State{filepath.Join(root, d.Name())}.Look()
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// Look tells how a lab is doing, whatever its state folder holds. It takes no
// lock, and disturbs nobody. The error says that the folder above is not this
// user's.
func (s State) Look() (Entry, error) {
	e := Entry{Dir: s.Dir}
	if err := checkRoot(filepath.Dir(s.Dir)); err != nil {
		return e, err
	}
	rec, err := s.Read()
	switch {
	case errors.Is(err, ErrNotUp):
		e.Problem = "there is no record"
	case err != nil:
		e.Problem = "its record cannot be read"
	default:
		e.Record = rec
		if unknown := s.unknown(); len(unknown) > 0 {
			e.Problem = fmt.Sprintf("its record, of meshlab %s, has fields %s: %s", rec.Version, unknownFields, strings.Join(unknown, ", "))
		}
	}
	alive := e.Alive()
	if !alive {
		if first := s.Holder(); first.Alive() {
			alive = true
			e.PID, e.StartTime = first.PID, first.StartTime
			if err == nil {
				e.Problem = "its record names another process"
			}
		}
	}
	e.Name = filepath.Base(s.Dir) // by which `down` finds it, whatever the record says
	switch {
	case alive && err == nil:
		e.Condition = Up
	case s.busy():
		e.Condition = ComingUp
		if errors.Is(err, ErrNotUp) {
			e.Problem = "" // it has none yet
		}
	case alive:
		e.Condition = Up
	default:
		e.Condition = Ended
	}
	return e, nil
}

// unknown lists the fields of the record file that Record lacks, sorted.
func (s State) unknown() []string {
	b, err := os.ReadFile(s.record())
	if err != nil {
		return nil // it went a moment ago
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil
	}
	for f := range reflect.TypeFor[Record]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(fields, name)
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// busy tells whether a running program holds a claim on the folder. The
// claim of a lab that is up does not count once the `up` that took it has
// ended: the list of the kernel (proc_locks(5)) names locks by the process
// that took them, and leaves out those of processes that are gone.
func (s State) busy() bool {
	folder, err := os.Stat(s.Dir)
	if err != nil {
		return false
	}
	sys, ok := folder.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false
	}
	inode := fmt.Appendf(nil, " %02x:%02x:%d ", unix.Major(sys.Dev), unix.Minor(sys.Dev), sys.Ino)
	for line := range bytes.Lines(text) {
		// 1: FLOCK  ADVISORY  WRITE 2433 00:15:1043 0 EOF
		if bytes.Contains(line, []byte("FLOCK")) && bytes.Contains(line, inode) {
			return true
		}
	}
	return false
}
