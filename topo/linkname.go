package topo

import (
	"fmt"
	"slices"
	"strings"
)

// LinkNames names the links of the lab, in their order: h1-s1, with the ends
// in the order of the file, and with the interfaces, s1:3-s2:4, where that
// would name several. FindLink knows them.
func (l *Lab) LinkNames() []string {
	all := make([]string, 0, len(l.Links))
	for _, link := range l.Links {
		name := link.A.Node + "-" + link.B.Node
		if len(l.linksCalled(name)) > 1 {
			name = link.A.full() + "-" + link.B.full()
		}
		all = append(all, name)
	}
	return all
}

// maxNamed is how many links an error lists: a large lab has thousands.
const maxNamed = 30

// FindLink returns the index of the link of that name: its two ends in either
// order, each with its interface or without. The error lists links that there
// are.
func (l *Lab) FindLink(name string) (int, error) {
	found := l.linksCalled(name)
	if len(found) == 1 {
		return found[0], nil
	}
	if len(found) == 0 {
		all, more := l.LinkNames(), ""
		if len(all) > maxNamed {
			all, more = all[:maxNamed], fmt.Sprintf(" and %d more", len(all)-maxNamed)
		}
		return 0, fmt.Errorf("lab %s has no link %s: it has %s%s", l.Name, quote(name), strings.Join(all, ", "), more)
	}
	var several []string
	for _, i := range found {
		several = append(several, l.Links[i].A.full()+"-"+l.Links[i].B.full())
	}
	return 0, fmt.Errorf("lab %s has %d links %s: say which, %s", l.Name, len(found), name, strings.Join(several, " or "))
}

// linksCalled returns the indices of the links that a name fits. Names of
// nodes may have hyphens, so it is not taken apart.
func (l *Lab) linksCalled(name string) []int {
	var found []int
	for i, link := range l.Links {
		fits := func(a, b Endpoint) bool {
			for _, x := range []string{a.Node, a.full()} {
				if rest, ok := strings.CutPrefix(name, x+"-"); ok && (rest == b.Node || rest == b.full()) {
					return true
				}
			}
			return false
		}
		if (fits(link.A, link.B) || fits(link.B, link.A)) && !slices.Contains(found, i) {
			found = append(found, i)
		}
	}
	return found
}

// full is the endpoint as in the lab file, s1:3.
func (e Endpoint) full() string { return e.Node + ":" + e.Interface }
