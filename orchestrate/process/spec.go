// Package process runs the child processes of a lab: it starts them inside
// their host's network namespace, keeps what they print, restarts those that
// should not end, and stops them. It does not know what they are.
package process

// Spec says how one process of a lab is started.
type Spec struct {
	Name string   // unique in the lab, for example "consul@h1" or "public-api"
	Node string   // host in whose network namespace it runs; "": where the switches are
	Part Part     // what it belongs to, for the account of its cost
	Path string   // absolute path of the program
	Args []string // without the program's name
	Env  []string // complete: nothing is inherited
	Dir  string   // working directory, made when missing

	// Unprivileged runs the process under a user id other than 0, which
	// Postgres insists on. To that user all files of the lab look like their own.
	Unprivileged bool
	// KeepRunning starts the process again when it ends: at once when it has
	// run for a while, else after a growing pause.
	KeepRunning bool
	// Started, if set, is called each time the process has been started. It
	// must not block, and must not call the manager.
	Started func()
}

// Part is what a process does in a lab.
type Part string

// The parts of a lab.
const (
	PartSwitch     Part = "switch"
	PartController Part = "controller"
	PartRegistry   Part = "registry"
	PartSidecar    Part = "sidecar"
	PartService    Part = "service"
)
