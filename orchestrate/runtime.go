package orchestrate

import "fmt"

// Runtime names what the hosts of a lab are.
type Runtime string

// The runtimes.
const (
	Namespaces Runtime = "namespaces" // a network namespace each; all programs are the machine's own
	Docker     Runtime = "docker"     // a container each, whose network their services' containers share
)

// Runtimes lists all runtimes.
func Runtimes() []Runtime { return []Runtime{Namespaces, Docker} }

// ParseRuntime checks a runtime's name.
func ParseRuntime(s string) (Runtime, error) {
	for _, r := range Runtimes() {
		if s == string(r) {
			return r, nil
		}
	}
	return "", fmt.Errorf("unknown runtime %q: it is namespaces or docker", s)
}
