package imports

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// daemons are well-known servers that "service NAME start" starts, and their
// ports.
var daemons = map[string]int{"nginx": 80, "apache2": 80, "httpd": 80, "lighttpd": 80, "postgresql": 5432}

// daemon understands service NAME start, systemctl start NAME and
// /etc/init.d/NAME start.
func (s *script) daemon(c command) {
	name, verb := "", ""
	switch w := c.words; {
	case strings.HasPrefix(w[0], "/etc/init.d/") && len(w) > 1:
		name, verb = path.Base(w[0]), w[1]
	case path.Base(w[0]) == "service" && len(w) > 2:
		name, verb = w[1], w[2]
	case path.Base(w[0]) == "systemctl" && len(w) > 2:
		verb, name = w[1], strings.TrimSuffix(w[2], ".service")
	}
	port, known := daemons[name]
	switch {
	case verb != "start" && verb != "restart":
		s.notef(c.at, "not carried over: %s", c)
	case strings.HasPrefix(name, "openvswitch"):
		s.dev.sw = true
	case s.dev.sw:
		s.notef(c.at, "%s is not carried over: services run on hosts, and %s is a switch", name, s.dev.given)
	case known:
		s.add(&run{at: c.at, dev: s.dev, name: s.runName(name), port: port, standIn: name + " of " + s.dev.given, postgres: name == "postgresql", publish: -1})
	default:
		s.notef(c.at, "%s is not carried over: if others call it, add a service with a command and a port", quote(name))
	}
}

// add adds a run of a host.
func (d *draft) add(r *run) { d.runs = append(d.runs, r) }

// runName names a service after its program, and its host when another host
// runs that program too.
func (s *script) runName(program string) string {
	name := program
	for i := 2; slices.ContainsFunc(s.runs, func(r *run) bool { return r.name == name }); i++ {
		name = program + "-" + s.dev.given
		if i > 2 {
			name += "-" + strconv.Itoa(i)
		}
	}
	return name
}

// program makes a service of a command, when that can be one: a program of
// HashiCups, or one that runs in the background and has a port.
func (s *script) program(c command) {
	if slices.Contains([]string{"docker-entrypoint.sh", "docker-entrypoint"}, path.Base(c.words[0])) && len(c.words) > 1 {
		c.words = c.words[1:]
	}
	builtin, postgres := knownProgram(c.words)
	env := s.dev.env
	for _, v := range c.env {
		env = append(slices.Clone(env), v)
	}
	port := portOf(c.words[1:], env)
	switch {
	case s.dev.sw && (builtin != "" || postgres || c.background):
		s.notef(c.at, "not carried over, as services run on hosts and %s is a switch: %s", s.dev.given, c)
	case builtin != "":
		r := &run{at: c.at, dev: s.dev, builtin: builtin, port: port, publish: -1}
		if builtin == frontend {
			r.publish = 0
		}
		s.add(r)
	case postgres:
		s.add(&run{at: c.at, dev: s.dev, name: s.runName("postgres"), port: orPort(port, 5432), standIn: "the Postgres of " + s.dev.given, hint: c.words, postgres: true, publish: -1})
	case !c.background:
		s.notef(c.at, "not carried over: %s", c)
	case c.opaque:
		s.notef(c.at, "not carried over, as it depends on variables that are not known here: %s", c)
	case port == 0:
		s.notef(c.at, "not carried over, as it names no port: add a service with this command and a port, if it is one: %s", c)
	default:
		s.notef(c.at, "the command becomes the service %s at port %d; its program must be on this machine", s.runName(serviceName(path.Base(c.words[0]))), port)
		r := &run{at: c.at, dev: s.dev, name: s.runName(serviceName(path.Base(c.words[0]))), port: port, publish: -1}
		for _, w := range c.words {
			r.command = append(r.command, literal(w))
		}
		for _, v := range env {
			r.setenv(v.name, literal(v.value))
		}
		s.add(r)
	}
}

// setenv sets a variable of the program, if it can be one.
func (r *run) setenv(name, value string) {
	if !variableName.MatchString(name) || strings.ContainsRune(value, 0) {
		return
	}
	r.env = slices.DeleteFunc(r.env, func(v variable) bool { return v.name == name })
	r.env = append(r.env, variable{name, value})
}

// literal is a text in which topo expands nothing.
func literal(s string) string { return strings.ReplaceAll(s, "{{", `{{ "{{" }}`) }

func orPort(port, fallback int) int {
	if port == 0 {
		return fallback
	}
	return port
}

var (
	// Arguments that name a port: --port 80, -Dserver.port=80, :80, tcp-listen:80.
	portFlag = regexp.MustCompile(`^--?(?:[A-Za-z.-]*[.-])?(?:port|p|P|Dserver\.port|listen|http-port)$`)
	portArg  = regexp.MustCompile(`(?i)^(?:--?[a-z.-]*(?:port|listen|addr|address|bind)=|tcp4?-listen:|[0-9.]*:)(?:[0-9.]*:)?([0-9]{1,5})(?:,.*)?$`)
	digits   = regexp.MustCompile(`^[0-9]{1,5}$`)
)

// portOf finds the port that a program listens at in its arguments and its
// environment, 0 when neither names one.
func portOf(args []string, env []variable) int {
	for i, a := range args {
		switch m := portArg.FindStringSubmatch(a); {
		case m != nil:
			if p := port(m[1]); p != 0 {
				return p
			}
		case (portFlag.MatchString(a) || a == "http.server" || a == "SimpleHTTPServer" || a == "-l" || a == "-lp") && i+1 < len(args):
			if p := port(args[i+1]); p != 0 {
				return p
			}
		}
	}
	for _, name := range []string{"BIND_ADDRESS", "PORT", "SERVER_PORT", "LISTEN_ADDR"} {
		for i := len(env) - 1; i >= 0; i-- {
			if env[i].name == name {
				if p := port(env[i].value[strings.LastIndexByte(env[i].value, ':')+1:]); p != 0 {
					return p
				}
			}
		}
	}
	for i, a := range args {
		if a == "http.server" && i+1 == len(args) {
			return 8000 // Python's default
		}
	}
	return 0
}

func port(s string) int {
	if !digits.MatchString(s) {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0
	}
	return n
}
