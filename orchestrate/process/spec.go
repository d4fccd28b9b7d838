// Package process runs the processes of a lab: it starts them by a runtime,
// such as in their host's network namespace, keeps what they print, restarts those that
// should not end, and stops them. It does not know what they are.
package process

// Spec says how one process of a lab is started.
type Spec struct {
	Name string   // unique in the lab, for example "consul@h1" or "public-api"
	Node string   // host in whose network namespace it runs; "": where the switches are
	Part Part     // what it belongs to, for the account of its cost
	Path string   // absolute path of the program; with Image: "", or what runs instead of its own
	Args []string // without the program's name
	Env  []string // complete: nothing is inherited; with Image: beside its own
	Dir  string   // working directory, made when missing

	// Image is what the program is in, and Limits what it may use. Both need a
	// runtime with containers: Namespaces refuses them.
	Image  string
	Limits Limits

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

// Limits bound a process. The zero Limits do not.
type Limits struct {
	CPUs   float64 // processors, as in 0.5
	Memory int64   // bytes
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
	PartLink       Part = "link" // what gives links a character
)
