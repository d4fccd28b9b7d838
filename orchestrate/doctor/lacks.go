package doctor

import (
	"context"
	"fmt"
	"strings"
)

// Needs says what a lab takes of the machine beside Open vSwitch and
// namespaces.
type Needs struct {
	Postgres bool
	Consul   bool
}

// Lacks is what a machine has not that a lab needs.
type Lacks struct {
	Findings []Finding // all of them Missing
	Self     string    // this program, for sudo
}

// Error tells all lacks at once, and the one command that brings them.
func (l *Lacks) Error() string {
	var b strings.Builder
	b.WriteString("this machine lacks what the lab needs:\n")
	width := 0
	for _, f := range l.Findings {
		width = max(width, len(f.Name))
	}
	for _, f := range l.Findings {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, f.Name, f.Detail)
	}
	command, rest := OneCommand(l.Findings, l.Self)
	if command != "" {
		what := "brings all of it"
		if len(rest) > 0 {
			var names []string
			for _, f := range rest {
				names = append(names, f.Name)
			}
			what = "brings all of it but " + strings.Join(names, ", ")
		}
		fmt.Fprintf(&b, "One command %s:\n  %s\n", what, command)
	}
	b.WriteString("`meshlab doctor` tells more of each.")
	return b.String()
}

// Lack looks for what would keep a lab from coming up, and returns a *Lacks
// when there is something. It starts no program where all is well, and so is
// fast enough for each `meshlab up`: what only an attempt could tell, an
// attempt has to.
func Lack(ctx context.Context, n Needs) error { return here(ctx).lack(ctx, n) }

func (m machine) lack(ctx context.Context, n Needs) error {
	m.version = func(string, ...string) string { return "0.0" } // of programs that are there
	d := m.distribution()
	found := []Finding{m.checkOpenVSwitch(d)}
	if n.Postgres {
		found = append(found, m.checkPostgres(d))
	}
	if n.Consul {
		if _, err := m.goTool(); err != nil { // else it is found or built
			found = append(found, m.checkConsul(d))
		}
	}
	if m.uid != 0 && m.limits().forbids() { // unless a profile of AppArmor allows this program more
		found = append(found, m.checkNamespaces(ctx))
	}
	if tun := m.checkTun(); tun.Status == Missing && m.needsTun() {
		found = append(found, tun)
	}
	if f, ok := m.checkWSL(); ok {
		found = append(found, f)
	}
	out := &Lacks{Self: Self()}
	for _, f := range found {
		if f.Status == Missing {
			out.Findings = append(out.Findings, f)
		}
	}
	if len(out.Findings) == 0 {
		return nil
	}
	return out
}
