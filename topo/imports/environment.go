package imports

import (
	"slices"
	"strings"
)

// resolve returns the variables of the program, with templates in the place of
// the services that it calls.
func (s *service) resolve(named map[string][]*service) []variable {
	out := slices.Clone(s.run.env)
	for _, r := range s.refs {
		for _, to := range named[r.given] {
			if slices.ContainsFunc(s.upstreams, func(u upstream) bool { return u.service == to.service }) {
				for i := range out {
					out[i].value = replaceWhole(out[i].value, r.text, template(to.service))
				}
				break
			}
		}
	}
	return out
}

// replaceWhole replaces host:port where it stands by itself: not api:80 in
// api:8080, nor in my-api:80.
func replaceWhole(s, hostPort, by string) string {
	var b strings.Builder
	for from := 0; ; {
		i := strings.Index(s[from:], hostPort)
		if i < 0 {
			return b.String() + s[from:]
		}
		i += from
		end := i + len(hostPort)
		begins := i == 0 || !strings.ContainsRune("_.-", rune(s[i-1])) && !alphanumeric(s[i-1])
		ends := end == len(s) || s[end] < '0' || s[end] > '9'
		b.WriteString(s[from:i])
		if begins && ends {
			b.WriteString(by)
		} else {
			b.WriteString(hostPort)
		}
		from = end
	}
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
