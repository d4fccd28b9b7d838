package topo

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template/parse"
)

// Funcs is what the templates of a service's environment and command see.
type Funcs struct {
	// Upstream returns host:port under which the service reaches one of its
	// upstreams; what that is depends on the mesh.
	Upstream func(service string) (string, error)
	Address  string // own IPv4 address
	Port     uint16 // own port
}

// Expand replaces {{ upstream "name" }}, {{ address }} and {{ port }} in a
// text; {{ "{{" }} writes the braces themselves. The syntax is that of
// text/template without control structures, variables, pipes and built-in
// functions, so that every expansion ends. The error tells what is wrong with
// the template, or is that of f.Upstream.
func Expand(text string, f Funcs) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	// The parser only looks for the names; call decides what they do.
	names := map[string]any{"upstream": true, "address": true, "port": true}
	trees, err := parse.Parse("", text, "", "", names)
	if err != nil {
		return "", fmt.Errorf("template: %s", parserPrefix.ReplaceAllString(err.Error(), ""))
	}
	if len(trees) > 1 {
		return "", errNotSimple
	}
	tree := trees[""]
	if tree == nil || tree.Root == nil { // nothing but comments and space
		return "", nil
	}
	var b strings.Builder
	for _, n := range tree.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			b.Write(n.Text)
		case *parse.ActionNode:
			s, err := call(n, f)
			if err != nil {
				return "", err
			}
			b.WriteString(s)
		default:
			return "", errNotSimple
		}
	}
	return b.String(), nil
}

var (
	errNotSimple = errors.New(`a template may only hold {{ upstream "name" }}, {{ address }} and {{ port }}`)

	// parserPrefix is what text/template/parse puts before a message: the
	// place in the text, which has a better one in the lab file.
	parserPrefix = regexp.MustCompile(`^template: :\d+(:\d+)?: `)
)

// call evaluates one action: a constant string, or one of the functions.
func call(a *parse.ActionNode, f Funcs) (string, error) {
	if len(a.Pipe.Decl) > 0 || len(a.Pipe.Cmds) != 1 {
		return "", errNotSimple
	}
	args := a.Pipe.Cmds[0].Args
	if s, ok := args[0].(*parse.StringNode); ok && len(args) == 1 {
		return s.Text, nil
	}
	name, ok := args[0].(*parse.IdentifierNode)
	if !ok {
		return "", errNotSimple
	}
	switch {
	case name.Ident == "address" && len(args) == 1:
		return f.Address, nil
	case name.Ident == "port" && len(args) == 1:
		return strconv.Itoa(int(f.Port)), nil
	case name.Ident == "upstream" && len(args) == 2:
		if s, ok := args[1].(*parse.StringNode); ok {
			return f.Upstream(s.Text)
		}
	}
	return "", errNotSimple
}
