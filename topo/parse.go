package topo

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a lab file. They keep the time and memory that any input can
// take small; a lab on one machine stays far below them.
const (
	maxSource   = 1 << 20 // bytes
	maxDepth    = 32      // mappings and lists inside each other
	maxNodes    = 1000
	maxLinks    = 4000
	maxServices = 1000
	maxEntries  = 1000 // in each other mapping or list
)

// Options says what Parse knows of its surroundings.
type Options struct {
	// Builtins are the names that the key builtin may have; nil: any.
	Builtins []string
}

// Parse reads a lab file, checks it as a whole and completes it with
// automatic addresses, MACs and datapath ids. The same source always gives
// the same lab. filename only appears in messages. The error is a
// *ParseError with every problem of the file.
func Parse(filename string, src []byte, opt Options) (*Lab, error) {
	p := &problems{}
	var f fileLab
	if root := readDocument(p, src, fileKind{"lab", "name, nodes and links"}); root != nil {
		d := &decoder{problems: p}
		d.decode(root, reflect.ValueOf(&f).Elem(), "the lab")
	}
	if tooLarge(p, &f) || len(p.list) > 0 && len(f.Nodes) == 0 {
		return nil, p.err(filename)
	}
	b := newBuilder(p, opt)
	lab := b.build(&f)
	if err := p.err(filename); err != nil {
		return nil, err
	}
	return lab, nil
}

// fileKind is a kind of file, for messages.
type fileKind struct {
	name  string // one word
	needs string // the keys that such a file must have
}

// readDocument returns the one document of the source, or nil after it has
// reported why there is none.
func readDocument(p *problems, src []byte, kind fileKind) ast.Node {
	if len(src) > maxSource {
		p.addf(place{}, "the file has %d bytes; a %s file may have at most %d", len(src), kind.name, maxSource)
		return nil
	}
	file, err := parseYAML(src)
	var se interface {
		GetToken() *token.Token
		GetMessage() string
	}
	var deep *depthError
	switch {
	case errors.As(err, &deep):
		p.addf(deep.place, "mappings and lists are nested too deeply; a %s file needs far less than %d levels", kind.name, maxDepth)
		return nil
	case errors.As(err, &se):
		p.addf(placeOfToken(se.GetToken()), "not YAML: %s", se.GetMessage())
		return nil
	case err != nil:
		p.addf(place{}, "not YAML: %v", err)
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			p.addf(placeOf(doc.Body), "a second YAML document; a %s file has one", kind.name)
			return nil
		}
		root = doc.Body
	}
	if root == nil {
		p.addf(place{}, "the file says nothing; a %s needs at least %s", kind.name, kind.needs)
	}
	return root
}

// parseYAML calls the YAML parser. Deep nesting is refused before, as the
// parser recurses without a bound, and its panics come back as errors.
func parseYAML(src []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if err := checkDepth(tokens); err != nil {
		return nil, err
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// depthError is where nesting passes maxDepth.
type depthError struct{ place place }

func (e *depthError) Error() string {
	return fmt.Sprintf("nested too deeply at %d:%d", e.place.line, e.place.column)
}

// checkDepth bounds the nesting of a token stream from above: brackets,
// indentation of lines, and runs of tokens that open something without
// closing it, such as "- - -".
func checkDepth(tokens token.Tokens) error {
	var columns []int // of the lines that enclose the present one
	flow, run, line := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		}
		switch t.Type {
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType,
			token.MappingValueType, token.SequenceStartType, token.MappingStartType, token.DirectiveType:
			run++
		case token.StringType, token.SequenceEndType, token.MappingEndType, token.CollectEntryType:
			run = 0
		}
		if at := t.Position; at != nil && at.Line != line && flow <= 0 {
			line = at.Line
			i, _ := slices.BinarySearch(columns, at.Column)
			columns = append(columns[:i], at.Column)
		}
		if flow > maxDepth || run > maxDepth || len(columns) > maxDepth {
			return &depthError{placeOfToken(t)}
		}
	}
	return nil
}

// tooLarge reports the mappings and lists that pass their bounds.
func tooLarge(p *problems, f *fileLab) bool {
	before := len(p.list)
	check := func(what string, n, limit int) {
		if n > limit {
			p.addf(place{}, "%d %s; a lab may have at most %d", n, what, limit)
		}
	}
	check("nodes", len(f.Nodes), maxNodes)
	check("links", len(f.Links), maxLinks)
	check("services", len(f.Services), maxServices)
	check("requests", len(f.Requests), maxEntries)
	total := 0
	for _, s := range f.Services {
		total += len(s.Value.Upstreams)
	}
	if f.Client != nil {
		total += len(f.Client.Upstreams)
	}
	check("upstreams", total, maxLinks)
	return len(p.list) > before
}
