package orchestrate

import (
	"os"
	"path/filepath"
)

// Holder finds the first process of the lab that lives in the folder, by the
// folder that it holds open, whatever the record says. The Record has only
// PID and StartTime; without such a process it is the zero Record, whose Kill
// does nothing.
func (s State) Holder() Record {
	folder, err := os.Stat(s.Dir)
	if err != nil {
		return Record{}
	}
	for _, p := range firsts() {
		for _, fd := range p.files() {
			if held, err := os.Stat(fd); err == nil && os.SameFile(held, folder) {
				return Record{Name: filepath.Base(s.Dir), PID: p.pid, StartTime: p.start}
			}
		}
	}
	return Record{}
}
